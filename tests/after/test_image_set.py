"""One image set of a verification: what cannot be read makes an origin unknown, never a wrong one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from bulkedit.after.verify.image_set import Checker
from bulkedit.client.reader import Reader
from bulkedit.emulator import Fault, FaultKind
from bulkedit.options.verify import VerifyOptions
from bulkedit.runs.changes import Changes
from bulkedit.runs.folder import Run
from tests.runs.factories import FAST_READS, planned, row
from tests.runs.killable import DirectClient, in_place, process
from tests.runs.test_budget import Hospital
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

METADATA, LIST = "GetImageSetMetadata", "ListImageSetVersions"


REFUSALS: list[tuple[Fault | None, str, list[list[int]]]] = [
    (None, "later writer", [[1]]),
    (Fault(kind=FaultKind.DENIED, action=METADATA, skip=1, times=1), "unknown", [[1]]),  # the run's version
    (Fault(kind=FaultKind.CONFLICT, action=LIST), "later writer", []),
]


def test_what_a_later_writer_has_changed(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 1)
    hospital.run()
    rows = [row(hospital.ids[0], "PatientName", "OF A LATER WRITER")]
    process(hospital.server, planned(tmp_path / "p", hospital.plan.datastore_id, rows), tmp_path / "other.sqlite")
    about: Any = {"settings": {}}
    changes, ids = Changes(Run(tmp_path, hospital.plan, about)), hospital.ids
    reader = Reader(DirectClient(hospital.server), FAST_READS, random.Random(7))
    options = VerifyOptions(history=True)
    checker = Checker(changes, reader, options, named=ids, chosen=ids, undecided=(), archived=False)
    for fault, origin, kept in REFUSALS:
        hospital.server.faults.clear()
        hospital.server.faults.add([fault] if fault else [], now=hospital.server.now())
        with in_place():
            found: Any = run_virtual(checker.check(ids[0], changes.of_image_sets(ids)[ids[0]], ()))
        assert [one["origin"] for one in found.differences] == [origin]
        assert [one["versions"] for one in found.kept] == kept
