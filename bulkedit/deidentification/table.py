"""PS3.15 Annex E as data: the Basic Profile by edition, the option columns, and actions for attributes it omits.

The Basic Profile comes from the tables of the package dicom-anonymizer. The option columns in ``data/deid`` are those
of edition 2024b. Rows of other editions have no option codes there: they follow the Basic Profile, which is safer.
"""

from __future__ import annotations

import csv
import functools
import importlib
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Final

from bulkedit.errors import ProfileError


class ProfileAction(StrEnum):
    """The action for an attribute. The first six are the codes of Annex E; the others come from profiles and options.

    A stateful action (`STATEFUL`) that is applied to its own result changes it again; the others do not.
    """

    KEEP = "keep"  # K: unchanged; the items of a sequence are cleaned
    REMOVE = "remove"  # X
    EMPTY = "empty"  # Z: kept without a value
    DUMMY = "dummy"  # D: a constant valid for its VR
    UID = "uid"  # U: a UID from the key; the items of a sequence are cleaned
    CLEAN = "clean"  # C: texts in the profile's vocabulary are kept, others follow the Basic Profile
    SHIFT = "shift"  # dates and times are shifted by the patient's offset
    PSEUDONYM = "pseudonym"  # an identifier from the key, or from the user's mapping
    CAP = "cap"  # ages above 89 years become 090Y
    REPLACE = "replace"  # a value of the profile


STATEFUL: Final = frozenset({ProfileAction.UID, ProfileAction.SHIFT, ProfileAction.PSEUDONYM})

# edition -> table of dicom-anonymizer, and its number of rows
EDITIONS: Final[dict[str, tuple[str, int]]] = {
    "2023": ("dicomfields_2023", 609),
    "2024b": ("dicomfields_2024b", 620),
    "2026c": ("dicomfields_2026c", 655),
}
OPTIONS_EDITION: Final = "2024b"
_OPTION_ROWS: Final = 422

# A compound code offers a choice that depends on the IOD. The choice here keeps every IOD valid and nothing of the
# old value.
_LISTS: Final[dict[str, tuple[str, ProfileAction]]] = {
    "D_TAGS": ("D", ProfileAction.DUMMY),
    "Z_TAGS": ("Z", ProfileAction.EMPTY),
    "X_TAGS": ("X", ProfileAction.REMOVE),
    "U_TAGS": ("U", ProfileAction.UID),
    "Z_D_TAGS": ("Z/D", ProfileAction.DUMMY),
    "X_Z_TAGS": ("X/Z", ProfileAction.EMPTY),
    "X_D_TAGS": ("X/D", ProfileAction.DUMMY),
    "X_Z_D_TAGS": ("X/Z/D", ProfileAction.DUMMY),
    "X_Z_U_STAR_TAGS": ("X/Z/U*", ProfileAction.UID),
}
# Attributes of group 0002 that the service keeps and Annex E does not list: they identify sender and software.
GROUP_2: Final[dict[int, ProfileAction]] = {
    0x00020013: ProfileAction.REMOVE,  # ImplementationVersionName
    0x00020016: ProfileAction.REMOVE,  # SourceApplicationEntityTitle
    0x00020017: ProfileAction.REMOVE,  # SendingApplicationEntityTitle
    0x00020018: ProfileAction.REMOVE,  # ReceivingApplicationEntityTitle
    0x00020026: ProfileAction.REMOVE,  # SourcePresentationAddress
    0x00020027: ProfileAction.REMOVE,  # SendingPresentationAddress
    0x00020028: ProfileAction.REMOVE,  # ReceivingPresentationAddress
    0x00020100: ProfileAction.REMOVE,  # PrivateInformationCreatorUID
    0x00020102: ProfileAction.REMOVE,  # PrivateInformation
}
# Attributes of edition 2026c that pydicom's dictionary lacks. Documents may name them by keyword.
NEWER: Final[dict[str, int]] = {
    "PrincipalDiagnosisCodeSequence": 0x00081301,
    "PrimaryDiagnosisCodeSequence": 0x00081302,
    "SecondaryDiagnosesCodeSequence": 0x00081303,
    "HistologicalDiagnosesCodeSequence": 0x00081304,
    "PersonNamesToUseSequence": 0x00100011,
    "NameToUse": 0x00100012,
    "NameToUseComment": 0x00100013,
    "ThirdPersonPronounsSequence": 0x00100014,
    "PronounCodeSequence": 0x00100015,
    "PronounComment": 0x00100016,
    "GenderIdentitySequence": 0x00100041,
    "SexParametersForClinicalUseCategoryComment": 0x00100042,
    "SexParametersForClinicalUseCategorySequence": 0x00100043,
    "GenderIdentityCodeSequence": 0x00100044,
    "GenderIdentityComment": 0x00100045,
    "SexParametersForClinicalUseCategoryCodeSequence": 0x00100046,
    "SexParametersForClinicalUseCategoryReference": 0x00100047,
    "EthnicGroups": 0x00102162,
    "EffectiveStartDateTime": 0x0040A034,
    "EffectiveStopDateTime": 0x0040A035,
    "AnnotationDateTime": 0x0040B034,
    "SegmentDefinitionDateTime": 0x0040B036,
    "MontageName": 0x0040B03B,
    "MontageChannelLabel": 0x0040B03F,
    "DisplayURI": 0x0040E012,
}


@dataclass(frozen=True, slots=True)
class Mask:
    """A tag with wildcard digits, for example 60xx,4000."""

    value: int
    mask: int

    def matches(self, tag: int) -> bool:
        """Whether the mask includes the tag."""
        return tag & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One row of Table E.1-1: the printed code, and the action chosen for it."""

    code: str
    action: ProfileAction


@dataclass(frozen=True, slots=True)
class BasicProfileTable:
    """The Basic Profile of one edition."""

    edition: str
    rows: dict[int, Row]  # by tag
    masks: list[tuple[Mask, Row]]  # of the repeating groups

    def of(self, tag: int) -> Row | None:
        """The row of a tag; None if the table does not list it."""
        return self.rows.get(tag) or next((row for mask, row in self.masks if mask.matches(tag)), None)

    def __len__(self) -> int:
        """The number of rows, without the row for private attributes."""
        return len(self.rows) + len(self.masks)


def parse_mask(text: str) -> Mask:
    """Parse ``60xx,4000``, in which x is any digit. Raises ValueError."""
    digits = text.replace(",", "").strip("()").upper()
    if len(digits) != 8:
        raise ValueError("a tag has eight digits")
    mask = int("".join("0" if digit == "X" else "F" for digit in digits), 16)
    return Mask(int(digits.replace("X", "0"), 16), mask)


@functools.cache
def table(edition: str) -> BasicProfileTable:
    """The Basic Profile of an edition. Raises ProfileError if it is not installed, or has an unexpected size."""
    name, expected = EDITIONS[edition]
    try:
        found = importlib.import_module(f"dicomanonymizer.dicom_anonymization_databases.{name}")
    except ImportError as error:
        raise ProfileError(
            f"the tables of PS3.15 Annex E {edition} are not installed.",
            hint="Install them: pip install 'bulkedit[deid]'",
        ) from error
    rows: dict[int, Row] = {}
    masks: list[tuple[Mask, Row]] = []
    for category, (code, action) in _LISTS.items():
        for tag in getattr(found, category):
            number = tag[0] << 16 | tag[1]
            if len(tag) == 4:
                mask = tag[2] << 16 | tag[3]
                masks.append((Mask(number & mask, mask), Row(code, action)))
            else:
                rows[number] = Row(code, action)
    made = BasicProfileTable(edition, rows, masks)
    if len(made) != expected:
        raise ProfileError(
            f"the table of PS3.15 Annex E {edition} has {len(made)} rows instead of {expected}.",
            likely="The installed version of the package dicom-anonymizer is not the one that bulkedit needs.",
            hint="Install the right one: pip install 'bulkedit[deid]'",
        )
    return made


@dataclass(frozen=True, slots=True)
class OptionColumns:
    """The option columns of Table E.1-1, K (keep) or C (clean) by option."""

    rows: dict[int, dict[str, str]]
    masks: list[tuple[Mask, dict[str, str]]]

    def of(self, tag: int) -> dict[str, str]:
        """The codes of a tag by option."""
        found = self.rows.get(tag)
        if found is not None:
            return found
        return next((codes for mask, codes in self.masks if mask.matches(tag)), {})


@functools.cache
def options() -> OptionColumns:
    """The option columns of edition 2024b; option names have hyphens, as in profiles."""
    rows: dict[int, dict[str, str]] = {}
    masks: list[tuple[Mask, dict[str, str]]] = []
    lines = list(csv.DictReader(_text(f"annex-e-options-{OPTIONS_EDITION}.csv").splitlines()))
    if len(lines) != _OPTION_ROWS:
        raise ProfileError(f"the option table has {len(lines)} rows instead of {_OPTION_ROWS}.")
    for line in lines:
        tag = line.pop("tag")
        codes = {name.replace("_", "-"): code for name, code in line.items() if code and name != "name"}
        if tag == "private":
            continue  # retain-safe-private: `safe_private` has the elements
        mask = parse_mask(tag)
        if mask.mask == 0xFFFFFFFF:
            rows[mask.value] = codes
        else:
            masks.append((mask, codes))
    return OptionColumns(rows, masks)


@functools.cache
def safe_private() -> frozenset[tuple[str, int, int]]:
    """Private elements that are safe by Table E.3.10-1: (creator, group, last two digits of the element).

    Only elements of CT, MR and PET with numbers or codes are included. Profiles may add more.
    """
    lines = csv.DictReader(_text("safe-private.csv").splitlines())
    return frozenset((line["creator"], *private_element(line["element"])) for line in lines)


def private_element(text: str) -> tuple[int, int]:
    """Parse ``0019,xx0C`` as (group, last two digits of the element). Raises ValueError."""
    group, _, element = text.strip("()").partition(",")
    number = int(group, 16)
    if not number & 1 or len(element) != 4 or element[:2].lower() != "xx":
        raise ValueError("a private element is written gggg,xxee")
    return number, int(element[-2:], 16)


def _text(name: str) -> str:
    return resources.files("bulkedit").joinpath(f"data/deid/{name}").read_text("utf-8")
