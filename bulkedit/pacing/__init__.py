"""How fast, and how many at once: pure decisions, with the clock passed in.

The documented quotas are far below one call per second (UpdateImageSetMetadata: 0.25/s, burst 1), so everything here
counts in seconds per request rather than in requests per second.
"""

from bulkedit.pacing.bucket import Pacer, Pacing, pacer
from bulkedit.pacing.learning import Learner
from bulkedit.pacing.rates import (
    AUTO,
    DOCUMENTED,
    WRITES,
    Auto,
    Operation,
    Rate,
    parse_pace,
    parse_rate,
    parse_read_pace,
)
from bulkedit.pacing.settle import SettleTimes
from bulkedit.pacing.waits import FAULT, LOOK, Backoff
from bulkedit.pacing.window import Window

__all__ = [
    "AUTO",
    "DOCUMENTED",
    "FAULT",
    "LOOK",
    "WRITES",
    "Auto",
    "Backoff",
    "Learner",
    "Operation",
    "Pacer",
    "Pacing",
    "Rate",
    "SettleTimes",
    "Window",
    "pacer",
    "parse_pace",
    "parse_rate",
    "parse_read_pace",
]
