"""Collects the findings of an audit, image set by image set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.audits.originals import OriginalKind
from bulkedit.audits.references import Closure, References
from bulkedit.audits.risks import risks
from bulkedit.audits.scan import FINDINGS, scan
from bulkedit.audits.texts import FreeTexts

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.audits.risks import Risk

RISKS: Final = pl.Schema({"image_set_id": pl.String(), "risk": pl.String()})  # `bulkedit.audits.risks.Risk`
_CHUNK: Final = 10_000  # findings


@dataclass(slots=True)
class AuditCounters:
    """The findings so far; memory grows with the findings, not with the documents."""

    kept: frozenset[OriginalKind] = frozenset()  # kinds that the run keeps on purpose
    image_sets: int = 0
    with_findings: int = 0
    older_versions: int = 0  # which still have the original values: an edit does not delete them
    by_kind: Counter[str] = field(default_factory=Counter)
    by_risk: Counter[str] = field(default_factory=Counter)
    texts: FreeTexts = field(default_factory=FreeTexts)
    _references: References = field(default_factory=References)
    _findings: list[pl.DataFrame] = field(default_factory=lambda: [pl.DataFrame(schema=FINDINGS)])
    _waiting: list[tuple[str | None, ...]] = field(default_factory=list)
    _risks: list[tuple[str, str]] = field(default_factory=list)

    def add(self, image_set_id: str, before: JsonObject, after: JsonObject, *, older: int = 0) -> None:
        """Add an image set: its documents before the run and now, and its number of older versions."""
        self.image_sets += 1
        self.older_versions += older
        found = scan(before, after, kept=self.kept)
        self.with_findings += bool(found)
        self.by_kind.update(str(each.kind) for each in found)
        self._waiting += [
            (image_set_id, str(each.kind), str(each.match), each.series_uid, each.instance_uid, each.path)
            for each in found
        ]
        if len(self._waiting) >= _CHUNK:
            self._pack()
        if OriginalKind.UID not in self.kept:
            self._references.add(image_set_id, before, after)
        self.texts.add(before, after)
        here: set[Risk] = risks(after)
        self.by_risk.update(map(str, here))
        self._risks += [(image_set_id, str(risk)) for risk in sorted(here)]

    def findings(self) -> pl.DataFrame:
        """Columns `FINDINGS`, in the order in which image sets were added."""
        self._pack()
        return pl.concat(self._findings)

    def risks(self) -> pl.DataFrame:
        """Columns `RISKS`: image sets whose pixels or documents a person should review."""
        return pl.DataFrame(self._risks, schema=RISKS, orient="row")

    def closure(self) -> Closure:
        """The result of the comparison of references between image sets."""
        return self._references.closure()

    def _pack(self) -> None:
        self._findings.append(pl.DataFrame(self._waiting, schema=FINDINGS, orient="row"))
        self._waiting = []
