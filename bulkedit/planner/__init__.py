"""Frames to lanes of calls, the estimate, and the plan as a folder."""

from bulkedit.planner.checks import Contradictions, no_such_place, other_series
from bulkedit.planner.estimate import RAISED, Estimate, Quotas, estimate, quota_request, seconds_at
from bulkedit.planner.frames import CALLS, PLANNED_EDITS, Lane, PlannedCall, Recipe
from bulkedit.planner.make import Plan, Settings, make
from bulkedit.planner.recipes import ViaCopy, wanting
from bulkedit.planner.satisfied import holds, needless
from bulkedit.planner.saved import MANIFEST, SavedPlan, copy, load, save
from bulkedit.planner.split import part_of, parts
from bulkedit.planner.studies import KNOWN, StudyWide, beyond_knowledge, torn_by
from bulkedit.planner.torn import is_top, warnings

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
