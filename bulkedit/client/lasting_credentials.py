"""Credentials that the SDK renews, and that last as long as they are valid.

botocore fails every request from ten minutes before the end of credentials, if new ones are refused, although the old
ones are still good, and asks for new ones with each request. Here the old ones are used to their end, and new ones are
asked for with growing pauses.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from bulkedit._log import utc
from bulkedit.client.credential_faults import error_code_of
from bulkedit.client.pacing import FAULT

if TYPE_CHECKING:
    import random
    from datetime import datetime

    from bulkedit.client.service_clock import ServiceClock

_LOG: Final = logging.getLogger("bulkedit")
_RENEW_S: Final = 900.0  # before their end new ones are asked for, as botocore does
_MARGIN_S: Final = 10.0  # before their end they count as ended, because a request takes time
_AT_MOST_S: Final = 60.0  # between two successful renewals, for credentials that are short-lived from the start
# what the SDK raises when it reads the user's files, runs a program, or asks STS, SSO or an endpoint of the machine
CREDENTIAL_FAULTS: Final = (
    boto.BotoCoreError,
    boto.ClientError,
    ResponseParserError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,  # "refreshed credentials are still expired"
    TypeError,
    ValueError,
)


class FrozenCredentials(Protocol):
    """Credentials of one moment."""

    access_key: str
    secret_key: str
    token: str | None


class SdkCredentials(Protocol):
    """The SDK's credentials, which it renews if they have an end."""

    method: str

    async def get_frozen_credentials(self) -> FrozenCredentials:
        """The credentials that are valid now."""


class LastingCredentials:
    """Credentials as the SDK's signer uses them. One task at a time asks for new ones."""

    def __init__(self, source: SdkCredentials, clock: ServiceClock, rng: random.Random) -> None:
        """``clock``: the service's, which decides when credentials end."""
        self.source = source
        self._clock = clock
        self._rng = rng
        self._kept: FrozenCredentials | None = None
        self._error: Exception | None = None
        self._failures = 0
        self._again_at = -math.inf  # on the clock
        self._renewing = anyio.Lock()
        self._awaited_since: float | None = None  # on the clock; requests wait for new ones
        if hasattr(source, "_time_fetcher"):
            source._time_fetcher = clock.as_datetime  # noqa: SLF001 - no public API

    async def get_frozen_credentials(self) -> FrozenCredentials:
        """The credentials to sign with. Raises one of `CREDENTIAL_FAULTS` if there are none that are valid."""
        if self._kept is not None and not self._are_lost() and (not self._is_due() or self._renewing.locked()):
            return self._kept
        async with self._renewing:
            if self._kept is None or self._is_due():
                self._awaited_since = self._clock.now()
                try:
                    await self._renew()
                finally:
                    self._awaited_since = None
            if self._kept is None or self._are_lost():
                raise self._error or RuntimeError
            return self._kept

    def awaited_s(self) -> float:
        """Seconds for which requests have waited for new credentials; 0 if they use others meanwhile."""
        if self._awaited_since is None or (self._kept is not None and not self._are_lost()):
            return 0.0
        return max(0.0, self._clock.now() - self._awaited_since)

    def _are_lost(self) -> bool:
        """Whether the present ones have ended, and there are no new ones."""
        return self._error is not None and self._has_ended()

    async def _renew(self) -> None:
        offset = self._clock.offset_s
        try:
            try:
                found = await self.source.get_frozen_credentials()
            except CREDENTIAL_FAULTS:
                if offset == self._clock.offset_s:
                    raise
                found = await self.source.get_frozen_credentials()  # the clock was wrong, and is corrected
        except CREDENTIAL_FAULTS as error:
            self._failed(error)
            return
        if found is self._kept and self._remaining_s() < _RENEW_S:
            self._failed(None)  # botocore has met an error, and has kept the old ones itself
            return
        self._kept, self._error, self._failures = found, None, 0
        self._again_at = self._clock.now() + _AT_MOST_S

    def _failed(self, error: Exception | None) -> None:
        self._failures += 1
        self._error = error or self._error
        self._again_at = self._clock.now() + FAULT.wait(self._failures, self._rng)
        if self._kept is not None and self._failures == 1 and not self._has_ended():
            code = "" if error is None else f" ({error_code_of(error)})"
            _LOG.warning(
                "New credentials could not be obtained%s. The present ones are valid until %s; new ones are requested "
                "again.",
                code,
                utc(self._clock.now() + self._remaining_s()),
            )

    def _is_due(self) -> bool:
        return self._remaining_s() < _RENEW_S and (self._clock.now() >= self._again_at)

    def _has_ended(self) -> bool:
        return self._remaining_s() < _MARGIN_S

    def _remaining_s(self) -> float:
        """Seconds until the credentials end; infinite if they do not."""
        end: datetime | None = getattr(self.source, "_expiry_time", None)
        return math.inf if end is None else end.timestamp() - self._clock.now()
