"""`python -m tests.sbom FILE` holds a software bill of materials (CycloneDX, JSON) to the run-time lock."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from bulkedit._version import __version__
from tests.lock_files import FOLDER, pins


def faults(bill: dict[str, Any], *, version: str, locked: dict[str, str]) -> list[str]:
    """What is wrong with a bill: it names another product, or other packages than those locked (versions by name)."""
    subject = bill["metadata"]["component"]
    ours = (subject["name"], subject.get("version")) == ("bulkedit", version)
    listed: dict[str, str | None] = {canonicalize_name(one["name"]): one.get("version") for one in bill["components"]}
    return [f"it is not the bill of bulkedit {version}"] * (not ours) + [
        f"{name}: {listed.get(name)} is listed, {locked.get(name)} is locked"
        for name in sorted(locked.keys() | listed.keys())
        if locked.get(name) != listed.get(name)
    ]


def main() -> None:
    bill = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    locked = {pin.name: pin.version for pin in pins(FOLDER / "run.txt") if pin.applies_here()}
    if found := faults(bill, version=__version__, locked=locked):
        raise SystemExit("\n".join(found))
    sys.stdout.write(f"{sys.argv[1]}: bulkedit {__version__} and {len(locked)} packages, as locked\n")


if __name__ == "__main__":
    main()
