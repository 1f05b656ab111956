"""One search at a time: paced, repeated where that can help, and turned into the right error where it cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio

from bulkedit.client.pacing import FAULT
from bulkedit.client.parsing import systemic_error
from bulkedit.client.responses import Lost, Page, Refusal, Refused
from bulkedit.errors import AccessError, BulkeditError, DatastoreError, EndpointError
from bulkedit.inventory.frame import row_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Pacing
    from bulkedit.inventory.frame import Row

PAGE: Final = 50  # the most that SearchImageSets answers at once
ATTEMPTS: Final = 10  # of one search that meets faults, about two minutes; throttles do not count


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from, and how to wait."""

    monotonic: Callable[[], float] = anyio.current_time
    epoch: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


@dataclass(slots=True)
class Tally:
    """What has been asked and found so far."""

    searches: int = 0  # requests sent
    pages: int = 0  # answered
    image_sets: int = 0
    throttled: int = 0
    faults: int = 0  # lost or unreadable answers
    reached: int | None = None  # microseconds: paging has come to image sets of this time of creation


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search, read."""

    rows: list[Row]
    next_token: str | None


class Searcher:
    """Sends searches within the quota, any number at once, and counts them in ``tally``."""

    def __init__(self, client: Client, pacer: Pacing, clock: Clock, tally: Tally) -> None:
        self._client = client
        self._pacer = pacer
        self._clock = clock
        self.tally = tally

    async def page(self, criteria: dict[str, Any], token: str | None = None) -> Found | Refused:
        """One page. `Refused` is of the kind INVALID: the service does not take the criteria, or no longer the token.

        A throttled search is repeated for as long as it takes, a lost answer `ATTEMPTS` times. Raises
        CredentialsError, AccessError and DatastoreError where no search can succeed, EndpointError where none is
        answered. No text carries what was searched for.
        """
        attempt = 0
        while True:
            sent = await self._turn()
            answer = _read(await self._client.search(criteria, limit=PAGE, next_token=token))
            if isinstance(answer, Refused) and answer.throttled:
                self.tally.throttled += 1
                self._pacer.throttled(self._clock.monotonic(), sent, answer.retry_after_s)
                continue
            self._pacer.answered(self._clock.monotonic(), sent)
            if isinstance(answer, Found):
                self.tally.pages += 1
                return answer
            if isinstance(answer, Refused) and answer.kind is Refusal.INVALID:
                return answer
            self.tally.faults += 1
            attempt += 1
            if (error := _hopeless(answer, attempt)) is not None:
                raise error
            await self._clock.sleep(FAULT.wait(attempt, self._pacer.rng))

    async def _turn(self) -> float:
        """Wait until the quota lets a search go out, count it, and answer the time."""
        while (seconds := self._pacer.wait(self._clock.monotonic())) > 0:
            await self._clock.sleep(seconds)
        now = self._clock.monotonic()
        self._pacer.take(now)
        self.tally.searches += 1
        return now


def _read(answer: Page | Refused | Lost) -> Found | Refused | Lost:
    """An answer with its items as rows; one whose items cannot be read does not tell."""
    if not isinstance(answer, Page):
        return answer
    try:
        return Found([row_of(item) for item in answer.items], answer.next_token)
    except (ValueError, AttributeError):
        return Lost("unreadable answer")


def _hopeless(answer: Refused | Lost, attempt: int) -> BulkeditError | None:
    """The error where another attempt cannot help."""
    if isinstance(answer, Refused) and (error := _systemic(answer)) is not None:
        return error
    if attempt < ATTEMPTS:
        return None
    if isinstance(answer, Refused):
        return EndpointError(f"the service refuses searches ({answer.code}, {attempt} times in a row).")
    return EndpointError(
        f"the service does not answer searches ({answer.cause}, {attempt} times in a row).",
        likely="The network is down, or --endpoint-url or --region is wrong.",
    )


def _systemic(refused: Refused) -> BulkeditError | None:
    """The error for an answer that no search can get past."""
    denied = AccessError(
        f"AWS does not let these credentials search the data store ({refused.code}).",
        likely="The role lacks medical-imaging:SearchImageSets, or the data store is another account's.",
    )
    if (error := systemic_error(refused, denied=denied)) is not None:
        return error
    if refused.kind is Refusal.NOT_FOUND:
        return DatastoreError(
            f"the data store does not exist in this account and region ({refused.code}).",
            likely="The id is mistyped, or the data store is in another region.",
            hint="List those that exist: aws medical-imaging list-datastores",
        )
    return None


def refused_search(refused: Refused) -> BulkeditError:
    """The error where the service calls every search invalid."""
    return DatastoreError(
        f"the service does not accept the search ({refused.code}).",
        likely="--datastore is not the id of a data store, or the endpoint is not AWS HealthImaging.",
    )
