"""Finds image sets by key and in order, in a time that does not grow with their number."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from bulkedit.emulator.state.image_set import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator.state.image_set import StoredImageSet

FIELDS = ("patient_id", "study_uid", "series_uid", "study_id", "accession")


class Index:
    """Image sets by the value of one key. To save memory, a value with a single image set has no container."""

    def __init__(self) -> None:
        self._found: dict[str, StoredImageSet | dict[str, StoredImageSet]] = {}

    def add(self, value: str | None, image_set: StoredImageSet) -> None:
        """Add an image set to a value."""
        if value is None:
            return
        known = self._found.get(value)
        if known is None or known is image_set:
            self._found[value] = image_set
        elif isinstance(known, dict):
            known[image_set.id] = image_set
        else:
            self._found[value] = {known.id: known, image_set.id: image_set}

    def discard(self, value: str | None, image_set: StoredImageSet) -> None:
        """Remove an image set from a value."""
        known = self._found.get(value) if value is not None else None
        if isinstance(known, dict):
            known.pop(image_set.id, None)
        elif known is image_set and value is not None:
            del self._found[value]

    def get(self, value: str) -> list[StoredImageSet]:
        """The image sets with this value."""
        known = self._found.get(value)
        if known is None:
            return []
        return list(known.values()) if isinstance(known, dict) else [known]


class Order:
    """Image sets in the order of their creation or of their latest update.

    It is a log with tombstones: positions increase, and an image set that is appended again leaves a void entry. The
    log is compacted when more than half of it is void, so that appends and walks are fast.
    """

    def __init__(self) -> None:
        self._positions = array("Q")
        self._entries: list[StoredImageSet | None] = []
        self._next = 0
        self._live = 0

    def append(self, image_set: StoredImageSet, position: int | None = None) -> int:
        """Append an image set as the latest. Returns its position, for `discard`.

        ``position``: its saved position, if a saved order is restored.
        """
        if position is None:
            position = self._next
        self._next = position + 1
        self._positions.append(position)
        self._entries.append(image_set)
        self._live += 1
        if len(self._entries) > 2 * self._live + 1024:
            self._compact()
        return position

    def discard(self, position: int) -> None:
        """Make an entry void."""
        at = bisect_left(self._positions, position)
        if at < len(self._entries) and self._positions[at] == position and self._entries[at] is not None:
            self._entries[at] = None
            self._live -= 1

    def walk(self, start: int | None, *, descending: bool) -> Iterator[tuple[int, StoredImageSet]]:
        """The positions and image sets after the position ``start``; None: all."""
        if descending:
            first = len(self._entries) if start is None else bisect_left(self._positions, start)
            places = range(first - 1, -1, -1)
        else:
            first = 0 if start is None else bisect_left(self._positions, start + 1)
            places = range(first, len(self._entries))
        for place in places:
            if (image_set := self._entries[place]) is not None:
                yield self._positions[place], image_set

    def _compact(self) -> None:
        live = [(p, e) for p, e in zip(self._positions, self._entries, strict=True) if e is not None]
        self._positions = array("Q", (position for position, _ in live))
        self._entries = [entry for _, entry in live]


class Catalog:
    """The search indexes of one data store. They contain completed versions only."""

    def __init__(self) -> None:
        self.by_key = {name: Index() for name in FIELDS}
        self.by_creation = Order()
        self.by_update = Order()

    def add(self, image_set: StoredImageSet) -> None:
        """Index the completed version of an image set, in place of an older one, as the latest update."""
        old, keys = image_set.listing, image_set.keys
        if old is None:
            image_set.born = self.by_creation.append(image_set)
        else:
            self.by_update.discard(old.order)
        for name, index in self.by_key.items():
            before, after = getattr(old.keys, name) if old else None, getattr(keys, name)
            if before != after:
                index.discard(before, image_set)
                index.add(after, image_set)
        image_set.listing = Listing(image_set.completed, keys, self.by_update.append(image_set))

    def restore(self, image_sets: list[tuple[StoredImageSet, int]]) -> None:
        """Index saved image sets at their former positions; the number is the position in the order of updates."""
        for image_set, _ in sorted(image_sets, key=lambda item: item[0].born):
            self.by_creation.append(image_set, image_set.born)
        for image_set, order in sorted(image_sets, key=lambda item: item[1]):
            for name, index in self.by_key.items():
                index.add(getattr(image_set.keys, name), image_set)
            image_set.listing = Listing(image_set.completed, image_set.keys, self.by_update.append(image_set, order))

    def remove(self, image_set: StoredImageSet) -> None:
        """Remove an image set from the indexes."""
        if (old := image_set.listing) is None:
            return
        for name, index in self.by_key.items():
            index.discard(getattr(old.keys, name), image_set)
        self.by_update.discard(old.order)
        self.by_creation.discard(image_set.born)
        image_set.listing = None
