"""The key of a de-identification: from a file or the environment, and a key of its own for each purpose.

A key is 32 random bytes, written as 64 hexadecimal digits or as base64. There is no passphrase: the same patient has to
get the same pseudonym on every machine, so a passphrase could have no salt of its own, and most of them can be guessed.
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

from bulkedit._files import open_private
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

# A random key fails one of the checks below less than once in 2^41 times: test_keys.py adds it up.
_FEWEST_DISTINCT: Final = 17  # of 32 bytes; random ones have 30 on average
_FEWEST_STEPS: Final = 16  # of the 31 differences between neighbours; counting up has one
_LONGEST_PERIOD: Final = 24  # bytes
_LAST_LATIN: Final = "\u017f"
_SCRYPT: Final = {"n": 2**17, "r": 8, "p": 1}  # OWASP, Password Storage Cheat Sheet: 128 MiB, about half a second


@dataclass(frozen=True, slots=True)
class Key:
    """The secret from which pseudonyms and date shifts come. Its text form never shows it."""

    secret: bytes = field(repr=False)  # the text of the key as it is written, without blanks around it

    def derived(self, purpose: str) -> bytes:
        """A key for one purpose (RFC 5869, HKDF with SHA-256): 32 bytes that tell nothing of the key or of others."""
        return _derived(self.secret, purpose)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell keys apart. They are in released data, so each guess at a key costs a scrypt."""
        return _slow_fingerprint(self.secret)

    @property
    def former_fingerprint(self) -> str:
        """The fingerprint of versions before scrypt, to recognise what they have written."""
        return hashlib.sha256(self.derived("fingerprint")).hexdigest()[:16]


@functools.lru_cache(maxsize=1024)
def _derived(secret: bytes, purpose: str) -> bytes:
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise ProfileError(
            "what de-identification needs is not installed.", hint="Install it: pip install 'bulkedit[deid]'"
        ) from error
    return HKDF(SHA256(), 32, salt=None, info=f"bulkedit deid {purpose}".encode()).derive(secret)


@functools.lru_cache(maxsize=16)
def _slow_fingerprint(secret: bytes) -> str:
    own = _derived(secret, "fingerprint")
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    # one salt for all: a key must have the same fingerprint on every machine
    return Scrypt(salt=b"bulkedit deid fingerprint", length=8, **_SCRYPT).derive(own).hex()


def load(path: Path | None) -> Key:
    """The key in a file, or in the environment if no file is named. Raises KeyFileError."""
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
    """The key that a text is, without blanks around it. Raises KeyFileError, which never shows the text."""
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
    """The 32 bytes that a text stands for; None if it stands for none."""
    if _HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text.decode())
    if not _BASE64.fullmatch(text):
        return None
    digits = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    content = base64.b64decode(digits + b"=")
    return content if binascii.b2a_base64(content, newline=False).rstrip(b"=") == digits else None


def not_random(content: bytes) -> str | None:
    """What shows that 32 bytes were not taken at random; None if nothing does, which proves nothing."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(content)}
    if len(set(content)) < _FEWEST_DISTINCT or any(
        content[period:] == content[:-period] for period in range(1, _LONGEST_PERIOD + 1)
    ):
        return "it repeats itself"
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
    """Words between hyphens look like base64; random base64 is letters of one case less than once in 2^50 keys."""
    has_digits = re.search(rb"[0-9]", text) is not None
    return "it is a text" if not has_digits and text in {text.lower(), text.upper()} else None


def make(path: Path) -> None:
    """Write a new key to a new file, readable by its owner alone. Raises KeyFileError; a file is never replaced."""
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
            "there is something there already; a key is never replaced.",
            where=str(path),
            likely="A key that is lost takes its pseudonyms with it: nothing can be added to them.",
            hint="Name another file.",
        ) from error
    except OSError as error:
        raise KeyFileError(
            f"the key cannot be written ({error.strerror or type(error).__name__}).",
            where=str(path),
            hint="Name a file in a folder that is there and that you may write to.",
        ) from error


def exposed(path: Path) -> str | None:
    """The mode of a key file, in octal digits, if users other than its owner can read or change it.

    A pipe has no mode that tells anything. A file of another user may be meant for this user's group.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    others = 0o077 if found.st_uid == os.geteuid() else 0o007
    return f"{stat.S_IMODE(found.st_mode):04o}" if stat.S_ISREG(found.st_mode) and found.st_mode & others else None
