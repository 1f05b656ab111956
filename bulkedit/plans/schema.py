"""The columns of a plan: calls in lanes, and the edits that each call carries."""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.edits.edit import EDITS, EditRow

# One row a call, sorted by lane, and inside a lane in the order in which the calls are sent.
CALLS: Final = pl.Schema(
    {
        "call": pl.UInt32(),  # 0, 1, 2, … in the order of this frame
        "lane": pl.UInt32(),  # calls of one lane run one after another
        "image_set_id": pl.String(),
        "version": pl.UInt32(),  # the version that the rows insist on, null where they do not care
        "updatable": pl.String(),  # JSON document, null where nothing is inserted or overwritten
        "removable": pl.String(),  # JSON document, null where nothing is removed
        "revert_to": pl.UInt32(),  # null but for a revert
        "force": pl.Boolean(),
        "study_wide": pl.Boolean(),  # includeStudyImageSets: the call changes the other primary image sets too
        "lookup": pl.Boolean(),  # `removable` has values to be read from the store just before the call
        "edits": pl.UInt32(),  # how many edits the call carries
        "units": pl.UInt32(),  # into how many parts it can be split
        "bytes": pl.UInt32(),  # of the larger of the two documents, in UTF-8
        "copy_step": pl.String(),  # `bulkedit.plans.calls.CopyStep`; null where the call changes its image set in place
    }
)

# One row an edit, sorted by call, then by edit.
PLANNED_EDITS: Final = pl.Schema(
    {
        "edit": pl.UInt32(),  # 0, 1, 2, … in the order of `bulkedit.edits.edit.in_order`
        "unit": pl.UInt32(),  # edits of one unit are never parted: those of one row of the call form
        "call": pl.UInt32(),  # the call that carries it
        "sent": pl.Boolean(),  # false where a later edit of the call has taken its place, or another stands for it
        "same_as": pl.UInt32(),  # the edit of the call that stands for it in other image sets of the study, else null
        "image_set_id": pl.String(),
        **{name: dtype for name, dtype in EDITS.items() if name not in {"selector", "key"}},
    }
)


class PlannedEdit(EditRow):
    """A row of `PLANNED_EDITS`, of which these are used. Holds health data: never log it."""

    edit: int
    unit: int
