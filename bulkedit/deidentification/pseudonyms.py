"""Derives pseudonyms from the key: equal values get equal pseudonyms in every image set and run, without a map."""

from __future__ import annotations

import csv
import functools
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit.deidentification.dates import Shift
from bulkedit.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulkedit.deidentification.keys import Key

# UIDs of the standard itself: SOP classes, transfer syntaxes, well-known frames of reference (PS3.6 Annex A)
REGISTERED: Final = "1.2.840.10008."
_OURS: Final = "2.25."
_UUID_FREE: Final = (1 << 128) - 1 - (0xF << 76) - (0b11 << 62)  # all bits except version and variant
_UUID_4: Final = 4 << 76 | 0b10 << 62
_DAY_S: Final = 86_400
_CACHED: Final = 100_000
_FEWEST_BITS: Final = 40  # of an identifier: among a million patients, two then share one in half of all cases


class HolesError(ProfileError):
    """The mapping has no pseudonym for a patient id in the data."""


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The form of pseudonymous identifiers."""

    alphabet: str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
    length: int = 12
    prefix: str = ""

    @property
    def bits(self) -> float:
        """The entropy of an identifier, rounded down for each character."""
        return self.length * (len(self.alphabet).bit_length() - 1)

    @property
    def many(self) -> int:
        """The number of possible identifiers."""
        return int(len(self.alphabet) ** self.length)

    def problem(self) -> str | None:
        """Why this form is not valid; None if it is."""
        if len(set(self.alphabet)) != len(self.alphabet) or len(self.alphabet) < 2:
            return "the alphabet has fewer than two characters, or a character twice."
        if any(ord(character) < 0x20 or character in "\\^= " for character in self.alphabet + self.prefix):
            return "alphabet and prefix must not have blanks, backslash, ^, = or control characters."
        if self.bits < _FEWEST_BITS:
            return f"{self.length} characters of this alphabet are too few: patients would share identifiers."
        return None


class Pseudonyms:
    """UIDs, identifiers and date shifts of one key. Not thread-safe."""

    def __init__(
        self,
        key: Key,
        *,
        identifiers: Identifiers | None = None,
        mapping: Mapping[str, str] | None = None,
        days: tuple[int, int] = (-3650, -1),
        seconds: bool = False,
        pairs: set[tuple[str, str, str]] | None = None,
    ) -> None:
        """``mapping``: pseudonyms by patient id. ``days``: the bounds of the date shift, both included.

        ``pairs``: gets each original with its pseudonym, for a re-identification map.
        """
        self._pairs = pairs
        # copying a keyed HMAC for each text halves the time
        self._keyed = functools.cache(lambda purpose: hmac.new(key.derived(purpose), digestmod="sha256"))
        self._uid_key, self._date_key = self._keyed("uid"), self._keyed("dates")
        self._identifiers = identifiers or Identifiers()
        self._base, self._many = len(self._identifiers.alphabet), self._identifiers.many
        self._mapping = mapping
        self._days = days
        self._seconds = seconds
        self.uid = functools.lru_cache(maxsize=_CACHED)(self._uid)
        self.identifier = functools.lru_cache(maxsize=_CACHED)(self._identifier)
        self.shift = functools.lru_cache(maxsize=_CACHED)(self._shift)

    def _uid(self, uid: str) -> str:
        """The UID that replaces another; padding is ignored. Registered UIDs do not change.

        It is a UUID as an integer under 2.25 (PS3.5 section B.2), of version 4 and the RFC 4122 variant. Its other
        122 bits come from the HMAC.
        """
        bare = uid.rstrip(" \0")
        if not bare or bare.startswith(REGISTERED):
            return uid
        number = int.from_bytes(_digest(self._uid_key, bare)[:16])
        made = f"{_OURS}{number & _UUID_FREE | _UUID_4}"
        self._note("uid", bare, made)
        return made

    def _identifier(self, purpose: str, value: str) -> str:
        """The pseudonym of an identifier; surrounding blanks are ignored. ``purpose`` is the attribute's keyword."""
        bare = value.strip(" \0")
        if not bare:
            return value
        if self._mapping is not None and purpose == "PatientID":
            if (found := self._mapping.get(bare)) is None:
                raise HolesError(
                    "the mapping lacks a patient id of the data.",
                    hint="Add the missing ids to the mapping, or omit `mapping`.",
                )
            self._note(purpose, bare, found)
            return found
        alphabet, base, digits = self._identifiers.alphabet, self._base, []
        # reduced first, because small numbers are divided faster
        number = int.from_bytes(_digest(self._keyed(f"identifier {purpose}"), bare)[:16]) % self._many
        for _ in range(self._identifiers.length):
            number, digit = divmod(number, base)
            digits.append(alphabet[digit])
        made = self._identifiers.prefix + "".join(digits)
        self._note(purpose, bare, made)
        return made

    def _shift(self, patient: str) -> Shift:
        """The offset of a patient's dates, which is equal in all studies of the patient."""
        low, high = self._days
        drawn = _digest(self._date_key, patient.strip(" \0"))
        days = low + int.from_bytes(drawn[:16]) % (high - low + 1)
        made = Shift(days, int.from_bytes(drawn[16:]) % _DAY_S if self._seconds else 0)
        self._note("shift", patient, f"{made.days} days {made.seconds} s")
        return made

    def _note(self, kind: str, original: str, pseudonym: str) -> None:
        if self._pairs is not None:
            self._pairs.add((kind, original, pseudonym))


def _digest(keyed: hmac.HMAC, text: str) -> bytes:
    """HMAC-SHA256 of a text."""
    made = keyed.copy()
    made.update(text.encode("utf-8", "surrogatepass"))
    return made.digest()


def is_ours(uid: object) -> bool:
    """Whether a UID has the form of those that `Pseudonyms.uid` makes."""
    if not isinstance(uid, str) or not uid.startswith(_OURS):
        return False
    digits = uid.removeprefix(_OURS).rstrip(" \0")
    if not digits.isdecimal() or len(digits) > 39 or (number := int(digits)) >= 1 << 128:
        return False
    return number & ~_UUID_FREE == _UUID_4


def load_mapping(path: Path) -> dict[str, str]:
    """Read pseudonyms by patient id from a CSV file with the columns patient_id and pseudonym.

    Raises ProfileError if a cell is empty, an id occurs twice, or two ids share a pseudonym.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            if not {"patient_id", "pseudonym"} <= set(lines.fieldnames or ()):
                raise ProfileError("the mapping needs the columns patient_id and pseudonym.", where=f"{path}, row 1")
            return _mapping(path, lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ProfileError(f"the mapping cannot be read ({reason}).", where=str(path)) from error


def _mapping(path: Path, lines: csv.DictReader[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rows: dict[str, int] = {}  # pseudonym -> the row that has it
    for number, line in enumerate(lines, 2):
        original, pseudonym = ((line[name] or "").strip() for name in ("patient_id", "pseudonym"))
        if not original or not pseudonym:
            what = "patient_id" if not original else "pseudonym"
            raise ProfileError(
                f"{what} is empty.", where=f"{path}, row {number:,}", hint="Fill it in, or delete the row."
            )
        if original in found:
            raise ProfileError(
                "the patient id occurs twice.", where=f"{path}, row {number:,}", hint="Delete one of the rows."
            )
        if pseudonym in rows:
            raise ProfileError(
                f"row {rows[pseudonym]:,} has the same pseudonym: two patients would become one.",
                where=f"{path}, row {number:,}",
                hint="Give each patient a different pseudonym.",
            )
        found[original] = pseudonym
        rows[pseudonym] = number
    return found
