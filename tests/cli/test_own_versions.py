"""What a run has made itself is never another writer's, for `verify` nor for `revert`: study-wide calls, reverts, rows
that later rows of the list replace, calls that claim no version, and calls with an unknown outcome.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.runs.ledger import Event, Ledger
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from tests.cli.shell import Shell

DESCRIPTION, ACCESSION = "StudyDescription", "AccessionNumber"
Row = dict[str, Any]


@pytest.fixture
def study(shell: Shell) -> list[str]:
    """The three primary image sets of a study, of which `i.parquet` tells."""
    found = [shell.emulator.add(document(str(number))) for number in (1, 2, 3)]
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    return found


def sets(image_set: int, attribute: str, value: str, *, wide: bool = True, version: int | None = None) -> Row:
    """A row that sets a Study-level attribute. ``image_set``: its place in the study."""
    attributes = {"SchemaVersion": 1.1, "Study": {"DICOM": {attribute: value}}}
    return _row(image_set, {"DICOMUpdates": {"updatableAttributes": attributes}}, wide=wide, version=version)


def sets_series(image_set: int, value: str, version: int | None = None) -> Row:
    attributes = {"SchemaVersion": 1.1, "Study": {"Series": {f"1.2.3.{image_set + 1}": {"DICOM": {"Modality": value}}}}}
    return _row(image_set, {"DICOMUpdates": {"updatableAttributes": attributes}}, version=version)


def reverts(image_set: int, version: int | None = None) -> Row:
    return _row(image_set, {"revertToVersionId": "1"}, version=version)


def _row(image_set: int, updates: Row, *, wide: bool = False, version: int | None = None) -> Row:
    row: Row = {"imageSetId": image_set, "updateImageSetMetadataUpdates": updates}
    return {
        **row,
        **({"includeStudyImageSets": True} if wide else {}),
        **({"latestVersionId": str(version)} if version else {}),
    }


KNOWN = ("--inventory", "i.parquet", "--on-contradiction", "last")


def apply(shell: Shell, study: list[str], rows: list[Row], *words: str, code: int = 0) -> None:
    lines = [json.dumps({**row, "imageSetId": study[row["imageSetId"]]}) + "\n" for row in rows]
    path = shell.write("calls.jsonl", "".join(lines))
    result = shell.run("apply", path, "--yes", "--run", "r", *words)
    assert result.exit_code == code, result.stderr


def told(shell: Shell) -> tuple[dict[str, Any], list[tuple[int, str, str]]]:
    """The closing line of `verify`; row, difference and origin of each difference."""
    *lines, last = shell.run("verify", "r", "--json", "--fresh").json
    return last, [(line["row"], line["difference"], line["origin"]) for line in lines]


def left_out(shell: Shell) -> dict[str, str]:
    """Why `revert` leaves image sets out."""
    *lines, last = shell.run("revert", "r", "--json").json
    assert last["left_out"] == len(lines)
    return {line["image_set_id"]: line["code"] for line in lines}


def write_as_another(shell: Shell, image_set_id: str) -> None:
    """Another writer takes the image set's description back to what it was."""

    def write(world: Any) -> None:
        image_set = world.image_set(shell.emulator.datastore_id, image_set_id)
        world.write_as_another(image_set, shell.emulator.clock.now())
        image_set.latest.document = image_set.versions[0].document

    shell.emulator.do(write)


def note(shell: Shell, call: int, state: CallState, **fields: Any) -> None:
    """A last event of a call."""
    ledger = Ledger.open(shell.folder / "r" / "ledger.sqlite")
    ledger.append([Event(at=time.time(), call=call, state=state, **fields)])
    ledger.close()


ON = ("--study-wide", "on")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([sets(0, DESCRIPTION, "ALL"), reverts(2)], KNOWN, id="a sibling reverted after it"),
        pytest.param(
            [sets(0, DESCRIPTION, "ALL"), reverts(2), sets(0, ACCESSION, "B2")],
            (*KNOWN, "--no-merge"),
            id="a sibling reverted between two",
        ),
        pytest.param(
            [sets(0, DESCRIPTION, "ALL"), sets(1, DESCRIPTION, "LAST")],
            (*KNOWN, *ON, "--no-merge"),
            id="two of an attribute, each of another image set",
        ),
        pytest.param(
            [sets(0, DESCRIPTION, "ALL", wide=False), sets(1, DESCRIPTION, "LAST", wide=False)],
            (*KNOWN, *ON),
            id="two of an attribute in one call",
        ),
        pytest.param(
            [sets_series(1, "MR", version=1), sets(0, DESCRIPTION, "ALL"), reverts(1)],
            KNOWN,
            id="a row of a version before it, and a revert",
        ),
        pytest.param(
            [sets_series(2, "MR"), sets(0, DESCRIPTION, "ALL"), sets_series(1, "MR")],
            (),
            id="siblings of which the plan does not know that they are",
        ),
    ],
)
def test_the_runs_own_study_wide_calls_and_reverts_make_no_difference(
    shell: Shell, study: list[str], rows: list[Row], words: tuple[str, ...]
) -> None:
    apply(shell, study, rows, *words)
    last, differences = told(shell)
    assert differences == []
    assert (last["image_sets"], last["of_image_sets"] <= 3) == (3, True)
    assert left_out(shell) == {}


def test_a_study_wide_call_is_checked_in_every_image_set_that_the_list_names_otherwise(
    shell: Shell, study: list[str]
) -> None:
    apply(shell, study, [sets_series(2, "MR"), sets(0, DESCRIPTION, "ALL")], *KNOWN)
    assert told(shell)[0]["matching"] == 4
    write_as_another(shell, study[2])
    last, differences = told(shell)
    assert (last["matching"], differences) == (
        2,
        [(1, "other value", "later writer"), (2, "other value", "later writer")],
    )


def test_what_the_run_did_in_another_order_than_the_list_is_the_runs(shell: Shell, study: list[str]) -> None:
    """Without an inventory the lanes of a study are not one, and the longer lane begins."""
    rows = [sets(2, DESCRIPTION, "FIRST"), sets(0, DESCRIPTION, "LAST"), sets(0, ACCESSION, "B2")]
    apply(shell, study, rows, "--no-merge", "--max-in-flight", "1", "--workers", "1")
    last, differences = told(shell)
    assert differences == [(2, "other value", "run")] * 3
    assert (last["by_run"], last["image_sets"]) == (3, 3)
    assert left_out(shell) == {}


@pytest.mark.parametrize(("back_in", "origin"), [(3, "later writer"), (4, "run")])
def test_the_first_version_without_the_edit_tells_who_made_the_difference(
    shell: Shell, study: list[str], back_in: int, origin: str
) -> None:
    """Another writer makes version 3, between the two calls of the run."""
    apply(shell, study, [sets(0, DESCRIPTION, "ALL"), sets(0, ACCESSION, "A1")], *KNOWN, "--no-merge")
    write_as_another(shell, study[0])
    note(shell, 1, CallState.APPLIED, expected_version=3, version=4)

    def go_back(world: Any) -> None:
        versions = world.image_set(shell.emulator.datastore_id, study[0]).versions
        for version in versions[back_in - 1 :]:
            version.document = versions[0].document

    shell.emulator.do(go_back)
    assert told(shell)[1] == [(1, "other value", origin)]


class TestNoVersionClaimed:
    """An image set that held already what an applied call asks for: who made the version after it cannot be told."""

    def test_it_is_held_against_the_store_and_left_alone_by_a_revert(self, shell: Shell) -> None:
        (one,) = [shell.emulator.add(document(StudyDescription="SAME"))]
        apply(shell, [one], [sets(0, DESCRIPTION, "SAME", wide=False)])
        note(shell, 0, CallState.APPLIED, expected_version=1)
        last, differences = told(shell)
        assert (last["matching"], differences) == (1, [])
        assert left_out(shell) == {one: "unclaimed"}
        assert "and the next version can be the run's or another writer's" in (shell.run("revert", "r").stderr)
        (edit, _) = shell.run("report", "r", "--only", "applied", "--json").json
        assert (edit["version_before"], edit["version_after"]) == (1, None)
        assert shell.run("status", "r").exit_code == 0

    def test_a_later_writer_is_told(self, shell: Shell) -> None:
        (one,) = [shell.emulator.add(document(StudyDescription="SAME"))]
        apply(shell, [one], [sets(0, DESCRIPTION, "SAME", wide=False)])
        note(shell, 0, CallState.APPLIED, expected_version=1)
        edits = shell.write("o.csv", f"image_set_id,StudyDescription\n{one},OTHER\n")
        assert shell.run("apply", edits, "--yes", "--run", "o").exit_code == 0
        assert told(shell)[1] == [(1, "other value", "later writer")]

    def test_beside_others_of_the_run_it_is_no_other_writers(self, shell: Shell) -> None:
        (one,) = shell.image_sets(1)
        rows = [sets(0, DESCRIPTION, "A", wide=False), sets(0, ACCESSION, "A1", wide=False)]
        apply(shell, [one], rows, "--no-merge")
        note(shell, 1, CallState.APPLIED, expected_version=2)
        assert told(shell)[1] == []
        assert left_out(shell) == {}

    def test_of_a_study_wide_call_the_siblings_versions_cannot_be_told(self, shell: Shell, study: list[str]) -> None:
        apply(shell, study, [sets(0, DESCRIPTION, "CHEST")], *KNOWN)
        note(shell, 0, CallState.APPLIED, expected_version=1)
        assert told(shell)[1] == []
        assert left_out(shell) == {study[0]: "unclaimed", study[1]: "unknown-version", study[2]: "unknown-version"}


class TestOpen:
    """A study-wide call of which it is not known whether it was made."""

    @pytest.fixture
    def opened(self, shell: Shell, study: list[str]) -> list[str]:
        rows = [sets(1, DESCRIPTION, "FIRST"), sets(0, DESCRIPTION, "LAST")]
        apply(shell, study, rows, *KNOWN, *ON, "--no-merge")
        note(shell, 1, CallState.OUTCOME_UNKNOWN, expected_version=2)
        return study

    def test_what_it_may_have_done_is_not_said_to_be_another_writers(self, shell: Shell, opened: list[str]) -> None:
        last, differences = told(shell)
        assert differences == [(1, "other value", "unknown")] * len(opened)
        assert last["by_later_writers"] == 0

    def test_a_revert_leaves_the_siblings_alone_too(self, shell: Shell, opened: list[str]) -> None:
        assert left_out(shell) == dict.fromkeys(opened, "outcome-unknown")
