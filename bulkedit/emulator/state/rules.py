"""Constraints on edits, and edits that need `force` (dicom-metadata-constraints, update-image-set-metadata).

Each function returns the reason for a refusal, for the ``message`` of a failed version, or None.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from bulkedit.dicom import dictionary as dicom

if TYPE_CHECKING:
    from bulkedit.emulator.settings import ServiceProfile
    from bulkedit.emulator.state.document import DocumentPlace
    from bulkedit.emulator.state.updates import AttributeChange, AttributeDocument, Updates

PREFIX: Final = "INVALID_REQUEST: "  # as in the failed version that list-image-set-versions shows

_LEVEL_SWITCHES: Final = {"Patient": "primary_patient", "Study": "primary_study", "Series": "primary_series"}


def why_refused(
    updates: Updates, profile: ServiceProfile, *, forced: bool, primary: bool, study_wide: bool, alone: bool
) -> str | None:
    """Why an update violates a constraint, as far as this is known without the stored values.

    ``alone``: the image set is the only primary one of its study.
    """
    if primary and (why := why_not_on_primary(updates, profile, forced=forced, study_wide=study_wide, alone=alone)):
        return PREFIX + why
    reasons = chain(
        (why_not_editable(change, profile, forced=forced) for change in updates.removable.changes),
        (why_not_editable(change, profile, forced=forced) for change in updates.updatable.changes),
        (why_unfit(change, forced=forced) for change in updates.updatable.changes),
        (_why_not_removable(updates.removable, profile, forced=forced),),
    )
    return next((PREFIX + why for why in reasons if why), None)


def why_not_on_primary(
    updates: Updates, profile: ServiceProfile, *, forced: bool, study_wide: bool, alone: bool
) -> str | None:
    """The rules of primary image sets (update-image-set-metadata; reference sections 2.5, 3.2 and 3.4)."""
    changed = [c for document in (updates.updatable, updates.removable) for c in document.changes]
    for level in {change.place.level for change in changed} & _LEVEL_SWITCHES.keys():
        allowed = getattr(profile, _LEVEL_SWITCHES[level])
        if study_wide or allowed == "allow" or (allowed == "single" and alone):
            continue
        return f"{level} level attributes of a primary image set cannot be updated" + (
            " alone: the study has several primary image sets" if allowed == "single" else ""
        )
    if not forced or profile.force_on_primary == "allow":
        return None
    if uid := next((c.name for c in changed if c.name in dicom.FORCED_UIDS), None):
        return f"{uid} of a primary image set cannot be updated"
    needs = profile.force_on_primary == "refuse" and any(_needs_force(change) for change in changed)
    return "force is not supported for the attributes of a primary image set" if needs else None


def _needs_force(change: AttributeChange) -> bool:
    known = dicom.attribute(change.name)
    return known is None or dicom.force_reason(known) is not None or dicom.why_unfit(known, change.value) is not None


def why_not_editable(change: AttributeChange, profile: ServiceProfile, *, forced: bool) -> str | None:
    """The constraints on one attribute (dicom-metadata-constraints, items 1 to 5, 7 and 8)."""
    if change.name in dicom.NEVER_EDITABLE:
        return f"{change.name} cannot be updated"
    known = dicom.attribute(change.name)
    if known is None:
        # the key is not quoted, because it could be health data
        return None if forced else "An attribute that is not valid in the DICOM standard can be updated only with force"
    if known.level != change.place.level:
        return f"{known.name} is not an attribute of the {change.place.level} level"
    if known.tag >> 16 == 2 and profile.group_2 == "refuse":
        return f"{known.name} cannot be updated"
    if not forced and (why := dicom.force_reason(known)):
        return f"{known.name} can be updated only with force: {why}"
    return None


def why_unfit(change: AttributeChange, *, forced: bool) -> str | None:
    """A value not valid for its VR needs force (item 6). The lengths of dicom-element-constraints always apply."""
    known, value = dicom.attribute(change.name), change.value
    if known is None:
        return None
    longest = dicom.MAX_LENGTHS.get(known.name)
    if longest is not None and isinstance(value, str) and len(value) > longest:
        return f"{known.name} may have at most {longest} characters"
    if forced or known.private:
        return None
    return f"The value of {known.name} does not fit VR {known.vr}" if dicom.why_unfit(known, value) else None


def _why_not_removable(removable: AttributeDocument, profile: ServiceProfile, *, forced: bool) -> str | None:
    if uid := next((c.name for c in removable.changes if c.name in dicom.FORCED_UIDS), None):
        return f"{uid} cannot be removed"
    for place in removable.bare:
        if place.instance is None and profile.series_removal == "refuse":
            return "A series cannot be removed"
        if place.instance is not None and profile.instance_removal == "forced" and not forced:
            return "An instance can be removed only with force"
    return None


def why_not_new_private(place: DocumentPlace, name: str, vr: object) -> str | None:
    """A new private element needs its VR in DICOMVRs (update-image-set-metadata, examples 5 and 6)."""
    if not isinstance(vr, str) or vr not in dicom.VRS:
        return f"{PREFIX}Private element {name} is new and needs a VR in DICOMVRs at the {place.level} level"
    return None
