"""`bulkedit inventory` as a user meets it: with real processes where signals and kill -9 are the point."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from typer.testing import CliRunner, Result

from bulkedit.cli.app import app
from bulkedit.cli.inventory import _progress_line, inventory
from bulkedit.emulator import UNTHROTTLED, Fault, FaultKind, Settings, serve
from bulkedit.errors import EXIT_FATAL, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from bulkedit.inventories import folder_of, load
from bulkedit.inventories.job import InventoryProgress
from tests.inventories.hospital import NAME, content, fill, searches, taken
from tests.inventories.memory_client import CANARY, STORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import Emulator

ROOT = Path(__file__).parents[2]
SLOW = Fault(kind=FaultKind.SLOW, seconds=0.05, action="SearchImageSets")
WORDS = [sys.executable, "-m", "bulkedit"]


def words(emulator: Emulator, path: Path, *more: str, store: str | None = None) -> list[str]:
    where = ["-d", store or emulator.datastore_id, "-o", str(path), "--endpoint-url", str(emulator)]
    return ["inventory", *where, "--read-rate", "1000/s", *more]


def run(words: list[str]) -> Result:
    """Carry the command out in this process."""
    done = CliRunner().invoke(app, words)
    for text in (done.stdout, done.stderr):
        assert CANARY not in text
        assert "Traceback" not in text
    return done


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([*WORDS, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_searches(emulator: Emulator, count: int) -> None:
    end = time.monotonic() + 60
    while searches(emulator) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def slow() -> Iterator[Emulator]:
    """Answers twenty searches a second."""
    with serve(Settings(scale=UNTHROTTLED, faults=(SLOW,))) as running:
        yield running


def test_it_says_what_it_has_taken(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 520)
    path = tmp_path / "i.parquet"
    done = run(words(emulator, path))
    assert done.exit_code == EXIT_OK, done.stderr
    head = f"{path}: 520 image sets of data store {emulator.datastore_id}, in 11 pages (0 throttled). "
    assert done.stdout.startswith(head)
    assert "Destination" in done.stderr
    assert load(path, emulator.datastore_id).image_sets == 520
    assert NAME.encode() not in path.read_bytes()


def test_with_json_it_ends_with_one_line(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 120)
    done = run(words(emulator, tmp_path / "i.parquet", "--json"))
    line = json.loads(done.stdout)
    assert line.pop("seconds") > 0
    assert line.pop("full_begun") == load(tmp_path / "i.parquet", emulator.datastore_id).begun
    assert line == {
        "type": "inventory",
        "file": str(tmp_path / "i.parquet"),
        "datastore_id": emulator.datastore_id,
        "image_sets": 120,
        "pages": 3,
        "new": None,
        "changed": None,
        "searches": 3,
        "throttled": 0,
        "faults": 0,
    }


def test_killed_again_and_again_it_comes_out_the_same(slow: Emulator, tmp_path: Path) -> None:
    fill(slow, 620)
    path = tmp_path / "i.parquet"
    kills = 0
    for pages in (1, 4, 9):
        process = start(words(slow, path))
        wait_for_searches(slow, pages + kills)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
    assert not path.exists()
    done = run(words(slow, path, "--json"))
    assert done.exit_code == EXIT_OK, done.stderr
    assert json.loads(done.stdout)["pages"] >= 13
    assert searches(slow) <= 3 * 13 + kills  # some were on their way at each kill, and windows share pages
    slow.server.faults.clear()
    uninterrupted = anyio.run(taken, slow, tmp_path / "whole.parquet").scan().collect()
    assert load(path, slow.datastore_id).scan().collect().equals(uninterrupted)
    assert uninterrupted.height == 620


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM], ids=lambda number: number.name
)
def test_a_signal_keeps_what_came_and_says_how_to_go_on(slow: Emulator, tmp_path: Path, number: int) -> None:
    fill(slow, 520)
    path = tmp_path / "my snapshots" / "i.parquet"
    process = start(words(slow, path, "--json"))
    wait_for_searches(slow, 4)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (EXIT_INTERRUPTED, "")
    assert "\nInterrupted, with " in err
    command = shlex.split(err.split("To continue: ")[1])
    assert command[0] == "bulkedit"
    assert stat_of(folder_of(path)) == 0o700
    done = run(command[1:])
    assert done.exit_code == EXIT_OK, done.stderr
    assert load(path, slow.datastore_id).image_sets == 520
    assert searches(slow) <= 3 * 11


def stat_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_fault_for_good_says_how_to_go_on(tmp_path: Path) -> None:
    faults = (Fault(kind=FaultKind.EXPIRED, skip=3),)
    with serve(Settings(scale=UNTHROTTLED, faults=faults)) as emulator:
        fill(emulator, 520)
        path = tmp_path / "i.parquet"
        done = run(words(emulator, path))
        assert done.exit_code == EXIT_FATAL
        assert "did not accept the credentials" in done.stderr
        emulator.server.faults.clear()
        again = shlex.split(done.stderr.split("To continue: ")[1])
        assert run(again[1:]).exit_code == EXIT_OK
        assert searches(emulator) == 11


@pytest.mark.parametrize("fresh", [False, True], ids=["left alone", "replaced with --fresh"])
def test_an_inventory_that_is_there(emulator: Emulator, tmp_path: Path, fresh: bool) -> None:
    path = tmp_path / "i.parquet"
    run(words(emulator, path))
    emulator.add(content(1))
    done = run(words(emulator, path, *(["--fresh"] if fresh else [])))
    assert done.exit_code == (EXIT_OK if fresh else EXIT_USAGE)
    assert load(path, emulator.datastore_id).image_sets == (1 if fresh else 0)


def test_an_unknown_data_store_leaves_nothing_behind(emulator: Emulator, tmp_path: Path) -> None:
    done = run(words(emulator, tmp_path / "i.parquet", store=STORE))
    assert done.exit_code == EXIT_FATAL
    assert "does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-o", "i.parquet"], "no data store is named"),
        (["-o", "i.parquet", "-d", STORE, "--read-rate", "fast"], "invalid rate"),
        (["-d", STORE], "Missing option"),
    ],
    ids=["no data store", "no rate", "no file"],
)
def test_words_that_do_not_fit_are_usage_errors(given: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["inventory", *given], env={"COLUMNS": "200"})
    assert result.exit_code == EXIT_USAGE
    assert said in result.output


def test_help_has_an_example_and_every_option() -> None:
    result = CliRunner().invoke(app, ["inventory", "--help-all"], env={"COLUMNS": "200"})
    assert "Example: bulkedit inventory -d" in result.output
    for option in ("--datastore", "--out", "--region", "--profile", "--endpoint-url", "--fresh", "--json"):
        assert option in result.output


def test_progress_says_how_far_without_a_name() -> None:
    progress = InventoryProgress(pages=1_000, done=50_000, throttled=2, reached=1_700_000_000_000_000)
    assert _progress_line(progress) == "50,000 image sets · 1,000 pages · 2 throttled · created up to 2023-11-14"


def test_on_a_terminal_progress_is_a_line_that_goes(slow: Emulator, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    fill(slow, 520)
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*WORDS, *words(slow, tmp_path / "i.parquet")],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(follower)
        shown = b""
        while chunk := _read(leader):
            shown += chunk
        assert process.wait(60) == EXIT_OK
    os.close(leader)
    assert b"image sets" in shown
    assert b"pages" in shown
    assert CANARY.encode() not in shown


# conditions


@pytest.fixture
def stocked(emulator: Emulator, tmp_path: Path) -> Path:
    """An inventory of four studies of five series each; two studies are of 2014, one has no date."""
    for number in range(20):
        document = content(number)
        document["Study"]["DICOM"] |= {"StudyDate": ("20140131", "20141231", "20150101", "")[number // 5]}
        emulator.add(document)
    path = tmp_path / "i.parquet"
    assert run(words(emulator, path)).exit_code == EXIT_OK
    return path


OLD = "study_date < 2015-01-01 and series_in_study = 5"


def test_a_condition_makes_a_list_that_can_be_planned(stocked: Path, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    made = ["inventory", "--from", str(stocked), "--where", OLD, "-o", str(path)]
    before = searches(emulator, status=None)
    done = run(made)
    assert done.exit_code == EXIT_OK, done.stderr
    assert f"{path}: 10 image sets of 20 of data store {emulator.datastore_id}." in done.stdout
    assert "5 image sets lack a value that --where compares" in done.stdout
    assert stat_of(path) == 0o600
    header, *ids = path.read_text().splitlines()
    assert header == "image_set_id"
    assert ids == load(stocked, emulator.datastore_id).scan().collect()["image_set_id"].to_list()[:10]
    assert searches(emulator, status=None) == before
    assert "this file exists already" in run(made).stderr
    line = json.loads(run([*made, "--fresh", "--json"]).stdout)
    assert line == {
        "type": "list",
        "file": str(path),
        "datastore_id": emulator.datastore_id,
        "image_sets": 10,
        "image_sets_of_inventory": 20,
        "undecided": 5,
    }
    path.write_text("\n".join(["image_set_id,StudyDescription", *(f"{one},OLD" for one in ids)]))
    assert run([*made, "--fresh"]).exit_code == EXIT_USAGE  # it is a list of the user's now
    planned = run(["plan", str(path), "-d", emulator.datastore_id, "-o", str(tmp_path / "plan"), "--json"])
    assert json.loads(planned.stdout)["edits"] == 10


def test_a_condition_narrows_a_list(stocked: Path, emulator: Emulator, tmp_path: Path) -> None:
    edits = tmp_path / "edits.csv"
    edits.write_text(
        "patient_id,StudyDescription\n" + "".join(f"{CANARY}P{number},A\n" for number in (0, 1))
    )  # a patient has two studies
    narrowed = ["plan", str(edits), "-d", emulator.datastore_id, "--on-many", "all", "--inventory", str(stocked)]
    done = run([*narrowed, "-o", str(tmp_path / "plan"), "--where", OLD])
    assert done.exit_code == EXIT_OK, done.stderr
    assert "narrowed      10 image sets not meeting --where; 1 row left out" in done.stdout
    assert "5 image sets lack a value that --where compares" in done.stdout
    line = json.loads(run([*narrowed, "-o", str(tmp_path / "again"), "--where", OLD, "--json"]).stdout)
    assert (line["image_sets"], line["narrowed_rows"], line["narrowed_image_sets"]) == (10, 1, 10)
    assert OLD not in "".join(file.read_text("utf-8", "replace") for file in (tmp_path / "plan").iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--where", OLD], "--where needs an inventory"),
        (["--inventory", "i.parquet", "--where", "study_dat < 2015-01-01"], "study_date may be meant"),
        (["--inventory", "i.parquet", "--where", f"patient_id = '{CANARY}'"], "no image set that the list names meets"),
    ],
    ids=["no inventory", "no such column", "nothing meets it"],
)
def test_a_condition_that_cannot_narrow_is_said(
    stocked: Path, emulator: Emulator, tmp_path: Path, more: list[str], said: str
) -> None:
    edits = tmp_path / "edits.csv"
    edits.write_text(f"patient_id,StudyDescription\n{CANARY}P0,A\n")
    given = [str(stocked) if word == "i.parquet" else word for word in more]
    done = run(["plan", str(edits), "-d", emulator.datastore_id, "--on-many", "all", *given])
    assert done.exit_code == EXIT_USAGE
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "plans").exists()


def test_from_and_where_belong_together(stocked: Path, tmp_path: Path) -> None:
    done = run(["inventory", "--from", str(stocked), "-o", str(tmp_path / "o.csv")])
    assert done.exit_code == EXIT_USAGE
    assert "--from and --where must be given together" in done.stderr
    done = run(["inventory", "--from", str(stocked), "--where", "modality = 'XX'", "-o", str(tmp_path / "o.csv")])
    assert done.exit_code == EXIT_USAGE
    assert "no image set of the inventory meets --where" in done.stderr
    assert not (tmp_path / "o.csv").exists()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other end is closed
        return b""


def test_the_docs_hold_every_option_and_column() -> None:
    from bulkedit.inventories import INVENTORY

    text = (ROOT / "docs" / "inventory.md").read_text("utf-8")
    for name in (*INVENTORY, "--fresh", "--read-rate", "--on-missing", "--on-many", "--primary-only", "--json"):
        assert f"`{name}" in text, name
    assert (inventory.__doc__ or "").strip()
