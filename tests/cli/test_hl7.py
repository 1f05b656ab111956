"""HL7 messages through the commands: later messages win, and what is set aside keeps its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit._json import object_in
from bulkedit.emulator.state.document import parse
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from tests.cli.shell import Shell

HEAD = "MSH|^~\\&|ADT|H|PACS|H|20260101||ADT^{}|{}|P|2.5\r"


def message(event: str, key: int, *segments: str) -> str:
    return HEAD.format(event, key) + "".join(segment + "\r" for segment in segments)


def with_patient(shell: Shell, patient: str) -> str:
    content = document()
    content["Patient"]["DICOM"]["PatientID"] = patient
    return shell.emulator.add(content)


def test_the_patients_of_a_feed_end_as_its_last_message_says(shell: Shell) -> None:
    image_set = with_patient(shell, "A")
    shell.write(
        "feed.hl7",
        message("A40", 1, "PID|||B||First^Name", "MRG|A")
        + message("A08", 2, "PID|||B||Second^Name||19700102|F")
        + message("A08", 3, 'PID|||B||Third^Name||""'),
    )
    result = shell.run("apply", "feed.hl7", "--run", "r", "--yes", "--chains", "follow", "--on-missing", "skip")
    assert result.exit_code == 0, result.stderr
    stored = shell.emulator.do(lambda world: world.image_set(shell.emulator.datastore_id, image_set).latest.document)
    patient = object_in(parse(stored), "Patient", "DICOM")
    assert [patient[name] for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")] == [
        "B", "Third^Name", None, "F",
    ]  # fmt: skip


def test_messages_set_aside_are_an_edit_list_again(shell: Shell) -> None:
    """Also if the reader sets one aside that has several lines, and the planner another one."""
    with_patient(shell, "A")
    shell.write(
        "feed.hl7",
        message("A08", 1, f"PID|||A||{'x' * 300}^y||19700102|F")
        + message("A08", 2, "PID|||nobody||Doe^Jane")
        + message("A08", 3, "PID|||A||Doe^Jane"),
    )
    result = shell.run("plan", "feed.hl7", "-o", "p", "--bad-rows", "bad.csv")
    assert result.exit_code == 0, result.stderr
    rows = [line.split(",")[0] for line in (shell.folder / "bad.csv").read_text().splitlines()]
    assert rows == ["row", "1", "1", "1", "2"]
    again = shell.run("plan", "bad.csv", "-o", "q", "--on-missing", "skip")
    assert (again.exit_code, "302 characters" in again.stderr) == (2, True), again.stderr
