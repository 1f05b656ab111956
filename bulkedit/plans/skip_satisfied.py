"""Which edits hold already in what the store has, and which of those a plan can do without (`--skip-satisfied`).

Leaving edits out never changes the final documents, but for padding. So what counts is what a place (an attribute, at
its level, of its series and instance) holds after all edits of the list: if that is what it holds now, all edits of the
place are needless together, the earlier ones included. Nothing is left out of an image set with rows that name a
version or revert, because such rows tell versions apart. An image set with renamed UIDs or removed instances or series
is left out whole or not at all, and so are the Patient- and Study-level edits of a study that one call may change.
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
    """Whether the place of each edit is now as it is to be after all of them.

    ``edits``: those of one image set, in the order in which they are made; rows of `bulkedit.edits.edit.EDITS`. Where
    an edit may be refused and another of its place not (a removal that names its value, forced beside unforced), it is
    not told which of them has the last word, so nothing holds.
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
    """Whether the last of the edits of a place surely decides what it holds: none is refused where others are not."""
    by_value = any(edit["action"] == Action.REMOVE and edit["value"] != STORED_VALUE for edit in same)
    asked = {(edit["action"], edit["value"], edit["vr"]) for edit in same}
    return len(same) == 1 or not (by_value or (len(asked) > 1 and len({edit["force"] for edit in same}) > 1))


def can_leave_out(edits: pl.DataFrame, known: pl.DataFrame | None, settings: PlanningSettings) -> pl.Series:
    """Which edits a plan can do without: Boolean.

    ``edits``: as `bulkedit.plans.build` takes them, none of a row that is set aside, and ``holds`` Boolean (see
    `holds`); ``known``: `bulkedit.plans.study_wide.KNOWN`.
    """
    telling = pl.col("version").is_not_null() | (pl.col("action") == Action.REVERT)
    together = pl.col("action").is_in(_WHOLE) | pl.col("attribute").is_in(list(FORCED_UIDS)).fill_null(value=False)
    # a row that asks for the whole study changes image sets that the list may not name
    asks_wide = edits.get_column("study_wide").any()
    of_study = is_top() & pl.col("study").is_not_null() & pl.lit(settings.study_wide is not StudyWide.OFF)
    members = several_primaries(known).select(_ID, "study")
    judged = (
        edits.join(members, on=_ID, how="left", maintain_order="left")
        .with_columns(
            left_out=pl.col("already_satisfied") & ~telling.any().over(_ID) & ~(is_top() & pl.lit(asks_wide)),
            of_study=of_study,
            together=together.any().over(_ID) | pl.lit(settings.whole_rows),
        )
        .with_columns(
            # of a call for the study, the image sets that the list does not name are not known to hold it
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
