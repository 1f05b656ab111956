"""The re-identification map: which original stands behind each pseudonym, encrypted, and only where it is asked for.

A file of lines; each is a Fernet token (AES-128-CBC with HMAC-SHA256) of a JSON array of [kind, original, pseudonym].
It is encrypted with a key of its own, so that who holds the pseudonymisation key cannot read it, nor the other way.
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
    """The cipher of a key file: one line, as ``Fernet.generate_key`` makes it. Raises KeyFileError."""
    from cryptography.fernet import Fernet

    hint = "Make one: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
    try:
        return Fernet(key_file.read_bytes().strip())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise KeyFileError(f"the key of the map cannot be read ({reason}).", where=str(key_file), hint=hint) from error
    except ValueError as error:
        raise KeyFileError("the key of the map is none of Fernet.", where=str(key_file), hint=hint) from error


def append(path: Path, pairs: set[tuple[str, str, str]], fernet: Fernet) -> None:
    """Add pairs to the map. The file is for its owner's eyes."""
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
    """The pairs of a map: kind (uid, or the keyword of an identifier), original, pseudonym; some more than once.

    Raises KeyFileError where the key is not the one it was written with.
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
