"""Reading back what a run has changed: every applied edit held against the store, every difference named."""

from bulkedit.holding import Difference
from bulkedit.readback.options import Sample, VerifyOptions, parse_sample
from bulkedit.readback.saved import DIFFERENCES, KEPT, Verification, load, verifications
from bulkedit.readback.verify import Seen, verify

__all__ = [
    "DIFFERENCES",
    "KEPT",
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
