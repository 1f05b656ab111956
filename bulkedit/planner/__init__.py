"""Frames to lanes of calls, the estimate, and the plan as a folder."""

from bulkedit.planner.checks import Contradictions
from bulkedit.planner.estimate import RAISED, Estimate, Quotas, estimate, quota_request, seconds_at
from bulkedit.planner.frames import CALLS, PLANNED_EDITS, Lane, PlannedCall
from bulkedit.planner.make import Plan, Settings, make
from bulkedit.planner.saved import MANIFEST, SavedPlan, copy, load, save
from bulkedit.planner.split import part_of, parts

__all__ = [
    "CALLS",
    "MANIFEST",
    "PLANNED_EDITS",
    "RAISED",
    "Contradictions",
    "Estimate",
    "Lane",
    "Plan",
    "PlannedCall",
    "Quotas",
    "SavedPlan",
    "Settings",
    "copy",
    "estimate",
    "load",
    "make",
    "part_of",
    "parts",
    "quota_request",
    "save",
    "seconds_at",
]
