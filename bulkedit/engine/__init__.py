"""The async shell around the decisions: lanes, workers, pacing, ledger, stop."""

from bulkedit.engine.options import UPDATES_IN_FLIGHT, OnConflict, Options
from bulkedit.engine.run import Clock, Engine, Stop
from bulkedit.engine.tally import Tally

__all__ = ["UPDATES_IN_FLIGHT", "Clock", "Engine", "OnConflict", "Options", "Stop", "Tally"]
