"""Report of a run: the outcome of every edit as frames, as result files that can be planned again, and as a page."""

from bulkedit.after.report.by_inventory import KINDS, ByInventory, edits_by
from bulkedit.after.report.next_steps import NextStep, next_steps
from bulkedit.after.report.outcomes import OUTCOMES, CallOutcomes, outcomes
from bulkedit.after.report.page import write_page
from bulkedit.after.report.results import FORMATS, ResultFile, Results, write

__all__ = [
    "FORMATS",
    "KINDS",
    "OUTCOMES",
    "ByInventory",
    "CallOutcomes",
    "NextStep",
    "ResultFile",
    "Results",
    "edits_by",
    "next_steps",
    "outcomes",
    "write",
    "write_page",
]
