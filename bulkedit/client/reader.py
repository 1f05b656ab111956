"""Reads of image sets: one at a time or side by side, each paced, repeated where that can help, and never an update.

A `Reader` is what looks at a store beside a run: before a revert is planned, and when a run is verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from bulkedit.client.pacing import DOCUMENTED, FAULT, LOOK, WRITES, Operation, pacer, parse_read_pace
from bulkedit.client.parsing import image_set_of, systemic_error
from bulkedit.client.responses import ImageSet, Lost, Metadata, Page, Refusal, Refused
from bulkedit.errors import AccessError, EndpointError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Auto, Rate

_T = TypeVar("_T", ImageSet, Metadata, Page)

ATTEMPTS: Final = 10  # of one read that meets faults, about two minutes; throttles do not count
# in a row, of different image sets, and the role lacks the permission; of an image set or two it is their policy
_SEVERAL_DENIED: Final = 5
_NAMES: Final = {
    Operation.GET: "GetImageSet",
    Operation.METADATA: "GetImageSetMetadata",
    Operation.VERSIONS: "ListImageSetVersions",
}


def read_paces(text: str) -> dict[Operation, Rate | Auto]:
    """How fast each read goes, as ``--read-rate`` says it. Raises UsageError."""
    return {operation: parse_read_pace(text, operation) for operation in DOCUMENTED if operation not in WRITES}


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from, and how to wait."""

    monotonic: Callable[[], float] = anyio.current_time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


@dataclass(slots=True)
class Reads:
    """What has been asked."""

    requests: int = 0
    throttled: int = 0
    faults: int = 0  # lost answers, and metadata that was not ready yet


class Reader:
    """Reads within the quotas, any number at once.

    Each method returns what was asked for, or `Refused` if the service does not tell (no such image set or version,
    access denied, metadata that is not ready after all attempts). Raises CredentialsError if no read can succeed,
    AccessError if several image sets in a row are denied, or any list of versions, EndpointError if none is answered.
    """

    def __init__(
        self,
        client: Client,
        rates: Mapping[Operation, Rate | Auto],
        rng: random.Random,
        clock: Clock | None = None,
        *,
        profile_option: str = "--profile",
    ) -> None:
        """``profile_option``: the command's option for the AWS profile, which an error names."""
        self._client = client
        self._profile_option = profile_option
        self._pacers = {operation: pacer(rate, rng) for operation, rate in rates.items()}
        self._rng = rng
        self._clock = clock or Clock()
        self._denied: dict[Operation, set[str]] = {Operation.GET: set(), Operation.METADATA: set()}  # image sets
        self.reads = Reads()

    async def image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused:
        """GetImageSet: no access in the sense of storage tiers."""
        return await self._ask(Operation.GET, image_set_id, lambda: self._client.get_image_set(image_set_id, version))

    async def settled(self, image_set_id: str) -> ImageSet | Refused:
        """GetImageSet, once more where the image set is locked; LOCKED where it stays so."""
        for attempt in range(1, ATTEMPTS + 1):
            found = await self.image_set(image_set_id)
            if isinstance(found, Refused) or found.state != "LOCKED":
                return found
            await self._clock.sleep(LOOK.wait(attempt, self._rng))
        return found

    async def metadata(self, image_set_id: str, version: int) -> dict[str, Any] | Refused:
        """GetImageSetMetadata, the document. An access: an archived image set moves to the frequent tier."""
        found = await self._ask(
            Operation.METADATA, image_set_id, lambda: self._client.get_metadata(image_set_id, version)
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
            found += [image_set_of(item) for item in page.items]
            token = page.next_token
            if token is None or not page.items or found[-1].version <= since:
                return found

    async def _versions(self, image_set_id: str, token: str | None) -> Page | Refused:
        return await self._ask(
            Operation.VERSIONS, image_set_id, lambda: self._client.list_versions(image_set_id, next_token=token)
        )

    async def _ask(
        self, operation: Operation, image_set_id: str, send: Callable[[], Awaitable[_T | Refused | Lost]]
    ) -> _T | Refused:
        paced, attempt = self._pacers[operation], 0
        while True:
            while (seconds := paced.wait(self._clock.monotonic())) > 0:
                await self._clock.sleep(seconds)
            sent = self._clock.monotonic()
            paced.take(sent)
            self.reads.requests += 1
            answer = await send()
            if isinstance(answer, Refused) and answer.throttled:
                self.reads.throttled += 1
                paced.throttled(self._clock.monotonic(), sent, answer.retry_after_s)
                continue
            paced.answered(self._clock.monotonic(), sent)
            if isinstance(answer, Refused):
                self._require_hope(operation, image_set_id, answer)
                if answer.kind is not Refusal.CONFLICT:
                    return answer
            elif not isinstance(answer, Lost):
                self._denied.get(operation, set()).clear()
                return answer
            self.reads.faults += 1
            attempt += 1
            if attempt >= ATTEMPTS:
                if isinstance(answer, Refused):
                    return answer
                raise EndpointError(
                    f"the service does not answer {_NAMES[operation]} ({answer.cause}, {attempt} times in a row).",
                    likely="The network is down, or --endpoint-url or --region is wrong.",
                )
            await self._clock.sleep(FAULT.wait(attempt, self._rng))

    def _require_hope(self, operation: Operation, image_set_id: str, refused: Refused) -> None:
        """Raises CredentialsError, AccessError or UntrustedServerError if no read of this kind can succeed."""
        if self._is_denied_alone(operation, image_set_id, refused):
            return
        denied = _denied(operation, refused)
        if (error := systemic_error(refused, denied=denied, profile_option=self._profile_option)) is not None:
            raise error

    def _is_denied_alone(self, operation: Operation, image_set_id: str, refused: Refused) -> bool:
        """Whether only this image set is denied, as far as can be told; without a list of versions nothing is known."""
        if refused.kind is not Refusal.ACCESS_DENIED or operation not in self._denied:
            return False
        self._denied[operation].add(image_set_id)
        return len(self._denied[operation]) < _SEVERAL_DENIED


def _denied(operation: Operation, refused: Refused) -> AccessError:
    return AccessError(
        f"AWS denied access ({refused.code}).", likely=f"The role lacks medical-imaging:{_NAMES[operation]}."
    )
