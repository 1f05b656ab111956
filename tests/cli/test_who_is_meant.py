"""Rows of several patients, identifiers that one row gives and another one changes, and blanks before identifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkedit._json import object_in
from bulkedit.emulator.state.document import parse
from bulkedit.errors import EXIT_USAGE
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import World
    from tests.cli.shell import Shell

APPLY = ("--on-many", "all", "--yes", "--run", "r")


def patient(shell: Shell, number: int, patient_id: str, **attributes: str) -> str:
    """An image set of a study of its own."""
    made = document(study=f"1.2.{number}", patient=patient_id)
    made["Patient"]["DICOM"] |= attributes
    return shell.emulator.add(made)


def of_patient(shell: Shell, image_set: str) -> dict[str, Any]:
    def look(world: World) -> dict[str, Any]:
        stored = world.datastores[shell.emulator.datastore_id].image_sets[image_set]
        return object_in(parse(stored.latest.document), "Patient", "DICOM")

    return shell.emulator.do(look)


def table(shell: Shell, *lines: str) -> Path:
    return shell.write("edits.csv", "\n".join(lines) + "\n")


def test_a_row_of_two_patients_of_one_id_is_refused_until_its_own_word_is_given(shell: Shell) -> None:
    first = patient(shell, 1, "700123", PatientName="CANARY^A", PatientBirthDate="19500101")
    second = patient(shell, 2, " 700123", PatientName="CANARY^A", PatientBirthDate="19710101")
    edits = table(shell, "patient_id,PatientName", "700123,NEW^NAME")
    refused = shell.run("plan", edits, "--on-many", "all")
    assert refused.exit_code == EXIT_USAGE
    assert "Row 2: matches 2 image sets in 2 studies of 2 patients." in refused.stderr
    assert "--on-many-patients all" in refused.stderr
    assert "CANARY" not in refused.stderr + refused.stdout
    done = shell.run("apply", edits, "--on-many-patients", "all", *APPLY)
    assert "2 of 2 studies of 2 patients" in done.stdout
    assert [of_patient(shell, one)["PatientName"] for one in (first, second)] == ["NEW^NAME"] * 2


def test_merges_that_follow_one_another_are_asked_about_and_followed(shell: Shell) -> None:
    image_sets = [patient(shell, number, one) for number, one in enumerate("ABC", 1)]
    edits = table(shell, "patient_id,PatientID,PatientName", "A,B,OF^B", "B,C,OF^C")
    refused = shell.run("plan", edits)
    assert refused.exit_code == EXIT_USAGE
    assert "Row 2: gives image sets the patient_id that row 3 changes." in refused.stderr
    assert "--chains follow" in refused.stderr
    assert "--chains as-written" in refused.stderr
    assert shell.run("apply", edits, "--chains", "follow", *APPLY).exit_code == 0
    ends = [[of_patient(shell, one)[name] for name in ("PatientID", "PatientName")] for one in image_sets]
    assert ends == [["C", "OF^C"], ["C", "OF^C"], ["C", "DOE^JANE"]]
    assert len(shell.accepted()) == 2


def test_a_row_with_another_problem_is_a_link_of_a_chain_too(shell: Shell) -> None:
    for number, one in enumerate("AB", 1):
        patient(shell, number, one)
    edits = table(shell, "patient_id,PatientID,StudyDate", "A,B,", "B,C,20190229")
    refused = shell.run("plan", edits)
    assert refused.exit_code == EXIT_USAGE
    assert "Row 2: gives image sets the patient_id that row 3 changes." in refused.stderr
    assert "Row 3: the value of StudyDate is a day that no calendar has." in refused.stderr


def test_a_swap_is_asked_about_and_made_as_written(shell: Shell) -> None:
    image_sets = [patient(shell, number, one) for number, one in enumerate("AB", 1)]
    edits = table(shell, "patient_id,attribute,value", "A,PatientID,B", "B,PatientID,A")
    for words in ((), ("--chains", "follow")):
        refused = shell.run("plan", edits, *words)
        assert refused.exit_code == EXIT_USAGE
        assert "and so on in a circle" in refused.stderr
    assert shell.run("apply", edits, "--chains", "as-written", *APPLY).exit_code == 0
    assert [of_patient(shell, one)["PatientID"] for one in image_sets] == ["B", "A"]


def test_different_issuers_are_seen_where_metadata_is_read(shell: Shell) -> None:
    for number, issuer in enumerate(("CANARY-A", "CANARY-B", " CANARY-A"), 1):
        patient(shell, number, "700123", IssuerOfPatientID=issuer)
    patient(shell, 4, "700123")
    edits = table(shell, "patient_id,PatientName", "700123,NEW^NAME")
    words = ("plan", edits, "--on-many", "all", "--skip-satisfied")
    refused = shell.run(*words)
    assert refused.exit_code == EXIT_USAGE
    assert "Row 2: matches image sets of 2 issuers of patient ids." in refused.stderr
    assert "CANARY" not in refused.stderr
    assert shell.run(*words, "--on-many-patients", "all").exit_code == 0
