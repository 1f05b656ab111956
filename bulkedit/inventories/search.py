"""Sends one search, and returns its page as rows of an inventory, or raises the right error."""

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

PAGE: Final = 50  # the maximum page size of SearchImageSets


@dataclass(slots=True)
class SearchCounters:
    """Counts of requests and results so far."""

    reads: Reads = field(default_factory=Reads)  # of the reader
    pages: int = 0
    image_sets: int = 0
    reached: int | None = None  # microseconds since 1970: the latest time of creation so far


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of a search."""

    rows: list[Row]
    next_token: str | None


class Searcher:
    """Sends searches through a reader, concurrently if needed, and counts pages in ``counters``."""

    def __init__(self, reader: Reader, counters: SearchCounters) -> None:
        self.reader = reader
        self.counters = counters

    async def page(self, criteria: Criteria, token: str | None = None) -> SearchPage | Refused:
        """Read one page. Returns `Refused` of kind INVALID if the service refuses the criteria or the token.

        Raises DatastoreError if the data store does not exist, EndpointError for any other refusal, and the errors of
        `Reader`. No error text contains the search value.
        """
        answer = await self.reader.search(criteria, _found, limit=PAGE, token=token)
        if isinstance(answer, SearchPage):
            self.counters.pages += 1
        elif answer.kind is not Refusal.INVALID:
            raise _refused(answer)
        return answer


def _found(page: Page) -> SearchPage:
    return SearchPage([row_of(item) for item in page.items], page.next_token)


def _refused(refused: Refused) -> BulkeditError:
    """Return the error for a refusal of another kind than INVALID."""
    if refused.kind is Refusal.NOT_FOUND:
        return DatastoreError(
            f"the data store does not exist in this account and region ({refused.code}).",
            likely="The id is mistyped, or the data store is in another region.",
            hint="List the data stores: aws medical-imaging list-datastores",
        )
    times = f", {ATTEMPTS} times in a row" if refused.kind is Refusal.CONFLICT else ""
    return EndpointError(f"the service refuses searches ({refused.code}{times}).")


def refused_search(refused: Refused) -> BulkeditError:
    """Return the error for a service that refuses every search as invalid."""
    return DatastoreError(
        f"the service does not accept the search ({refused.code}).",
        likely="`datastore_id` is not the id of a data store, or the endpoint is not AWS HealthImaging.",
    )
