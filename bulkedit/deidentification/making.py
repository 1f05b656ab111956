"""One de-identification: documents come, edits are kept, the map of pseudonyms with them where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkedit.deidentification import reidentification
from bulkedit.deidentification.pseudonyms import Pseudonyms
from bulkedit.deidentification.rules import ProfileRules
from bulkedit.deidentification.walk import KINDS, DeidMark, Walker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulkedit._json import JsonObject
    from bulkedit.deidentification.keys import Key
    from bulkedit.deidentification.profile import DeidProfile
    from bulkedit.deidentification.record import DeidCounts, DeidRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidRecipe:
    """What a de-identification is made with."""

    profile: DeidProfile
    key: Key
    payload_limit: int  # bytes of each attributes document
    together: bool = True  # see `Walker`
    mapping: Mapping[str, str] | None = None  # patient id -> pseudonym

    def walker(self, pairs: set[tuple[str, str, str]] | None = None) -> Walker:
        """What derives the edits of documents. Raises ProfileError where the tables are not installed."""
        profile = self.profile
        pseudonyms = Pseudonyms(
            self.key,
            identifiers=profile.identifiers,
            mapping=self.mapping,
            days=profile.days,
            seconds=profile.seconds,
            pairs=pairs,
        )
        mark = DeidMark(profile.name, profile.digest, self.key.fingerprint, self.key.former_fingerprint)
        return Walker(
            ProfileRules(profile), pseudonyms, mark=mark, payload_limit=self.payload_limit, together=self.together
        )


class Making:
    """Takes documents in and keeps what comes of them. Not for use from several threads at once."""

    def __init__(
        self, recipe: DeidRecipe, record: DeidRecord, *, map_file: Path | None = None, map_key: Path | None = None
    ) -> None:
        """``map_file`` and ``map_key`` ask for the re-identification map. Raises KeyFileError and ProfileError."""
        self._pairs: set[tuple[str, str, str]] | None = None
        if map_file is not None and map_key is not None:
            self._map, self._cipher = map_file, reidentification.cipher(map_key)
            self._pairs = set()
        self._walker = recipe.walker(self._pairs)
        self._record = record
        self._done = record.done
        self._primary: frozenset[str] = frozenset()
        self.documents = 0
        self.edits = 0
        self.unreachable = 0

    def expect(self, primary: frozenset[str]) -> None:
        """Say which image sets are primary: their UIDs cannot be changed in place."""
        self._primary = primary

    def take(self, image_set_id: str, document: JsonObject) -> None:
        """Derive the edits of one document and keep them. Raises MetadataError naming the image set."""
        if image_set_id in self._done:
            return
        derived = self._walker.derive(image_set_id, document, primary=image_set_id in self._primary)
        unreachable = sum(found.times for found in derived.findings if KINDS[found.kind].unreachable)
        self._record.add(image_set_id, derived, unreachable)
        self._done.add(image_set_id)
        self.documents += 1
        self.edits += len(derived.rows)
        self.unreachable += unreachable
        if self._record.full:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Keep all that has been taken in: the map first, so that no edit is kept without its way back."""
        if self._pairs is not None:
            reidentification.append(self._map, self._pairs, self._cipher)
            self._pairs.clear()
        self._record.checkpoint()

    def finish(self) -> DeidCounts:
        """Write the edit list. Returns image_sets, changed, marked, edits and unreachable: how many of each."""
        self.checkpoint()
        return self._record.finish()
