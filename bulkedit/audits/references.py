"""Checks that references between image sets still match: one new UID for each old one, over a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._json import object_in
from bulkedit.audits.originals import OriginalKind, bare, kind_of
from bulkedit.audits.values import values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import Json, JsonObject

_CHUNK: Final = 1_000_000  # pairs, before duplicates are removed
_PAIRS: Final = pl.Schema({"old": pl.UInt64(), "new": pl.UInt64(), "image_set": pl.UInt32()})


@dataclass(frozen=True, slots=True)
class Closure:
    """The result of the check."""

    uids: int  # distinct UIDs before the run
    parted: int  # of these, with more than one UID now: references between them are broken
    joined: int  # UIDs now that replace several old ones
    image_sets: tuple[str, ...]  # with a parted or joined UID


@dataclass(slots=True)
class References:
    """Pairs of old and new UIDs, as 64-bit digests: ten million take about 200 MB."""

    _pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_PAIRS))
    _new: list[tuple[int, int, int]] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)

    def add(self, image_set_id: str, before: JsonObject, after: JsonObject) -> None:
        """Add the UIDs of one image set, each with the UID at the same place now."""
        number = len(self._ids)
        self._ids.append(image_set_id)
        self._new += [(_digest(old), _digest(new), number) for old, new in pairs(before, after)]
        if len(self._new) >= _CHUNK:
            self._pack()

    def closure(self) -> Closure:
        """Compare all pairs."""
        self._pack()
        parted = self._pairs.group_by("old").agg(pl.col("new").n_unique()).filter(pl.col("new") > 1)
        joined = self._pairs.group_by("new").agg(pl.col("old").n_unique()).filter(pl.col("old") > 1)
        touched = pl.concat(
            [self._pairs.join(parted, on="old", how="semi"), self._pairs.join(joined, on="new", how="semi")]
        )
        numbers = touched.get_column("image_set").unique().sort()
        return Closure(
            uids=self._pairs.get_column("old").n_unique(),
            parted=parted.height,
            joined=joined.height,
            image_sets=tuple(self._ids[number] for number in numbers),
        )

    def _pack(self) -> None:
        fresh = pl.DataFrame(self._new, schema=_PAIRS, orient="row")
        self._pairs = pl.concat([self._pairs, fresh]).unique(["old", "new"], keep="first", maintain_order=True)
        self._new = []


def pairs(before: JsonObject, after: JsonObject) -> Iterator[tuple[str, str]]:
    """Old and new UIDs at the same place, if both documents have equally many there.

    Series and instances are matched by number (SeriesNumber, InstanceNumber) if these are unique, else by their order,
    because a run changes their UIDs.
    """
    old, new = _by_place(before), _by_place(after)
    for place, uids in old.items():
        now = new.get(place, [])
        if len(now) == len(uids):
            yield from zip(uids, now, strict=True)


def _by_place(document: JsonObject) -> dict[tuple[str, str, str], list[str]]:
    series_labels = _labels(document.get("Study"), "Series", "SeriesNumber")
    instance_labels: dict[str | None, dict[str, str]] = {None: {}}
    for uid, series in object_in(document, "Study", "Series").items():
        instance_labels[uid] = _labels(series, "Instances", "InstanceNumber")
    found: dict[tuple[str, str, str], list[str]] = {}
    for each in values(document):
        if each.spot.vr != "UI" or kind_of(each.spot, each.value) is not OriginalKind.UID:
            continue
        series = each.spot.series_uid
        instance = instance_labels.get(series, {}).get(each.spot.instance_uid or "", "")
        place = (series_labels.get(series or "", ""), instance, bare(each.spot.path))
        found.setdefault(place, []).append(str(each.value).strip(" \0"))
    return found


def _labels(node: Json, name: str, number: str) -> dict[str, str]:
    """A label for each series or instance, which does not depend on its UID."""
    members = node.get(name) if isinstance(node, dict) else None
    if not isinstance(members, dict):
        return {}
    numbers = [_text(inner, number) for inner in members.values()]
    unique = None not in numbers and len(set(numbers)) == len(numbers)
    return {uid: f"#{text}" if unique else str(i) for i, (uid, text) in enumerate(zip(members, numbers, strict=True))}


def _text(node: Json, name: str) -> str | None:
    dataset = node.get("DICOM") if isinstance(node, dict) else None
    value = dataset.get(name) if isinstance(dataset, dict) else None
    return None if value is None else str(value).strip()


def _digest(uid: str) -> int:
    return int.from_bytes(blake2b(uid.encode(), digest_size=8).digest(), "little")
