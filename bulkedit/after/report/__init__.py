"""Report of a run: the outcome of every edit as frames, as result files that can be planned again, and as a page."""

from bulkedit.after.report.by_inventory import KINDS, ByPlace, by_place
from bulkedit.after.report.next_steps import NextStep, next_steps
from bulkedit.after.report.outcomes import OUTCOMES, CallOutcomes, outcomes
from bulkedit.after.report.page import write_page
from bulkedit.after.report.results import FORMATS, ResultFile, Results, write

__all__ = [
    "FORMATS",
    "KINDS",
    "OUTCOMES",
    "ByPlace",
    "CallOutcomes",
    "NextStep",
    "ResultFile",
    "Results",
    "by_place",
    "next_steps",
    "outcomes",
    "write",
    "write_page",
]
