"""Derives the edits of documents and writes them to the record, with the re-identification map if requested."""

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
    """Profile, key and limits of a de-identification."""

    profile: DeidProfile
    key: Key
    payload_limit: int  # bytes of each attributes document
    together: bool = True  # see `Walker`
    mapping: Mapping[str, str] | None = None  # patient id -> pseudonym

    def walker(self, pairs: set[tuple[str, str, str]] | None = None) -> Walker:
        """A walker with these settings. Raises ProfileError if the tables are not installed."""
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


class DeidWriter:
    """Derives and keeps the edits of one document after another. Not thread-safe."""

    def __init__(
        self, recipe: DeidRecipe, record: DeidRecord, *, map_file: Path | None = None, map_key: Path | None = None
    ) -> None:
        """With ``map_file`` and ``map_key``, writes the re-identification map. Raises KeyFileError, ProfileError."""
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
        """Set which image sets are primary: their UIDs cannot be changed in place."""
        self._primary = primary

    def take(self, image_set_id: str, document: JsonObject) -> None:
        """Derive the edits of one document and keep them. Raises MetadataError, which names the image set."""
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
        """Write all edits so far. The map is written first, so that it covers every edit on disk."""
        if self._pairs is not None:
            reidentification.append(self._map, self._pairs, self._cipher)
            self._pairs.clear()
        self._record.checkpoint()

    def finish(self) -> DeidCounts:
        """Write the edit list. Returns the counts: image_sets, changed, marked, edits and unreachable."""
        self.checkpoint()
        return self._record.finish()
