"""Decides when requests are sent, and how many updates are in flight. Pure; the clock is passed in.

The documented quotas can be far below one request per second (UpdateImageSetMetadata: 0.25/s, burst 1). So this code
calculates with seconds per request.
"""

from bulkedit.client.pacing.adaptive import Learner
from bulkedit.client.pacing.backoff import FAULT, POLL, UNSEEN_LOCK, Backoff, unlock_poll_in
from bulkedit.client.pacing.completion_times import CompletionTimes
from bulkedit.client.pacing.in_flight import Window
from bulkedit.client.pacing.rates import (
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
from bulkedit.client.pacing.token_bucket import Pacer, Pacing, pacer

__all__ = [
    "AUTO",
    "DOCUMENTED",
    "FAULT",
    "POLL",
    "UNSEEN_LOCK",
    "WRITES",
    "Auto",
    "Backoff",
    "CompletionTimes",
    "Learner",
    "Operation",
    "Pacer",
    "Pacing",
    "Rate",
    "Window",
    "pacer",
    "parse_pace",
    "parse_rate",
    "parse_read_pace",
    "unlock_poll_in",
]
