"""The service's time, which requests are signed with.

AWS refuses a signature whose time is more than five minutes away from its own. If this machine's clock is wrong, the
difference is learned from the Date header of the refusal, as other SDKs do (botocore does not), and the request is
signed again.
"""

from __future__ import annotations

import email.utils
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, SigV4Auth

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiobotocore.session import AioSession
    from botocore.awsrequest import AWSRequest

_LOG: Final = logging.getLogger("bulkedit")
_SIGNER: Final = "bulkedit-v4"
_CONTEXT: Final = "bulkedit_clock"
_SKEW_S: Final = 240.0  # a smaller difference is no reason for a refusal: AWS allows five minutes
# codes of refusals for the time of a signature; SignatureDoesNotMatch and others have further reasons
_CODES: Final = frozenset({
    "AuthFailure", "InvalidSignatureException", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
})  # fmt: skip


class ServiceClock:
    """The time of the service: that of this machine, corrected. ``epoch``: the clock of this machine."""

    def __init__(self, epoch: Callable[[], float] = time.time) -> None:
        self._epoch = epoch
        self.offset_s = 0.0

    def now(self) -> float:
        """Epoch seconds."""
        return self._epoch() + self.offset_s

    def as_datetime(self) -> datetime:
        """The same as a datetime in UTC."""
        return datetime.fromtimestamp(self.now(), UTC)

    def learn(self, date: str | None) -> None:
        """Correct the clock by the Date header of a response that refused a signature. Tells it once."""
        try:
            offset = email.utils.parsedate_to_datetime(date or "").timestamp() - self._epoch()
        except (IndexError, OverflowError, TypeError, ValueError):
            return
        if abs(offset - self.offset_s) < _SKEW_S:
            return
        self.offset_s = offset
        where = "behind" if offset > 0 else "ahead of"
        _LOG.warning(
            "This machine's clock is %d min %s the service's: requests are signed with the service's time. Set the "
            "clock (timedatectl set-ntp true).",
            round(abs(offset) / 60),
            where,
        )


def sign_with(core: AioSession, clock: ServiceClock) -> None:
    """Let all clients of a session, those of STS too, sign with the time of a clock, and teach it."""
    AUTH_TYPE_MAPS[_SIGNER] = _ServiceTimeSigner

    def choose(signature_version: object, context: dict[str, Any], **_: object) -> str | None:
        if signature_version != "v4":
            return None
        context[_CONTEXT] = clock
        return _SIGNER

    def seen(parsed_response: dict[str, Any] | None, **_: object) -> None:
        if parsed_response is not None and parsed_response.get("Error", {}).get("Code") in _CODES:
            clock.learn(parsed_response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))

    core.register("choose-signer", choose)
    core.register("response-received", seen)


class _ServiceTimeSigner(SigV4Auth):
    """Signs with the service's time. The SDK's class has this machine's time in the request by then."""

    def canonical_request(self, request: AWSRequest) -> str:
        """As in the SDK, which calls it right after it has set the time."""
        stamp = request.context[_CONTEXT].as_datetime().strftime(SIGV4_TIMESTAMP)
        request.context["timestamp"] = stamp
        del request.headers["X-Amz-Date"]
        request.headers["X-Amz-Date"] = stamp
        return str(super().canonical_request(request))
