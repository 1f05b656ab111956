"""The requests of the journal as CloudTrail records them, to try `bulkedit trail`.

The form is that of CloudTrail's log files (cloudtrail-event-reference). What a request asked for is hidden, as
CloudTrail hides sensitive parameters. The access key stands for the person: real events name a user or a role.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bulkedit.emulator.state.faults import WRITES, FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit._json import JsonObject
    from bulkedit.emulator.state.journal import Entry

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"
_NOT_PERFORMED: Final = {FaultKind.DROP_BEFORE, FaultKind.LATE}


def log_file(entries: Iterable[Entry]) -> JsonObject:
    """The content of a log file: an event for each request that was performed or refused."""
    return {"Records": [_event(entry) for entry in entries if _is_recorded(entry)]}


def _is_recorded(entry: Entry) -> bool:
    if entry.kind != "request" or entry.action is None:
        return False
    # a request that was dropped before it was performed never reached the service
    return entry.status is not None or not _NOT_PERFORMED & set((entry.fault or "").split(","))


def _event(entry: Entry) -> JsonObject:
    key = entry.access_key or "ANONYMOUS"
    event: JsonObject = {
        "eventVersion": "1.09",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": key,
            "arn": f"arn:aws:iam::{ACCOUNT}:user/{key}",
            "accountId": ACCOUNT,
            "accessKeyId": key,
            "userName": key,
        },
        "eventTime": datetime.fromtimestamp(int(entry.at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "medical-imaging.amazonaws.com",
        "eventName": entry.action,
        "awsRegion": REGION,
        "sourceIPAddress": "192.0.2.1",
        "userAgent": entry.agent or "unknown",
        "requestParameters": _parameters(entry),
        "responseElements": _response(entry),
        "requestID": entry.request_id,
        "eventID": str(uuid.uuid5(uuid.NAMESPACE_OID, entry.request_id or "")),
        "readOnly": entry.action not in WRITES,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }
    if entry.code is not None:
        event["errorCode"] = entry.code
    return event


def _parameters(entry: Entry) -> JsonObject:
    found: JsonObject = {"datastoreId": entry.datastore_id}
    if entry.action == "CopyImageSet":
        return {**found, "sourceImageSetId": entry.image_set_id, "copyImageSetInformation": HIDDEN}
    if entry.image_set_id is not None:
        found["imageSetId"] = entry.image_set_id
    if entry.action == "UpdateImageSetMetadata":
        version = None if entry.expected_version is None else str(entry.expected_version)
        found |= {"latestVersionId": version, "updateImageSetMetadataUpdates": HIDDEN}
    return found


def _response(entry: Entry) -> JsonObject | None:
    if entry.action not in WRITES or entry.code is not None:
        return None
    return {"datastoreId": entry.datastore_id, "imageSetState": "LOCKED", "latestVersionId": str(entry.version)}
