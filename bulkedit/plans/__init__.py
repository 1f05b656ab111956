"""Plans: lanes of calls made from edits, their estimate, and the folder that stores them.

The modules are imported on first use, because most of them import polars.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bulkedit.options.listing import Contradictions, StudyWide
    from bulkedit.plans.build import Plan, PlanningSettings, make
    from bulkedit.plans.calls import CopyStep, Lane, PlannedCall
    from bulkedit.plans.conflicts import no_such_place, of_several_issuers, other_series
    from bulkedit.plans.counts import Estimate
    from bulkedit.plans.estimates import Quotas, estimate, quota_request, rows_in_several_calls, seconds_at
    from bulkedit.plans.folder import copy, load, save, saving
    from bulkedit.plans.inconsistent_studies import is_top, warnings
    from bulkedit.plans.saved import MANIFEST, SavedPlan, load_manifest
    from bulkedit.plans.schema import CALLS, PLANNED_EDITS
    from bulkedit.plans.skip_satisfied import already_satisfied, can_leave_out
    from bulkedit.plans.split import part_of, parts
    from bulkedit.plans.study_wide import KNOWN, edits_of_unknown_study, inconsistent_studies_of
    from bulkedit.plans.via_copy import ViaCopy, may_need_copy

__all__ = [
    "CALLS",
    "KNOWN",
    "MANIFEST",
    "PLANNED_EDITS",
    "Contradictions",
    "CopyStep",
    "Estimate",
    "Lane",
    "Plan",
    "PlannedCall",
    "PlanningSettings",
    "Quotas",
    "SavedPlan",
    "StudyWide",
    "ViaCopy",
    "already_satisfied",
    "can_leave_out",
    "copy",
    "edits_of_unknown_study",
    "estimate",
    "inconsistent_studies_of",
    "is_top",
    "load",
    "load_manifest",
    "make",
    "may_need_copy",
    "no_such_place",
    "of_several_issuers",
    "other_series",
    "part_of",
    "parts",
    "quota_request",
    "rows_in_several_calls",
    "save",
    "saving",
    "seconds_at",
    "warnings",
]

_MODULES: Final = {
    "build": (
        "Plan",
        "PlanningSettings",
        "make",
    ),
    "calls": (
        "Lane",
        "PlannedCall",
        "CopyStep",
    ),
    "conflicts": (
        "Contradictions",
        "no_such_place",
        "of_several_issuers",
        "other_series",
    ),
    "counts": ("Estimate",),
    "estimates": (
        "Quotas",
        "estimate",
        "quota_request",
        "rows_in_several_calls",
        "seconds_at",
    ),
    "folder": (
        "copy",
        "load",
        "save",
        "saving",
    ),
    "saved": (
        "MANIFEST",
        "SavedPlan",
        "load_manifest",
    ),
    "schema": (
        "CALLS",
        "PLANNED_EDITS",
    ),
    "skip_satisfied": (
        "already_satisfied",
        "can_leave_out",
    ),
    "split": (
        "part_of",
        "parts",
    ),
    "study_wide": (
        "KNOWN",
        "StudyWide",
        "edits_of_unknown_study",
        "inconsistent_studies_of",
    ),
    "inconsistent_studies": (
        "is_top",
        "warnings",
    ),
    "via_copy": (
        "ViaCopy",
        "may_need_copy",
    ),
}
_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
