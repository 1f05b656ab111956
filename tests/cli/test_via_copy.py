"""`--via-copy`: primary image sets whose UIDs change, from the profile to the deleted original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.deidentification import ENVIRONMENT
from bulkedit.emulator.state.document import parse
from bulkedit.errors import EXIT_NOT_ALL_APPLIED, EXIT_OK, EXIT_STOPPED, EXIT_USAGE
from tests.cli.shell import Shell
from tests.deidentification.walkers import KEY
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import Emulator, World


@pytest.fixture
def shell(tmp_path: Path, emulator: Emulator) -> Shell:
    made = Shell(tmp_path, emulator)
    made.env = {**made.env, ENVIRONMENT: KEY.secret.decode()}
    return made


def studies(shell: Shell) -> list[str]:
    """Two primary image sets, of a study each."""
    return [shell.emulator.add(document(study=f"1.2.{study}", patient=f"P{study}"), primary=True) for study in (1, 2)]


def there(shell: Shell) -> dict[str, tuple[bool, dict[str, Any]]]:
    """The image sets that are not deleted: whether each is primary, and what it holds."""

    def look(world: World) -> dict[str, tuple[bool, dict[str, Any]]]:
        found = world.datastores[shell.emulator.datastore_id].image_sets
        return {
            ident: (one.primary, parse(one.latest.document)) for ident, one in found.items() if one.deleted_at is None
        }

    return shell.emulator.do(look)


DEID = ("deid", "--deid-profile", "basic", "--all", "-o", "edits.parquet", "--plan", "plan")


def test_without_it_the_uids_of_primary_image_sets_are_named_as_out_of_reach(shell: Shell) -> None:
    studies(shell)
    done = shell.run(*DEID)
    assert done.exit_code == EXIT_NOT_ALL_APPLIED
    assert "--via-copy" in done.stdout


@pytest.mark.parametrize("deleted", [True, False], ids=["originals deleted", "originals kept"])
def test_a_data_store_of_primary_image_sets_is_de_identified(shell: Shell, deleted: bool) -> None:
    originals = studies(shell)
    agreed = ("--delete-originals",) if deleted else ()
    done = shell.run(*DEID, "--via-copy", *agreed)
    assert done.exit_code == EXIT_OK, done.stderr
    assert "via copy" in done.stdout
    assert ("--delete-originals" in done.stdout) is deleted
    ended = shell.run("apply", "plan", "--run", "run", "--yes", *agreed, "--json")
    assert ended.exit_code == EXIT_OK, ended.stderr
    line = ended.json[-1]
    assert line["applied"] == line["edits"]
    names = ("copied", "promoted", "originals_deleted", "copies_deleted", "copy_steps_left", "copy_steps_failed")
    assert [line[name] for name in names] == [2, 2, 2 if deleted else 0, 2, 0, 0]
    found = there(shell)
    assert (set(originals) <= set(found)) is not deleted
    promoted = {ident: one for ident, one in found.items() if ident not in originals}
    assert len(promoted) == 2
    for primary, content in promoted.values():
        assert primary
        assert content["Study"]["DICOM"]["StudyInstanceUID"].startswith("2.25.")
        assert content["Patient"]["DICOM"]["PatientID"] not in {"P1", "P2"}
    assert len({content["Study"]["DICOM"]["StudyInstanceUID"] for _, content in promoted.values()}) == 2
    verified = shell.run("verify", "run", "--json")
    assert verified.exit_code == EXIT_OK, verified.stdout + verified.stderr
    assert {one["image_sets"] for one in verified.json if one["type"] == "verification"} == {2}
    undone = shell.run("revert", "run")
    assert undone.exit_code == EXIT_NOT_ALL_APPLIED  # all are left out
    assert "is a promoted copy of" in undone.stdout + undone.stderr


def test_the_check_holds_what_was_promoted_against_its_original(shell: Shell) -> None:
    studies(shell)
    shell.run(*DEID, "--via-copy")
    assert shell.run("apply", "plan", "--run", "run", "--yes").exit_code == EXIT_OK
    checked = shell.run("deid", "--check", "run", "--json")
    assert checked.exit_code == EXIT_OK, checked.stdout
    line = checked.json[-1]
    assert (line["image_sets"], line["findings"], line["uids_parted"], line["older_versions"]) == (2, 0, 0, 2)


def test_result_files_name_the_promoted_image_set(shell: Shell) -> None:
    originals = studies(shell)
    shell.run(*DEID, "--via-copy")
    assert shell.run("apply", "plan", "--run", "run", "--yes").exit_code == EXIT_OK
    assert shell.run("report", "run", "--results", "results").exit_code == EXIT_OK
    lines = pl.read_csv(shell.folder / "results" / "succeeded.csv", infer_schema=False)
    primary = {ident for ident, (primary, _) in there(shell).items() if primary}
    assert set(lines["image_set_id"]) == set(originals)
    assert set(lines["made_image_set_id"]) == primary - set(originals)


def test_the_check_says_where_there_is_no_original_left(shell: Shell) -> None:
    studies(shell)
    shell.run(*DEID, "--via-copy", "--delete-originals")
    assert shell.run("apply", "plan", "--run", "run", "--yes", "--delete-originals").exit_code == EXIT_OK
    checked = shell.run("deid", "--check", "run")
    assert checked.exit_code == EXIT_STOPPED
    assert "2 image sets could not be read (its original is deleted" in checked.stderr


def test_originals_are_deleted_only_where_that_is_asked_for_by_name(shell: Shell) -> None:
    originals = studies(shell)
    assert shell.run(*DEID, "--via-copy", "--delete-originals").exit_code == EXIT_OK
    refused = shell.run("apply", "plan", "--run", "run", "--yes")
    assert refused.exit_code == EXIT_USAGE
    assert "2 original image sets for good" in refused.stderr
    assert set(there(shell)) == set(originals)
    assert shell.run("plan", "edits.parquet", "--delete-originals").exit_code == EXIT_USAGE


def test_rows_that_stay_in_their_study_are_still_refused(shell: Shell) -> None:
    one = studies(shell)[0]
    edits = shell.write("edits.csv", f"image_set_id,attribute,value,force\n{one},SOPInstanceUID,1.2.9,true\n")
    done = shell.run("plan", edits, "--via-copy")
    assert done.exit_code == EXIT_USAGE
