"""The async shell around the decisions: lanes, workers, pacing, ledger, stop."""

from bulkedit.engine.agenda import Held
from bulkedit.engine.budget import Halt, MaxErrors, parse_max_errors
from bulkedit.engine.options import UPDATES_IN_FLIGHT, OnConflict, Options
from bulkedit.engine.progress import Progress
from bulkedit.engine.resumption import Resumption, Strategy, resumption
from bulkedit.engine.run import Clock, Engine, Stop
from bulkedit.engine.tally import Tally

__all__ = [
    "UPDATES_IN_FLIGHT",
    "Clock",
    "Engine",
    "Halt",
    "Held",
    "MaxErrors",
    "OnConflict",
    "Options",
    "Progress",
    "Resumption",
    "Stop",
    "Strategy",
    "Tally",
    "parse_max_errors",
    "resumption",
]
