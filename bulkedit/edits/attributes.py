"""Facts about the attributes of a batch, one lookup per distinct name.

A list has few distinct attributes, even with many rows. Each name is looked up once in Python, and the rows gather the
facts by index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import ValueKind
from bulkedit.dicom.faults import LONGEST_GROUP, RULES, is_in_no_data, longest_of
from bulkedit.dicom.terms import terms_of
from bulkedit.edits.edit import LEVEL
from bulkedit.edits.identifiers import guard_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.dicom.terms import Terms


@dataclass(frozen=True, slots=True)
class Spec:
    """How values are typed and checked; shared by all attributes with the same VR, VM and length."""

    vr: str | None  # None: a private element of unknown VR, kept as text
    vm: str = "1"
    longest: int | None = None  # characters of one value
    terms: Terms | None = None  # those of PS3.3, if it lists any
    private: bool = False  # its VM is unknown, so it may have several values

    @property
    def rule(self) -> dicom.Vr:
        """The rules of PS3.5 for one value."""
        return RULES[self.vr] if self.vr else dicom.Vr(ValueKind.STRING)

    @property
    def dicom_longest(self) -> int | None:
        """How many characters DICOM allows, if the service takes more."""
        found = self.rule.max_length
        return found if found is not None and (self.longest or 0) > found else None

    @property
    def longest_plain(self) -> int | None:
        """How many characters a text may have that needs no check but `values.is_plain`."""
        return LONGEST_GROUP if self.vr == "PN" else self.dicom_longest or self.longest

    @property
    def free(self) -> bool:
        """Whether any text that matches `bulkedit.dicom.dictionary.PLAIN_TEXT` is valid, up to the length."""
        return not self.multi and self.vr in dicom.FREE_TEXT and self.terms is None

    @property
    def multi(self) -> bool:
        """Whether the value is an array."""
        return self.vm != "1" and self.rule.kind is not ValueKind.SEQUENCE


TEXT: Final = Spec(None, private=True)


def _spec_of_private(vr: str) -> Spec:
    """The VM of a private element is unknown, also to the service, so it has one value."""
    return Spec(vr, "1", dicom.VRS[vr].max_length, private=True)


# private elements, by the VR in the row
PRIVATE: Final = {name: _spec_of_private(name) for name in dicom.VRS if len(name) == 2}

_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "attribute": pl.String,  # the key in the metadata document; null if the name is unknown
    "label": pl.String,  # see `label_of`
    "level": LEVEL,
    "standard_vr": pl.String,  # null for a private element
    "private": pl.Boolean,
    "never": pl.Boolean,
    "guard": pl.UInt8,  # an `identifiers.Guard`
    "reason": pl.String,  # why it needs force; null if it does not
    "spec": pl.UInt16,  # index into `specs`; null for private elements and unknown names
    "free": pl.Boolean,  # `Spec.free`; null if there is no spec
    "longest": pl.UInt32,  # `Spec.longest_plain`
}


def label_of(known: dicom.Attribute) -> str:
    """Return the keyword, for texts. Eight hex digits are not shown: they may be an identifier in the wrong column."""
    return "this element" if known.private or known.name[0].isdigit() else known.name


class Known:
    """Facts about the attributes of one batch, gathered per row."""

    def __init__(self, names: pl.Series) -> None:
        """``names``: the attribute cells of a batch, String, null if empty."""
        distinct = names.drop_nulls().unique()
        self.specs: list[Spec] = [TEXT, *PRIVATE.values()]
        self._facts = pl.DataFrame(list(self._rows(distinct)), schema=_SCHEMA, orient="row")
        self._codes = names.cast(pl.Enum(distinct)).to_physical()

    def facts(self) -> pl.DataFrame:
        """Return the facts of each row; null if the cell is empty or its name is unknown."""
        return self._facts.select(pl.all().gather(self._codes))

    def _rows(self, names: Iterable[str]) -> Iterable[tuple[object, ...]]:
        index = {spec: i for i, spec in enumerate(self.specs)}
        for name in names:
            known = dicom.attribute(name)
            if known is not None and not known.private:
                spec = _spec_of(known)
                yield (*_facts_of(known), index.setdefault(spec, len(index)), spec.free, spec.longest_plain)
            elif known is not None:
                yield (*_facts_of(known), None, None, None)
            elif name in dicom.NEVER_EDITABLE:
                yield (name, name, None, None, None, True, *(None,) * 5)
            else:
                yield (None,) * len(_SCHEMA)
        self.specs = list(index)


def _spec_of(known: dicom.Attribute) -> Spec:
    return Spec(known.vr, known.vm, longest_of(known), terms_of(known.name))


def _facts_of(known: dicom.Attribute) -> tuple[object, ...]:
    return (
        known.name,
        label_of(known),
        str(known.level),
        None if known.private else known.vr,
        known.private,
        known.name in dicom.NEVER_EDITABLE or is_in_no_data(known),
        int(guard_of(known)),
        dicom.force_reason(known),
    )
