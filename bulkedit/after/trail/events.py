"""Events of CloudTrail: found in files, and reduced to what a comparison needs.

The form is that of CloudTrail's log files (cloudtrail-event-reference), of the event history (console, `lookup-events`)
and of CloudTrail Lake. All actions of HealthImaging but GetImageFrame are management events, so a trail has them unless
it leaves management events out (healthimaging, logging-using-cloudtrail). `requestParameters` can have values of edits:
only ids and versions are taken from it, and nothing else is kept.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkedit._json import object_in
from bulkedit.after.trail.json_stream import VALUE_CHARACTERS, values_of
from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.client.sent import checked_request_id
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bulkedit._json import Json

SOURCE: Final = "medical-imaging.amazonaws.com"
LISTS: Final = frozenset({"Records", "Events"})  # of log files and the console; of `lookup-events`
_ENDINGS: Final = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
_WRAPPED: Final = ("CloudTrailEvent", "eventData", "eventJson")  # `lookup-events`; CloudTrail Lake
_DIGEST: Final = "digestS3Object"  # of digest files, which lie beside log files
_ID: Final = re.compile(IMAGE_SET_ID)
_PLAIN: Final = re.compile(r"[!-~]{1,300}")
_VERSION: Final = re.compile(r"[0-9]{1,9}")
_OURS: Final = "bulkedit/"
_LATEST: Final = 1e11  # epoch seconds, as in the ledger
UNKNOWN: Final = "unknown"
_GIVE: Final = "Give files or folders: `cloudtrail=LOGS`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailEvent:
    """One event of HealthImaging. It has no value of an edit."""

    event_id: str
    request_id: str | None
    at: float  # epoch seconds
    name: str  # of the operation
    region: str
    principal: str  # its ARN; else the account or service that sent the request
    by_bulkedit: bool  # by the user agent
    datastore_id: str | None
    image_set_id: str | None
    expected_version: int | None
    error: str | None  # error code; None if the request was accepted


@dataclass(slots=True)
class EventCounts:
    """What was read."""

    files: int = 0
    events: int = 0  # of all services
    ours: int = 0  # of HealthImaging
    strange: int = 0  # values that are no events
    first: float | None = None  # epoch seconds of the first and the last event, of any service
    last: float | None = None

    def covers(self, at: float) -> None:
        """There is an event of this time."""
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)


def files_of(given: Iterable[Path]) -> list[Path]:
    """The files, and those of folders and their subfolders that may be logs, each once. Raises UsageError."""
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            inside = [one for one in _files_under(path) if one.name.endswith(_ENDINGS)]
            if not inside:
                raise UsageError(
                    "this folder has no log of CloudTrail.",
                    where=str(path),
                    likely="Their names end in .json.gz.",
                    hint="To copy them: aws s3 sync s3://BUCKET/AWSLogs/ACCOUNT/CloudTrail/REGION/2026/01/02 logs",
                )
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise UsageError("there is no such file or folder.", where=str(path), hint=_GIVE)
    if not found:
        raise UsageError("no file of CloudTrail was given.", hint=_GIVE)
    return list(found)


def _files_under(folder: Path) -> list[Path]:
    places = ((Path(place), names) for place, _, names in os.walk(folder))  # links to folders are not followed
    return sorted(path for place, names in places for name in names if (path := place / name).is_file())


def events_of(path: Path, counts: EventCounts, between: Callable[[], None] = lambda: None) -> Iterator[TrailEvent]:
    """The events of HealthImaging in a file. Raises UnreadableLogError if it cannot be read to its end.

    ``between``: called before every value of the file.
    """
    counts.files += 1
    for value in values_of(path, LISTS):
        between()
        for record in _records(value):
            at = _time(record.get("eventTime"))
            if at is None or not isinstance(record.get("eventSource"), str):
                counts.strange += _DIGEST not in record
                continue
            counts.events += 1
            counts.covers(at)
            if record["eventSource"] == SOURCE:
                counts.ours += 1
                yield _event(record, at)


def _records(value: Json, depth: int = 0) -> Iterator[dict[str, Json]]:
    """The event, or those in a wrapper."""
    if not isinstance(value, dict):
        yield {}
        return
    inner = next((value[name] for name in (*_WRAPPED, *LISTS) if name in value), None) if depth < 2 else None
    if isinstance(inner, str) and len(inner) <= VALUE_CHARACTERS:
        inner = _parsed(inner)
    if isinstance(inner, list):
        for one in inner:
            yield from _records(one, depth + 1)
    elif isinstance(inner, dict):
        yield from _records(inner, depth + 1)
    else:
        yield value


def _parsed(text: str) -> Json:
    try:
        found: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _event(record: dict[str, Json], at: float) -> TrailEvent:
    asked = object_in(record, "requestParameters")
    source = object_in(asked, "copyImageSetInformation", "sourceImageSet")
    return TrailEvent(
        event_id=_plain(record.get("eventID")) or "",
        request_id=checked_request_id(record.get("requestID")),
        at=at,
        name=_plain(record.get("eventName")) or UNKNOWN,
        region=_plain(record.get("awsRegion")) or UNKNOWN,
        principal=_principal(object_in(record, "userIdentity")),
        by_bulkedit=str(record.get("userAgent", "")).lstrip("[").startswith(_OURS),
        datastore_id=_id(asked.get("datastoreId")),
        image_set_id=_id(asked.get("sourceImageSetId", asked.get("imageSetId"))),
        expected_version=_version(asked.get("latestVersionId", source.get("latestVersionId"))),
        error=_plain(record.get("errorCode")),
    )


def _principal(identity: dict[str, Json]) -> str:
    """Whose request it was: the ARN, else the service or the account."""
    named = (_plain(identity.get(name)) for name in ("arn", "invokedBy", "principalId", "accountId"))
    return next(filter(None, named), UNKNOWN)


def _plain(value: Json) -> str | None:
    """A text if it is one of printable ASCII without blanks."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else None


def _id(value: Json) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _version(value: Json) -> int | None:
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if _VERSION.fullmatch(text) else None


def _time(value: Json) -> float | None:
    """Epoch seconds of an ISO 8601 time since 1970, in UTC if it has no zone."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        at = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return at if 0 <= at < _LATEST else None
