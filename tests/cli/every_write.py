"""Lets commands fail at each call that writes a file, types them again, and judges what is left.

Used by `test_write_faults.py`, and for every call by `benchmarks/kills.py`.
"""

from __future__ import annotations

import itertools
import re
import shlex
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkedit import plans
from bulkedit.errors import EXIT_FATAL, EXIT_OK, EXIT_USAGE
from bulkedit.inventories import saved
from bulkedit.runs import folder as runs
from tests.cli.shell import Shell
from tests.cli.write_faults import Commands, WriteFault
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bulkedit.emulator import Emulator
    from tests.cli.shell import Result

    Words = tuple[str | Path, ...]

_EDITS: Final = 3
_STUDIES: Final = itertools.count(1)  # another one for each image set
_KILLED: Final = -9
# the run that `resume` continues is killed here: it has sent something
_BEFORE_RESUME: Final = WriteFault(10, "before", only="pwrite r/ledger.sqlite-wal")
_RESUME: Final = re.compile(r"bulkedit (resume \S+)")
_FAULTY: Final = re.compile(r"Traceback|defect in bulkedit|Errno|Exception")


@dataclass(frozen=True, slots=True)
class Trial:
    """One command that met a fault, and what became of it."""

    step: str  # the call, as "NAME PATH"; empty if the command ended before
    outcome: str
    wrong: str = ""  # what is wrong; empty: nothing


class Folder:
    """A folder with a list of three edits, one of a row that cannot be planned, and commands in it."""

    def __init__(self, shell: Shell, commands: Commands) -> None:
        self.shell, self.commands = shell, commands
        self.image_sets = [shell.emulator.add(document(study=f"1.2.{next(_STUDIES)}")) for _ in range(_EDITS)]
        shell.descriptions(self.image_sets)

    def faulty(self, words: Words, fault: WriteFault) -> tuple[Result, list[str]]:
        """Run a command with a fault."""
        env = {name: text for name, text in self.shell.env.items() if text is not None}
        ended = self.commands.run(self.shell.folder, words, env, fault)
        return ended.result, ended.writes

    def well(self, *words: str | Path) -> None:
        """Run a command that must succeed."""
        result = self.shell.run(*words)
        assert result.exit_code == EXIT_OK, result.stderr


def _wrong_plan(folder: Folder) -> str:
    """Whether the plan, or the file of rows set aside, is not whole."""
    plan = plans.load(folder.shell.folder / "p")
    rows = (folder.shell.folder / "bad.csv").read_text("utf-8").count("CANARY")
    return "" if (plan.counts["calls"], rows) == (_EDITS, 1) else f"{plan.counts['calls']} calls, {rows} bad rows"


def _wrong_inventory(folder: Folder) -> str:
    """Whether the inventory lacks image sets."""
    inventory = saved.load(folder.shell.folder / "inventory.parquet", folder.shell.emulator.datastore_id)
    found = set(inventory.scan().collect().get_column("image_set_id"))
    return "" if found >= set(folder.image_sets) else f"{len(found)} image sets"


def _wrong_run(folder: Folder) -> str:
    """Whether edits were made other than once, or the run cannot be read."""
    root = folder.shell.folder
    stored = [folder.shell.stored(one) for one in folder.image_sets]
    if stored != [(2, f"T{i}") for i in range(_EDITS)]:
        return f"books: {stored}"
    (line,) = folder.shell.run("status", root / "r", "--json").json
    runs.load(root / "r")
    return "" if (line["applied"], line["ledger"]) == (_EDITS, "whole") else f"status: {line}"


@dataclass(frozen=True, slots=True)
class Operation:
    """A command, what is there before, and the files that it leaves."""

    name: str
    words: Words
    leaves: frozenset[str]  # in the folder; its list and what was there before not counted
    prepare: Callable[[Folder], None] = lambda _: None
    wrong: Callable[[Folder], str] = _wrong_run  # what is wrong with what it has made


def _planned(folder: Folder) -> None:
    folder.well("plan", "edits.csv", "-o", "p")


def _applied(folder: Folder) -> None:
    folder.well("apply", "edits.csv", "--run", "r", "--yes")


def _begun(folder: Folder) -> None:
    _planned(folder)
    folder.faulty(("apply", "p", "--run", "r", "--yes"), _BEFORE_RESUME)


def _with_bad_row(folder: Folder) -> None:
    with (folder.shell.folder / "edits.csv").open("a") as file:
        file.write("no id,set,StudyDescription,CANARY\n")


OPERATIONS: Final = {
    one.name: one
    for one in (
        Operation(
            "plan",
            ("plan", "edits.csv", "-o", "p", "--bad-rows", "bad.csv"),
            frozenset({"p", "bad.csv"}),
            _with_bad_row,
            _wrong_plan,
        ),
        Operation("apply PLAN", ("apply", "p", "--run", "r", "--yes"), frozenset({"r"}), _planned),
        Operation("apply LIST", ("apply", "edits.csv", "--run", "r", "--yes"), frozenset({"r", "plans"})),
        Operation(
            "apply, repeated",
            ("apply", "edits.csv", "--run", "r", "--resume-or-start", "--yes"),
            frozenset({"r", "plans"}),
        ),
        Operation("resume", ("resume", "r"), frozenset(), _begun),
        Operation(
            "report",
            ("report", "r", "--results", "out", "--html", "page.html", "--include-values"),
            frozenset({"out", "page.html"}),
            _applied,
        ),
        Operation(
            "report, Parquet",
            ("report", "r", "--results", "out", "--format", "parquet", "--include-values"),
            frozenset({"out"}),
            _applied,
        ),
        Operation(
            "inventory",
            ("inventory", "-o", "inventory.parquet"),
            frozenset({"inventory.parquet"}),
            wrong=_wrong_inventory,
        ),
    )
}


@contextmanager
def _prepared(operation: Operation, emulator: Emulator, commands: Commands) -> Iterator[Folder]:
    with tempfile.TemporaryDirectory(prefix="every-write-") as name:
        folder = Folder(Shell(Path(name).resolve(), emulator), commands)
        operation.prepare(folder)
        yield folder


def writes_of(operation: Operation, emulator: Emulator, commands: Commands) -> list[str]:
    """The calls that write, of a command that meets no fault."""
    with _prepared(operation, emulator, commands) as folder:
        result, writes = folder.faulty(operation.words, WriteFault(0, "before"))
        assert result.exit_code == EXIT_OK, result.stderr
        return writes


def tried(operation: Operation, emulator: Emulator, commands: Commands, fault: WriteFault) -> Trial:
    """Let the command fail, type it again, and judge."""
    with _prepared(operation, emulator, commands) as folder:
        before = {path.name for path in folder.shell.folder.iterdir()}
        result, writes = folder.faulty(operation.words, fault)
        step = (
            re.sub(r"\.[0-9a-f]{8}\.bulkedit-draft", ".DRAFT", writes[fault.at - 1]) if fault.at <= len(writes) else ""
        )
        wrong = _wrong_end(folder, result, fault)
        outcome, then = _typed_again(folder, operation.words, operation.leaves)
        wrong = wrong or then or _wrong_leftovers(folder, before | operation.leaves) or operation.wrong(folder)
        ended = "killed" if result.exit_code == _KILLED else f"exit {result.exit_code}"
        return Trial(step, f"{ended}, then {outcome}", wrong and f"{wrong}\n{result.stderr}")


def _wrong_end(folder: Folder, result: Result, fault: WriteFault) -> str:
    """What is wrong with the end of a command that met a fault."""
    if _FAULTY.search(result.stderr):
        return "it shows a defect"
    if fault.how.startswith("E") and result.exit_code not in {EXIT_OK, EXIT_FATAL}:
        return f"exit {result.exit_code}"
    for named in _RESUME.findall(result.stderr):
        if not (folder.shell.folder / shlex.split(named)[1] / "run.json").exists():
            return f"it names `{named}`, and there is no such run"
    return ""


def _typed_again(folder: Folder, words: Words, leaves: frozenset[str]) -> tuple[str, str]:
    """Type the command again, or what it names instead. Returns how it ended, and what is wrong."""
    again = folder.shell.run(*words)
    if again.exit_code == EXIT_OK:
        return "the same command", ""
    if again.exit_code == EXIT_USAGE and (named := _RESUME.search(again.stderr)):
        then = folder.shell.run(*shlex.split(named[1]))
        return "the command that it names", then.stderr if then.exit_code != EXIT_OK else ""
    if again.exit_code == EXIT_USAGE and "exists already" in again.stderr:
        missing = [name for name in leaves if not (folder.shell.folder / name).exists()]
        return "it was done", f"missing: {missing}\n{again.stderr}" if missing else ""
    return f"exit {again.exit_code}", again.stderr


def _wrong_leftovers(folder: Folder, expected: set[str]) -> str:
    """What is left that the user has not asked for."""
    root = folder.shell.folder
    strange = [path.name for path in root.iterdir() if path.name not in expected]
    drafts = [str(path.relative_to(root)) for path in root.rglob(".*") if path.name.endswith("bulkedit-draft")]
    several = [path.name for path in (root / "plans").glob("*")][1:]
    left = sorted({*strange, *drafts, *several})
    return f"left behind: {', '.join(left)}" if left else ""
