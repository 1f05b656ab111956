"""What a run has learned of the service where its documentation is silent, shared by all lanes of one process.

Nothing here is asked for: it is what answers have shown by the way. Until then a run keeps to what is documented.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Removal(StrEnum):
    """The value that a removal names for an attribute whose row names none."""

    STORED = "stored"  # "key and value must match the existing attribute" (update-image-set-metadata)
    EMPTY = "empty"  # the empty string


@dataclass(slots=True)
class ServiceQuirks:
    """Starts with what is documented."""

    removal: Removal | None = None  # what a removal was made with; None: none was made yet
    versions_reused: bool = False  # a failed update left no version behind, so its number may come to be another's

    @property
    def first_removal(self) -> Removal:
        """What to try first."""
        return self.removal or Removal.STORED
