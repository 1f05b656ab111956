"""The key of a de-identification: read from a file or the environment, with a derived key for each purpose.

A key is 32 random bytes, written as 64 hexadecimal digits or as base64. Passphrases are refused: most can be guessed,
and a salt is impossible, because a patient must get the same pseudonym on every machine.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import itertools
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit._files import not_written, open_private
from bulkedit.errors import KeyFileError, ProfileError
from bulkedit.options.deid import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

BYTES: Final = 32
_READ: Final = 1024  # bytes of a file; a key has far fewer
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{43}=?")
_HINT: Final = "Make a key: bulkedit deid --new-key deid.key"
_GUESSED: Final = "Anyone who guesses the key can find the patient behind every pseudonym."

# A random key fails one of the checks below less than once in 2^41 times; test_keys.py computes this.
_FEWEST_DISTINCT: Final = 17  # of 32 bytes; random ones have 30 on average
_FEWEST_STEPS: Final = 16  # of the 31 differences between neighbours; counting up has one
_LONGEST_PERIOD: Final = 24  # bytes
_LAST_LATIN: Final = "\u017f"
_SCRYPT: Final = {"n": 2**17, "r": 8, "p": 1}  # OWASP, Password Storage Cheat Sheet: 128 MiB, about half a second


@dataclass(frozen=True, slots=True)
class Key:
    """The secret from which pseudonyms and date shifts are derived; its repr does not show it."""

    secret: bytes = field(repr=False)  # the text of the key, without surrounding blanks

    def derived(self, purpose: str) -> bytes:
        """A key for one purpose: 32 bytes that reveal neither this key nor other derived ones (RFC 5869, HKDF)."""
        return _derived(self.secret, purpose)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify the key. Released data has them, so scrypt makes guessing a key expensive."""
        return _slow_fingerprint(self.secret)

    @property
    def former_fingerprint(self) -> str:
        """The fingerprint as versions without scrypt wrote it, to recognise their marks."""
        return hashlib.sha256(self.derived("fingerprint")).hexdigest()[:16]


@functools.lru_cache(maxsize=1024)
def _derived(secret: bytes, purpose: str) -> bytes:
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise ProfileError(
            "the packages for de-identification are not installed.", hint="Install them: pip install 'bulkedit[deid]'"
        ) from error
    return HKDF(SHA256(), 32, salt=None, info=f"bulkedit deid {purpose}".encode()).derive(secret)


@functools.lru_cache(maxsize=16)
def _slow_fingerprint(secret: bytes) -> str:
    own = _derived(secret, "fingerprint")
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    # a constant salt: a key must have the same fingerprint on every machine
    return Scrypt(salt=b"bulkedit deid fingerprint", length=8, **_SCRYPT).derive(own).hex()


def load(path: Path | None) -> Key:
    """The key in the file ``path``; if None, in the environment variable. Raises KeyFileError."""
    if path is None:
        text = os.environ.get(ENVIRONMENT, "")
        if not text.strip():
            raise KeyFileError("no key is given.", hint=f"Give it: `key=FILE`, or set {ENVIRONMENT}. {_HINT}")
        return checked(text.encode(errors="surrogateescape").strip(), ENVIRONMENT)
    try:
        with path.open("rb") as file:
            content = file.read(_READ)
    except OSError as error:
        raise KeyFileError(
            f"the key cannot be read ({error.strerror or type(error).__name__}).", where=str(path), hint=_HINT
        ) from error
    return checked(content.strip(), str(path))


def checked(text: bytes, where: str) -> Key:
    """The key in a text without surrounding blanks. Raises KeyFileError, which never shows the text."""
    content = _bytes_of(text)
    if content is None:
        raise KeyFileError(
            "the key is not 32 random bytes, written as 64 hexadecimal digits or in base64.",
            where=where,
            likely=f"Passphrases, documents and short keys are refused. {_GUESSED}",
            hint=_HINT,
        )
    if (fault := not_random(content)) or (fault := _reads_as_words(text)):
        raise KeyFileError(f"the key is not random: {fault}.", where=where, likely=_GUESSED, hint=_HINT)
    return Key(text)


def _bytes_of(text: bytes) -> bytes | None:
    """The 32 bytes that a text encodes; None if it is not such a text."""
    if _HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text.decode())
    if not _BASE64.fullmatch(text):
        return None
    digits = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    content = base64.b64decode(digits + b"=")
    return content if binascii.b2a_base64(content, newline=False).rstrip(b"=") == digits else None


def not_random(content: bytes) -> str | None:
    """Why 32 bytes are evidently not random; None if no check fails, which does not prove that they are."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(content)}
    if len(set(content)) < _FEWEST_DISTINCT or any(
        content[period:] == content[:-period] for period in range(1, _LONGEST_PERIOD + 1)
    ):
        return "it repeats"
    if len(steps) < _FEWEST_STEPS:
        return "its bytes follow a pattern"
    if content.hex().isdecimal():
        return "it has decimal digits only"
    return "it is a text" if _is_text(content) else None


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    return max(text) <= _LAST_LATIN and all(character.isprintable() or character in "\t\r\n" for character in text)


def _reads_as_words(text: bytes) -> str | None:
    """Refuse words joined by hyphens, which are valid base64. A random key has one case less than once in 2^50."""
    has_digits = re.search(rb"[0-9]", text) is not None
    return "it is a text" if not has_digits and text in {text.lower(), text.upper()} else None


def make(path: Path) -> None:
    """Write a new key to a new private file (0600). Raises KeyFileError, also if the file exists."""
    try:
        with open_private(path) as file:
            try:
                file.write(secrets.token_hex(BYTES).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError as error:
        raise KeyFileError(
            "this file exists already, and a key is never replaced.",
            where=str(path),
            likely="Without the old key, later image sets could not get the same pseudonyms.",
            hint="Name another file.",
        ) from error
    except OSError as error:
        failed = not_written("the key", path, error, of_the_path=KeyFileError)
        failed.hint = failed.hint or "Name a file in an existing folder that you may write to."
        raise failed from error


def exposed(path: Path) -> str | None:
    """The mode of a key file, in octal digits, if users other than its owner can read or change it; else None.

    The mode of a pipe is ignored. A file of another user may be intended for this user's group.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    others = 0o077 if found.st_uid == os.geteuid() else 0o007
    return f"{stat.S_IMODE(found.st_mode):04o}" if stat.S_ISREG(found.st_mode) and found.st_mode & others else None
