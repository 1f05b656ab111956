"""Each request in the log: what was asked of which image set, what came of it, and how long it took."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from bulkedit._log import is_logged, log
from bulkedit.client.responses import Lost, Refused

if TYPE_CHECKING:
    from bulkedit._log import Fields

_WRITES: Final = frozenset({"UpdateImageSetMetadata", "CopyImageSet", "DeleteImageSet"})


def log_request(
    operation: str,
    image_set_id: str | None,
    answer: dict[str, Any] | Refused | Lost,
    response: dict[str, Any],
    *,
    seconds: float,
) -> None:
    """Log a request that was answered, or not: reads that went well for details only.

    ``response``: botocore's ResponseMetadata; empty if there was no answer.
    """
    writes = operation in _WRITES
    level = logging.DEBUG if isinstance(answer, dict) and not writes else logging.INFO
    if not is_logged(level):
        return
    fields: Fields = {"operation": operation, "duration_ms": round(seconds * 1000, 1)}
    if image_set_id is not None:
        fields["image_set_id"] = image_set_id
    if "HTTPStatusCode" in response:
        fields["status"] = response["HTTPStatusCode"]
    if "RequestId" in response:
        fields["request_id"] = response["RequestId"]
    event = "sent" if writes else "answered"
    if isinstance(answer, Refused):
        event, fields["code"] = "throttled" if answer.throttled else "refused", answer.code
        if answer.retry_after_s is not None:
            fields["retry_after_s"] = answer.retry_after_s
    elif isinstance(answer, Lost):
        event, fields["code"] = "lost", answer.cause
    log(f"{'call' if writes else 'read'}.{event}", level, **fields)
