"""Logs each request: its operation, image set, response and duration."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bulkedit._log import is_logged, log
from bulkedit.client.responses import Lost, Refused
from bulkedit.client.sent import WRITES

if TYPE_CHECKING:
    from bulkedit.client.sent import Exchange


def log_request(
    operation: str,
    image_set_id: str | None,
    answer: object,
    exchange: Exchange,
    *,
    seconds: float,
) -> None:
    """Log a request. Successful reads are logged at DEBUG, all others at INFO.

    ``answer``: a record of `bulkedit.client.responses`.
    """
    writes = operation in WRITES
    level = logging.DEBUG if not isinstance(answer, Refused | Lost) and not writes else logging.INFO
    if not is_logged(level):
        return
    event, code, retry_after_s = "sent" if writes else "answered", None, None
    if isinstance(answer, Refused):
        event, code = "throttled" if answer.throttled else "refused", answer.code
        retry_after_s = answer.retry_after_s
    elif isinstance(answer, Lost):
        event, code = "lost", answer.cause
    log(
        f"{'call' if writes else 'read'}.{event}",
        level,
        operation=operation,
        image_set_id=image_set_id,
        status=exchange.status,
        code=code,
        request_id=exchange.request_id,
        duration_ms=round(seconds * 1000, 1),
        retry_after_s=retry_after_s,
    )
