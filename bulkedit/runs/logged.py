"""Log lines of a run: its begin, its end, and each record of the ledger.

Requests are logged by `bulkedit.client.logged`. The ledger is complete and authoritative, the log is not.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bulkedit._log import is_logged, log
from bulkedit._version import __version__
from bulkedit.client.responses import CallState, Outcome
from bulkedit.runs.ledger import Event, Made, Pace, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bulkedit._log import Fields
    from bulkedit.plans import Lane, SavedPlan
    from bulkedit.runs.counters import RunCounters
    from bulkedit.runs.ledger import Record

# logged at level DEBUG: the outcome and the requests have lines of their own
_DETAILS: Final = frozenset({CallState.INTENDED, CallState.ACCEPTED, CallState.PLANNED})


class RecordLog:
    """Logs each record of the ledger, with the image set of its call, which the ledger does not have."""

    def __init__(self) -> None:
        self._image_sets: dict[int, str] = {}  # by call, of open lanes

    def opens(self, lane: Lane) -> None:
        """The lane is opened."""
        self._image_sets.update({call.call: call.image_set_id for call in lane.calls})

    def closes(self, calls: Iterable[int]) -> None:
        """Nothing more comes of these calls."""
        for call in calls:
            self._image_sets.pop(call, None)

    def take(self, record: Record) -> None:
        """Log a record."""
        if isinstance(record, Event):
            _log_event(record, self._image_sets.get(record.call))
        elif isinstance(record, Part):
            if (image_set_id := self._image_sets.get(record.parent)) is not None:
                self._image_sets[record.call] = image_set_id
            log("call.part", call=record.call, parent=record.parent, edits=len(record.edits))
        elif isinstance(record, Made):
            log("copy.made" if record.ours else "copy.found", call=record.call, image_set_id=record.image_set_id)
        elif isinstance(record, Pace):
            log("run.pace", quota_per_second=round(record.quota, 4))


def _log_event(event: Event, image_set_id: str | None) -> None:
    level = logging.DEBUG if event.state in _DETAILS else logging.INFO
    if not is_logged(level):
        return
    log(
        f"call.{event.state.replace(' ', '_')}",
        level,
        call=event.call,
        image_set_id=image_set_id,
        attempts=event.attempts,
        throttles=event.throttles,
        faults=event.faults,
        conflicts=event.conflicts,
        expected_version=event.expected_version,
        made=event.version,
        reason=event.reason,
    )


@contextmanager
def logged_run(plan: SavedPlan, counters: RunCounters, *, resumed: bool) -> Iterator[None]:
    """Log that a run begins, and how it ends."""
    began = time.monotonic()
    log(
        "run.resumed" if resumed else "run.begun",
        version=__version__,
        python=platform.python_version(),
        pid=os.getpid(),
        plan=plan.short_digest,
        calls=plan.counts["calls"],
        edits=plan.counts["edits"],
    )
    ended: Fields = {}
    try:
        yield
    except BaseException as failure:
        ended["error"] = type(failure).__name__
        raise
    finally:
        for outcome in Outcome:
            ended[outcome.value] = (
                counters.unprocessed if outcome is Outcome.UNPROCESSED else counters.outcomes[outcome]
            )
        ended["seconds"] = round(time.monotonic() - began, 3)
        log("run.stopped" if "error" in ended or counters.unprocessed else "run.done", **ended)
