"""What IAM denies: an image set alone, or the operation as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit.client.responses import Outcome
from bulkedit.emulator.state.faults import FaultKind
from bulkedit.errors import AccessError
from tests.runs.test_budget import GET, UPDATE, Hospital

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


STORE = "GetDatastore"


def deny(hospital: Hospital, image_sets: Iterable[str], action: str) -> None:
    for image_set_id in image_sets:
        hospital.trouble(kind=FaultKind.DENIED, action=action, image_set_id=image_set_id)


@pytest.mark.parametrize("action", [UPDATE, GET])
@pytest.mark.parametrize("place", [0, 2, 3], ids=["first", "third", "last"])
def test_one_image_set_that_is_denied_is_its_own_failure(tmp_path: Path, action: str, place: int) -> None:
    hospital = Hospital(tmp_path, 4)
    deny(hospital, [hospital.ids[place]], action)
    hospital.run(workers=1)
    assert hospital.sheet().outcomes == {Outcome.APPLIED: 3, Outcome.FAILED: 1}


@pytest.mark.parametrize("action", [UPDATE, GET])
def test_the_only_image_set_of_a_run_is_its_own_failure(tmp_path: Path, action: str) -> None:
    hospital = Hospital(tmp_path, 1)
    deny(hospital, hospital.ids, action)
    hospital.run()
    assert hospital.sheet().outcomes == {Outcome.FAILED: 1}


@pytest.mark.parametrize("action", [UPDATE, GET])
@pytest.mark.parametrize("count", [2, 4, 50])
def test_where_every_image_set_is_denied_the_run_ends_and_nothing_has_failed(
    tmp_path: Path, count: int, action: str
) -> None:
    hospital = Hospital(tmp_path, count)
    hospital.trouble(kind=FaultKind.DENIED, action=action)
    assert hospital.stops(AccessError, workers=1).exit_code == 4
    assert hospital.sheet().outcomes == {Outcome.UNPROCESSED: count}
    assert sum(hospital.sheet().struck.values()) <= 5
    hospital.server.faults.clear()
    hospital.run()
    assert (hospital.sheet().outcomes, hospital.sheet().updated) == ({Outcome.APPLIED: count}, count)


def test_where_the_data_store_is_denied_too_the_run_ends(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 1)
    deny(hospital, hospital.ids, UPDATE)
    hospital.trouble(kind=FaultKind.DENIED, action=STORE)
    hospital.stops(AccessError, workers=1)
    assert hospital.sheet().outcomes == {Outcome.UNPROCESSED: 1}


@pytest.mark.parametrize("action", [UPDATE, GET])
def test_many_denied_image_sets_keep_no_other_from_its_turn(tmp_path: Path, action: str) -> None:
    """They stand first in the list: the first process ends with them, the second takes them up last."""
    hospital = Hospital(tmp_path, 20)
    deny(hospital, hospital.ids[:8], action)
    hospital.stops(AccessError, workers=1)
    assert Outcome.FAILED not in hospital.sheet().outcomes
    hospital.run(workers=1)
    assert hospital.sheet().outcomes == {Outcome.APPLIED: 12, Outcome.FAILED: 8}


def test_a_denial_in_the_middle_of_a_run_ends_it(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 50)
    deny(hospital, hospital.ids[20:], UPDATE)
    hospital.stops(AccessError, workers=1)
    assert Outcome.FAILED not in hospital.sheet().outcomes
    hospital.server.faults.clear()
    hospital.run()
    assert hospital.sheet().outcomes == {Outcome.APPLIED: 50}


def test_a_denied_image_set_holds_no_place_in_flight(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 6)
    deny(hospital, hospital.ids[:2], UPDATE)
    hospital.run(workers=1, max_in_flight=1)
    assert hospital.sheet().outcomes == {Outcome.APPLIED: 4, Outcome.FAILED: 2}
