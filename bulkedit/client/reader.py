"""The reader: every read of the service outside a run's lanes, paced, repeated while that can help, never an update.

Two rules, each one tenacity policy round the one below it:

*   A request that a quota turns away (429, 402) is sent again for as long as it takes, when its pacer lets it go.
*   A read that meets a fault (a lost answer, 409) is tried `ATTEMPTS` times, with the waits of `FAULT`.

Any other refusal would be given again, so it is returned at once, or raised if no read of its kind can succeed.
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
from bulkedit.client.parsing import image_set_of, not_reached, systemic_error, understood
from bulkedit.client.responses import ImageSet, ImageSetState, Lost, Metadata, Refusal, Refused
from bulkedit.errors import AccessError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from bulkedit._json import JsonObject
    from bulkedit.client.contract import Client, Criteria
    from bulkedit.client.pacing import Auto, Backoff, Pacing, Rate
    from bulkedit.client.responses import Page

_T = TypeVar("_T")

ATTEMPTS: Final = 10  # of one read that meets faults, about two minutes; throttles do not count
ACTIONS: Final = {
    Operation.GET: "GetImageSet",
    Operation.METADATA: "GetImageSetMetadata",
    Operation.VERSIONS: "ListImageSetVersions",
    Operation.SEARCH: "SearchImageSets",
}


def read_paces(text: str) -> dict[Operation, Rate | Auto]:
    """How fast each read goes, as ``--read-rate`` says it. Raises UsageError."""
    return {operation: parse_read_pace(text, operation) for operation in DOCUMENTED if operation not in WRITES}


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from, and how to wait. Seconds."""

    monotonic: Callable[[], float] = anyio.current_time
    epoch: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


@dataclass(slots=True)
class Reads:
    """What has been asked."""

    requests: int = 0
    throttled: int = 0
    faults: int = 0  # lost or unreadable answers, and what was not ready yet


class Reader:
    """Reads within the quotas, any number at once.

    Each method returns what was asked for, or `Refused` if the service does not tell (no such image set or version,
    access denied, metadata that is not ready after all attempts, criteria that it does not accept). Raises
    CredentialsError or UntrustedServerError if no read can succeed, AccessError if several image sets in a row are
    denied, or any search or list of versions, EndpointError if no attempt is answered.
    """

    def __init__(
        self,
        client: Client,
        rates: Mapping[Operation, Rate | Auto],
        rng: random.Random,
        clock: Clock | None = None,
    ) -> None:
        """``rates``: of each operation that is read."""
        self._client = client
        self._rng = rng
        self.clock = clock or Clock()
        self.reads = Reads()
        self._operations = {
            operation: _ReadOperation(operation, pacer(rate, rng), self.reads, self.clock)
            for operation, rate in rates.items()
        }

    async def image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused:
        """GetImageSet: no access in the sense of storage tiers."""
        return await self._operations[Operation.GET].ask(
            lambda: self._client.get_image_set(image_set_id, version), image_set_id
        )

    async def completed(self, image_set_id: str) -> ImageSet | Refused:
        """GetImageSet, up to `ATTEMPTS` times while the image set is locked; LOCKED if it stays so."""
        return await _repeated(
            lambda: self.image_set(image_set_id), _is_locked, POLL, attempts=ATTEMPTS, clock=self.clock, rng=self._rng
        )

    async def metadata(self, image_set_id: str, version: int | None = None) -> JsonObject | Refused:
        """GetImageSetMetadata, the document. An access: an archived image set moves to the frequent tier."""
        found = await self._operations[Operation.METADATA].ask(
            lambda: self._client.get_metadata(image_set_id, version), image_set_id
        )
        return found.document if isinstance(found, Metadata) else found

    async def versions(self, image_set_id: str, since: int = 1) -> list[ImageSet] | Refused:
        """ListImageSetVersions, newest first, as many pages as it takes to come to version ``since``."""
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
            return understood(await self._client.list_versions(image_set_id, next_token=token), _versions_of)

        # without a list of versions nothing is known, so a denial is not set aside for the image set
        return await self._operations[Operation.VERSIONS].ask(send)

    async def search(
        self, criteria: Criteria, record: Callable[[Page], _T], *, limit: int, token: str | None = None
    ) -> _T | Refused:
        """SearchImageSets, one page of ``limit`` image sets at most, as ``record`` makes it.

        A page for which ``record`` raises `bulkedit.client.parsing.WRONG_SHAPE` is an unreadable answer: asked again.
        """

        async def send() -> _T | Refused | Lost:
            return understood(await self._client.search(criteria, limit=limit, next_token=token), record)

        return await self._operations[Operation.SEARCH].ask(send)


class _ReadOperation:
    """One operation of the service, read within its quota."""

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
        """What ``send`` is answered. ``image_set_id``: the image set that a denial may be about alone.

        Raises as `Reader` does.
        """
        answer = await _repeated(
            partial(self._unthrottled, send),
            _is_fault,
            FAULT,
            attempts=ATTEMPTS,
            clock=self._clock,
            rng=self._pacing.rng,
        )
        if isinstance(answer, Lost):
            raise not_reached(
                f"the service does not answer {self._action} ({answer.cause}, {ATTEMPTS} times in a row)."
            )
        if isinstance(answer, Refused):
            self._require_hope(answer, image_set_id)
        else:
            self._allowed = True
            self._denied.clear()
        return answer

    async def _unthrottled(self, send: Callable[[], Awaitable[_T | Refused | Lost]]) -> _T | Refused | Lost:
        """The first answer that is no throttle."""
        return await _repeated(
            partial(self._once, send), _is_throttled, None, attempts=None, clock=self._clock, rng=self._pacing.rng
        )

    async def _once(self, send: Callable[[], Awaitable[_T | Refused | Lost]]) -> _T | Refused | Lost:
        """Send one request when the pacer lets it go, and tell the pacer what came of it."""
        while (seconds := self._pacing.wait(self._clock.monotonic())) > 0:
            await self._clock.sleep(seconds)
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

    def _require_hope(self, refused: Refused, image_set_id: str | None) -> None:
        """Raises CredentialsError, AccessError or UntrustedServerError if no read of this kind can succeed."""
        if refused.kind is Refusal.ACCESS_DENIED and image_set_id is not None:
            self._denied.add(image_set_id)
            if not all_denied(len(self._denied), allowed_before=self._allowed):
                return
        denied = AccessError(
            f"AWS denied access ({refused.code}).",
            likely=f"The role lacks medical-imaging:{self._action}, or the data store is another account's.",
        )
        if (error := systemic_error(refused, denied=denied)) is not None:
            raise error


async def _repeated(
    read: Callable[[], Awaitable[_T]],
    again: Callable[[_T], bool],
    waits: Backoff | None,
    *,
    attempts: int | None,
    clock: Clock,
    rng: random.Random,
) -> _T:
    """The first answer that is not to be asked for ``again``, or the last of ``attempts`` (None: without end).

    ``waits``: between two attempts; None if ``read`` itself waits for its turn.
    """
    policy = tenacity.AsyncRetrying(  # one for each call: its state is not for several at once
        stop=tenacity.stop_never if attempts is None else tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_none() if waits is None else lambda state: waits.wait(state.attempt_number, rng),
        retry=tenacity.retry_if_result(again),
        sleep=clock.sleep,
        retry_error_callback=_last_answer,
    )

    async def attempt() -> _T:  # tenacity awaits the answer of coroutine functions only
        return await read()

    return await policy(attempt)


def _last_answer(state: tenacity.RetryCallState) -> Any:  # noqa: ANN401 - tenacity's
    assert state.outcome is not None  # noqa: S101 - there was an attempt
    return state.outcome.result()


def _versions_of(page: Page) -> tuple[list[ImageSet], str | None]:
    return [image_set_of(item) for item in page.items], page.next_token


def _is_throttled(answer: object) -> bool:
    return isinstance(answer, Refused) and answer.throttled


def _is_fault(answer: object) -> bool:
    """Whether the same request may be answered otherwise in a moment."""
    return isinstance(answer, Lost) or (isinstance(answer, Refused) and answer.kind is Refusal.CONFLICT)


def _is_locked(answer: ImageSet | Refused) -> bool:
    return isinstance(answer, ImageSet) and answer.state is ImageSetState.LOCKED
