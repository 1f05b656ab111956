"""Checks a JSON value against the rules for its attribute, and says how bad a fault is."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from bulkedit.dicom.dictionary import VRS, Attribute, ValueKind, why_unfit

if TYPE_CHECKING:
    from bulkedit._json import Json


_NUMBERS: Final[dict[ValueKind, tuple[type, ...]]] = {ValueKind.INTEGER: (int,), ValueKind.FLOAT: (int, float)}


class Weight(IntEnum):
    """How bad the fault of a value is."""

    RULE = 0  # it breaks a rule of its VR or VM
    KIND = 1  # it is text in an element of numbers
    NOT_JSON = 2  # it is not the JSON that its attribute needs


class ValueFault(NamedTuple):
    """Why a value is invalid; the text never quotes it."""

    weight: Weight
    text: str


def fault_of(a: Attribute, value: Json) -> ValueFault | None:
    """Return why a JSON value is invalid for an attribute; None if it is valid."""
    if not _has_kind(a, value):
        what = "whole numbers" if VRS[a.vr].kind is ValueKind.INTEGER else "numbers"
        return ValueFault(Weight.KIND, f"VR {a.vr} has {what} only")
    why = why_unfit(a, value)
    return ValueFault(Weight.RULE, why) if why else None


def _has_kind(a: Attribute, value: Json) -> bool:
    """Whether an element of numbers has numbers only."""
    kinds = _NUMBERS.get(VRS[a.vr].kind)
    values = value if isinstance(value, list) else [value]
    return kinds is None or all(one is None or type(one) in kinds for one in values)
