"""The windows of creation time that an inventory reads at once: what they own, and where they are divided.

The service does not say whether a BETWEEN filter includes its limits, and the SDK sends whole seconds. So a window asks
from a second before its begin, and takes only what was created in it: each image set belongs to exactly one window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bulkedit.inventories.frame import CREATED, moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.client.contract import Criteria
    from bulkedit.inventories.frame import Row

SECOND: Final = 1_000_000  # microseconds
LATEST_FIRST: Final[Criteria] = {"sort": {"sortField": "createdAt", "sortOrder": "DESC"}}

_SORT: Final = {"sortField": "createdAt", "sortOrder": "ASC"}  # not updatedAt, which edits change
_FAR_FUTURE: Final = datetime(2100, 1, 1, tzinfo=UTC)  # a BETWEEN filter needs an end
_WORTH_DIVIDING: Final = 4  # pages: a division costs up to one page more


@dataclass(slots=True)
class CreationWindow:
    """Image sets created from ``begin`` to before ``end``, read page by page in the order of creation.

    Times are microseconds since 1970; ``begin`` and ``end`` are whole seconds.
    """

    number: int
    begin: int | None = None  # None: from the first image set
    end: int | None = None  # None: with those that are created meanwhile
    token: str | None = None  # of the next page; None for the first
    last: int | None = None  # the latest time of creation so far
    per_page: int | None = None  # the time that the latest page covered
    changes: bool = False  # of what was updated from ``begin`` on, whenever it was created

    @property
    def criteria(self) -> Criteria:
        """The search criteria that the token belongs to."""
        if self.begin is None:
            return {"sort": _SORT}
        field = "updatedAt" if self.changes else "createdAt"
        values = [{field: moment(self.begin - SECOND)}, {field: _FAR_FUTURE}]
        return {"filters": [{"values": values, "operator": "BETWEEN"}], "sort": _SORT}

    @property
    def reached(self) -> int | None:
        """Everything created in the window before this time has been read."""
        return self.begin if self.last is None else self.last

    @property
    def waits(self) -> bool:
        """Whether it is read last, with what is created meanwhile."""
        return self.end is None and not self.changes

    def owns(self, row: Row) -> bool:
        """Whether an image set was created in the window. One without a time of creation may have been."""
        created = row[CREATED]
        return (
            self.changes
            or created is None
            or ((self.begin or created) <= created and (self.end is None or created < self.end))
        )

    def precedes(self, rows: list[Row]) -> bool:
        """Whether the rows of its next page are not earlier than what has been read, by seconds."""
        first = rows[0][CREATED] if rows else None
        return first is None or self.last is None or first // SECOND >= self.last // SECOND

    def read(self, rows: list[Row], token: str | None) -> None:
        """Record a page of rows in order."""
        times = [created for row in rows if (created := row[CREATED]) is not None]
        if times:
            self.per_page = max(times) - min(times)
            self.last = max(times[-1], self.last or times[-1])
        self.token = token

    def again(self, begin: int | None) -> None:
        """Page again from this time: without the token."""
        self.begin, self.token = begin, None
        if self.changes:
            self.last = None

    def pages_left(self, end: int | None = None) -> float:
        """An estimate from the latest page; 0 if not known. ``end``: of a window that has none."""
        end, reached = self.end or end, self.reached
        if end is None or reached is None or self.per_page is None or end - reached < 2 * SECOND:
            return 0.0
        return (end - reached) / max(self.per_page, 1)

    def worth_dividing(self, end: int | None = None) -> bool:
        """Whether a second request at a time would be worth its cost."""
        return self.pages_left(end) >= _WORTH_DIVIDING

    def middle(self) -> int | None:
        """A second between what has been read and the end; None if there is no such second."""
        if self.end is None or self.reached is None:
            return None
        first = second_of(self.reached) + SECOND
        at = second_of((first + self.end) // 2)
        return at if first <= at < self.end else None


def second_of(micros: int) -> int:
    """The begin of the second of a time."""
    return micros // SECOND * SECOND


def largest(windows: Iterable[CreationWindow]) -> CreationWindow | None:
    """The window with most pages left, if it is worth dividing."""
    found = max(windows, key=CreationWindow.pages_left, default=None)
    return found if found is not None and found.worth_dividing() and found.middle() is not None else None


def in_order(rows: list[Row]) -> bool:
    """Whether all image sets have a time of creation, in ascending order of seconds."""
    last = None
    for row in rows:
        created = row[CREATED]
        if created is None or (last is not None and created // SECOND < last):
            return False
        last = created // SECOND
    return True
