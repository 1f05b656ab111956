"""`bulkedit trail`: what CloudTrail has of a run, and who else wrote to its image sets."""

from __future__ import annotations

import csv
import gzip
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import bulkedit
from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection, UpdateRequest
from bulkedit.client.responses import Accepted
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from bulkedit.emulator.state.cloudtrail import log_file
from bulkedit.emulator.state.faults import fault
from bulkedit.errors import StoppedError
from tests.cli.shell import Shell
from tests.emulator.hospital import document, in_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Events = list[dict[str, Any]]

UPDATE = "UpdateImageSetMetadata"
JANE = "arn:aws:iam::123456789012:user/JANE"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, list[str]]]:
    """A run `r` of four calls: three throttles, one lost answer that was accepted, one lost request; another writer."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        shell = Shell(tmp_path_factory.mktemp("trail"), emulator)
        image_sets = shell.image_sets(4)
        kinds = {"drop-before:times=1": 0, "drop-after:times=1": 1, "throttle:times=3": 3}
        faults = [fault(f"{kind},action={UPDATE},image_set_id={image_sets[i]}") for kind, i in kinds.items()]
        server = emulator.server
        emulator.do(lambda _: server.faults.add(faults, now=server.now()))
        assert shell.run("apply", shell.descriptions(image_sets), "--yes", "--run", "r").exit_code == 0
        emulator.do(lambda _: server.faults.clear())
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_ACCESS_KEY_ID", "JANE")
            anyio.run(_write, shell, image_sets[2])
        yield shell, image_sets


async def _write(shell: Shell, image_set_id: str) -> None:
    connection = Connection(datastore_id=shell.emulator.datastore_id, endpoint_url=str(shell.emulator))
    async with connect(connection) as client:
        text = json.dumps(in_study(StudyDescription="CANARY"))
        request = UpdateRequest(image_set_id=image_set_id, expected_version=2, updatable=text)
        assert isinstance(await client.update(request), Accepted)


def logs(shell: Shell, change: Callable[[Events], Events] = lambda events: events) -> Path:
    """The log of CloudTrail for what the service has seen, with a change."""
    records: Any = log_file(shell.emulator.journal())["Records"]
    folder = shell.folder / "logs"
    folder.mkdir(exist_ok=True)
    (folder / "one.json.gz").write_bytes(gzip.compress(json.dumps({"Records": change(records)}).encode()))
    return folder


def without_jane(events: Events) -> Events:
    return [event for event in events if "JANE" not in str(event["userIdentity"])]


def trail(shell: Shell, *files: Path) -> tuple[int, dict[str, Any], Events]:
    """The exit code, the summary and the differences."""
    result = shell.run("trail", "r", *files, "--json")
    *differences, summary = result.json
    return result.exit_code, summary, differences


def counted(summary: dict[str, Any]) -> dict[str, int]:
    names = ("found", "not_found", "found_more_than_once", "contradicted", "refused_not_found", "another_writer")
    lost = ("lost_accepted", "lost_refused", "lost_not_found", "by_inference")
    return {name: summary[name] for name in (*names, *lost) if summary[name]}


ALL = {"found": 6, "lost_accepted": 1, "lost_not_found": 1, "by_inference": 1}


def test_a_run_with_throttles_lost_answers_and_another_writer_is_told_exactly(ran: tuple[Shell, list[str]]) -> None:
    shell, image_sets = ran
    code, summary, (difference,) = trail(shell, logs(shell))
    assert (code, summary["even"], counted(summary)) == (7, False, {**ALL, "another_writer": 1})
    named = {name: difference[name] for name in ("type", "finding", "operation", "image_set_id", "principal", "state")}
    assert named == {
        "type": "trail-difference",
        "finding": "another writer",
        "operation": UPDATE,
        "image_set_id": image_sets[2],
        "principal": JANE,
        "state": None,
    }
    assert difference["event_at"] is not None
    result = shell.run("trail", "r", "--cloudtrail", "logs")
    assert (result.exit_code, JANE in result.stdout, image_sets[2] in result.stdout) == (7, True, True)
    with (shell.folder / "r/trail.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    (lost,) = (row for row in rows if row["finding"] == "lost, accepted")
    assert (lost["image_set_id"], lost["found_by"], lost["state"]) == (image_sets[1], "inference", "applied")
    assert all(row["event_at"].endswith("Z") for row in rows if row["event_id"])


def test_it_is_even_without_the_other_writer(ran: tuple[Shell, list[str]]) -> None:
    """Events that are in several files are one event, and CloudTrail need not have throttled requests."""
    shell, _ = ran
    folder = logs(shell, lambda events: without_jane([*events, *events]))
    code, summary, differences = trail(shell, folder, folder / "one.json.gz")
    assert (code, summary["even"], differences, counted(summary)) == (0, True, [], ALL)
    assert (summary["regions"], summary["readers"]) == (["us-east-1"], [])
    accepted = logs(shell, lambda events: [one for one in without_jane(events) if "errorCode" not in one])
    assert counted(trail(shell, accepted)[1]) == {**ALL, "found": 3, "refused_not_found": 3}


def test_an_accepted_call_that_is_not_found_is_named(ran: tuple[Shell, list[str]]) -> None:
    shell, image_sets = ran
    missing = image_sets[3]
    folder = logs(shell, lambda events: [one for one in without_jane(events) if missing not in str(one)])
    code, summary, (difference,) = trail(shell, folder)
    assert (code, summary["not_found"]) == (7, 1)
    assert (difference["finding"], difference["image_set_id"]) == ("not found", missing)
    result = shell.run("trail", "r", folder)
    assert missing in result.stdout
    assert "CloudTrail delivers within about 15 minutes" in result.stderr


def test_no_value_of_an_event_is_kept_or_shown(ran: tuple[Shell, list[str]]) -> None:
    shell, _ = ran

    def with_values(events: Events) -> Events:
        values = {"updateImageSetMetadataUpdates": {"DICOMUpdates": "CANARY^JANE"}}
        asked = [{**event["requestParameters"], **values} for event in events]
        return [
            {**event, "requestParameters": one, "errorMessage": "CANARY^JANE"}
            for event, one in zip(events, asked, strict=True)
        ]

    folder = logs(shell, with_values)
    shown = [shell.run("trail", "r", folder), shell.run("trail", "r", folder, "--json")]
    assert all("CANARY" not in result.stdout + result.stderr for result in shown)
    for name in ("trail.csv", "trail.json"):
        path = shell.folder / "r" / name
        assert "CANARY" not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
    assert [path for path in (shell.folder / "r").iterdir() if path.name.startswith(".")] == []


def test_a_file_that_cannot_be_read_is_told_and_is_a_difference(ran: tuple[Shell, list[str]]) -> None:
    shell, _ = ran
    folder = logs(shell, without_jane)
    (folder / "two.json").write_text('{"Records": [')
    try:
        code, summary, _ = trail(shell, folder)
        assert "two.json: it is cut short" in shell.run("trail", "r", folder).stderr
    finally:
        (folder / "two.json").unlink()
    assert (code, counted(summary), len(summary["unread"])) == (7, ALL, 1)


async def test_the_library_returns_the_same_as_frames(ran: tuple[Shell, list[str]]) -> None:
    shell, image_sets = ran
    progress: list[bulkedit.TrailProgress] = []
    found = await bulkedit.trail(shell.folder / "r", [logs(shell)], progress=progress.append)
    assert (found.even, [(one.done, one.total) for one in progress]) == (False, [(0, 1)])
    assert found.differences.select("finding", "image_set_id").rows() == [("another writer", image_sets[2])]


async def test_a_stop_leaves_nothing_behind(ran: tuple[Shell, list[str]]) -> None:
    shell, _ = ran
    for path in (shell.folder / "r").glob("trail.*"):
        path.unlink()
    stop = bulkedit.StopSignal()
    stop.send()
    with pytest.raises(StoppedError):
        await bulkedit.trail(shell.folder / "r", [logs(shell)], stop=stop)
    assert [path.name for path in (shell.folder / "r").iterdir() if "trail" in path.name] == []


def test_the_emulator_gives_the_log_of_its_requests(ran: tuple[Shell, list[str]]) -> None:
    shell, _ = ran
    with urllib.request.urlopen(f"{shell.emulator}/_emulator/cloudtrail") as answer:  # noqa: S310 - http
        assert json.loads(answer.read()) == log_file(shell.emulator.journal())


def test_what_cannot_be_compared_is_a_usage_error(ran: tuple[Shell, list[str]]) -> None:
    shell, _ = ran
    for words in ((), ("--cloudtrail", "nowhere")):
        result = shell.run("trail", "r", *words)
        assert (result.exit_code, result.stdout) == (2, "")
    shell.unbegun(shell.folder / "edits.csv", "unbegun")
    result = shell.run("trail", "unbegun", logs(shell))
    assert (result.exit_code, "sent nothing" in result.stderr) == (2, True)


@pytest.mark.slow
def test_copies_promotions_and_deletions_are_found(shell: Shell) -> None:
    shell.emulator.add(document(study="1.2.77"), primary=True)
    edits = shell.write("merge.csv", "study_instance_uid,StudyInstanceUID\n1.2.77,1.2.78\n")
    words = ("--via-copy", "--delete-originals", "--force", "--look-up", "auto")
    assert shell.run("apply", edits, "--yes", "--run", "r", *words).exit_code == 0
    code, summary, _ = trail(shell, logs(shell))
    assert (code, counted(summary)) == (0, {"found": 5})
