"""Commits of groups: what `write` has returned from is durable, once, and in the order in which it was given."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from bulkedit.errors import LedgerError, LedgerLockedError
from bulkedit.runs.ledger import (
    GroupCommit,
    Ledger,
    once_unlocked,
)
from tests.runs.ledger.factories import calls_of, event, fill_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path


class TestGroupCommit:
    async def test_many_writes_at_once_make_far_fewer_commits_in_order(self, ledger: Ledger) -> None:
        sizes: list[int] = []
        async with committing(ledger, sizes) as commit, anyio.create_task_group() as writers:
            for call in range(500):
                writers.start_soon(commit.write, event(call))
        assert calls_of(ledger) == list(range(500))
        assert sum(sizes) == 500
        assert len(sizes) <= 50

    async def test_a_write_waits_for_its_own_commit(self, ledger: Ledger) -> None:
        async with committing(ledger) as commit:
            for call in range(5):
                await commit.write(event(call))
                assert calls_of(ledger) == list(range(call + 1))

    async def test_what_was_noted_before_is_durable_when_a_later_write_returns(self, ledger: Ledger) -> None:
        async with committing(ledger) as commit:
            commit.note(event(1))
            commit.note(event(2))
            await commit.write(event(3))
            assert calls_of(ledger) == [1, 2, 3]

    async def test_what_was_noted_last_is_written_at_the_end(self, ledger: Ledger) -> None:
        async with committing(ledger) as commit:
            commit.note(event(1))
        assert calls_of(ledger) == [1]

    async def test_a_group_on_its_way_is_finished_although_the_task_is_cancelled(self, path: Path) -> None:
        slow = SlowLedger(path)
        commit = GroupCommit(slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit.run)
            commit.note(event(1))
            await slow.begun.wait()
            tasks.cancel_scope.cancel()
            slow.may_end.set()
        assert slow.written == [1]
        await commit.finish()
        assert slow.written == [1]

    async def test_after_a_fault_every_write_raises_it_and_nothing_more_is_written(self, ledger: Ledger) -> None:
        fill_disk(ledger)
        outcomes: list[str] = []

        async def write(commit: GroupCommit, call: int) -> None:
            try:
                await commit.write(event(call, message="x" * 100_000))
            except LedgerError as error:
                outcomes.append(error.what)

        commit = GroupCommit(ledger)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit.run)
            async with anyio.create_task_group() as writers:
                for call in range(3):
                    writers.start_soon(write, commit, call)
            await write(commit, 4)
            with pytest.raises(LedgerError):
                commit.note(event(5))
            tasks.cancel_scope.cancel()
        with pytest.raises(LedgerError):
            await commit.finish()
        assert outcomes == ["the ledger cannot be used (database or disk is full)."] * 4
        assert calls_of(ledger) == []


class TestAnotherProgram:
    """It has locked the ledger."""

    @pytest.fixture
    def other(self, path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
        monkeypatch.setattr("bulkedit.runs.ledger.commit._LOCKED_AGAIN_S", 0.001)
        ledger._connection.execute("PRAGMA busy_timeout = 0")  # SQLite waits 5 s for the other program
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    async def test_it_is_waited_for(self, ledger: Ledger, other: sqlite3.Connection) -> None:
        async with committing(ledger) as commit, anyio.create_task_group() as writers:
            writers.start_soon(commit.write, event(1))
            await until_locked(commit)
            writers.start_soon(commit.write, event(2))
            await anyio.sleep(0.01)
            assert calls_of(ledger) == []
            other.rollback()
        assert calls_of(ledger) == [1, 2]
        assert commit.locked_since is None

    async def test_it_is_waited_for_five_minutes(
        self, ledger: Ledger, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began = anyio.current_time()
        monkeypatch.setattr("anyio.current_time", lambda: began + 300 * len(tries))
        tries: list[None] = []
        append = ledger.append

        def counted(records: Sequence[Any]) -> None:
            tries.append(None)
            append(records)

        monkeypatch.setattr(ledger, "append", counted)
        commit = GroupCommit(ledger)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit.run)
            with pytest.raises(LedgerLockedError, match="another program has locked the ledger"):
                await commit.write(event(1))
            tasks.cancel_scope.cancel()
        other.rollback()
        assert (len(tries), calls_of(ledger)) == (2, [])

    async def test_a_run_that_is_cancelled_meanwhile_writes_each_row_once(
        self, ledger: Ledger, other: sqlite3.Connection
    ) -> None:
        commit = GroupCommit(ledger)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit.run)
            commit.note(event(1))
            await until_locked(commit)
            commit.note(event(2))
            tasks.cancel_scope.cancel()
        other.rollback()
        await commit.finish()
        assert calls_of(ledger) == [1, 2]

    async def test_a_waiting_run_says_so(self, ledger: Ledger, other: sqlite3.Connection) -> None:
        told: list[float | None] = []

        def tell(since: float | None) -> None:
            told.append(since)
            other.rollback()

        await once_unlocked(lambda: ledger.append([event(1)]), tell)
        assert (len(told), told[-1], calls_of(ledger)) == (2, None, [1])


async def until_locked(commit: GroupCommit) -> None:
    while commit.locked_since is None:
        await anyio.lowlevel.checkpoint()


class SlowLedger(Ledger):
    """Begins to append, and ends when it may."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = anyio.Event()
        self.may_end = anyio.Event()
        self.written: list[int] = []

    def append(self, records: Sequence[Any]) -> None:
        anyio.from_thread.run_sync(self.begun.set)
        anyio.from_thread.run(self.may_end.wait)
        self.written += [event.call for event in records]


@asynccontextmanager
async def committing(ledger: Ledger, sizes: list[int] | None = None) -> AsyncIterator[GroupCommit]:
    """A group commit at work, and finished when the block ends."""
    commit = GroupCommit(ledger, committed=lambda size: sizes.append(size) if sizes is not None else None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commit.run)
        yield commit
        tasks.cancel_scope.cancel()
    await commit.finish()
