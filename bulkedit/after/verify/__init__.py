"""Reading back what a run has changed: every applied edit held against the store, every difference named."""

from bulkedit.after.verify.folder import DIFFERENCES, KEPT, Verification, load, verifications
from bulkedit.after.verify.job import VerifyProgress, verify
from bulkedit.edits.compare import Difference

__all__ = [
    "DIFFERENCES",
    "KEPT",
    "Difference",
    "Verification",
    "VerifyProgress",
    "load",
    "verifications",
    "verify",
]
