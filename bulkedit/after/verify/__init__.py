"""Verify a run: read its image sets, compare them with every applied edit, and list the differences."""

from bulkedit.after.verify.folder import DIFFERENCES, KEPT, Verification, load
from bulkedit.after.verify.job import VerifyProgress, verify
from bulkedit.edits.compare import Difference

__all__ = [
    "DIFFERENCES",
    "KEPT",
    "Difference",
    "Verification",
    "VerifyProgress",
    "load",
    "verify",
]
