"""Frames to lanes of calls, the estimate, and the plan as a folder."""

from bulkedit.plans.build import Plan, Settings, make
from bulkedit.plans.conflicts import Contradictions, no_such_place, other_series
from bulkedit.plans.estimate import RAISED, Estimate, Quotas, estimate, quota_request, seconds_at
from bulkedit.plans.folder import MANIFEST, SavedPlan, copy, load, save
from bulkedit.plans.schema import CALLS, PLANNED_EDITS, Lane, PlannedCall, Recipe
from bulkedit.plans.skip_satisfied import holds, needless
from bulkedit.plans.split import part_of, parts
from bulkedit.plans.study_wide import KNOWN, StudyWide, beyond_knowledge, torn_by
from bulkedit.plans.torn_studies import is_top, warnings
from bulkedit.plans.via_copy import ViaCopy, wanting

__all__ = [
    "CALLS",
    "KNOWN",
    "MANIFEST",
    "PLANNED_EDITS",
    "RAISED",
    "Contradictions",
    "Estimate",
    "Lane",
    "Plan",
    "PlannedCall",
    "Quotas",
    "Recipe",
    "SavedPlan",
    "Settings",
    "StudyWide",
    "ViaCopy",
    "beyond_knowledge",
    "copy",
    "estimate",
    "holds",
    "is_top",
    "load",
    "make",
    "needless",
    "no_such_place",
    "other_series",
    "part_of",
    "parts",
    "quota_request",
    "save",
    "seconds_at",
    "torn_by",
    "wanting",
    "warnings",
]
