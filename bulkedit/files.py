"""Files that hold values of edits or metadata: for their owner's eyes only, and written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def open_private(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read, for writing bytes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write_private_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for its owner's eyes; the file is replaced whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open_private(draft) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
