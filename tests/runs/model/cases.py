"""The cases that are explored."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from bulkedit import plans
from bulkedit.options.running import OnConflict
from tests.runs.factories import row
from tests.runs.model.case import Case
from tests.runs.model.service import POISON, Switches

A, B = "a" * 32, "b" * 32
STUDY: Final = "1.2.3"
FIRST: Final = {
    "Patient": {"DICOM": {"PatientName": "DOE"}},
    "Study": {"DICOM": {"StudyDescription": "CHEST", "AccessionNumber": "A1"}},
}


def _series(number: int) -> dict[str, Any]:
    series = {f"{STUDY}.{number}": {"DICOM": {"SeriesDescription": "S"}}}
    return {**FIRST, "Study": {**FIRST["Study"], "Series": series}}


def name(value: str, **fields: Any) -> dict[str, Any]:
    return row(A, "PatientName", value, **fields)


def description(value: str, **fields: Any) -> dict[str, Any]:
    return row(A, "StudyDescription", value, **fields)


def remove(attribute: str, **fields: Any) -> dict[str, Any]:
    return row(A, attribute, {}, action="remove", **fields)


REVERT: Final = row(A, action="revert", revert_to=1)
LISTS: Final[dict[str, list[dict[str, Any]]]] = {
    "two sets": [name("ROE"), description("HEAD")],
    "named and not": [name("ROE", version=1), description("HEAD")],
    "named one after the other": [name("ROE", version=1), description("HEAD", version=2)],
    "both name the first": [name("ROE", version=1), description("HEAD", version=1)],
    "removal and set": [remove("AccessionNumber"), description("HEAD")],
    "set and removal": [description("HEAD"), remove("StudyDescription")],
    "two removals": [remove("AccessionNumber"), remove("AccessionNumber")],
    "what holds already": [name("DOE"), description("HEAD")],
    "set and what holds already": [name("ROE"), description("CHEST")],
    "one place twice": [name("ROE"), name("POE")],
    "set and revert": [name("ROE"), REVERT],
    "revert and set": [name("ROE"), REVERT, description("HEAD")],
    "a bad one first": [name(POISON), description("HEAD")],
    "a bad one last": [name("ROE"), description(POISON)],
}
MERGED: Final[dict[str, list[dict[str, Any]]]] = {
    "merged": [name("ROE"), description("HEAD")],
    "merged, with a bad one": [name("ROE"), description(POISON)],
    "merged, with a removal": [name("ROE"), remove("AccessionNumber")],
    "merged, named, with a bad one": [name("ROE", version=1), description(POISON, version=1)],
}
STUDIES: Final[dict[str, list[dict[str, Any]]]] = {
    "study, then a sibling": [
        row(A, "StudyDescription", "HEAD"),
        row(B, "StudyDescription", "HEAD"),
        row(B, action="revert", revert_to=1),
    ],
    "a sibling, then study": [
        row(B, "SeriesDescription", "T", series_uid=f"{STUDY}.2"),
        row(A, "StudyDescription", "HEAD"),
        row(B, "StudyDescription", "HEAD"),
    ],
}
NAMES: Final = [*LISTS, *MERGED, *STUDIES]
# what another writer writes: something else, what is there already, what we set and something else
WRITES: Final = {
    "else": {"Study": {"DICOM": {"StudyID": "9"}}},
    "same": {},
    "both": {
        "Patient": {"DICOM": {"PatientName": "ROE"}},
        "Study": {"DICOM": {"StudyDescription": "HEAD", "StudyID": "9"}},
    },
}


def case(
    of: str,
    switches: Switches | None = None,
    policy: OnConflict = OnConflict.RETRY,
    writes: tuple[str, ...] = tuple(WRITES),
) -> Case:
    """A case by the name of its list."""
    chosen = {word: WRITES[word] for word in writes}
    if of in STUDIES:
        known = pl.DataFrame([(one, STUDY, True) for one in (A, B)], schema=plans.KNOWN, orient="row")
        documents = [_series(1), _series(2)]
        return Case(
            of,
            STUDIES[of],
            documents=documents,
            writes=chosen,
            switches=switches,
            policy=policy,
            known=known,
            merge=True,
            wide=("both",),
        )
    rows = LISTS.get(of) or MERGED[of]
    return Case(of, rows, documents=[FIRST], writes=chosen, switches=switches, policy=policy, merge=of in MERGED)


# each value of each switch beside each of every other
COVERING: Final = [
    Switches(),
    Switches(failed="kept", stale="conflict", removal="empty"),
    Switches(stale="conflict", checks="version-first", removal="any"),
    Switches(failed="kept", checks="version-first"),
    Switches(stale="conflict", checks="content-first"),
    Switches(checks="content-first", removal="empty"),
    Switches(failed="kept", checks="content-first", removal="any"),
    Switches(checks="version-first", removal="empty"),
    Switches(failed="kept", removal="any"),
]
