"""Scan of one image set: its document before the run is compared with its document now."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.audits.originals import OriginalKind, Originals, bare, folded, kind_of, originals
from bulkedit.audits.values import DocumentValue, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import JsonObject


class Match(StrEnum):
    """How an original value was found."""

    UNCHANGED = "unchanged"  # at the same place
    WHOLE = "whole"  # the whole value of another attribute
    INSIDE = "inside"  # a part of a text


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """An original value that is still in the document. Has its place, never the value."""

    kind: OriginalKind
    match: Match
    series_uid: str | None
    instance_uid: str | None
    path: str


FINDINGS: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "kind": pl.String(),  # `OriginalKind`
        "match": pl.String(),  # `Match`
        "series_uid": pl.String(),  # as it is now; null at Patient and Study level
        "instance_uid": pl.String(),
        "path": pl.String(),  # keywords from the level down, no value
    }
)

_UID: Final = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,}(?![\d.])")
_COMPACT: Final = re.compile(r"(?<!\d)((?:19|20)\d{6})(?!\d)")
_ISO: Final = re.compile(r"(?<!\d)((?:19|20)\d\d)[-./ ](\d{1,2})[-./ ](\d{1,2})(?!\d)")
_LOCAL: Final = re.compile(r"(?<!\d)(\d{1,2})[-./ ](\d{1,2})[-./ ]((?:19|20)\d\d)(?!\d)")
_DAY_MONTH: Final = re.compile(r"(?<!\d)(\d{1,2})\.?[ -]*([a-z]{3})[a-z]*\.?,?[ -]*((?:19|20)\d\d)(?!\d)")
_MONTH_DAY: Final = re.compile(
    r"(?<![a-z])([a-z]{3})[a-z]*\.?[ -]*(\d{1,2})(?:st|nd|rd|th)?,?[ -]*((?:19|20)\d\d)(?!\d)"
)
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär", "apr avr", "may mai", "jun", "jul", "aug aoû", "sep", "oct okt", "nov", "dec dez"), 1
    )
    for name in names.split()
}
_WORD: Final = re.compile(r"[^\W_]+")
# like VR CS: terms and names of manufacturers and coding schemes, whose words are not names of persons
_TERMS: Final = frozenset({"CodingSchemeDesignator", "CodingSchemeVersion", "MappingResource", "Manufacturer"})
_BINARY: Final = frozenset({"UN", "OB", "OW"})
_SHORTEST_BINARY: Final = 8
_NO_TEXT: Final = frozenset({"DA", "DT", "TM", "AS", "DS", "IS", "UI"})


def scan(before: JsonObject, after: JsonObject, *, kept: frozenset[OriginalKind] = frozenset()) -> list[AuditFinding]:
    """Find the identifying values of ``before`` in ``after``, except the ``kept`` kinds.

    They are found as whole values, as words of a text, as dates in common formats, as UIDs inside texts, and all of
    these in base64 of binary elements. A date attribute counts only at its own place, because a shifted date can equal
    another original date by chance.
    """
    sought = originals(before, kept)
    return [
        AuditFinding(kind, match, each.spot.series_uid, each.spot.instance_uid, each.spot.path)
        for each in values(after)
        if isinstance(each.value, str) and (hit := _hit(each, each.value, sought)) is not None
        for kind, match in [hit]
    ]


def _hit(each: DocumentValue, value: str, sought: Originals) -> tuple[OriginalKind, Match] | None:
    """The original value that a value of the present document repeats, if any."""
    text, vr = folded(value), each.spot.vr
    if not text:
        return None
    if kind := sought.places.get((bare(each.spot.path), text)):
        return kind, Match.UNCHANGED
    if vr == "UI":
        return (OriginalKind.UID, Match.WHOLE) if text in sought.uids and kind_of(each.spot, each.value) else None
    if vr == "CS" or each.spot.name in _TERMS:
        return _whole(text, sought)
    if vr in _NO_TEXT:
        return None
    return next((hit for form in _forms(text, value, vr) if (hit := _in_text(form, sought))), None)


def _forms(text: str, value: str, vr: str | None) -> Iterator[str]:
    """A text, and its decoded form if it may be base64 of a binary element."""
    yield text
    if (vr in _BINARY or vr is None) and len(value) >= _SHORTEST_BINARY:
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return
        yield folded(raw.decode("latin-1"))


def _whole(text: str, sought: Originals) -> tuple[OriginalKind, Match] | None:
    kind = sought.whole.get(text) or sought.whole.get(" ".join(_WORD.findall(text)))
    return (kind, Match.WHOLE) if kind else None


def _in_text(text: str, sought: Originals) -> tuple[OriginalKind, Match] | None:
    return _whole(text, sought) or next(((kind, Match.INSIDE) for kind in _parts(text, sought)), None)


def _parts(text: str, sought: Originals) -> Iterator[OriginalKind]:
    """The kinds of original values inside a text."""
    yield from (kind for word in _WORD.findall(text) if (kind := sought.tokens.get(word)))
    yield from (kind for part, kind in sought.phrases.items() if part in text)
    if sought.uids and any(uid in sought.uids for uid in _UID.findall(text)):
        yield OriginalKind.UID
    if sought.dates and not sought.dates.isdisjoint(_dates(text)):
        yield OriginalKind.DATE


def _dates(text: str) -> Iterator[str]:
    """Every date that a text may mean, as YYYYMMDD; 03/04/2024 means two."""
    yield from _COMPACT.findall(text)
    for year, month, day in _ISO.findall(text):
        yield f"{year}{int(month):02}{int(day):02}"
    for first, second, year in _LOCAL.findall(text):
        yield f"{year}{int(second):02}{int(first):02}"
        yield f"{year}{int(first):02}{int(second):02}"
    for day, month, year in _DAY_MONTH.findall(text):
        if number := _MONTHS.get(month):
            yield f"{year}{number:02}{int(day):02}"
    for month, day, year in _MONTH_DAY.findall(text):
        if number := _MONTHS.get(month):
            yield f"{year}{number:02}{int(day):02}"
