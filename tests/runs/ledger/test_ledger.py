"""The ledger: rows are only ever appended, and what `write` has returned from survives everything.

The invariant: the ledger of a run is a prefix of what was handed to it, whole groups only, whatever kills the process.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.errors import LedgerError, RunHeldError
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import (
    SCHEMA,
    Event,
    Ledger,
    Pace,
    RequestRecord,
    SettingRecord,
    user_name,
)
from bulkedit.runs.ledger_frames import STATES
from tests.privileges import as_anybody
from tests.runs.ledger.factories import calls_of, event, fill_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# -- what is in it


class TestRecord:
    def test_every_event_stays_as_it_was_written_in_the_order_of_writing(self, ledger: Ledger) -> None:
        intent = event(3, expected_version=1, attempts=1, digest="d")
        reply = event(
            3, CallState.ACCEPTED, at=2.5, expected_version=1, version=2, attempts=2, throttles=1, faults=3, conflicts=4
        )
        ledger.append([intent])
        ledger.append([reply, event(1, CallState.REJECTED, reason="ValidationException", message="words")])
        names = (
            "seq",
            "at",
            "call",
            "state",
            "expected_version",
            "version",
            "attempts",
            "throttles",
            "faults",
            "conflicts",
        )
        rows = list(ledger.events())
        assert [tuple(row[name] for name in names) for row in rows] == [
            (1, 0.0, 3, "intended", 1, None, 1, 0, 0, 0),
            (2, 2.5, 3, "accepted", 1, 2, 2, 1, 3, 4),
            (3, 0.0, 1, "rejected", None, None, 0, 0, 0, 0),
        ]
        assert [(row["reason"], row["message"], row["digest"]) for row in rows] == [
            (None, None, "d"),
            (None, None, None),
            ("ValidationException", "words", None),
        ]

    def test_a_call_stands_where_its_last_event_says(self, ledger: Ledger) -> None:
        ledger.append([event(7, expected_version=1), event(2, expected_version=4)])
        ledger.append(
            [
                event(7, CallState.ACCEPTED, expected_version=1, attempts=1),
                event(2, CallState.OUTCOME_UNKNOWN, expected_version=4),
            ]
        )
        ledger.append([event(7, CallState.APPLIED, expected_version=1, version=2, attempts=1)])
        found = ledger_frames.states(ledger)
        assert found.schema == STATES
        assert found.select("call", "state", "expected_version", "version", "attempts").rows() == [
            (2, "outcome unknown", 4, None, 0),
            (7, "applied", 1, 2, 1),
        ]

    def test_a_new_ledger_is_empty(self, ledger: Ledger) -> None:
        assert (list(ledger.events()), ledger_frames.states(ledger).rows(), ledger.span_s()) == ([], [], 0.0)

    def test_the_span_is_from_the_first_event_to_the_last(self, ledger: Ledger) -> None:
        ledger.append([event(1, at=100.0), event(2, at=102.5), event(3, at=101.0)])
        assert ledger.span_s() == 2.5

    def test_an_append_of_nothing_is_nothing(self, ledger: Ledger) -> None:
        ledger.append([])
        assert calls_of(ledger) == []

    def test_a_group_with_an_impossible_event_is_written_not_at_all(self, ledger: Ledger) -> None:
        with pytest.raises(LedgerError):
            ledger.append([event(1), event(2, attempts="many")])
        assert calls_of(ledger) == []

    def test_what_is_closed_is_there_when_opened_again(self, path: Path) -> None:
        with Ledger.create(path) as first:
            first.append([event(1), event(2)])
        with Ledger.open(path) as second:
            second.append([event(3)])
            assert calls_of(second) == [1, 2, 3]


class TestProcesses:
    def test_each_process_is_recorded_with_its_start_and_its_end(self, path: Path) -> None:
        with Ledger.create(path) as ledger:
            ledger.end("completed")
        Ledger.open(path).close()
        with Ledger.read(path) as read:
            first, end, second = read.processes()
        assert (first.state, first.reason, end.state, end.reason) == ("started", None, "ended", "completed")
        assert first.process == end.process != second.process
        assert {(one.pid, one.host, one.user) for one in (first, end, second)} == {
            (os.getpid(), socket.gethostname(), user_name())
        }
        assert first.at <= end.at <= second.at

    def test_a_user_without_a_name_is_a_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            monkeypatch.delenv(name, raising=False)

        def unknown(number: int) -> None:
            raise KeyError(number)

        monkeypatch.setattr("pwd.getpwuid", unknown)
        assert user_name() == str(os.getuid())

    def test_settings_and_requests_are_read_in_the_order_of_writing(self, ledger: Ledger) -> None:
        settings = [
            SettingRecord(at=2.0, name=name, before="null", after='"x"', user="jörg") for name in ("rate", "profile")
        ]
        requests = [
            RequestRecord(at=float(n), call=n % 2, operation="GetImageSet", request_id=None, result="lost: x")
            for n in range(5)
        ]
        ledger.append([*settings, *requests])
        assert (ledger.settings(), list(ledger.requests())) == (settings, requests)


class TestHealthData:
    def test_no_column_is_made_for_a_value(self, ledger: Ledger) -> None:
        ledger.append([event(1)])
        (row,) = ledger.events()
        assert list(row) == [
            "seq",
            "at",
            "call",
            "state",
            "expected_version",
            "version",
            "attempts",
            "throttles",
            "faults",
            "conflicts",
            "reason",
            "message",
            "digest",
            "expected_version_updated_at",
        ]

    def test_its_files_are_for_their_owner_only(self, path: Path, ledger: Ledger) -> None:
        ledger.append([event(1)])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(
            ("ledger.anchor", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"), 0o600
        )

    def test_its_files_are_for_their_owner_only_whatever_the_umask(self, path: Path) -> None:
        before = os.umask(0)
        try:
            Ledger.create(path).close()
        finally:
            os.umask(before)
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


# -- durability

WRITER = """
    import os, signal, sys
    from pathlib import Path
    import anyio
    from bulkedit.runs.ledger import Event, GroupCommit, Ledger
    from bulkedit.client.responses import CallState

    def event(call):
        return Event(at=0.0, call=call, state=CallState.INTENDED)

    def say(text):
        sys.stdout.write(f"{text}\\n")
        sys.stdout.flush()

    ledger = Ledger.create(Path(sys.argv[1]))
"""


@contextmanager
def child(path: Path, program: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that has created the ledger and carries a program out; killed when the block ends."""
    code = textwrap.dedent(WRITER) + textwrap.dedent(program)
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class TestKill:
    @pytest.mark.parametrize("count", [1, 300], ids=["one", "many"])
    def test_what_write_has_returned_from_is_there_after_a_kill_right_then(self, path: Path, count: int) -> None:
        program = f"""
            async def main():
                commit = GroupCommit(ledger)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(commit.run)
                    async with anyio.create_task_group() as writers:
                        for call in range({count}):
                            writers.start_soon(commit.write, event(call))
                    os.kill(os.getpid(), signal.SIGKILL)

            anyio.run(main)
        """
        with child(path, program) as process:
            assert process.wait(30) == -signal.SIGKILL
        with Ledger.open(path) as found:
            assert calls_of(found) == list(range(count))

    def test_a_kill_in_the_middle_leaves_a_prefix_of_whole_groups(self, path: Path) -> None:
        program = """
            for group in range(10**9):
                ledger.append([event(call) for call in range(group * 100, group * 100 + 100)])
                say(group)
        """
        with child(path, program) as process:
            while (said := int(line_of(process))) < 5:
                pass
        with Ledger.open(path) as found:
            calls = calls_of(found)
        assert calls == list(range(len(calls)))
        assert len(calls) % 100 == 0
        assert len(calls) >= (said + 1) * 100

    def test_commits_reach_the_disk_before_they_return(self, ledger: Ledger) -> None:
        # a kill of the process cannot show this; loss of power would
        settings = [
            ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
        full = 2
        assert settings == ["wal", full]


# -- one writer, many readers


class TestOneWriter:
    HOLD = """
        ledger.append([event(1)])
        say("held")
        sys.stdin.readline()
        signal.pause()
    """

    def test_a_second_process_is_refused_and_told_who_holds_the_run(self, path: Path) -> None:
        with child(path, self.HOLD) as process:
            line_of(process)
            with pytest.raises(RunHeldError) as caught:
                Ledger.open(path)
            assert caught.value.exit_code == 4
            assert re.search(rf"process {process.pid} on \S+ since \d{{4}}-\d\d-\d\d", caught.value.what)
            assert caught.value.where == str(path.parent)

    def test_the_run_of_a_dead_process_is_free(self, path: Path) -> None:
        with child(path, self.HOLD) as process:
            line_of(process)
        with Ledger.open(path) as found:
            assert calls_of(found) == [1]

    def test_a_holder_that_is_not_in_the_ledger_is_another_process(self, path: Path, ledger: Ledger) -> None:
        ledger.end("completed")
        with pytest.raises(RunHeldError, match="in use by another process"):
            Ledger.open(path)

    def test_a_closed_ledger_is_free(self, path: Path) -> None:
        Ledger.create(path).close()
        Ledger.open(path).close()

    def test_a_ledger_that_could_not_be_opened_is_free(self, path: Path) -> None:
        path.write_text("this is no database, and long enough to have a header of one")
        for _ in range(2):
            with pytest.raises(LedgerError) as caught:
                Ledger.open(path)
            assert not isinstance(caught.value, RunHeldError)

    def test_readers_look_in_while_another_process_writes(self, path: Path) -> None:
        program = """
            for call in range(10**9):
                ledger.append([event(call)])
                if call in (10, 50):
                    say(call)
        """
        with child(path, program) as process:
            seen = []
            for _ in range(2):
                said = int(line_of(process))
                with Ledger.read(path) as found:
                    calls = calls_of(found)
                assert calls == list(range(len(calls)))
                assert len(calls) > said
                seen.append(len(calls))
            assert process.poll() is None
        assert seen[0] < seen[1]

    def test_a_reader_cannot_write(self, path: Path, ledger: Ledger) -> None:
        ledger.append([event(1)])
        with Ledger.read(path) as reader:
            with pytest.raises(LedgerError):
                reader.append([event(2)])
            assert calls_of(reader) == [1]


# -- files that are not a ledger, or damaged ones


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 2000] = b"\xff" * 2000
    path.write_bytes(data)


def set_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()


def another_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE patient (name TEXT)")
    connection.close()


DAMAGE = {
    "absent": (lambda path: path.unlink(), None),
    "empty": (lambda path: os.truncate(path, 0), "this file is not a ledger."),
    "no database": (
        lambda path: path.write_text("no database " * 50),
        "the ledger is damaged (file is not a database).",
    ),
    "another database": (another_database, "this file is not a ledger."),
    "cut short": (cut_short, "the ledger is damaged (database disk image is malformed)."),
    "overwritten": (overwrite, None),
    "of another version": (set_version, "this ledger was written by a later version of bulkedit."),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), None),
}


class TestDamage:
    @pytest.mark.parametrize("way", [Ledger.open, Ledger.read], ids=["open", "read"])
    @pytest.mark.parametrize(("damage", "what"), DAMAGE.values(), ids=list(DAMAGE))
    def test_what_is_no_ledger_is_said_in_words(self, path: Path, way: Any, damage: Any, what: str | None) -> None:
        with Ledger.create(path) as ledger:
            ledger.append([event(call, message="words " * 20) for call in range(2000)])
        damage(path)
        with pytest.raises(LedgerError) as caught, way(path) as found:
            raise LedgerError(found.damage and f"the ledger is damaged ({found.damage}).", where=str(path))
        assert caught.value.exit_code == 4
        assert caught.value.where == str(path)
        assert (what or caught.value.what) == caught.value.what

    def test_what_is_not_damaged_can_be_read_and_nothing_can_be_written(self, path: Path) -> None:
        with Ledger.create(path) as ledger:
            ledger.append([event(call, CallState.APPLIED, message="words " * 20) for call in range(2000)])
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 8192] = bytes(8192)
        path.write_bytes(content)
        with Ledger.read(path) as damaged:
            calls = ledger_frames.states(damaged)["call"].to_list()
            assert damaged.damage
            assert 0 < len(calls) < 2000
            assert calls == sorted(set(calls))
            assert set(calls) < set(range(2000))
        with pytest.raises(LedgerError, match="damaged"):
            Ledger.open(path)

    def test_a_ledger_that_is_gone_from_its_folder_is_not_written_to(self, path: Path, ledger: Ledger) -> None:
        """The file would still be there for SQLite, and for nobody else."""
        ledger.append([event(1)])
        path.parent.rename(path.parent.with_name("elsewhere"))
        with pytest.raises(LedgerError, match="not in its folder any more"):
            ledger.append([event(2)])
        with Ledger.read(path.parent.with_name("elsewhere") / path.name) as read:
            assert calls_of(read) == [1]

    def test_a_ledger_that_exists_is_not_made_again(self, path: Path) -> None:
        with Ledger.create(path) as ledger:
            ledger.append([event(1)])
        with pytest.raises(LedgerError, match="there is a ledger already"):
            Ledger.create(path)
        with Ledger.open(path) as ledger:
            assert calls_of(ledger) == [1]

    def test_a_folder_that_does_not_exist_is_said_in_words(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerError, match="No such file or directory"):
            Ledger.create(tmp_path / "absent" / "ledger.sqlite")

    @pytest.mark.parametrize("way", [Ledger.create, Ledger.open], ids=["create", "open"])
    def test_a_read_only_folder_is_said_in_words(self, path: Path, way: Any) -> None:
        if way == Ledger.open:
            Ledger.create(path).close()
            (path.parent / "ledger.anchor").chmod(0o400)
        path.parent.chmod(0o500)
        try:
            with as_anybody(), pytest.raises(LedgerError) as caught:
                way(path)
        finally:
            path.parent.chmod(0o700)
        assert caught.value.exit_code == 4
        assert "Permission denied" in caught.value.what

    @pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
    def test_what_lies_in_a_read_only_folder_can_be_read(self, path: Path, tmp_path: Path, killed: bool) -> None:
        with Ledger.create(path) as ledger:
            ledger.append([event(1), event(2)])
            kept = shutil.copytree(path.parent, tmp_path / "kept") if killed else path.parent
        assert (kept / f"{path.name}-wal").exists() == killed
        for file in kept.iterdir():
            file.chmod(0o400)
        kept.chmod(0o500)
        try:
            with as_anybody(), Ledger.read(kept / path.name) as ledger:
                assert calls_of(ledger) == [1, 2]
                assert ledger.damage is None
                with pytest.raises(LedgerError):
                    ledger.append([event(3)])
        finally:
            kept.chmod(0o700)

    def test_a_full_disk_is_said_in_words_and_writes_nothing(self, ledger: Ledger) -> None:
        fill_disk(ledger)
        with pytest.raises(LedgerError) as caught:
            ledger.append([event(call, message="x" * 1000) for call in range(100)])
        assert caught.value.exit_code == 4
        assert caught.value.what == "the ledger cannot be used (database or disk is full)."
        assert calls_of(ledger) == []

    def test_a_ledger_that_another_program_locks_is_no_full_disk(self, path: Path, ledger: Ledger) -> None:
        ledger._connection.execute("PRAGMA busy_timeout = 0")  # SQLite waits 5 s for the other program
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError) as caught:
                ledger.append([event(1)])
        assert caught.value.what == "another program has locked the ledger (database is locked)."
        assert "Close that program" in str(caught.value)
        assert "room" not in str(caught.value)
        ledger.append([event(1)])
        assert calls_of(ledger) == [1]

    def test_a_ledger_is_made_whole_or_not_at_all(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.runs.ledger.opening.SETUP", "BEGIN; CREATE TABLE event (seq INTEGER); no SQL")
        with pytest.raises(LedgerError):
            Ledger.create(path)
        assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.anchor"]
        monkeypatch.undo()
        Ledger.create(path).close()


def test_the_pace_of_a_run_is_kept_in_the_bins_of_its_activity(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([Event(at=0.0, call=0, state=CallState.INTENDED), Pace(0.0, 0.25), Pace(10.0, 0.5)])
        ledger.append([Pace(90.0, 2.0), Event(at=100.0, call=0, state=CallState.APPLIED), Pace(101.0, 4.0)])
        assert ledger_frames.paces(ledger, 4).rows() == [(0, 0.5), (3, 4.0)]
        assert ledger_frames.states(ledger).height == 1
