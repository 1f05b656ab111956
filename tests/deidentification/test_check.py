"""`bulkedit deid --check`: after a run, on real files; nothing where all is done, and each kind where a rule is out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.deidentification import ENVIRONMENT
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_INTERRUPTED, EXIT_OK, EXIT_STOPPED, EXIT_USAGE
from tests.cli.shell import Shell, unbegin, wait_for
from tests.deidentification.test_real_files import imported
from tests.deidentification.walkers import KEY
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

KEEPS = """
name = "leaky"
description = "The Basic Profile with a rule taken out."
edition = "2024b"
"""
OUT = {
    "name": '[[override]]\nattribute = "PatientName"\naction = "keep"\n',
    "identifier": '[[override]]\nattribute = "PatientID"\naction = "keep"\n',
    "date": '[[override]]\nattribute = "StudyDate"\naction = "keep"\n',
    "uid": '[[override]]\nattribute = "FrameOfReferenceUID"\naction = "keep"\n',
}


def a_shell(folder: Path, emulator: Any) -> Shell:
    shell = Shell(folder, emulator)
    shell.env = {**shell.env, ENVIRONMENT: KEY.secret.decode()}
    return shell


@pytest.fixture
def shell(tmp_path: Path, emulator: Any) -> Shell:
    return a_shell(tmp_path, emulator)


def de_identified(shell: Shell, profile: str | Path, run: str = "r", *more: str) -> None:
    made = shell.run("deid", "--deid-profile", profile, "--all", "-o", f"{run}.parquet", "--plan", f"{run}-plan")
    assert made.exit_code in {0, 1}, made.stderr
    shell.run("apply", f"{run}-plan", "--yes", "--run", run, *more)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """pydicom's own files in a data store, de-identified by the Basic Profile."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        shell = a_shell(tmp_path_factory.mktemp("real"), emulator)
        for content in imported():
            emulator.add(content, primary=False)
        de_identified(shell, "basic")
        yield shell


class TestRealFiles:
    def test_nothing_is_found_after_the_basic_profile_and_verify_agrees(self, real: Shell) -> None:
        result = real.run("deid", "--check", "r", "--json")
        assert result.exit_code == EXIT_OK, result.stdout[:2000] + result.stderr
        (summary,) = result.json
        assert summary["type"] == "audit"
        assert (summary["findings"], summary["undone"], summary["uids_parted"]) == (0, 0, 0)
        assert summary["image_sets"] == len(imported())
        assert summary["older_versions"] >= summary["image_sets"]  # each keeps what was removed
        assert real.run("verify", "r").exit_code == EXIT_OK

    def test_its_files_are_private_and_only_the_texts_hold_values(self, real: Shell) -> None:
        result = real.run("deid", "--check", "r", "--json")
        folder = real.folder / result.json[-1]["audit"]
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        names = {"findings", "risks", "undone", "texts"}
        assert {path.stem for path in folder.iterdir()} == {*names, "check"}
        texts = pl.read_parquet(folder / "texts.parquet")
        assert texts.height == result.json[-1]["texts"] > 0
        spoken = (folder / "check.json").read_text() + (folder / "findings.csv").read_text() + result.stdout
        assert not [text for text in texts["value"] if len(text) > 8 and text in spoken]

    def test_a_person_reads_what_was_found(self, real: Shell) -> None:
        said = real.run("deid", "--check", "r").stdout
        assert "findings    none" in said
        assert "consistent across the run" in said
        assert "which still contain what edits have removed" in said
        assert "Pixels are not examined." in said


@pytest.mark.parametrize(
    "kinds", [[*OUT], *(pytest.param([kind], marks=pytest.mark.slow) for kind in OUT)], ids=" and ".join
)
def test_a_rule_that_is_taken_out_is_found(shell: Shell, kinds: list[str]) -> None:
    for content in imported()[:12]:
        shell.emulator.add(content, primary=False)
    de_identified(shell, shell.write("leaky.toml", KEEPS + "".join(OUT[kind] for kind in kinds)))
    result = shell.run("deid", "--check", "r", "--json")
    assert result.exit_code == EXIT_DIFFERENCE
    *leaks, summary = result.json
    said = shell.run("deid", "--check", "r").stdout
    for kind in kinds:
        found = [leak["match"] for leak in leaks if leak["kind"] == kind]
        assert summary["by_kind"][kind] == len(found)
        assert "unchanged" in found
        assert f"{kind} unchanged in" in said


def test_what_the_profile_keeps_is_not_asked_about(shell: Shell) -> None:
    for content in imported()[:6]:
        shell.emulator.add(content, primary=False)
    de_identified(shell, "research-dates-kept")
    assert shell.run("deid", "--check", "r").exit_code == EXIT_DIFFERENCE
    result = shell.run("audit", "r", "--deid-profile", "research-dates-kept", "--json")
    assert result.exit_code == shell.run("deid", "--check", "r", "--deid-profile", "research-dates-kept").exit_code
    assert "date" in result.json[-1]["kept"]
    assert "date" not in result.json[-1]["by_kind"]


def test_a_name_in_the_text_of_a_report_is_not_kept_with_its_structure(shell: Shell) -> None:
    """What Annex E lists is the sequence; the free text in its items it does not."""
    content = document(study="1.2.1")
    ((_, series),) = content["Study"]["Series"].items()
    for instance in series["Instances"].values():
        code = [{"CodeValue": "121106", "CodingSchemeDesignator": "DCM", "CodeMeaning": "Comment"}]
        item = {"ValueType": "TEXT", "ConceptNameCodeSequence": code, "TextValue": "seen with Jane Doe"}
        instance["DICOM"]["ContentSequence"] = [{"ValueType": "CONTAINER", "ContentSequence": [item]}]
    one = shell.emulator.add(content, primary=False)
    de_identified(shell, "research-dates-shifted")
    result = shell.run("deid", "--check", "r", "--json")
    assert [leak["path"] for leak in result.json if "ContentSequence" in leak.get("path", "")] == [], result.stdout

    def stored(world: Any) -> str:
        return str(world.image_set(shell.emulator.datastore_id, one).latest.document)

    assert "Comment" in shell.emulator.do(stored)
    assert "Jane" not in shell.emulator.do(stored)


def test_what_was_not_done_is_named_and_scanned(shell: Shell) -> None:
    ids = [shell.emulator.add(document(study=f"1.2.{n}", patient=f"PATIENT{n}"), primary=False) for n in range(3)]
    de_identified(shell, "basic")
    unbegin(shell.folder / "r")  # as a run that was stopped before its first call
    shell.emulator.add(document(study="1.2.9"))
    result = shell.run("deid", "--check", "r")
    assert result.exit_code == EXIT_DIFFERENCE
    assert "3 image sets with edits that were not applied" in result.stdout
    assert all(image_set_id in result.stdout for image_set_id in ids)


def test_an_archived_image_set_is_read_only_when_asked_for(shell: Shell) -> None:
    one = shell.emulator.add(document(study="1.2.1"), primary=False)
    de_identified(shell, "basic")

    def archive(world: Any) -> None:
        world.image_set(shell.emulator.datastore_id, one).archived = True

    shell.emulator.do(archive)
    left = shell.run("deid", "--check", "r")
    assert left.exit_code == EXIT_STOPPED
    assert "bulkedit audit r --read-archived" in left.stderr
    assert not shell.requests("GetImageSetMetadata")[1:]  # that of the derivation
    for words in (("audit", "r", "--read-archived"), ("deid", "--check", "r", "--read-archived")):
        assert shell.run(*words, "--json").json[-1]["image_sets"] == 1


def test_a_run_without_edits_a_folder_that_is_none_and_no_profile_are_said(shell: Shell) -> None:
    assert shell.run("deid", "--check", "nowhere").exit_code == EXIT_USAGE
    result = shell.run("deid", "--all")
    assert (result.exit_code, "--deid-profile basic" in result.stderr) == (EXIT_USAGE, True)


def test_interrupted_it_says_so_and_writes_nothing(shell: Shell) -> None:
    for number in range(30):
        shell.emulator.add(document(study=f"1.2.{number}"), primary=False)
    de_identified(shell, "basic")
    with shell.started("deid", "--check", "r", "--read-rate", "1/s") as process:
        wait_for(lambda: len(shell.requests("GetImageSetMetadata")) > 30)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED, said
    assert "Interrupted" in said
    assert not (shell.folder / "r" / "checks").exists()
