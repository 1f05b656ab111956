"""What commands log: to `run.log`, to `--log-file` and with `-v`; never a value, whatever happens."""

from __future__ import annotations

import json
import logging
import re
import stat
import tomllib
from email.message import Message
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bulkedit
from bulkedit._log import LogFile, written_to
from bulkedit.cli._logging import where_to_report
from bulkedit.cli._parameters import TAKEN
from bulkedit.emulator.api.actions import perform
from bulkedit.emulator.state.faults import Fault, FaultKind
from bulkedit.options.declaring import all_declared
from tests.emulator.hospital import document
from tests.generated import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import World
    from bulkedit.emulator.api.request import Request
    from tests.cli.shell import Shell

ISSUES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Issues"]
CANARIES = ("CANARY^Jane", "MRN-55-CANARY", "CANARYSTUDY", "Ärztin CANARY")
LIBRARIES = ("", "botocore", "aiobotocore", "urllib3", "asyncio", "aiohttp", "boto3")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def actions(path: Path) -> list[str]:
    return [line["action"] for line in lines(path)]


@pytest.fixture
def talkative() -> Iterator[None]:
    """Libraries log everything, request bodies too."""
    former = {name: logging.getLogger(name).level for name in LIBRARIES}
    for name in former:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name, level in former.items():
        logging.getLogger(name).setLevel(level)


def canary_list(shell: Shell) -> Path:
    """Edits with values: that are taken, that the service refuses, and that contradict its constraints."""
    ids = [
        shell.emulator.add(document(study=f"1.2.{number}", patient=CANARIES[1], StudyDescription=CANARIES[2]))
        for number in range(6)
    ]
    rows = [
        *(f"{image_set_id},set,PatientName,{CANARIES[0]}{number}" for number, image_set_id in enumerate(ids)),
        *(f"{image_set_id},set,StudyDescription,{CANARIES[3]}" for image_set_id in ids[:3]),
        f"{ids[4]},remove,AccessionNumber,{CANARIES[1]}",
    ]
    return shell.write("e.csv", "image_set_id,action,attribute,value\n" + "\n".join(rows) + "\n")


class TestRunLog:
    def test_it_tells_of_the_run_and_of_each_call(self, shell: Shell) -> None:
        ids = shell.image_sets(2)
        assert shell.run("apply", shell.descriptions(ids), "--yes", "--run", "r").exit_code == 0
        path = shell.folder / "r/run.log"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        begun, *calls, done = lines(path)
        assert (begun["action"], begun["calls"], begun["edits"]) == ("run.begun", 2, 2)
        assert (done["action"], done["applied"], done["unprocessed"]) == ("run.done", 2, 0)
        sent = [line for line in calls if line["action"] == "call.sent"]
        seen = {entry.image_set_id for entry in shell.accepted()}
        assert {line["image_set_id"] for line in sent} == seen == set(ids)
        assert all(re.fullmatch(r"[0-9a-f-]{36}", line["request_id"]) for line in sent)
        assert {(line["attempt"], line["status"]) for line in sent} == {(1, 200)}
        assert {type(line["duration_ms"]) for line in sent} == {float}
        applied = [line for line in calls if line["action"] == "call.applied"]
        assert {(line["call"], line["image_set_id"]) for line in applied} == {
            (line["call"], line["image_set_id"]) for line in sent
        }

    def test_a_resume_appends(self, shell: Shell) -> None:
        assert shell.run("apply", shell.descriptions(shell.image_sets(1)), "--yes", "--run", "r").exit_code == 0
        assert shell.run("resume", "r").exit_code == 0
        found = actions(shell.folder / "r/run.log")
        assert [action for action in found if action.startswith("run.") and action != "run.pace"] == [
            "run.begun",
            "run.done",
            "run.resumed",
            "run.done",
        ]

    def test_throttles_faults_and_refusals_are_in_it(self, shell: Shell) -> None:
        kinds = (FaultKind.THROTTLE, FaultKind.CONFLICT, FaultKind.DROP_AFTER, FaultKind.ERROR_BEFORE)
        faults = [
            Fault(kind=kind, action="UpdateImageSetMetadata", times=1, skip=number) for number, kind in enumerate(kinds)
        ]
        shell.emulator.do(lambda _: shell.emulator.server.faults.add(faults, now=0.0))
        shell.run("apply", canary_list(shell), "--yes", "--run", "r", "--workers", "1")
        found = lines(shell.folder / "r/run.log")
        assert {"call.throttled", "call.lost", "call.refused", "call.rejected", "call.applied"} <= {
            line["action"] for line in found
        }
        (throttled,) = [line for line in found if line["action"] == "call.throttled"]
        assert (throttled["status"], throttled["code"]) == (429, "ThrottlingException")
        lost = {(line.get("status"), line["code"]) for line in found if line["action"] == "call.lost"}
        assert lost == {(None, "ConnectionClosedError"), (500, "InternalServerException")}
        hidden = [(line["action"], name) for line in found for name, value in line.items() if value == "…"]
        assert hidden == []

    async def test_the_library_writes_it_too(self, shell: Shell) -> None:
        edits, where = shell.descriptions(shell.image_sets(1)), bulkedit.Where(endpoint_url=str(shell.emulator))
        plan = await bulkedit.plan(edits, shell.emulator.datastore_id, folder=shell.folder / "p", where=where)
        await bulkedit.apply(plan, run=shell.folder / "r", where=where)
        found = actions(shell.folder / "r/run.log")
        assert (found[0], found[-1], "call.applied" in found) == ("run.begun", "run.done", True)

    def test_a_run_whose_log_has_no_room_ends_as_it_would(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(2))
        shell.run("plan", edits, "-o", "p")
        run = shell.unbegun(edits, "r")
        with (run / "run.log").open("wb") as file:
            file.truncate(32 * 2**20)
        limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (16 * 2**20, r.RLIM_INFINITY))"
        start = ("-c", f"{limit}; from bulkedit.cli.app import app; app()")
        with shell.started("resume", "r", start=start) as process:
            _, stderr = process.communicate()
        assert process.returncode == 0
        assert stderr.count("The log cannot be written (File too large)") == 1
        assert len(shell.accepted()) == 2

    def test_a_link_in_its_place_is_refused(self, shell: Shell) -> None:
        run = shell.unbegun(shell.descriptions(shell.image_sets(1)), "r")
        (run / "run.log").symlink_to(shell.folder / "elsewhere")
        result = shell.run("resume", "r")
        assert (result.exit_code, shell.accepted()) == (2, [])
        assert "r/run.log: this is a symbolic link" in result.stderr
        assert not (shell.folder / "elsewhere").exists()


class TestValues:
    @pytest.mark.usefixtures("talkative")
    def test_no_value_is_in_any_log_whatever_happens(self, shell: Shell) -> None:
        faults = [
            Fault(kind=kind, action="UpdateImageSetMetadata", times=1, skip=number)
            for number, kind in enumerate(
                (FaultKind.THROTTLE, FaultKind.ERROR_BEFORE, FaultKind.DROP_AFTER, FaultKind.FAIL)
            )
        ]
        shell.emulator.do(lambda _: shell.emulator.server.faults.add(faults, now=0.0))
        edits = canary_list(shell)
        log = ("-vv", "--log-file", "l")
        results = [
            shell.run("plan", edits, "-o", "p", "--skip-satisfied", *log),
            shell.run("plan", shell.write("bad.csv", f"image_set_id,PatientName\n{CANARIES[1]},{'x' * 400}\n"), *log),
            shell.run("apply", edits, "--yes", "--run", "r", *log),
            shell.run("verify", "r", *log),
            shell.run("revert", "r", "-o", "u", *log),
            shell.run("inventory", "-o", "i.parquet", *log),
        ]
        texts = {
            "run.log": (shell.folder / "r/run.log").read_text("utf-8"),
            "--log-file": (shell.folder / "l").read_text("utf-8"),
            **{f"-v of {number}": result.stderr for number, result in enumerate(results)},
        }
        assert results[2].exit_code == 1, "some edits fail"
        assert "call.rejected" in texts["run.log"]
        for where, text in texts.items():
            assert [canary for canary in ("CANARY", "xxxx", r"\u00c4rztin") if canary in text] == [], where
        assert {"read.answered", "call.sent"} <= set(actions(shell.folder / "l"))

    @pytest.mark.parametrize("library", LIBRARIES[1:])
    def test_what_libraries_log_goes_nowhere(self, shell: Shell, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from bulkedit.client.aws import AwsClient

        request = AwsClient._request

        async def loud(self: AwsClient, operation: str, record: Any, **params: Any) -> Any:
            logging.getLogger(library).critical("body %s", CANARIES[0])
            return await request(self, operation, record, **params)

        monkeypatch.setattr(AwsClient, "_request", loud)
        edits = shell.descriptions(shell.image_sets(1))
        result = shell.run("apply", edits, "--yes", "--run", "r", "-vv", "--log-file", "l")
        assert result.exit_code == 0
        for text in (result.stderr, (shell.folder / "l").read_text(), (shell.folder / "r/run.log").read_text()):
            assert "CANARY" not in text


class TestOptions:
    def test_they_are_those_of_every_command_that_works_long(self) -> None:
        without = {name for name, kind in TAKEN.items() if "verbose" not in all_declared(kind)}
        assert without == {"demo", "status", "runs", "runs prune", "report", "trail", "clean"}

    def test_verbose_is_for_people(self, shell: Shell) -> None:
        result = shell.run("apply", shell.descriptions(shell.image_sets(1)), "--yes", "--run", "r", "-v")
        stamp = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ"
        found = [line for line in result.messages if re.match(stamp, line)]
        assert re.fullmatch(rf"{stamp}  command\.begun  command=apply  version=\S+  python=\S+  pid=\d+", found[0])
        assert re.fullmatch(rf"{stamp}  command\.ended  command=apply  exit_code=0  seconds=[\d.]+", found[-1])
        assert any("  call.sent  call=0  attempt=1  operation=UpdateImageSetMetadata  " in line for line in found)
        assert not any("read.answered" in line for line in found)
        assert not any(re.match(stamp, line) for line in result.stdout.splitlines())

    def test_twice_is_for_details_in_all_logs(self, shell: Shell) -> None:
        result = shell.run("apply", shell.descriptions(shell.image_sets(1)), "--yes", "--run", "r", "-vv")
        assert "read.answered" in result.stderr
        assert {"read.answered", "call.intended", "call.accepted"} <= set(actions(shell.folder / "r/run.log"))

    def test_without_them_nothing_is_said(self, shell: Shell) -> None:
        result = shell.run("apply", shell.descriptions(shell.image_sets(1)), "--yes", "--run", "r")
        assert "command.begun" not in result.stderr
        assert "call.sent" not in result.stderr

    def test_a_log_file_is_private_and_appended_to(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(1))
        for _ in range(2):
            assert shell.run("plan", edits, env={"BULKEDIT_LOG_FILE": "l"}).exit_code == 0
        assert actions(shell.folder / "l") == ["command.begun", "command.ended"] * 2
        assert stat.S_IMODE((shell.folder / "l").stat().st_mode) == 0o600

    def test_it_tells_how_a_command_ends(self, shell: Shell) -> None:
        assert shell.run("plan", "absent.csv", "--log-file", "l").exit_code == 2
        assert lines(shell.folder / "l")[-1] | {"time": 0, "seconds": 0} == {
            "time": 0,
            "level": "INFO",
            "action": "command.ended",
            "command": "plan",
            "exit_code": 2,
            "error": "EditListError",
            "seconds": 0,
        }

    def test_a_file_that_is_no_log_is_left_alone(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(1))
        before = edits.read_bytes()
        result = shell.run("plan", edits, "--log-file", edits)
        assert (result.exit_code, edits.read_bytes()) == (2, before)
        assert "this file is not a log of bulkedit" in result.stderr

    @pytest.mark.parametrize("name", ["link", "folder", "absent/l"])
    def test_something_odd_is_refused(self, shell: Shell, name: str) -> None:
        (shell.folder / "link").symlink_to("elsewhere")
        (shell.folder / "folder").mkdir()
        result = shell.run("plan", shell.descriptions(shell.image_sets(1)), "--log-file", name)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {name}: ") or f"{name}: " in result.stderr
        assert not (shell.folder / "elsewhere").exists()


class TestDefects:
    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise KeyError(CANARIES[0])

        monkeypatch.setattr("bulkedit.plans.from_list.plans.make", fail)

    def test_in_a_run_it_is_in_the_log_of_the_run(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        run = shell.unbegun(shell.descriptions(shell.image_sets(1)), "r")
        monkeypatch.setattr("bulkedit.runs.lane.LaneRun.absorb", lambda *_, **__: dict[str, str]()[CANARIES[0]])
        result = shell.run("resume", "r")
        assert result.exit_code == 4
        assert f"Its traceback, without values, is in {run.relative_to(shell.folder)}/run.log" in result.stderr
        (defect,) = [line for line in lines(run / "run.log") if line["action"] == "defect"]
        assert (defect["level"], defect["error"], defect["traceback"][0]) == ("ERROR", "KeyError", "KeyError")
        assert any(re.fullmatch(r"  bulkedit/runs/engine.py:\d+ in _perform", line) for line in defect["traceback"])
        assert lines(run / "run.log")[-2]["action"] == "run.stopped"
        assert "CANARY" not in result.stderr + (run / "run.log").read_text("utf-8")

    @pytest.mark.usefixtures("broken")
    def test_elsewhere_it_is_in_the_log_file(self, shell: Shell) -> None:
        result = shell.run("plan", shell.descriptions(shell.image_sets(1)), "--log-file", "l")
        assert (result.exit_code, "is in l\n" in result.stderr) == (4, True)
        assert actions(shell.folder / "l") == ["command.begun", "defect", "command.ended"]
        assert "CANARY" not in (shell.folder / "l").read_text("utf-8")

    @pytest.mark.usefixtures("broken")
    def test_without_one_it_is_in_a_private_file_that_the_message_names(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(shell.folder))
        result = shell.run("plan", shell.descriptions(shell.image_sets(1)))
        (named,) = re.findall(r"Its traceback, without values, is in (.+\.log)", result.stderr)
        assert actions(Path(named)) == ["defect"]
        assert stat.S_IMODE(Path(named).stat().st_mode) == 0o600
        assert f"Please report it, with that traceback and no patients' data: {ISSUES} (" in result.stderr
        assert "CANARY" not in Path(named).read_text("utf-8")

    @pytest.mark.parametrize(
        "urls", [None, [], ["Source, https://example.org/a, b"]], ids=["no package", "none", "other"]
    )
    def test_without_the_address_in_the_metadata_it_is_reported_as_an_issue(
        self, monkeypatch: pytest.MonkeyPatch, urls: list[str] | None
    ) -> None:
        def found(name: str) -> Message:
            if urls is None:
                raise PackageNotFoundError(name)
            message = Message()
            for url in urls:
                message["Project-URL"] = url
            return message

        monkeypatch.setattr("bulkedit.cli._logging.metadata.metadata", found)
        assert where_to_report() == "as an issue of the project (if values were exposed, see SECURITY.md)"

    @pytest.mark.usefixtures("broken")
    def test_if_no_file_can_be_written_the_place_is_told_all_the_same(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(shell.folder / "gone"))
        result = shell.run("plan", shell.descriptions(shell.image_sets(1)))
        assert (result.exit_code, "Its traceback" in result.stderr) == (4, False)
        assert "error: this is a defect in bulkedit: KeyError at from_list.py:" in result.stderr

    def test_one_inside_the_emulator_is_in_its_log(
        self, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        carried_out: list[Request] = []

        def fail_once(world: World, request: Request) -> Any:
            carried_out.append(request)
            if len(carried_out) == 1:
                raise KeyError(CANARIES[0])
            return perform(world, request)

        monkeypatch.setattr("bulkedit.emulator.http.server.perform", fail_once)
        with written_to(LogFile(tmp_path / "l")):
            assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
        (kind,) = {line["error"] for line in lines(tmp_path / "l") if line["action"] == "defect"}
        assert kind == "KeyError"
        assert "CANARY" not in (tmp_path / "l").read_text("utf-8")


def test_the_emulator_logs_what_it_answers(shell: Shell) -> None:
    with shell.started("emulate", "--port", "0", "-v", "--json", "--log-file", "l") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        result = shell.run("inventory", "-o", "i.parquet", "--endpoint-url", url)
        assert result.exit_code == 0
        process.terminate()
        _, stderr = process.communicate()
    (answered,) = [line for line in lines(shell.folder / "l") if line["action"] == "emulator.answered"]
    assert (answered["operation"], answered["status"]) == ("SearchImageSets", 200)
    assert "  emulator.answered  operation=SearchImageSets  status=200" in stderr
