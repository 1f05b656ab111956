"""Reading back what a run has changed: every applied edit held against the store, every difference named."""

from bulkedit.after.verify.folder import DIFFERENCES, KEPT, Verification, load, verifications
from bulkedit.after.verify.options import Archived, Sample, VerifyOptions, parse_sample
from bulkedit.after.verify.verify import Seen, verify
from bulkedit.edits.compare import Difference

__all__ = [
    "DIFFERENCES",
    "KEPT",
    "Archived",
    "Difference",
    "Sample",
    "Seen",
    "Verification",
    "VerifyOptions",
    "load",
    "parse_sample",
    "verifications",
    "verify",
]
