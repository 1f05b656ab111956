"""`bulkedit apply`: asks first, applies every edit, says how it ended and what to type next."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.client.responses import CallState
from bulkedit.emulator.state.faults import Fault, FaultKind
from bulkedit.errors import EXIT_NOT_ALL_APPLIED
from bulkedit.runs import folder
from bulkedit.runs.ledger import Event, Ledger
from tests.cli.shell import PATIENT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.shell import Shell

REJECTED = "INVALID_REQUEST: StudyDescription to remove is not in the metadata"


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    return shell.image_sets(3)


@pytest.fixture
def edits(shell: Shell, image_sets: list[str]) -> Path:
    return shell.descriptions(image_sets)


@pytest.fixture
def rejected(shell: Shell, image_sets: list[str]) -> Path:
    """A list whose second row the service rejects: what is stored is not what the row removes."""
    rows = [f"{image_sets[0]},remove,StudyDescription,CHEST", f"{image_sets[1]},remove,StudyDescription,WRONG"]
    rows.append(f"{image_sets[2]},set,StudyDescription,T2")
    return shell.write("rejected.csv", "\n".join(["image_set_id,action,attribute,value", *rows]) + "\n")


def entries(shell: Shell) -> list[str]:
    return sorted(file.name for file in shell.folder.iterdir())


class TestApplying:
    def test_a_list_is_planned_and_applied_at_once(self, shell: Shell, image_sets: list[str], edits: Path) -> None:
        assert shell.run("apply", edits, "--yes").exit_code == 0
        assert [shell.stored(one) for one in image_sets] == [(2, "T0"), (2, "T1"), (2, "T2")]
        assert len(shell.accepted()) == 3

    def test_a_plan_is_applied(self, shell: Shell, image_sets: list[str], edits: Path) -> None:
        shell.run("plan", edits, "-o", "p")
        edits.unlink()
        assert shell.run("apply", "p", "--yes").exit_code == 0
        assert [shell.stored(one) for one in image_sets] == [(2, "T0"), (2, "T1"), (2, "T2")]

    def test_edits_come_through_standard_input(self, shell: Shell, image_sets: list[str], edits: Path) -> None:
        assert shell.run("apply", "-", "--yes", stdin=edits.read_bytes()).exit_code == 0
        assert [shell.stored(one)[1] for one in image_sets] == ["T0", "T1", "T2"]

    def test_standard_input_has_the_format_that_is_said(self, shell: Shell, image_sets: list[str]) -> None:
        lines = [json.dumps({"image_set_id": one, "StudyDescription": "J"}) for one in image_sets]
        assert shell.run("apply", "-", "--yes", "--format", "jsonl", stdin="\n".join(lines)).exit_code == 0
        assert [shell.stored(one)[1] for one in image_sets] == ["J"] * 3

    def test_the_closing_lines_say_how_it_ended(self, shell: Shell, edits: Path) -> None:
        result = shell.run("apply", edits, "--yes", "--run", "r")
        last = result.stdout.splitlines()[-1]
        assert last.startswith("Run r: 3 edits applied, 0 left, in 3 requests for 3 calls (0 throttled). ")
        assert result.messages == ["Run r"]

    def test_a_rejected_row_is_exit_1_and_leads_to_its_reason(self, shell: Shell, rejected: Path) -> None:
        result = shell.run("apply", rejected, "--yes", "--run", "my run")
        assert result.exit_code == 1
        head, why = result.stdout.splitlines()[-2:]
        assert head.startswith("Run my run: 2 edits applied, 1 rejected, 0 left, in 3 requests for 3 calls")
        assert why == "To see the reasons:     bulkedit report 'my run'"

    def test_the_run_folder_is_for_its_owner_only(self, shell: Shell, edits: Path) -> None:
        shell.run("apply", edits, "--yes", "--run", "deep/r")
        run = shell.folder / "deep" / "r"
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in (run, run / "plan")] == [0o700] * 2
        files = [file for file in run.rglob("*") if file.is_file()]
        assert {"ledger.sqlite", "run.json", "manifest.json"} <= {file.name for file in files}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    def test_the_run_remembers_its_connection_and_options_and_no_credentials(self, shell: Shell, edits: Path) -> None:
        shell.run("apply", edits, "--yes", "--run", "r", "--workers", "3", env={"AWS_SECRET_ACCESS_KEY": "SECRET"})
        text = (shell.folder / "r" / "run.json").read_text()
        settings = json.loads(text)["settings"]
        assert settings["connection"] == {
            "region": None,
            "profile": None,
            "endpoint_url": str(shell.emulator),
            "client_cert": None,
            "client_key": None,
        }
        assert (settings["options"]["workers"], settings["options"]["rate"]) == (3, "1000/s")
        assert "SECRET" not in text

    def test_without_a_name_each_run_gets_its_own(self, shell: Shell, edits: Path) -> None:
        runs = {shell.run("apply", edits, "--yes", "--json").json[0]["run"] for _ in range(2)}
        assert len(runs) == 2
        assert {run.partition("/")[0] for run in runs} == {"runs"}

    def test_a_run_folder_that_exists_is_refused_and_nothing_is_sent(self, shell: Shell, edits: Path) -> None:
        (shell.folder / "my run").mkdir()
        result = shell.run("apply", edits, "--yes", "--run", "my run")
        assert (result.exit_code, shell.requests()) == (2, [])
        assert "To start another run: --run DIR\nTo continue that one: bulkedit resume 'my run'\n" in result.stderr

    def test_a_folder_with_brackets_in_its_name_is_shown_as_it_is(self, shell: Shell, edits: Path) -> None:
        result = shell.run("apply", edits, "--yes", "--run", "[bold]r[/]:smile:")
        assert (result.exit_code, result.messages) == (0, ["Run [bold]r[/]:smile:"])

    def test_the_data_store_may_stand_in_the_list(self, shell: Shell, image_sets: list[str]) -> None:
        line = {
            "datastoreId": shell.emulator.datastore_id,
            "imageSetId": image_sets[0],
            "updateImageSetMetadataUpdates": {
                "DICOMUpdates": {
                    "updatableAttributes": {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDescription": "X"}}}
                }
            },
        }
        edits = shell.write("e.jsonl", json.dumps(line))
        assert shell.run("apply", edits, "--yes", env={"BULKEDIT_DATASTORE": None}).exit_code == 0
        assert shell.stored(image_sets[0]) == (2, "X")
        refused = shell.run("apply", edits, "--yes", "-d", "0" * 32)
        assert (refused.exit_code, "name another data store" in refused.stderr) == (2, True)

    def test_the_requests_are_no_faster_than_the_rate(self, shell: Shell, edits: Path) -> None:
        # by the service's clock, between what it accepted; the wait itself is not measured
        assert shell.run("apply", edits, "--yes", "--rate", "2/s", "--burst", "1").exit_code == 0
        times = [entry.at for entry in shell.accepted()]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.4


class TestAskingFirst:
    def test_where_no_user_can_be_asked_yes_must_be_said(self, shell: Shell, edits: Path) -> None:
        result = shell.run("apply", edits)
        assert (result.exit_code, shell.requests()) == (2, [])
        *lines, removed = result.stderr.splitlines()
        what = f"3 calls to data store {shell.emulator.datastore_id}"
        assert lines == [
            f"error: cannot ask for confirmation of {what}: not on a terminal.",
            "To apply from a script: --yes",
        ]
        assert removed.startswith("Nothing was sent. Removed: plans/")

    @pytest.mark.parametrize(
        ("answer", "exit_code", "said", "applied"),
        [
            ("y\n", 0, "Run r", 3),
            ("n\n", 0, "Nothing was sent.", 0),
            pytest.param("\n", 0, "Nothing was sent.", 0, marks=pytest.mark.slow),
            pytest.param("\x04", 130, "Interrupted.", 0, marks=pytest.mark.slow),
            ("\x03", 130, "Interrupted.", 0),
        ],
        ids=["yes", "no", "enter", "end of input", "Ctrl-C"],
    )
    def test_on_a_terminal_it_asks(  # noqa: PLR0917 - a truth table
        self, shell: Shell, edits: Path, answer: str, exit_code: int, said: str, applied: int
    ) -> None:
        digest = shell.run("plan", edits, "-o", "p", "--json").json[0]["digest"]
        code, screen = on_terminal(shell, answer, said, "apply", str(edits), "--run", "r")
        words = " ".join(screen.split())
        question = f"Send 3 calls to data store {shell.emulator.datastore_id} (plan {digest[:16]})? [y/N]"
        assert question in words
        assert f"endpoint {shell.emulator} (from --endpoint-url), which is not AWS." in words.partition("Send 3")[0]
        assert said in screen
        assert (code, len(shell.accepted())) == (exit_code, applied)

    @pytest.mark.parametrize("what", ["list", "plan"])
    def test_a_dry_run_sends_nothing_and_asks_nothing(self, shell: Shell, edits: Path, what: str) -> None:
        shell.run("plan", edits, "-o", "p")
        result = shell.run("apply", edits if what == "list" else "p", "--dry-run", "--run", "r")
        assert (result.exit_code, shell.requests(), (shell.folder / "r").exists()) == (0, [], False)
        assert re.search(r"^  calls +3\b", result.stdout, re.MULTILINE)
        assert result.stderr == "Nothing was sent: --dry-run.\n"

    def test_a_dry_run_in_json_is_the_line_of_the_plan(self, shell: Shell, edits: Path) -> None:
        (line,) = shell.run("apply", edits, "--dry-run", "--json").json
        assert (line["type"], line["calls"]) == ("plan", 3)


def on_terminal(shell: Shell, typed: str, said: str, *words: str) -> tuple[int, str]:
    """Carry a command out on a terminal, type once it asks and until it says so: the exit code and the screen."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **shell.env, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkedit", *words],
        cwd=shell.folder,
        env={name: text for name, text in environment.items() if text is not None},
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        start_new_session=True,
        # the terminal is theirs alone, so that Ctrl-C reaches them
        preexec_fn=lambda: take_terminal(theirs),  # noqa: PLW1509 - nothing else runs in this process now
    )
    os.close(theirs)
    screen = ""
    with os.fdopen(ours, "r+b", buffering=0) as terminal, process:
        while True:
            # what is typed in the instant before a program reads may be lost, as a person would notice
            ready, _, _ = select.select([terminal], [], [], 0.5)
            if ready and not (data := read(terminal.fileno())):
                return process.wait(PATIENT_S), screen
            screen += data if ready else ""
            if "[y/N]" in screen and said not in screen and (not ready or data.rstrip().endswith("[y/N]:")):
                os.write(terminal.fileno(), typed.encode())


def take_terminal(descriptor: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 4096).decode()
    except OSError:  # the other end is closed
        return ""


class TestJson:
    def test_standard_output_is_one_line_and_nothing_else(self, shell: Shell, rejected: Path) -> None:
        result = shell.run("apply", rejected, "--yes", "--run", "r", "--json")
        (line,) = result.json
        seconds = line.pop("seconds")
        assert isinstance(seconds, float)
        expected = {
            "type": "summary",
            "run": "r",
            "edits": 3,
            "applied": 2,
            "rejected": 1,
            "conflicted": 0,
            "failed": 0,
            "unprocessed": 0,
            "calls": 3,
            "requests": 3,
            "throttled": 0,
            "faults": 0,
            "conflicts": 0,
        }
        assert {name: line.get(name) for name in expected} == expected
        assert (result.exit_code, result.messages) == (1, ["Run r"])

    @pytest.mark.parametrize(
        ("kind", "counted"),
        [
            (FaultKind.THROTTLE, {"throttled"}),
            (FaultKind.DROP_BEFORE, {"faults"}),
            (FaultKind.ERROR_AFTER, {"faults"}),
            (FaultKind.FOREIGN_BEFORE, {"conflicts"}),
        ],
        ids=str,
    )
    def test_throttles_faults_and_conflicts_are_counted_apart(
        self, shell: Shell, edits: Path, kind: FaultKind, counted: set[str]
    ) -> None:
        strike(shell, Fault(kind=kind, action="UpdateImageSetMetadata", times=1))
        (line,) = shell.run("apply", edits, "--yes", "--json").json
        assert line["applied"] == 3
        assert {name for name in ("throttled", "faults", "conflicts") if line[name]} == counted


def strike(shell: Shell, fault: Fault) -> None:
    """Let something go wrong from now on."""
    server = shell.emulator.server
    shell.emulator.do(lambda _: server.faults.add([fault], now=server.now()))


def on_a_full_disk(path: Path, create: Callable[[Path], Ledger] = Ledger.create) -> Ledger:
    """A new ledger whose last page is full, on a disk that has no other."""
    ledger = create(path)
    ledger.append([Event(at=0.0, call=0, state=CallState.PLANNED, message="x" * 4015)])
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    return ledger


class TestFatal:
    """What no call of the run can get past ends it at once, and it can go on later."""

    @pytest.mark.parametrize(
        ("kind", "what"),
        [(FaultKind.DENIED, "AWS denied access"), (FaultKind.EXPIRED, "AWS did not accept the credentials")],
        ids=["denied", "expired"],
    )
    def test_a_refusal_of_every_call_names_the_command_that_goes_on(
        self, shell: Shell, image_sets: list[str], edits: Path, kind: FaultKind, what: str
    ) -> None:
        strike(shell, Fault(kind=kind, action="UpdateImageSetMetadata"))
        result = shell.run("apply", edits, "--yes", "--run", "my run", "--rate", "5/s", "--burst", "1")
        shell.emulator.do(lambda _: shell.emulator.server.faults.clear())
        assert (result.exit_code, result.messages[1].partition(" (")[0]) == (4, f"error: {what}")
        assert "then continue with: bulkedit resume 'my run'" in result.stderr
        assert "Traceback" not in result.stderr
        assert shell.run("resume", "my run").exit_code == 0
        assert [shell.stored(one) for one in image_sets] == [(2, "T0"), (2, "T1"), (2, "T2")]

    def test_no_folder_is_made_for_a_run_on_a_data_store_that_cannot_be_used(
        self, shell: Shell, edits: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        strike(shell, Fault(kind=FaultKind.DENIED, action="GetDatastore"))
        made: list[object] = []
        monkeypatch.setattr(folder, "create", lambda *given: made.append(given))
        result = shell.run("apply", edits, "--yes", "--run", "r")
        assert (result.exit_code, made) == (4, [])
        assert "does not let these credentials read data store" in result.stderr

    def test_where_the_intent_cannot_be_written_the_request_does_not_leave(
        self, shell: Shell, edits: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Ledger, "create", on_a_full_disk)
        result = shell.run("apply", edits, "--yes", "--run", "my run")
        assert (result.exit_code, shell.requests("UpdateImageSetMetadata")) == (4, [])
        assert "the ledger cannot be used (database or disk is full)" in result.stderr
        assert "then continue with: bulkedit resume 'my run'" in result.stderr
        assert shell.run("resume", "my run").exit_code == 0
        assert len(shell.accepted()) == 3

    def test_a_run_that_another_process_holds_is_refused(self, shell: Shell, edits: Path) -> None:
        shell.run("apply", edits, "--yes", "--run", "r")
        with Ledger.open(shell.folder / "r" / "ledger.sqlite"):
            result = shell.run("resume", "r")
        assert (result.exit_code, f"in use by process {os.getpid()} on" in result.stderr) == (4, True)

    def test_a_damaged_ledger_is_said_in_words(self, shell: Shell, edits: Path) -> None:
        shell.run("apply", edits, "--yes", "--run", "r")
        (shell.folder / "r" / "ledger.sqlite").write_text("no database " * 100)
        for words in (("resume", "r"), ("status", "r"), ("report", "r")):
            result = shell.run(*words)
            assert (result.exit_code, "the ledger is damaged" in result.stderr) == (4, True)


class TestWrongRuns:
    @pytest.mark.parametrize("command", ["resume", "status", "report"])
    @pytest.mark.parametrize(
        "make",
        [
            lambda folder: folder,
            lambda folder: folder.mkdir(),
            lambda folder: folder.write_text("x"),
            lambda folder: (folder.mkdir(), (folder / "run.json").write_text("no JSON")),
            lambda folder: (folder.mkdir(), (folder / "run.json").write_text("[1]")),
            lambda folder: (folder.mkdir(), (folder / "run.json").write_text('{"format": 99}')),
        ],
        ids=["absent", "empty", "a file", "no JSON", "no object", "another version"],
    )
    def test_what_is_no_run_is_a_usage_error(self, shell: Shell, command: str, make: Callable[[Path], object]) -> None:
        make(shell.folder / "r")
        result = shell.run(command, "r")
        assert (result.exit_code, result.stderr.startswith(("error: r: th", "error: r/run.json: "))) == (2, True)

    @pytest.mark.parametrize("command", ["resume", "status", "report"])
    def test_a_run_whose_plan_has_changed_is_stale(self, shell: Shell, edits: Path, command: str) -> None:
        shell.run("apply", edits, "--yes", "--run", "r")
        shell.run("plan", edits, "-o", "p", "-d", "0" * 32)
        plan = shell.folder / "r" / "plan"
        for file in (shell.folder / "p").iterdir():
            (plan / file.name).write_bytes(file.read_bytes())
        assert shell.run(command, "r").exit_code == 6


def test_a_removal_in_a_place_that_does_not_exist_is_rejected_and_sends_nothing(shell: Shell) -> None:
    """A typo in a UID must not pass for de-identification that is done."""
    one, other = shell.image_sets(2)
    lines = [
        f"{one},remove,KVP,1.2.1.1,1.2.1.1.9",
        f"{one},remove,KVP,1.2.1.1,1.2.1.1.1",
        f"{one},remove,PatientComments,,",
        f"{other},remove,Modality,1.2.1.1,",
    ]
    edits = shell.write("e.csv", "\n".join(["image_set_id,action,attribute,series_uid,instance_uid", *lines]) + "\n")
    assert shell.run("apply", edits, "--yes", "--run", "r").exit_code == EXIT_NOT_ALL_APPLIED
    assert [entry.image_set_id for entry in shell.accepted()] == [one]
    shell.run("report", "r", "--results", "files", "--format", "parquet")
    failed = pl.read_parquet(shell.folder / "files" / "failed.parquet")
    assert sorted(failed.select("row", "outcome", "reason").iter_rows()) == [
        (2, "rejected", "no such instance"),
        (5, "rejected", "no such series"),
    ]
    applied = pl.read_parquet(shell.folder / "files" / "succeeded.parquet")
    assert sorted(applied["row"]) == [3, 4]
