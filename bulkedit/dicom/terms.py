"""The terms that PS3.3 lists for some attributes, from ``data/terms.csv``.

*Enumerated values* are all that DICOM allows; *defined terms* may be extended. Both are only noticed: HealthImaging
checks neither, and an implementation may have terms of its own.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of an attribute."""

    values: tuple[str, ...]
    text: str  # a sentence about a value that is not among them

    def has(self, value: str) -> bool:
        """Whether a value without its padding is one of them, or empty."""
        return value in self.values or not value


@functools.cache
def _terms() -> dict[str, Terms]:
    text = resources.files("bulkedit").joinpath("data/terms.csv").read_text("utf-8")
    return {row["keyword"]: _read(row) for row in csv.DictReader(text.splitlines())}


def _read(row: dict[str, str]) -> Terms:
    values = tuple(row["terms"].split("|"))
    listed = ", ".join(values) if len(values) <= 20 else f"{', '.join(values[:20])}, …"
    kind = "enumerated values" if row["kind"] == "enumerated" else "defined terms"
    return Terms(values, f"is not one of the {kind} of PS3.3 section {row['section']}: {listed}.")


def terms_of(keyword: str) -> Terms | None:
    """Return the terms of an attribute; None if PS3.3 lists none, or if they are not known here."""
    return _terms().get(keyword)
