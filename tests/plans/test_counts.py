"""The numbers of a manifest are those of an estimate."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import NotRequired, get_origin, get_type_hints

from bulkedit.plans.counts import Estimate, EstimateCounts


def test_a_manifest_has_the_fields_of_an_estimate() -> None:
    assert get_type_hints(EstimateCounts) == get_type_hints(Estimate)
    hints = get_type_hints(EstimateCounts, include_extras=True)
    required = {name for name, hint in hints.items() if get_origin(hint) is not NotRequired}
    assert {one.name for one in fields(Estimate) if one.default is MISSING} == required
