"""One search at a time: its page as rows of an inventory, and the right error if the service refuses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.reader import ATTEMPTS, Reads
from bulkedit.client.responses import Refusal, Refused
from bulkedit.errors import DatastoreError, EndpointError
from bulkedit.inventories.frame import row_of

if TYPE_CHECKING:
    from bulkedit.client.contract import Criteria
    from bulkedit.client.reader import Reader
    from bulkedit.client.responses import Page
    from bulkedit.errors import BulkeditError
    from bulkedit.inventories.frame import Row

PAGE: Final = 50  # the most that SearchImageSets answers at once


@dataclass(slots=True)
class SearchCounters:
    """What has been asked and found so far."""

    reads: Reads = field(default_factory=Reads)  # those of the reader
    pages: int = 0
    image_sets: int = 0
    reached: int | None = None  # microseconds: paging has come to image sets of this time of creation


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of a search, read."""

    rows: list[Row]
    next_token: str | None


class Searcher:
    """Sends searches through a reader, any number at once, and counts pages in ``counters``."""

    def __init__(self, reader: Reader, counters: SearchCounters) -> None:
        self._reader = reader
        self.counters = counters

    async def page(self, criteria: Criteria, token: str | None = None) -> SearchPage | Refused:
        """One page. `Refused` is of the kind INVALID: the service does not take the criteria, or no longer the token.

        Raises DatastoreError if there is no such data store, EndpointError for any other refusal, and what `Reader`
        raises. No text carries what was searched for.
        """
        answer = await self._reader.search(criteria, _found, limit=PAGE, token=token)
        if isinstance(answer, SearchPage):
            self.counters.pages += 1
        elif answer.kind is not Refusal.INVALID:
            raise _refused(answer)
        return answer


def _found(page: Page) -> SearchPage:
    return SearchPage([row_of(item) for item in page.items], page.next_token)


def _refused(refused: Refused) -> BulkeditError:
    """The error for a refusal that is not of the criteria."""
    if refused.kind is Refusal.NOT_FOUND:
        return DatastoreError(
            f"the data store does not exist in this account and region ({refused.code}).",
            likely="The id is mistyped, or the data store is in another region.",
            hint="List those that exist: aws medical-imaging list-datastores",
        )
    times = f", {ATTEMPTS} times in a row" if refused.kind is Refusal.CONFLICT else ""
    return EndpointError(f"the service refuses searches ({refused.code}{times}).")


def refused_search(refused: Refused) -> BulkeditError:
    """The error where the service calls every search invalid."""
    return DatastoreError(
        f"the service does not accept the search ({refused.code}).",
        likely="`datastore_id` is not the id of a data store, or the endpoint is not AWS HealthImaging.",
    )
