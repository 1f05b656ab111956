"""The reader: paced and retried reads. Everything but a run's lanes reads the service through it.

It has two tenacity policies; the second wraps the first:

*   A throttled request (429, 402) is retried without limit, whenever its pacer allows.
*   A read that meets a fault (a lost response, 409) is tried `ATTEMPTS` times, with the waits of `FAULT`.

Any other refusal would come again, so it is returned at once, or raised if no read of its kind can succeed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import tenacity

from bulkedit.client.denials import all_denied
from bulkedit.client.pacing import DOCUMENTED, FAULT, POLL, WRITES, Operation, pacer, parse_read_pace
from bulkedit.client.parsing import image_set_of, parsed, systemic_error
from bulkedit.client.responses import ImageSet, ImageSetState, Lost, Metadata, Refusal, Refused
from bulkedit.client.unreached import not_reached
from bulkedit.errors import AccessError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from bulkedit._json import JsonObject
    from bulkedit.client.contract import Client, Criteria
    from bulkedit.client.pacing import Auto, Backoff, Pacing, Rate
    from bulkedit.client.responses import Page

_T = TypeVar("_T")

ATTEMPTS: Final = 10  # of one read that meets faults: about two minutes; throttles do not count
ACTIONS: Final = {
    Operation.GET: "GetImageSet",
    Operation.METADATA: "GetImageSetMetadata",
    Operation.VERSIONS: "ListImageSetVersions",
    Operation.SEARCH: "SearchImageSets",
}


def read_paces(text: str) -> dict[Operation, Rate | Auto]:
    """Parse ``--read-rate``: the rate of each read operation. Raises UsageError."""
    return {operation: parse_read_pace(text, operation) for operation in DOCUMENTED if operation not in WRITES}


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock and the sleep function, in seconds."""

    monotonic: Callable[[], float] = anyio.current_time
    epoch: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


@dataclass(slots=True)
class Reads:
    """Counters of a reader."""

    requests: int = 0
    throttled: int = 0
    faults: int = 0  # lost or unreadable responses, and 409
    waits: int = 0  # requests that waited for their quota


class Reader:
    """Reads within the quotas; methods may run concurrently.

    Each method returns a record, or `Refused` if the service refuses the request: image set or version not found,
    access denied, metadata not ready after all attempts, invalid criteria. Raises CredentialsError or
    UntrustedServerError if no read can succeed, AccessError if access is denied to several image sets in a row, to a
    search or to a list of versions, and EndpointError if no attempt gets a response.
    """

    def __init__(
        self,
        client: Client,
        rates: Mapping[Operation, Rate | Auto],
        rng: random.Random,
        clock: Clock | None = None,
    ) -> None:
        """``rates``: the rate of each operation that will be read."""
        self._client = client
        self._rng = rng
        self.clock = clock or Clock()
        self.reads = Reads()
        self._operations = {
            operation: _ReadOperation(operation, pacer(rate, rng), self.reads, self.clock)
            for operation, rate in rates.items()
        }

    async def image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused:
        """GetImageSet. An archived image set stays archived."""
        return await self._operations[Operation.GET].ask(
            lambda: self._client.get_image_set(image_set_id, version), image_set_id
        )

    async def completed(self, image_set_id: str) -> ImageSet | Refused:
        """GetImageSet, up to `ATTEMPTS` times while the image set is locked. It may still be locked at the end."""
        return await _retried(
            lambda: self.image_set(image_set_id), _is_locked, POLL, attempts=ATTEMPTS, clock=self.clock, rng=self._rng
        )

    async def metadata(self, image_set_id: str, version: int | None = None) -> JsonObject | Refused:
        """GetImageSetMetadata: the document. An archived image set moves to the frequent tier."""
        found = await self._operations[Operation.METADATA].ask(
            lambda: self._client.get_metadata(image_set_id, version), image_set_id
        )
        return found.document if isinstance(found, Metadata) else found

    async def versions(self, image_set_id: str, since: int = 1) -> list[ImageSet] | Refused:
        """ListImageSetVersions, newest first. Reads pages until version ``since`` is reached."""
        found: list[ImageSet] = []
        token: str | None = None
        while True:
            page = await self._versions(image_set_id, token)
            if isinstance(page, Refused):
                return page
            listed, token = page
            found += listed
            if token is None or not listed or found[-1].version <= since:
                return found

    async def _versions(self, image_set_id: str, token: str | None) -> tuple[list[ImageSet], str | None] | Refused:
        async def send() -> tuple[list[ImageSet], str | None] | Refused | Lost:
            return parsed(await self._client.list_versions(image_set_id, next_token=token), _versions_of)

        # callers cannot do without the versions, so one denial ends the work: no image_set_id is passed
        return await self._operations[Operation.VERSIONS].ask(send)

    async def search(
        self, criteria: Criteria, record: Callable[[Page], _T], *, limit: int, token: str | None = None
    ) -> _T | Refused:
        """SearchImageSets: one page of at most ``limit`` image sets, as parsed by ``record``.

        If ``record`` raises `bulkedit.client.parsing.WRONG_SHAPE`, the response is unreadable, and the read is retried.
        """

        async def send() -> _T | Refused | Lost:
            return parsed(await self._client.search(criteria, limit=limit, next_token=token), record)

        return await self._operations[Operation.SEARCH].ask(send)


class _ReadOperation:
    """The requests of one read operation, within its quota."""

    def __init__(self, operation: Operation, pacing: Pacing, reads: Reads, clock: Clock) -> None:
        self._action = ACTIONS[operation]
        self._pacing = pacing
        self._reads = reads
        self._clock = clock
        self._denied: set[str] = set()  # image sets in a row
        self._allowed = False

    async def ask(
        self, send: Callable[[], Awaitable[_T | Refused | Lost]], image_set_id: str | None = None
    ) -> _T | Refused:
        """The response to ``send``. ``image_set_id``: given if IAM can deny access to this image set only.

        Raises as `Reader` does.
        """
        answer = await _retried(
            partial(self._unthrottled, send),
            _is_fault,
            FAULT,
            attempts=ATTEMPTS,
            clock=self._clock,
            rng=self._pacing.rng,
        )
        if isinstance(answer, Lost):
            raise not_reached(f"the service does not respond to {self._action}, {ATTEMPTS} times in a row", answer)
        if isinstance(answer, Refused):
            self._raise_if_systemic(answer, image_set_id)
        else:
            self._allowed = True
            self._denied.clear()
        return answer

    async def _unthrottled(self, send: Callable[[], Awaitable[_T | Refused | Lost]]) -> _T | Refused | Lost:
        """The first response that is not a throttle."""
        return await _retried(
            partial(self._once, send), _is_throttled, None, attempts=None, clock=self._clock, rng=self._pacing.rng
        )

    async def _once(self, send: Callable[[], Awaitable[_T | Refused | Lost]]) -> _T | Refused | Lost:
        """Send one request when the pacer allows, and report the result to the pacer."""
        waited = False
        while (seconds := self._pacing.wait(self._clock.monotonic())) > 0:
            waited = True
            await self._clock.sleep(seconds)
        self._reads.waits += waited
        sent = self._clock.monotonic()
        self._pacing.take(sent)
        self._reads.requests += 1
        answer = await send()
        now = self._clock.monotonic()
        if isinstance(answer, Refused) and answer.throttled:
            self._reads.throttled += 1
            self._pacing.throttled(now, sent, answer.retry_after_s)
        else:
            self._pacing.answered(now, sent)
            self._reads.faults += _is_fault(answer)
        return answer

    def _raise_if_systemic(self, refused: Refused, image_set_id: str | None) -> None:
        """Raises CredentialsError, AccessError or UntrustedServerError if no read of this kind can succeed."""
        if refused.kind is Refusal.ACCESS_DENIED and image_set_id is not None:
            self._denied.add(image_set_id)
            if not all_denied(len(self._denied), allowed_before=self._allowed):
                return
        denied = AccessError(
            f"AWS denied access ({refused.code}).",
            likely=f"The role lacks medical-imaging:{self._action}, or the data store belongs to another account.",
        )
        if (error := systemic_error(refused, denied=denied)) is not None:
            raise error


async def _retried(
    read: Callable[[], Awaitable[_T]],
    again: Callable[[_T], bool],
    waits: Backoff | None,
    *,
    attempts: int | None,
    clock: Clock,
    rng: random.Random,
) -> _T:
    """Retry ``read`` while ``again`` is true of its result, at most ``attempts`` times (None: no limit).

    Returns the last result. ``waits``: the waits between attempts; None if ``read`` itself waits.
    """
    policy = tenacity.AsyncRetrying(  # one per call, because it has state
        stop=tenacity.stop_never if attempts is None else tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_none() if waits is None else lambda state: waits.wait(state.attempt_number, rng),
        retry=tenacity.retry_if_result(again),
        sleep=clock.sleep,
        retry_error_callback=_last_answer,
    )

    async def attempt() -> _T:  # tenacity awaits coroutine functions only
        return await read()

    return await policy(attempt)


def _last_answer(state: tenacity.RetryCallState) -> Any:  # noqa: ANN401 - tenacity's
    assert state.outcome is not None  # noqa: S101 - tenacity calls this after an attempt
    return state.outcome.result()


def _versions_of(page: Page) -> tuple[list[ImageSet], str | None]:
    return [image_set_of(item) for item in page.items], page.next_token


def _is_throttled(answer: object) -> bool:
    return isinstance(answer, Refused) and answer.throttled


def _is_fault(answer: object) -> bool:
    """Whether a retry in a moment may succeed."""
    return isinstance(answer, Lost) or (isinstance(answer, Refused) and answer.kind is Refusal.CONFLICT)


def _is_locked(answer: ImageSet | Refused) -> bool:
    return isinstance(answer, ImageSet) and answer.state is ImageSetState.LOCKED
