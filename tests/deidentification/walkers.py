"""What the tests of de-identification share: a key, walkers, and edits applied to a document one by one."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from bulkedit import deidentification
from bulkedit.deidentification import keys, profile
from bulkedit.dicom import dictionary as dicom

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = keys.checked(b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "the tests")
ID = "0" * 32


def made(text: str) -> deidentification.DeidProfile:
    """A profile from TOML; name and edition are put before it where it lacks them."""
    head = "" if "edition" in text else 'edition = "2026c"\n'
    return profile.parse(f'name = "test"\n{head}{text}'.encode(), where="test.toml", folder=None)


def walker(of: deidentification.DeidProfile | str, *, limit: int = 10_000, **options: Any) -> deidentification.Walker:
    found = deidentification.load_profile(of) if isinstance(of, str) else of
    return deidentification.DeidRecipe(profile=found, key=KEY, payload_limit=limit, **options).walker()


def document(
    instance: dict[str, Any] | None = None,
    *,
    patient: dict[str, Any] | None = None,
    study: dict[str, Any] | None = None,
    series: dict[str, Any] | None = None,
    vrs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A metadata document of one instance."""
    own = {"SOPInstanceUID": "1.2.3.1.1", **(instance or {})}
    return {
        "SchemaVersion": "1.1",
        "Patient": {"DICOM": {"PatientID": "P1", "PatientName": "DOE^JANE", **(patient or {})}},
        "Study": {
            "DICOM": {"StudyInstanceUID": "1.2.3", **(study or {})},
            "Series": {
                "1.2.3.1": {
                    "DICOM": {"SeriesInstanceUID": "1.2.3.1", **(series or {})},
                    "Instances": {"1.2.3.1.1": {"DICOM": own, "DICOMVRs": vrs or {}}},
                }
            },
        },
    }


def applied(before: dict[str, Any], edits: Iterable[deidentification.Edit]) -> dict[str, Any]:
    """A document after edits, without anything of the planner or the emulator. Map keys keep their UIDs."""
    after = copy.deepcopy(before)
    for edit in edits:
        known = dicom.attribute(edit.attribute)
        assert known is not None
        place = level_of(after, str(known.level), edit)
        if edit.action == "remove":
            del place[edit.attribute]
        else:
            place[edit.attribute] = value_of(known, edit.value)
    return after


def value_of(known: dicom.Attribute, text: str | None) -> Any:
    if text is None:
        return None
    kind = dicom.VRS[known.vr].kind
    if known.vr == "SQ" or known.multi or kind in {dicom.ValueKind.INTEGER, dicom.ValueKind.FLOAT}:
        return json.loads(text)
    return text


def level_of(content: dict[str, Any], level: str, edit: deidentification.Edit | None = None) -> dict[str, Any]:
    """The attributes of one level."""
    if level == "Patient":
        found: dict[str, Any] = content["Patient"]["DICOM"]
        return found
    node = content["Study"]
    if level != "Study":
        node = node["Series"][edit.series_uid if edit else next(iter(node["Series"]))]
    if level == "Instance":
        node = node["Instances"][edit.instance_uid if edit else next(iter(node["Instances"]))]
    place: dict[str, Any] = node["DICOM"]
    return place
