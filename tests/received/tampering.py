"""What somebody could do to a folder before handing it over."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VICTIM = "somebody's own file\n"


def outside(folder: Path) -> Path:
    """A file beside the folder, that nothing may touch."""
    victim = folder.parent / "outside" / "victim"
    victim.parent.mkdir(exist_ok=True)
    victim.write_text(VICTIM)
    return victim


def link(path: Path, target: Path) -> None:
    """Put a link in place of a file."""
    path.unlink(missing_ok=True)
    path.symlink_to(target.absolute())


def change(path: Path, **values: Any) -> None:
    """Change what a JSON object says."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def sign(plan: Path) -> str:
    """Make all digests of a plan right again, as docs/security.md tells how they are made."""
    path = plan / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, about in manifest["files"].items():
        if (plan / name).is_file():
            about["sha256"] = hashlib.sha256((plan / name).read_bytes()).hexdigest()
    said = {name: value for name, value in manifest.items() if name not in {"digest", "created"}}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path.write_text(json.dumps({**manifest, "digest": digest}))
    return digest


def tamper(plan: Path, changed: Callable[[pl.DataFrame], pl.DataFrame], name: str = "calls.parquet") -> None:
    """Change the calls of a plan (or another of its files), and make all its digests right again."""
    frame = changed(pl.read_parquet(plan / name))
    frame.write_parquet(plan / name)
    sign(plan)


def sign_run(run: Path) -> None:
    """Make the run agree with its changed plan."""
    change(run / "run.json", plan_digest=sign(run / "plan"))


def sql(ledger: Path, *statements: str) -> None:
    """Change a ledger by hand."""
    with closing(sqlite3.connect(ledger)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def schema(ledger: Path, *changes: tuple[str, str]) -> None:
    """Change what the schema of a ledger says of itself."""
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for old, new in changes:
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (old, new))
        connection.commit()
