"""Free text that a run has not changed, for a person to review."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.audits.originals import bare
from bulkedit.audits.values import values

if TYPE_CHECKING:
    from bulkedit._json import JsonObject

_VRS: Final = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "PN"})
_MOST: Final = 10_000  # distinct values kept per attribute; further ones are only counted

# contains health data
SURVIVORS: Final = pl.Schema(
    {
        "path": pl.String(),  # keywords from the level down
        "value": pl.String(),
        "image_sets": pl.UInt32(),
    }
)


@dataclass(slots=True)
class FreeTexts:
    """Distinct unchanged texts of each attribute."""

    _counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    omitted: int = 0  # how often a further distinct value was left out

    def add(self, before: JsonObject, after: JsonObject) -> None:
        """Add the texts of one image set."""
        known = {each.value.strip() for each in values(before) if isinstance(each.value, str)}
        found = {
            (bare(each.spot.path), text)
            for each in values(after)
            if (each.spot.vr in _VRS or each.spot.vr is None)
            and isinstance(each.value, str)
            and (text := each.value.strip()) in known
            and any(letter.isalpha() for letter in text)
        }
        for path, text in found:
            counter = self._counts[path]
            if text in counter or len(counter) < _MOST:
                counter[text] += 1
            else:
                self.omitted += 1

    def frame(self) -> pl.DataFrame:
        """Columns `SURVIVORS`, sorted by attribute, the most frequent first."""
        rows = [
            (path, text, count)
            for path, counter in sorted(self._counts.items())
            for text, count in counter.most_common()
        ]
        return pl.DataFrame(rows, schema=SURVIVORS, orient="row")
