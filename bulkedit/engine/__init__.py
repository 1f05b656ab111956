"""The async shell around the decisions: lanes, workers, pacing, ledger, stop."""

from bulkedit.engine.agenda import Held
from bulkedit.engine.budget import Halt, MaxErrors, parse_max_errors
from bulkedit.engine.history import History
from bulkedit.engine.options import UPDATES_IN_FLIGHT, OnConflict, Options
from bulkedit.engine.progress import Progress
from bulkedit.engine.resumption import UNKNOWN_CAUSE, Resumption, Strategy, resumption
from bulkedit.engine.run import Clock, Engine, Stop
from bulkedit.engine.stored import follows, holds, reads_the_same
from bulkedit.engine.tally import Tally

__all__ = [
    "UNKNOWN_CAUSE",
    "UPDATES_IN_FLIGHT",
    "Clock",
    "Engine",
    "Halt",
    "Held",
    "History",
    "MaxErrors",
    "OnConflict",
    "Options",
    "Progress",
    "Resumption",
    "Stop",
    "Strategy",
    "Tally",
    "follows",
    "holds",
    "parse_max_errors",
    "reads_the_same",
    "resumption",
]
