"""The optional re-identification map: the original of each pseudonym, encrypted.

Each line is a Fernet token (AES-128-CBC with HMAC-SHA256) of a JSON array of [kind, original, pseudonym]. The map has
its own key: neither the pseudonymisation key nor the key of the map replaces the other.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from bulkedit.errors import KeyFileError, MetadataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.fernet import Fernet


def cipher(key_file: Path) -> Fernet:
    """The cipher of a key file with one line from ``Fernet.generate_key``. Raises KeyFileError."""
    from cryptography.fernet import Fernet

    hint = "Make one: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
    try:
        return Fernet(key_file.read_bytes().strip())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise KeyFileError(f"the key of the map cannot be read ({reason}).", where=str(key_file), hint=hint) from error
    except ValueError as error:
        raise KeyFileError("the key of the map is not a Fernet key.", where=str(key_file), hint=hint) from error


def append(path: Path, pairs: set[tuple[str, str, str]], fernet: Fernet) -> None:
    """Append pairs to the map, a private file (0600)."""
    if not pairs:
        return
    line = fernet.encrypt(json.dumps(sorted(pairs)).encode()) + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, key_file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield kind, original and pseudonym from a map; duplicates are possible.

    The kind is uid, shift, or the keyword of an identifier. Raises KeyFileError if the map was written with another
    key, and MetadataError if it is damaged.
    """
    from cryptography.fernet import InvalidToken

    fernet = cipher(key_file)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                pairs = json.loads(fernet.decrypt(line.strip()))
            except InvalidToken as error:
                if number > 1:
                    raise MetadataError("the map is damaged.", where=f"{path}, line {number:,}") from error
                raise KeyFileError("the map was written with another key.", where=str(path)) from error
            yield from (tuple(pair) for pair in pairs)
