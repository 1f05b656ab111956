"""Reads the lock files in .ci/lock: requirements of one version each, with hashes, in pip's format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.generated import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / ".ci/lock"


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of one package, and the digests of its files."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version

    def applies_here(self) -> bool:
        """Whether this Python on this platform takes it."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def pins(path: Path) -> list[Pin]:
    """The packages of a lock file."""
    return [_pin(line) for line in entries(path) if not line.startswith("-")]


def entries(path: Path) -> list[str]:
    """The lines of a lock file, without comments, continued lines joined."""
    text = re.sub(r"(^|\s)#.*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def _pin(line: str) -> Pin:
    requirement, *hashes = re.split(r"\s+--hash=", line)
    return Pin(Requirement(requirement), tuple(hashes))
