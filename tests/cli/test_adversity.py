"""Disks that fill, credentials that expire, image sets that never unlock; and values that leak from none of it."""

from __future__ import annotations

import json
import stat
import textwrap
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit._json import object_in
from bulkedit.emulator import Fault, FaultKind, World
from bulkedit.emulator.state.document import parse
from tests.cli.shell import wait_for
from tests.emulator.hospital import document
from tests.privileges import as_anybody

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

UPDATE = "UpdateImageSetMetadata"


def trouble(shell: Shell, **fields: Any) -> None:
    server = shell.emulator.server
    shell.emulator.do(lambda _: server.faults.add([Fault(**fields)], now=server.now()))


def calm(shell: Shell) -> None:
    shell.emulator.do(lambda _: shell.emulator.server.faults.clear())


def all_made_once(shell: Shell, image_sets: list[str]) -> None:
    assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(len(image_sets))]


# -- disk

FULL_DISK = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    from bulkedit.cli.app import app
    app()
"""


def test_a_full_disk_ends_the_run_in_words_and_it_goes_on_once_there_is_room(shell: Shell) -> None:
    image_sets = shell.image_sets(120)
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", "r")
    with shell.started(*words, start=("-c", textwrap.dedent(FULL_DISK))) as process:
        _, stderr = process.communicate()
    assert process.returncode == 4
    assert "error: r/ledger.sqlite: the ledger cannot be used" in stderr
    assert "The disk may be full" in stderr
    assert "bulkedit resume r" in stderr
    assert "Traceback" not in stderr
    (line,) = shell.run("status", "r", "--json").json
    assert line["edits"] == 120
    assert line["applied"] < 120
    assert shell.run("resume", "r").exit_code == 0
    all_made_once(shell, image_sets)
    assert len(shell.accepted()) == 120


def test_a_folder_that_goes_while_a_run_is_at_work_ends_it_in_words(shell: Shell) -> None:
    image_sets = shell.image_sets(60)
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", "r", "--rate", "30/s", "--burst", "1")
    with shell.started(*words) as process:
        wait_for(lambda: len(shell.accepted()) >= 5)
        (shell.folder / "r").rename(shell.folder / "moved")
        _, stderr = process.communicate()
    assert process.returncode == 4
    assert "it is not in its folder any more" in stderr
    assert "Traceback" not in stderr
    assert "Nothing was sent" not in stderr
    assert list((shell.folder / "plans").iterdir())
    assert shell.run("resume", "moved").exit_code == 0
    all_made_once(shell, image_sets)
    assert len(shell.accepted()) == 60


def test_a_ledger_that_is_deleted_while_a_run_is_at_work_takes_nothing_else_with_it(shell: Shell) -> None:
    image_sets = shell.image_sets(20)
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", "r", "--rate", "30/s", "--burst", "1")
    with shell.started(*words) as process:
        wait_for(lambda: len(shell.accepted()) >= 5)
        (shell.folder / "r" / "ledger.sqlite").unlink()
        _, stderr = process.communicate()
    assert process.returncode == 4
    assert "it is not in its folder any more" in stderr
    assert "Nothing was sent" not in stderr
    assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
    all_made_once(shell, image_sets)
    assert len(shell.accepted()) == 20


def test_a_run_on_a_read_only_disk_can_still_be_asked_and_undone(shell: Shell) -> None:
    run = shell.folder / "r"
    assert shell.run("apply", shell.descriptions(shell.image_sets(3)), "--yes", "--run", "r").exit_code == 0
    run.chmod(0o500)
    with as_anybody():
        asked = [
            shell.run(*words)
            for words in (["status", "r"], ["report", "r", "--results", "results"], ["revert", "r", "-o", "undo"])
        ]
        refused = shell.run("resume", "r")
    run.chmod(0o700)
    assert [result.exit_code for result in asked] == [0, 0, 0], [result.stderr for result in asked]
    assert refused.exit_code == 4
    assert "the ledger cannot be used" in refused.stderr


def test_of_a_damaged_ledger_is_shown_what_can_be_read_and_nothing_goes_on_from_it(shell: Shell) -> None:
    shell.run("apply", shell.descriptions(shell.image_sets(60)), "--yes", "--run", "r")
    path = shell.folder / "r" / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = bytes(4096)
    path.write_bytes(content)
    for command in ("status", "report"):
        result = shell.run(command, "r")
        assert result.exit_code == 0
        assert "warning: the ledger is damaged" in result.stderr
    result = shell.run("resume", "r")
    assert result.exit_code == 4
    assert "the ledger is damaged" in result.stderr
    assert "bulkedit resume r --assume-unknown" in result.stderr


# -- credentials

PROCESS = """
    import datetime, json, pathlib, sys
    count = pathlib.Path(sys.argv[1])
    asked = int(count.read_text()) if count.exists() else 0
    count.write_text(str(asked + 1))
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    keys = {"AccessKeyId": "OLD" if asked == 0 else "NEW", "SecretAccessKey": "s", "SessionToken": "t"}
    print(json.dumps({"Version": 1, "Expiration": expires.isoformat(), **keys}))
"""


def chain(shell: Shell) -> dict[str, str | None]:
    """An environment whose credentials come from a process that has others when asked again."""
    import sys

    script = shell.write("process.py", textwrap.dedent(PROCESS))
    config = shell.write("config", f"[default]\ncredential_process = {sys.executable} {script} {shell.folder}/asked\n")
    nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    return {"AWS_CONFIG_FILE": str(config), **nothing}


def test_credentials_that_expire_are_asked_for_anew_where_the_chain_can(shell: Shell) -> None:
    image_sets = shell.image_sets(30)
    trouble(shell, kind=FaultKind.EXPIRED, access_key="OLD", skip=25)
    result = shell.run("apply", shell.descriptions(image_sets), "--yes", "--run", "r", env=chain(shell))
    assert result.exit_code == 0
    assert any(entry.code == "ExpiredTokenException" for entry in shell.requests())
    all_made_once(shell, image_sets)
    assert len(shell.accepted()) == 30


def test_credentials_that_stay_expired_stop_the_run_which_goes_on_with_others(shell: Shell) -> None:
    image_sets = shell.image_sets(30)
    trouble(shell, kind=FaultKind.EXPIRED, skip=25)
    result = shell.run("apply", shell.descriptions(image_sets), "--yes", "--run", "r")
    assert result.exit_code == 4
    assert "AWS did not accept the credentials (ExpiredTokenException)" in result.stderr
    calm(shell)
    assert shell.run("resume", "r").exit_code == 0
    all_made_once(shell, image_sets)
    assert len(shell.accepted()) == 30


# -- states that never end


def test_an_image_set_that_stays_locked_is_reported_and_blocks_only_its_own_lane(shell: Shell) -> None:
    image_sets = shell.image_sets(5)
    trouble(shell, kind=FaultKind.HANG, image_set_id=image_sets[2])
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", "r", "--unlock-timeout", "1", "--workers", "1")
    result = shell.run(*words, "--max-in-flight", "1")
    assert result.exit_code == 5
    assert "4 edits applied, 1 left" in result.stdout
    (edit, summary) = shell.run("report", "r", "--only", "unprocessed", "--json").json
    assert (edit["image_set_id"], edit["reason"]) == (image_sets[2], "unlock timeout")
    assert (summary["applied"], summary["unprocessed"]) == (4, 1)


# -- values


SHORT = {"plan", "apply", "report"}  # the commands that each form of list goes through; the first goes through all


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["short", "every command"])
def test_values_are_in_no_output_and_no_ledger_whatever_goes_wrong(shell: Shell, every: bool) -> None:
    """A canary in every value of lists and metadata; faults, refusals, conflicts, a budget, resumes, reports."""
    stored = document(study="1.2.1")
    stored["Patient"]["DICOM"] |= {"PatientName": "CANARY^STORED", "PatientID": "CANARY-ID"}
    stored["Study"]["DICOM"] |= {"StudyDescription": "CANARY DESCRIPTION", "AccessionNumber": "CANARY-ACC"}
    first, second = shell.emulator.add(stored), shell.emulator.add(document(study="1.2.2"))
    tidy = [
        f"{first},set,PatientName,CANARY^NEW",
        f"{first},remove,StudyDescription,",
        f"{first},remove,AccessionNumber,CANARY-WRONG",
        f"{first},set,StudyID,CANARY-REFUSED",
        f"{second},set,PatientBirthDate,CANARY-NO-DATE",
        f"{second},set,PatientName,CANARY^TWO",
    ]
    wide = f"image_set_id,PatientName,StudyDescription\n{second},CANARY^WIDE,CANARY WIDE\n"
    blob = {"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": "CANARY^CALL"}}}
    call = {"imageSetId": second, "latestVersionId": "99"} | {
        "updateImageSetMetadataUpdates": {"DICOMUpdates": {"updatableAttributes": json.dumps(blob)}}
    }
    lists = [
        shell.write("tidy.csv", "image_set_id,action,attribute,value\n" + "\n".join(tidy) + "\n"),
        shell.write("wide.csv", wide),
        shell.write("call.jsonl", json.dumps(call) + "\n"),
        shell.write(
            "broken.csv", f"image_set_id,action,attribute,value\n{first},set,PatientName,CANARY^A,CANARY\nCANARY"
        ),
        shell.write("broken.jsonl", '{"image_set_id": "CANARY", "PatientName": CANARY}\n'),
        *other_formats(shell, tidy),
    ]
    for kind in (
        FaultKind.DROP_AFTER,
        FaultKind.ERROR_AFTER,
        FaultKind.FAIL,
        FaultKind.FOREIGN_BEFORE,
        FaultKind.THROTTLE,
    ):
        trouble(shell, kind=kind, action=UPDATE, times=2)
    said: list[str] = []
    for number, path in enumerate(lists):
        run = f"r{number}"
        apply = ["apply", path, "--yes", "--run", run, "--force", "--bad-rows", f"bad{number}.csv", "--max-errors", "0"]
        commands: list[list[Any]] = [["plan", path, "-o", f"p{number}"], ["plan", path, "--json"], apply]
        commands += [["resume", run], ["resume", run, "--json", "--strategy", "all"]]
        commands += [["report", run], ["report", run, "--only", "rejected", "--json"]]
        commands += [["verify", run, "--history"], ["verify", run, "--history", "--json"]]
        commands += [["revert", run, "-o", f"undo{number}"], ["revert", run, "--json"]]
        commands += [["apply", f"undo{number}", "--yes", "--run", f"u{number}"], ["resume", f"u{number}"]]
        commands += [["report", run, "--results", f"results{number}"], ["report", f"u{number}", "--json"]]
        if number and not every:
            commands = [words for words in commands if words[0] in SHORT and str(words[1])[0] != "u"]
        for words in [*commands, ["status", run, "--json"]]:
            result = shell.run(*words)
            said += [result.stdout, result.stderr]
    assert not [text for text in said if "CANARY" in text]
    ledgers = list(shell.folder.rglob("ledger.sqlite*"))
    assert {"r0", "r5", "r6", "r7"} <= {path.parent.name for path in ledgers}  # the lists of each format were sent
    assert any(path.parent.name.startswith("u") for path in ledgers)  # and at least one was undone
    assert not [path for path in ledgers if b"CANARY" in path.read_bytes()]
    hold_modes(shell.folder, lists)


def other_formats(shell: Shell, tidy: list[str]) -> list[Path]:
    """The rows of a tidy list as Parquet, Excel and JSON lines."""
    columns = ["image_set_id", "action", "attribute", "value"]
    frame = pl.DataFrame([line.split(",") for line in tidy], schema=columns, orient="row")
    parquet, excel, lines = (shell.folder / f"tidy.{suffix}" for suffix in ("parquet", "xlsx", "jsonl"))
    frame.write_parquet(parquet)
    frame.write_excel(excel)
    frame.write_ndjson(lines)
    return [parquet, excel, lines]


def hold_modes(folder: Path, own: list[Path]) -> None:
    """Whatever holds a value is its owner's alone."""
    holding = [path for path in folder.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]
    ours = [path for path in holding if path not in own]
    assert ours
    for path in ours:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        if path.parent != folder:
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path.parent


def test_the_canaries_reached_the_service(shell: Shell) -> None:
    """The test above would show nothing if nothing was sent."""
    one = shell.emulator.add(document())
    path = shell.write("one.csv", f"image_set_id,action,attribute,value\n{one},set,PatientName,CANARY^NEW\n")
    assert shell.run("apply", path, "--yes", "--run", "r").exit_code == 0

    def look(world: World) -> Any:
        return object_in(parse(world.image_set(shell.emulator.datastore_id, one).latest.document), "Patient", "DICOM")

    assert shell.emulator.do(look)["PatientName"] == "CANARY^NEW"
    with pytest.raises(AssertionError):
        hold_modes(shell.folder, [])
