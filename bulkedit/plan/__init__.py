"""Frames to lanes of calls, the estimate, and the plan as a folder."""

from bulkedit.plan.checks import Contradictions
from bulkedit.plan.estimate import RAISED, Estimate, Quotas, estimate, quota_request, seconds_at
from bulkedit.plan.frames import CALLS, PLANNED_EDITS, Lane, PlannedCall
from bulkedit.plan.make import Plan, Settings, make
from bulkedit.plan.saved import MANIFEST, SavedPlan, copy, load, save
from bulkedit.plan.split import part_of, parts
from bulkedit.plan.studies import KNOWN, StudyWide, beyond_knowledge, is_top

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
    "SavedPlan",
    "Settings",
    "StudyWide",
    "beyond_knowledge",
    "copy",
    "estimate",
    "is_top",
    "load",
    "make",
    "part_of",
    "parts",
    "quota_request",
    "save",
    "seconds_at",
]
