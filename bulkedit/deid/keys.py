"""The key of a de-identification: from a file or the environment, and a key of its own for each purpose."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.errors import KeyFileError, ProfileError

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT: Final = "BULKEDIT_DEID_KEY"
SHORTEST: Final = 32  # characters: of hexadecimal digits that is 128 bits
_FEWEST_DISTINCT: Final = 8
_HINT: Final = "Make one, and keep it safe: openssl rand -hex 32 > deid.key && chmod 600 deid.key"


@dataclass(frozen=True, slots=True)
class Key:
    """The secret from which pseudonyms and date shifts come. Its text form never shows it."""

    secret: bytes = field(repr=False)

    def derived(self, purpose: str) -> bytes:
        """A key for one purpose (RFC 5869, HKDF with SHA-256): 32 bytes that tell nothing of the key or of others."""
        return _derived(self.secret, purpose)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell keys apart and nothing of them."""
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


def load(path: Path | None) -> Key:
    """The key in a file, or in the environment where no file is named. Raises KeyFileError."""
    if path is None:
        text = os.environ.get(ENVIRONMENT, "")
        if not text.strip():
            raise KeyFileError("no key is given.", hint=f"Give it: --key FILE, or set {ENVIRONMENT}. {_HINT}")
        return checked(text.strip().encode(), ENVIRONMENT)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            f"the key cannot be read ({error.strerror or type(error).__name__}).", where=str(path), hint=_HINT
        ) from error
    return checked(content.strip(), str(path))


def checked(secret: bytes, where: str) -> Key:
    """A key that is long enough to be one. Raises KeyFileError."""
    if len(secret) < SHORTEST or len(set(secret)) < _FEWEST_DISTINCT:
        raise KeyFileError(
            f"the key is too short or too simple: it needs {SHORTEST} characters or more, taken at random.",
            where=where,
            likely="Whoever guesses the key can find the patient behind every pseudonym.",
            hint=_HINT,
        )
    return Key(secret)
