"""Finds edits that the data store already satisfies, and those of them that can be left out (`--skip-satisfied`).

Leaving edits out never changes the final documents, except for padding. The rules:

*   A place is an attribute at its level, of its series and instance. If its value after all edits of the list is the
    stored one, all edits of the place can be left out together, the earlier ones included.
*   If a row of an image set names a version or reverts, nothing of the image set is left out, because leaving edits out
    would change its versions.
*   If an image set has changes of UIDs or removals of instances or series, all of its edits are left out, or none. The
    same applies to the Patient- and Study-level edits of a study that one call may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom.dictionary import FORCED_UIDS
from bulkedit.edits.compare import difference, expected_changes, old_name_stays
from bulkedit.edits.edit import STORED_VALUE, Action
from bulkedit.options.listing import StudyWide
from bulkedit.plans.inconsistent_studies import is_top
from bulkedit.plans.study_wide import several_primaries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkedit._json import Json
    from bulkedit.edits.edit import EditRow
    from bulkedit.plans.build import PlanningSettings

_ID: Final = "image_set_id"
_WHOLE: Final = [str(Action.REMOVE_INSTANCE), str(Action.REMOVE_SERIES)]


def already_satisfied(edits: Sequence[EditRow], document: Mapping[str, Json]) -> list[bool]:
    """Return for each edit whether its place already has the state that all edits lead to.

    ``edits``: those of one image set, in the order of application; rows of `bulkedit.edits.edit.EDITS`. The service may
    refuse one edit of a place and accept another (a removal that names its value, or forced and unforced edits). Then
    the last edit may not decide, so the result is False.
    """
    places = [(edit["level"], edit["series_uid"], edit["instance_uid"], edit["attribute"]) for edit in edits]
    asked: dict[tuple[str | None, ...], list[EditRow]] = {}
    for place, edit in zip(places, edits, strict=True):
        asked.setdefault(place, []).append(edit)
    found = {place: _last_edit_decides(same) for place, same in asked.items()}
    for place, one in zip(places, expected_changes(edits), strict=True):
        there = one.superseded or (difference(one, document) is None and not old_name_stays(one, document))
        found[place] = found[place] and there
    return [found[place] for place in places]


def _last_edit_decides(same: Sequence[EditRow]) -> bool:
    """Whether the last edit of a place certainly decides its value, because the service accepts all edits or none."""
    by_value = any(edit["action"] == Action.REMOVE and edit["value"] != STORED_VALUE for edit in same)
    asked = {(edit["action"], edit["value"], edit["vr"]) for edit in same}
    return len(same) == 1 or not (by_value or (len(asked) > 1 and len({edit["force"] for edit in same}) > 1))


def can_leave_out(edits: pl.DataFrame, known: pl.DataFrame | None, settings: PlanningSettings) -> pl.Series:
    """Return which edits can be left out of a plan: Boolean.

    ``edits``: as for `bulkedit.plans.build.make`, without rows that are set aside, and with ``already_satisfied``
    Boolean; ``known``: `bulkedit.plans.study_wide.KNOWN`.
    """
    versioned = pl.col("version").is_not_null() | (pl.col("action") == Action.REVERT)
    together = pl.col("action").is_in(_WHOLE) | pl.col("attribute").is_in(list(FORCED_UIDS)).fill_null(value=False)
    # a study-wide row changes image sets that the list may not name
    any_study_wide = edits.get_column("study_wide").any()
    of_study = is_top() & pl.col("study").is_not_null() & pl.lit(settings.study_wide is not StudyWide.OFF)
    members = several_primaries(known).select(_ID, "study")
    judged = (
        edits.join(members, on=_ID, how="left", maintain_order="left")
        .with_columns(
            left_out=pl.col("already_satisfied") & ~versioned.any().over(_ID) & ~(is_top() & pl.lit(any_study_wide)),
            of_study=of_study,
            together=together.any().over(_ID) | pl.lit(settings.whole_rows),
        )
        .with_columns(
            # image sets of the study that the list does not name have not been read
            left_out=pl.col("left_out") & ~(pl.col("of_study") & pl.lit(settings.study_wide is StudyWide.ON))
        )
    )
    while True:
        after = judged.with_columns(
            left_out=pl.when("of_study").then(pl.col("left_out").all().over("study", "of_study")).otherwise("left_out")
        ).with_columns(left_out=pl.when("together").then(pl.col("left_out").all().over(_ID)).otherwise("left_out"))
        if after.get_column("left_out").equals(judged.get_column("left_out")):
            return after.get_column("left_out")
        judged = after
