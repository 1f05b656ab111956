"""A long run with everything that goes wrong, all the time: the balance sheet must be even to the last edit.

`tests/runs/test_soak.py` runs it short, `benchmarks/soak.py` long, and both hold it to the same judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit.client.responses import Outcome
from bulkedit.emulator import DEFAULT_DATASTORE_ID, CompletionTime, Fault, FaultKind
from tests.emulator.hospital import document
from tests.runs.factories import planned, row
from tests.runs.journal_check import Sheet, judge
from tests.runs.killable import Kill, emulated, process

if TYPE_CHECKING:
    from pathlib import Path

UPDATE = "UpdateImageSetMetadata"
FAULTS = [
    Fault(kind=FaultKind.THROTTLE, action=UPDATE, rate=0.10),
    Fault(kind=FaultKind.DROP_AFTER, action=UPDATE, rate=0.03),
    Fault(kind=FaultKind.ERROR_AFTER, action=UPDATE, rate=0.02),
    Fault(kind=FaultKind.ERROR_BEFORE, action=UPDATE, rate=0.02),
    Fault(kind=FaultKind.FAIL, action=UPDATE, rate=0.01),
    Fault(kind=FaultKind.FOREIGN_BEFORE, action=UPDATE, rate=0.01),
    Fault(kind=FaultKind.FOREIGN_AFTER, action=UPDATE, rate=0.01),
    Fault(kind=FaultKind.LATE, action=UPDATE, rate=0.005, seconds=2.0),
]


def soak(folder: Path, calls: int) -> Sheet:
    """So many calls, one an image set; some rows are wrong, some insist on a version. Killed twice, then to the end."""
    server = emulated(completion_time=CompletionTime(seconds=0.5, sigma=0.5), journal_limit=100 * calls)
    ids = [
        server.world.add_image_set(
            DEFAULT_DATASTORE_ID, document(study=f"1.2.{n}", instances=1), now=server.now(), primary=False
        )
        for n in range(calls)
    ]
    server.faults.add(FAULTS, now=server.now())
    rows = []
    for n, one in enumerate(ids):
        attribute = "StudyID" if n % 100 == 17 else "StudyDescription"  # StudyID needs force: rejected
        rows.append(row(one, attribute, f"V{n}", version=1 if n % 4 == 3 else None))
    plan, ledger = planned(folder / "plan", DEFAULT_DATASTORE_ID, rows), folder / "ledger.sqlite"
    for kill in (Kill(calls // 2, done=True), Kill(calls, done=False)):
        assert process(server, plan, ledger, kill=kill).killed
    assert not process(server, plan, ledger).killed
    sheet = judge(server, plan, ledger)
    even(sheet)
    return sheet


def even(sheet: Sheet) -> None:
    """Planned = applied + rejected + conflicted + failed + unprocessed, and each applied call made one version."""
    assert sheet.edits == sum(sheet.outcomes.values())
    assert sheet.outcomes[Outcome.UNPROCESSED] == sheet.outcomes[Outcome.FAILED] == 0
    assert sheet.outcomes[Outcome.APPLIED] == sheet.updated
