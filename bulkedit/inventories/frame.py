"""The columns of an inventory, and the conversion of SearchImageSets items to rows.

Only ``imageSetId`` is guaranteed in an item; other fields may be missing or null (reference, section 6). Names, birth
dates and descriptions are not copied. The identifiers that are copied are health data too.

An item has no IssuerOfPatientID, so one PatientID may be that of two people. What differs then is the birth date or the
name. Checks of one byte tell whether these differ, and are too short to lead back to them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.client.responses import Answer

# One row per image set, by time of creation.
INVENTORY: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "version": pl.UInt32(),  # the latest when it was read; this and all below are null if not returned
        "primary": pl.Boolean(),
        "storage_tier": pl.String(),  # FREQUENT_ACCESS or ARCHIVE_INSTANT_ACCESS
        "created_at": pl.Datetime("us", "UTC"),
        "updated_at": pl.Datetime("us", "UTC"),
        "study_instance_uid": pl.String(),  # this and the next four as returned, with DICOM padding
        "series_instance_uid": pl.String(),
        "accession_number": pl.String(),
        "patient_id": pl.String(),
        "study_id": pl.String(),
        "modality": pl.String(),
        "series_in_study": pl.UInt32(),  # DICOMNumberOfStudyRelatedSeries
        "instances_in_study": pl.UInt32(),  # DICOMNumberOfStudyRelatedInstances
        "study_date": pl.String(),  # as returned, such as 20150131
        "body_part": pl.String(),
        "birth_date_check": pl.UInt8(),  # equal for equal birth dates of one patient_id; null if there is none
        "family_name_check": pl.UInt8(),  # the same of the first word of the name, without regard to case
        "given_name_check": pl.UInt8(),  # the same of the second
    }
)

# selector -> its name in a search filter and in the DICOMTags of an item
FILTERS: Final[dict[str, str]] = {
    "study_instance_uid": "DICOMStudyInstanceUID",
    "series_instance_uid": "DICOMSeriesInstanceUID",
    "accession_number": "DICOMAccessionNumber",
    "patient_id": "DICOMPatientId",
    "study_id": "DICOMStudyId",
}
# selectors whose stored text may be padded: in the service's model a UID has digits and dots only. They are LO and SH,
# so blanks at the beginning are not significant either (PS3.5 section 6.2).
PADDED: Final = ("accession_number", "patient_id", "study_id")

# in the order of INVENTORY; times in microseconds since 1970
Row: TypeAlias = (
    "tuple[str, int | None, bool | None, str | None, int | None, int | None, *tuple[str | int | None, ...]]"
)
CREATED: Final = 4  # index of created_at in a row

_TIMES: Final = ("created_at", "updated_at")
_ROWS: Final = pl.Schema({name: pl.Int64() if name in _TIMES else kind for name, kind in INVENTORY.items()})
_LARGEST: Final = 2**32 - 1


def row_of(item: Answer) -> Row:
    """Convert an item of SearchImageSets to a row. Raises ValueError, without values, if it has no imageSetId."""
    image_set_id = item.get("imageSetId")
    if not isinstance(image_set_id, str) or not image_set_id:
        raise ValueError("an item without imageSetId")
    tags = item.get("DICOMTags")
    if not isinstance(tags, dict):
        tags = {}
    primary = item.get("isPrimary")
    keys = [_text(tags.get(tag)) for tag in FILTERS.values()]
    series = _whole(tags.get("DICOMNumberOfStudyRelatedSeries"))
    instances = _whole(tags.get("DICOMNumberOfStudyRelatedInstances"))
    texts = (_text(tags.get("DICOMStudyDate")), _text(tags.get("DICOMSeriesBodyPart")))
    described = (*keys, _text(tags.get("DICOMSeriesModality")), series, instances, *texts, *_checks(tags))
    return (
        image_set_id,
        _whole(item.get("version")),
        primary if isinstance(primary, bool) else None,
        _text(item.get("storageTier")),
        _micros(item.get("createdAt")),
        _micros(item.get("updatedAt")),
        *described,
    )


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # JSON allows half of a surrogate pair, which cannot be encoded in a file
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _checks(tags: Answer) -> tuple[int | None, ...]:
    """Return the checks of birth date, family name and given name; None for what is not in the item."""
    patient, date, name = (
        (_text(tags.get(tag)) or "").strip(" \0")
        for tag in ("DICOMPatientId", "DICOMPatientBirthDate", "DICOMPatientName")
    )
    # some systems leave out the ideographic and phonetic groups, which follow "="
    family, given, *_ = (*name.split("=")[0].translate(_SEPARATORS).casefold().split(), "", "")
    return tuple(_check(patient, text) for text in (date, family, given))


_SEPARATORS: Final = str.maketrans("^,\0", "   ")


def _check(patient: str, text: str) -> int | None:
    """Return a byte that depends on a patient id and a text; None for an empty text."""
    return hashlib.blake2b(f"{patient}\0{text}".encode(), digest_size=1).digest()[0] if text else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None


def _micros(value: object) -> int | None:
    """Convert a datetime (from botocore) or epoch seconds (from the wire) to microseconds."""
    seconds = value.timestamp() if isinstance(value, datetime) else value
    if isinstance(seconds, (int, float)) and abs(seconds) < 1e11:
        return round(seconds * 1e6)
    return None


def moment(micros: int) -> datetime:
    """Convert microseconds since 1970 to a time."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def frame_of(rows: Iterable[Row]) -> pl.DataFrame:
    """Convert rows to a frame of the schema `INVENTORY`."""
    return pl.DataFrame(list(rows), schema=_ROWS, orient="row").cast(INVENTORY)


def empty() -> pl.DataFrame:
    """Return an inventory without rows."""
    return pl.DataFrame(schema=INVENTORY)


def trimmed(column: str | pl.Expr) -> pl.Expr:
    """Return an identifier without DICOM padding: trailing spaces, or NULs after a UID (PS3.5 section 6.2).

    For the columns of `PADDED`, spaces at the beginning are left out too. An empty identifier becomes null, so that it
    never matches all studies without one.
    """
    text = pl.col(column) if isinstance(column, str) else column
    if isinstance(column, str) and column in PADDED:
        text = text.str.strip_chars_start(" ")
    text = text.str.strip_chars_end(" \0")
    return pl.when(text != "").then(text)


def trimmed_key() -> pl.Expr:
    """Return ``key`` as `trimmed` would return it from the column that ``selector`` names."""
    text = pl.col("key")
    return trimmed(
        pl.when(pl.col("selector").is_in(list(PADDED))).then(text.str.strip_chars_start(" ")).otherwise(text)
    )
