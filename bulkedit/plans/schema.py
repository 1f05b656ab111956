"""The columns of a plan: calls in lanes, and the edits of each call."""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.edits.edit import EDITS, EditRow

# One row per call, sorted by lane, then in the order in which the calls are sent.
CALLS: Final = pl.Schema(
    {
        "call": pl.UInt32(),  # 0, 1, 2, … in the order of this frame
        "lane": pl.UInt32(),  # calls of one lane run one after another
        "image_set_id": pl.String(),
        "version": pl.UInt32(),  # the version that the rows require, or null
        "updatable": pl.String(),  # JSON document, null if nothing is set
        "removable": pl.String(),  # JSON document, null if nothing is removed
        "revert_to": pl.UInt32(),  # of a revert, else null
        "force": pl.Boolean(),
        "study_wide": pl.Boolean(),  # includeStudyImageSets: the call changes the study's other primary image sets too
        "lookup": pl.Boolean(),  # values of `removable` are read from the data store just before the call
        "edits": pl.UInt32(),  # number of edits
        "units": pl.UInt32(),  # number of parts into which the call can be split
        "bytes": pl.UInt32(),  # of the larger of the two documents, in UTF-8
        "copy_step": pl.String(),  # `bulkedit.plans.calls.CopyStep`; null if the image set is changed in place
    }
)

# One row per edit, sorted by call, then by edit.
PLANNED_EDITS: Final = pl.Schema(
    {
        "edit": pl.UInt32(),  # 0, 1, 2, … in the order of `bulkedit.edits.edit.in_order`
        "unit": pl.UInt32(),  # edits of one unit stay in one call, such as those of one row of the call form
        "call": pl.UInt32(),  # the call of this edit
        "sent": pl.Boolean(),  # false if a later edit of the call supersedes it, or another edit covers it
        "same_as": pl.UInt32(),  # of a covered edit: the edit of a study-wide call that covers it; else null
        "image_set_id": pl.String(),
        **{name: dtype for name, dtype in EDITS.items() if name not in {"selector", "key"}},
    }
)


class PlannedEdit(EditRow):
    """The fields of a row of `PLANNED_EDITS` that are used. Contains health data: never log it."""

    edit: int
    unit: int
