"""Received folders: whatever is in them is told in words, nothing outside of them changes, and nothing is sent."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.after.verify.folder import FORMAT
from bulkedit.client.responses import CallState
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from bulkedit.errors import EXIT_FATAL, EXIT_STALE_PLAN, EXIT_USAGE
from bulkedit.options.verify import VerifyOptions
from bulkedit.runs import anchor
from bulkedit.runs import folder as runs
from bulkedit.runs.anchor import Anchor
from bulkedit.runs.changes import Changes
from bulkedit.runs.ledger import Event, Ledger
from bulkedit.runs.ledger.schema import TEXTS
from tests.cli.shell import Shell
from tests.received.tampering import VICTIM, change, link, outside, schema, sign, sign_run, sql, tamper

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

DEEP = "[" * 200_000 + "]" * 200_000
ENDLESS = """CREATE VIEW {} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT i AS seq, 0.0 AS at, 0 AS call, 'applied' AS state, 1 AS expected_version, 2 AS version, 1 AS attempts,
    0 AS throttles, 0 AS faults, 0 AS conflicts, NULL AS cause, NULL AS message, NULL AS digest FROM n"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A plan `p` and a run `r` of it that is done, of two image sets."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        shell = Shell(tmp_path_factory.mktemp("made"), emulator)
        shell.run("plan", shell.descriptions(shell.image_sets(2)), "-o", "p")
        done = shell.run("apply", "p", "--yes", "--run", "r")
        assert done.exit_code == 0, done.stderr
        yield shell


@pytest.fixture
def shell(made: Shell, tmp_path: Path) -> Shell:
    """The same in a folder of its own."""
    for name in ("p", "r"):
        shutil.copytree(made.folder / name, tmp_path / name)
    with closing(Anchor.open(anchor.beside(tmp_path / "r/ledger.sqlite"))) as own:
        own.adopt()
    return Shell(tmp_path, made.emulator)


def seen(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(shell: Shell, words: tuple[str, ...], what: str, code: int | None = None) -> str:
    """The command ends with words, sends nothing, and leaves alone what is outside of the folder."""
    victim = outside(shell.folder / "r")
    before, since = seen(victim.parent), len(shell.requests())
    result = shell.run(*words)
    assert what in result.stderr, result.stderr or result.stdout
    assert result.exit_code == code if code is not None else result.exit_code in {2, 4, 6}
    assert "Traceback" not in result.stderr
    assert "defect in bulkedit" not in result.stderr
    assert seen(victim.parent) == before
    assert victim.read_text() == VICTIM
    assert {entry.action for entry in shell.requests()[since:]} <= {"GetDatastore"}
    return result.stderr


APPLY = ("apply", "p", "--yes", "--run", "new")
OF_RUN = {
    "resume": ("resume", "r"),
    "status": ("status", "r"),
    "report": ("report", "r"),
    "verify": ("verify", "r"),
    "revert": ("revert", "r", "-o", "undo"),
    "deid --check": ("deid", "--check", "r"),
}

# each kind of damage with two commands, and all kinds together with each command; the long form is each with each
FEW_AND_ALL = pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["two commands", "all commands"]
)


def commands(kinds: Collection[str], kind: str, *, every: bool) -> dict[str, tuple[str, ...]]:
    place, names = list(kinds).index(kind), list(OF_RUN)
    chosen = names if every else [names[place % 6], names[(place + 2) % 6]]
    return {name: OF_RUN[name] for name in chosen}


# -- the plan: what somebody did to its folder, and what is said of it


def names(name: str) -> Callable[[Path], None]:
    def spoil(plan: Path) -> None:
        files = json.loads((plan / "manifest.json").read_text())["files"]
        change(plan / "manifest.json", files={**files, name: {"rows": 1, "sha256": "0" * 64}})
        sign(plan)

    return spoil


def fifo(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def linked(name: str) -> Callable[[Path], None]:
    """The file is a link to an equal one outside of the folder."""

    def spoil(folder: Path) -> None:
        target = outside(folder.parent / "r").parent / name
        shutil.copy(folder / name, target)
        link(folder / name, target)

    return spoil


def text(name: str, content: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(content)

    return spoil


def says(name: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / name, **values)


def longer(name: str) -> Callable[[Path], None]:
    return lambda folder: change(folder / name, more="x" * 2**21)


def evil(plan: Path) -> None:
    tamper(plan, lambda calls: calls.with_columns(pl.col("updatable").str.replace("T1", "EVIL")))


def no_text(plan: Path) -> None:
    (plan / MANIFEST).write_bytes(b"{\xff")


def no_parquet(plan: Path) -> None:
    (plan / "calls.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    sign(plan)


MANIFEST = "manifest.json"
LINK, PIPE = "Links in this folder are not followed", "not a regular file"
PLANS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a path upwards": (names("../../x"), "it names '../../x', which is not a file of a plan"),
    "an absolute path": (names("/etc/passwd"), "it names '/etc/passwd', which is not a file of a plan"),
    "a name with signs for the terminal": (names("\x1b[2J"), r"it names '\x1b[2J'"),
    "calls are a link": (linked("calls.parquet"), LINK),
    "edits are a link": (linked("edits.parquet"), LINK),
    "the manifest is a link": (linked(MANIFEST), LINK),
    "calls are a pipe": (fifo("calls.parquet"), PIPE),
    "the manifest is a pipe": (fifo(MANIFEST), PIPE),
    "no JSON": (text(MANIFEST, '{"format": 2,\n oops'), "not valid JSON (line 2, column 2)"),
    "no text": (no_text, "not valid JSON: not UTF-8 at byte 1"),
    "a name twice": (text(MANIFEST, '{"format": 2, "format": 2}'), "it contains a name twice"),
    "not a number": (text(MANIFEST, '{"format": NaN}'), "it contains NaN"),
    "nested 200,000 deep": (text(MANIFEST, DEEP), "the JSON is nested too deep"),
    "a list": (text(MANIFEST, "[]"), "the JSON is a list, not an object"),
    "a file of 2 MiB": (longer(MANIFEST), "the file is larger than 1 MiB"),
    "files are text": (says(MANIFEST, files="x"), "files is text, not an object"),
    "a count is text": (says(MANIFEST, counts={"calls": "x"}), "calls is text, not a number"),
    "counts are missing": (says(MANIFEST, counts={}), "edits is missing"),
    "a strange data store": (says(MANIFEST, datastore_id="../x"), "datastore_id is not the id of a data store"),
    "no Parquet": (no_parquet, "this is not a Parquet file, or it is damaged"),
    "a tampered payload": (evil, "call 1 (row 3 of the edit list) differs from its edits"),
}
OF_FRAMES = ("no Parquet", "a tampered payload")
OTHER_PLAN = "the plan of this run was changed after the run began"


@FEW_AND_ALL
@pytest.mark.parametrize("kind", PLANS)
def test_a_plan_that_was_handed_over(shell: Shell, kind: str, every: bool) -> None:
    spoil, what = PLANS[kind]
    spoil(shell.folder / "p")
    stderr = refused(shell, APPLY, what)
    assert "EVIL" not in stderr
    assert not (shell.folder / "new").exists()
    refused(shell, (*APPLY, "--dry-run"), what)
    shutil.rmtree(shell.folder / "r/plan")
    (shell.folder / "p").rename(shell.folder / "r/plan")
    for command, words in commands(PLANS, kind, every=every).items():
        # `status` does not look into frames: it holds what they hash to against the run
        refused(shell, words, OTHER_PLAN if command == "status" and kind in OF_FRAMES else what)


def test_a_link_to_the_folder_is_the_users_own(shell: Shell) -> None:
    (shell.folder / "link").symlink_to("p")
    assert shell.run("apply", "link", "--dry-run").exit_code == 0
    (shell.folder / "run").symlink_to("r")
    assert shell.run("status", "run").exit_code == 0


# -- the run


def settings(**values: Any) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        kept = json.loads((run / "run.json").read_text())["settings"]
        change(run / "run.json", settings={**kept, **values})

    return spoil


def plan_elsewhere(run: Path) -> None:
    target = outside(run).parent / "plan"
    (run / "plan").rename(target)
    (run / "plan").symlink_to(target)


def evil_run(run: Path) -> None:
    evil(run / "plan")
    sign_run(run)


RUNS: dict[str, tuple[Callable[[Path], None], str]] = {
    "run.json is a link": (linked("run.json"), LINK),
    "run.json is a pipe": (fifo("run.json"), PIPE),
    "no JSON": (text("run.json", "{"), "not valid JSON (line 1, column 2)"),
    "nested 200,000 deep": (text("run.json", DEEP), "the JSON is nested too deep"),
    "a file of 2 MiB": (longer("run.json"), "the file is larger than 1 MiB"),
    "settings are a list": (says("run.json", settings=[]), "settings is a list, not an object"),
    "the key is a number": (says("run.json", key=7), "key is a whole number, not text"),
    "the key is no Base64": (says("run.json", key="!"), "key is not Base64"),
    "it was created at no time": (says("run.json", created="x"), "created is not a time"),
    "the plan is a link": (plan_elsewhere, LINK),
    "the index is a number": (says("run.json", index=7), "index is not a text"),
    "a tampered payload": (evil_run, "call 1 (row 3 of the edit list) differs from its edits"),
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("command", OF_RUN)
def test_a_run_that_was_handed_over(shell: Shell, kind: str, command: str) -> None:
    spoil, what = RUNS[kind]
    spoil(shell.folder / "r")
    if (command, kind) == ("status", "a tampered payload"):
        # all digests were made again, and numbers are all that is shown
        result = shell.run(*OF_RUN[command])
        assert (result.exit_code, "EVIL" in result.stdout + result.stderr) == (0, False)
        return
    refused(shell, OF_RUN[command], what, EXIT_STALE_PLAN if "tampered" in kind else EXIT_USAGE)


@pytest.mark.parametrize("name", ["created", "plan_digest", "key", "settings", "connection", "options"])
def test_a_run_without_a_field_is_a_damaged_run(shell: Shell, name: str) -> None:
    path = shell.folder / "r/run.json"
    about = json.loads(path.read_text())
    del (about if name in about else about["settings"])[name]
    path.write_text(json.dumps(about))
    for words in OF_RUN.values():
        refused(shell, words, f"r/run.json: {name} is missing", EXIT_USAGE)


@pytest.mark.parametrize("command", ["resume", "verify", "revert", "deid --check"])
def test_settings_that_no_run_has_are_told(shell: Shell, command: str) -> None:
    settings(connection={"plugin": "x"})(shell.folder / "r")
    refused(shell, OF_RUN[command], "unknown name 'plugin'", EXIT_USAGE)
    settings(connection={"region": 7})(shell.folder / "r")
    refused(shell, OF_RUN[command], "region is a whole number, not text or null", EXIT_USAGE)


def test_options_that_no_run_has_are_told(shell: Shell) -> None:
    settings(options={"workers": "many"})(shell.folder / "r")
    refused(shell, OF_RUN["resume"], "workers is text, not a whole number", EXIT_USAGE)


# -- its anchor, which is locked, and its ledger


def test_an_anchor_with_another_name_elsewhere_is_not_written_to(shell: Shell) -> None:
    anchor = shell.folder / "r/ledger.anchor"
    anchor.unlink()
    anchor.hardlink_to(outside(shell.folder / "r"))
    refused(shell, OF_RUN["resume"], "this file has another hard link", EXIT_FATAL)


def test_an_anchor_that_is_a_pipe_does_not_delay_status(shell: Shell) -> None:
    fifo("ledger.anchor")(shell.folder / "r")
    refused(shell, (*OF_RUN["status"], "--watch"), PIPE, EXIT_FATAL)


TABLE = "the tables of this file are not those of a ledger: "


def rows(*statements: str) -> Callable[[Path], None]:
    return lambda run: sql(run / "ledger.sqlite", *statements)


def sealed(table: str, *statements: str) -> Callable[[Path], None]:
    """Rows with checksums that are right, as somebody makes them who knows how."""

    def spoil(run: Path) -> None:
        with closing(sqlite3.connect(run / "ledger.sqlite")) as connection:
            connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
            for statement in (*statements, f"UPDATE {table} SET checksum = crc32({TEXTS[table]})"):  # noqa: S608
                connection.execute(statement)
            connection.commit()

    return spoil


def says_of_itself(old: str, new: str) -> Callable[[Path], None]:
    return lambda run: schema(run / "ledger.sqlite", (old, new))


def beside(name: str, *, linked_to: bool) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        path = run / f"ledger.sqlite{name}"
        link(path, outside(run)) if linked_to else path.write_text("x")

    return spoil


LEDGERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link": (linked("ledger.sqlite"), LINK),
    "a pipe": (fifo("ledger.sqlite"), PIPE),
    "its anchor is a link": (linked("ledger.anchor"), LINK),
    "its anchor is a pipe": (fifo("ledger.anchor"), PIPE),
    "its log is a link": (beside("-wal", linked_to=True), LINK),
    "its shared memory is a link": (beside("-shm", linked_to=True), LINK),
    "a journal": (beside("-journal", linked_to=False), "there is a rollback journal beside the ledger"),
    "an endless view": (rows("DROP TABLE event", ENDLESS.format("event")), TABLE + "'event'"),
    "an endless view of a rare table": (rows("DROP TABLE part", ENDLESS.format("part")), TABLE + "'part'"),
    "a view beside": (rows(ENDLESS.format("more")), TABLE + "'more'"),
    "a view called sqlite_schema": (
        lambda run: schema_view(run / "ledger.sqlite"),
        "sqlite_schema",
    ),
    "a trigger": (
        rows("CREATE TRIGGER t AFTER INSERT ON event BEGIN DELETE FROM event; END"),
        TABLE + "'t'",
    ),
    "a virtual table": (rows("CREATE VIRTUAL TABLE v USING rtree(id, a, b)"), TABLE),
    "a column": (rows("ALTER TABLE event ADD COLUMN more TEXT"), TABLE + "'event'"),
    "a generated column": (
        rows("ALTER TABLE event ADD COLUMN more INTEGER AS (zeroblob(1000000000))"),
        TABLE + "'event'",
    ),
    "an index on an expression": (rows("CREATE INDEX i ON event (abs(call))"), TABLE + "'i'"),
    "a default that runs": (
        says_of_itself("faults     INTEGER NOT NULL", "faults     INTEGER NOT NULL DEFAULT (random())"),
        TABLE + "'event'",
    ),
    "a check that runs": (
        says_of_itself("reason     TEXT", "reason     TEXT CHECK (length(hex(zeroblob(1000000000))) > 1)"),
        TABLE + "'event'",
    ),
    "a hidden comment": (
        says_of_itself("reason     TEXT", "reason     TEXT DEFAULT '--'"),
        TABLE + "'event'",
    ),
    "a strange state": (
        sealed("event", "UPDATE event SET state = 'x'"),
        "table event has an invalid row",
    ),
    "a process in an unknown state": (
        sealed("process", "UPDATE process SET state = 'asleep'"),
        "table process has an invalid row",
    ),
    "a setting that is no JSON": (
        sealed("setting", "INSERT INTO setting VALUES (1, 'rate', 'x', 'null', 'u', 0)"),
        "table setting has an invalid row",
    ),
    "a request for a call below nothing": (
        sealed("request", "INSERT INTO request VALUES (1, -1, 'GetImageSet', NULL, 'answered', 0)"),
        "table request has an invalid row",
    ),
    "a call below nothing": (sealed("event", "UPDATE event SET call = -1"), "table event has an invalid row"),
    "a call beyond all": (
        sealed("event", "UPDATE event SET call = 1000000000000"),
        "table event has an invalid row",
    ),
    "parts in a circle": (
        sealed("part", "INSERT INTO part (call, parent, edits) VALUES (3, 4, '[0]'), (4, 3, '[1]')"),
        "table part has an invalid row",
    ),
    "parts of nothing": (
        sealed("part", "INSERT INTO part (call, parent, edits) VALUES (3, 1, '[[[]]]')"),
        "table part has an invalid row",
    ),
}


def schema_view(ledger: Path) -> None:
    sql(
        ledger,
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_master VALUES ('view', 'sqlite_schema', 'sqlite_schema', 0, "
        "'CREATE VIEW sqlite_schema AS SELECT 1')",
    )


@FEW_AND_ALL
@pytest.mark.parametrize("kind", LEDGERS)
def test_a_ledger_that_was_handed_over(shell: Shell, kind: str, every: bool) -> None:
    spoil, what = LEDGERS[kind]
    spoil(shell.folder / "r")
    for words in commands(LEDGERS, kind, every=every).values():
        refused(shell, words, what, EXIT_FATAL)


def test_a_run_of_bulkedit_0_1_is_refused_with_the_version_to_use(shell: Shell) -> None:
    about = shell.folder / "r/run.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"format": 1, "tool": "bulkedit 0.1.0"}))
    for words in OF_RUN.values():
        refused(shell, words, "made by bulkedit 0.1.0, and this is", EXIT_USAGE)
    assert (
        "Install bulkedit 0.1.0 in a virtual environment of its own, and type there: bulkedit status r"
        in shell.run("status", "r").stderr
    )


@pytest.mark.parametrize("schema", [2, 3], ids=["0.1", "0.2"])
def test_a_ledger_of_an_earlier_version_is_refused(shell: Shell, schema: int) -> None:
    with closing(sqlite3.connect(shell.folder / "r/ledger.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {schema}")
    for words in OF_RUN.values():
        refused(shell, words, "written by an earlier version of bulkedit", EXIT_FATAL)


def test_the_ledger_of_another_run_is_not_gone_on_with(shell: Shell) -> None:
    """A number far beyond the plan's would take gigabytes."""
    with Ledger.open(shell.folder / "r/ledger.sqlite") as ledger:
        ledger.append([Event(at=0.0, call=4_000_000_000, state=CallState.APPLIED)])
    refused(shell, OF_RUN["resume"], "calls that the plan of its run does not have", EXIT_FATAL)


def test_an_endless_view_ends_at_once(shell: Shell) -> None:
    """As a process: SQLite would not listen to the end of a test."""
    LEDGERS["an endless view"][0](shell.folder / "r")
    result = shell.call("status", "r")
    assert (result.exit_code, TABLE in result.stderr) == (EXIT_FATAL, True)


def test_pages_that_lead_back_to_one_another_end(shell: Shell) -> None:
    """Each of 20 levels has many cells, and all lead to one page: a walk along them would not end."""
    ledger = shell.folder / "r/ledger.sqlite"
    sql(ledger, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode = DELETE")
    _bomb(ledger)
    result = shell.call("status", "r")
    assert "Traceback" not in result.stderr
    assert "the ledger is damaged" in result.stderr or "for ever" in result.stderr


def _bomb(ledger: Path) -> None:
    """Make the root of `event` an interior page whose cells all lead to one more such page, and so on."""
    with closing(sqlite3.connect(ledger)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'event'")
        ((size,),) = connection.execute("PRAGMA page_size")
    content = bytearray(ledger.read_bytes())
    pages = len(content) // size
    rows_page = bytes(content[(root - 1) * size : root * size])
    levels = [root, *range(pages + 1, pages + 16)]
    leaf = pages + 16
    content[28:32] = leaf.to_bytes(4)
    content[24:28] = content[92:96]  # else the number of pages in the header would not count
    for level, child in zip(levels, [*levels[1:], leaf], strict=True):
        cells = b"".join(child.to_bytes(4) + bytes([n]) for n in range(1, 100))
        start = size - len(cells)
        head = bytes([5]) + bytes(2) + (99).to_bytes(2) + start.to_bytes(2) + bytes(1) + child.to_bytes(4)
        pointers = b"".join((start + 5 * n).to_bytes(2) for n in range(99))
        page = (head + pointers).ljust(start, b"\0") + cells
        content[(level - 1) * size : level * size] = page
    content += rows_page
    ledger.write_bytes(content)


# -- folders inside


@pytest.mark.parametrize(("command", "name"), [("verify", "verifications"), ("deid --check", "checks")])
def test_a_folder_of_results_that_is_a_link_is_not_written_to(shell: Shell, command: str, name: str) -> None:
    (shell.folder / "r" / name).symlink_to(outside(shell.folder / "r").parent)
    result = shell.run(*OF_RUN[command])
    assert (result.exit_code, LINK in result.stderr) == (EXIT_USAGE, True)
    assert seen(shell.folder / "outside") == {str(shell.folder / "outside/victim"): VICTIM.encode()}


def interrupted_verification(shell: Shell) -> Path:
    """A verification that was begun, and has read nothing."""
    folder = shell.folder / "r/verifications/20260102-030405-1a2b"
    assert shell.run("verify", "r").exit_code == 0
    (done,) = (shell.folder / "r/verifications").iterdir()
    shutil.rmtree(done)
    folder.mkdir(parents=True)
    run = runs.load(shell.folder / "r")
    wanted = {"format": FORMAT, "events": Changes(run).events, **VerifyOptions().as_json(), "seed": 1}
    (folder / "begun.json").write_text(json.dumps(wanted))
    return folder


def test_the_progress_of_a_verification_that_is_a_link_is_neither_cut_nor_continued(shell: Shell) -> None:
    folder = interrupted_verification(shell)
    link(folder / "progress.jsonl", outside(shell.folder / "r"))
    result = shell.run("verify", "r")
    assert (result.exit_code, LINK in result.stderr) == (EXIT_USAGE, True)
    assert seen(shell.folder / "outside") == {str(shell.folder / "outside/victim"): VICTIM.encode()}


@pytest.mark.parametrize(
    ("line", "what"),
    [("oops", "not valid JSON"), ('{"image_set_id": 1}', "image_set_id is a whole number"), (DEEP, "nested too deep")],
    ids=["no JSON", "wrong types", "nested deep"],
)
def test_progress_that_is_malformed_is_told(shell: Shell, line: str, what: str) -> None:
    (interrupted_verification(shell) / "progress.jsonl").write_text(line + "\n")
    result = shell.run("verify", "r")
    assert (result.exit_code, what in result.stderr) == (EXIT_USAGE, True)


# -- an inventory, and a de-identification, that were interrupted

INVENTORY = ("inventory", "-o", "i.parquet")


def interrupted_inventory(shell: Shell, log: str = "") -> Path:
    folder = shell.folder / "i.parquet.part"
    folder.mkdir()
    about = {"id": "a", "datastore_id": shell.emulator.datastore_id, "begun": "2026-01-02T03:04:05"}
    state = {"format": 2, **about, "windows": [{"number": 0}]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "pages-00000.jsonl").write_text(log)
    return folder


def test_an_inventory_that_was_interrupted_goes_on(shell: Shell) -> None:
    interrupted_inventory(shell)
    assert shell.run(*INVENTORY).exit_code == 0


PARTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "the state is a link": (linked("state.json"), LINK),
    "the state is a pipe": (fifo("state.json"), PIPE),
    "no JSON": (text("state.json", "oops"), "not valid JSON (line 1, column 1)"),
    "wrong types": (says("state.json", parts="x"), "parts is text, not a whole number"),
    "nested deep": (text("state.json", DEEP), "the JSON is nested too deep"),
    "a part that is missing": (says("state.json", parts=1), "part-00000.parquet"),
    "the log is a link": (
        lambda folder: link(folder / "pages-00000.jsonl", outside(folder.parent / "r")),
        LINK,
    ),
    "a row of other cells": (
        text("pages-00000.jsonl", '{"window": 0, "rows": [["x", "y"]], "token": null}\n'),
        "a page has an invalid row",
    ),
    "a window that is none": (says("state.json", windows=[0]), "a window is not an object"),
    "a window of year 5000": (says("state.json", windows=[{"number": 0, "end": 10**17}]), "has an impossible time"),
    "a division in year 5000": (
        text("pages-00000.jsonl", json.dumps({"window": 0, "at": 10**17}) + "\n"),
        "has an impossible time",
    ),
    "a page of another window": (
        text("pages-00000.jsonl", '{"window": 7, "rows": [], "token": null}\n'),
        "a line is of a window that is not there",
    ),
}


@pytest.mark.parametrize("kind", PARTS)
def test_an_inventory_that_was_handed_over(shell: Shell, kind: str) -> None:
    spoil, what = PARTS[kind]
    spoil(interrupted_inventory(shell))
    refused(shell, INVENTORY, what, EXIT_USAGE)


@pytest.fixture
def deid(shell: Shell) -> tuple[str, ...]:
    key = shell.write("deid.key", os.urandom(32).hex())
    key.chmod(0o600)
    return ("deid", "--deid-profile", "basic", "--key", str(key), "--all", "-o", "e.parquet")


RECORDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "about.json is a link": (linked("about.json"), LINK),
    "about.json is a pipe": (fifo("about.json"), PIPE),
    "no JSON": (text("about.json", "oops"), "not valid JSON (line 1, column 1)"),
    "wrong types": (says("about.json", asked="x"), "asked is text, not an object"),
    "nested deep": (text("about.json", DEEP), "the JSON is nested too deep"),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_deidentification_that_was_handed_over(shell: Shell, deid: tuple[str, ...], kind: str) -> None:
    spoil, what = RECORDS[kind]
    record = shell.folder / "e.parquet.deid"
    record.mkdir()
    (record / "about.json").write_text('{"format": 1, "asked": {}}')
    spoil(record)
    assert "--fresh" in refused(shell, deid, what, EXIT_USAGE)


@pytest.mark.parametrize("name", ["done-00000.parquet", "selection.parquet", "inventory.parquet"])
def test_parts_of_a_deidentification_that_are_links_are_not_read(
    shell: Shell, deid: tuple[str, ...], name: str
) -> None:
    assert shell.run(*deid).exit_code in {0, 1}
    record, whole = shell.folder / "e.parquet.deid", shell.folder / "outside" / name
    about = json.loads((record / "about.json").read_text())
    outside(shell.folder / "r")
    shutil.copy(record / ("image-sets.parquet" if name.startswith("done") else name), whole)
    (shell.folder / "e.parquet").unlink()
    (record / "about.json").write_text(json.dumps({name: about[name] for name in ("format", "asked")}))
    if name == "inventory.parquet":
        (record / "selection.parquet").unlink()
    link(record / name, whole)
    result = shell.run(*deid)
    assert (result.exit_code, LINK in result.stderr) == (EXIT_USAGE, True), result.stderr


# -- the digest


def test_the_digest_of_a_plan_is_printed_and_pins_it(shell: Shell, made: Shell) -> None:
    edits = made.folder / "edits.csv"
    (line,) = shell.run("plan", edits, "-o", "q", "--json").json
    digest = line["digest"]
    assert digest == sign(shell.folder / "q")
    assert f"digest        {digest}" in shell.run("plan", edits, "-o", "again").stdout
    for good in (digest, digest.upper(), digest[:16]):
        assert shell.run("apply", "q", "--dry-run", "--digest", good).exit_code == 0
    assert shell.run("apply", edits, "--dry-run", "--digest", digest).exit_code == 0


@pytest.mark.parametrize("what", ["p", "list"])
def test_another_plan_is_refused_before_anything_is_sent(shell: Shell, made: Shell, what: str) -> None:
    words = ("apply", str(made.folder / "edits.csv") if what == "list" else what, "--yes", "--run", "new")
    stderr = refused(shell, (*words, "--digest", "0" * 64), "this plan has another digest", EXIT_STALE_PLAN)
    assert json.loads((shell.folder / "p/manifest.json").read_text())["digest"] in stderr.replace("\n", "")
    assert not (shell.folder / "new").exists()
    refused(shell, (*words, "--digest", "0123"), "--digest is the 64 hexadecimal digits", EXIT_USAGE)
