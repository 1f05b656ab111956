"""Undocumented behaviour of the service, as the answers of a run have shown it; shared by all lanes of a process.

No extra request is sent to find it out. Until an answer shows it, a run assumes what is documented.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Removal(StrEnum):
    """The value that a removal names if its row names none."""

    STORED = "stored"  # "key and value must match the existing attribute" (update-image-set-metadata)
    EMPTY = "empty"  # the empty string


@dataclass(slots=True)
class ServiceQuirks:
    """Starts with the documented behaviour."""

    removal: Removal | None = None  # the value of a removal that succeeded with it, and that the other would change
    versions_reused: bool = False  # the number of a failed update is given to the next one

    @property
    def first_removal(self) -> Removal:
        """The value to try first."""
        return self.removal or Removal.STORED
