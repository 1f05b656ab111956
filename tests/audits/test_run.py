"""An audit of a run: image sets that cannot be read are counted by reason, and the others are still checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.audits.run import AuditProgress, check
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind
from bulkedit.errors import UsageError
from bulkedit.runs.folder import Run
from bulkedit.runs.ledger import Ledger
from tests.runs.factories import FAST_READS, planned
from tests.runs.killable import DirectClient, emulated, in_place
from tests.runs.test_budget import Hospital
from tests.runs.test_copy_lane import Scene
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.plans import SavedPlan
    from tests.runs.killable import Emulated

GET, METADATA, LIST = "GetImageSet", "GetImageSetMetadata", "ListImageSetVersions"
DAY_S = 86_400.0


def audited(server: Emulated, plan: SavedPlan, folder: Path, *faults: tuple[str, str, int]) -> AuditProgress:
    """Check a run while reads are refused. ``faults``: operation, image set, and matching reads that succeed first.

    A denial of a list of versions would end the audit.
    """
    about: Any = {"settings": {}}
    server.faults.clear()
    for action, one, skip in faults:
        kind = FaultKind.CONFLICT if action == LIST else FaultKind.DENIED
        server.faults.add(
            [Fault(kind=kind, action=action, image_set_id=one, skip=skip, times=10 if action == LIST else 1)],
            now=server.now(),
        )
    with in_place():
        return run_virtual(check(Run(folder, plan, about), DirectClient(server), rates=FAST_READS))


def test_image_sets_that_cannot_be_read_are_counted_and_the_others_checked(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 5)
    hospital.run()
    now, versions, after, before, _ = hospital.ids
    faults = (GET, now, 0), (LIST, versions, 0), (METADATA, after, 0), (METADATA, before, 1)
    seen = audited(hospital.server, hospital.plan, tmp_path, *faults)
    assert seen.unread == {"AccessDeniedException": 3, "ConflictException": 1}
    assert (seen.check.image_sets, seen.read) == (1, 5)


def test_a_copy_is_unread_if_it_or_its_original_cannot_be_read(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, delete_originals=False)
    scene.process()
    (original,), (promoted,) = scene.originals, scene.made()
    for fault in ((GET, promoted, 0), (METADATA, original, 0), (METADATA, promoted, 0)):
        seen = audited(scene.server, scene.plan, tmp_path, fault)
        assert (seen.unread, seen.check.image_sets) == ({"AccessDeniedException": 1}, 0), fault
    seen = audited(scene.server, scene.plan, tmp_path, (LIST, original, 0))  # its versions are only counted
    assert (seen.unread, seen.check.image_sets, seen.check.older_versions) == ({}, 1, 0)
    scene.server.wait(31 * DAY_S)
    seen = audited(scene.server, scene.plan, tmp_path)
    assert (seen.archived, seen.check.image_sets, seen.read) == ([promoted], 0, 1)


def test_a_run_without_edits_is_refused(tmp_path: Path) -> None:
    plan = planned(tmp_path / "plan", DEFAULT_DATASTORE_ID, [])
    Ledger.create(tmp_path / "ledger.sqlite").close()
    with pytest.raises(UsageError, match=r"this run has no edits\."):
        audited(emulated(), plan, tmp_path)
