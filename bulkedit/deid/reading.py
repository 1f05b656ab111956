"""Metadata documents from the data store: within the quota, several at once, none held longer than its turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bulkedit._concurrency import for_each
from bulkedit.client.pacing import FAULT
from bulkedit.client.parsing import systemic_error
from bulkedit.client.responses import Metadata, Refusal, Refused
from bulkedit.errors import AccessError, BulkeditError, DatastoreError, EndpointError
from bulkedit.inventory import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Pacer
    from bulkedit.client.responses import Lost

WORKERS: Final = 16  # reads under way at once: at 50/s enough for answers that take a third of a second
_ATTEMPTS: Final = 10  # of one read that meets faults; throttles do not count


@dataclass(slots=True)
class Reads:
    """What has been asked so far."""

    documents: int = 0
    throttled: int = 0
    faults: int = 0
    gone: int = 0  # image sets that are there no more


async def read_all(
    client: Client,
    image_set_ids: Sequence[str],
    take: Callable[[str, dict[str, Any]], None],
    *,
    pacer: Pacer,
    clock: Clock | None = None,
    reads: Reads | None = None,
) -> None:
    """Read the latest metadata of image sets and give each document to ``take``, in no particular order.

    ``take`` is called on the caller's loop, one document at a time; at most `WORKERS` documents are held. A throttled
    read is repeated for as long as it takes, a lost one `_ATTEMPTS` times, and so is one of an image set whose metadata
    is not ready yet (409). An image set that is there no more is counted and passed over. Raises what no read can get
    past (CredentialsError, AccessError, EndpointError), and what ``take`` raises.
    """
    reader = _Reader(client, pacer, clock or Clock(), reads or Reads())

    async def read(image_set_id: str) -> None:
        document = await reader.read(image_set_id)
        if document is not None:
            take(image_set_id, document)

    await for_each(read, image_set_ids, at_once=WORKERS)
    if reader.reads.gone and reader.reads.gone == len(image_set_ids):
        raise DatastoreError(
            "none of the image sets exists in the data store.",
            likely="The data store is another one, or in another region.",
        )


class _Reader:
    """Sends reads within the quota and counts them."""

    def __init__(self, client: Client, pacer: Pacer, clock: Clock, reads: Reads) -> None:
        self._client = client
        self._pacer = pacer
        self._clock = clock
        self.reads = reads

    async def read(self, image_set_id: str) -> dict[str, Any] | None:
        """One document; None where the image set is gone."""
        attempt = 0
        while True:
            sent = await self._turn()
            answer = await self._client.get_metadata(image_set_id)
            if isinstance(answer, Refused) and answer.throttled:
                self.reads.throttled += 1
                self._pacer.throttled(self._clock.monotonic(), sent, answer.retry_after_s)
                continue
            self._pacer.answered(self._clock.monotonic(), sent)
            if isinstance(answer, Metadata):
                self.reads.documents += 1
                return answer.document
            if isinstance(answer, Refused) and answer.kind in {Refusal.NOT_FOUND, Refusal.INVALID}:
                self.reads.gone += 1
                return None
            self.reads.faults += 1
            attempt += 1
            if (error := _hopeless(answer, attempt)) is not None:
                raise error
            await self._clock.sleep(FAULT.wait(attempt, self._pacer.rng))

    async def _turn(self) -> float:
        """Wait until the quota lets a read go out."""
        while (seconds := self._pacer.wait(self._clock.monotonic())) > 0:
            await self._clock.sleep(seconds)
        sent = self._clock.monotonic()
        self._pacer.take(sent)
        return sent


def _hopeless(answer: Refused | Lost, attempt: int) -> BulkeditError | None:
    """The error where another attempt cannot help."""
    if isinstance(answer, Refused):
        denied = AccessError(
            f"AWS does not let these credentials read metadata ({answer.code}).",
            likely="The role lacks medical-imaging:GetImageSetMetadata, or the data store is another account's.",
        )
        error = systemic_error(answer, denied=denied, profile_option="--aws-profile")
        if error is not None:
            return error
    if attempt < _ATTEMPTS:
        return None
    cause = answer.code if isinstance(answer, Refused) else answer.cause
    return EndpointError(f"the service does not answer reads of metadata ({cause}, {attempt} times in a row).")
