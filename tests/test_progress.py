"""Long work is told of, and stopped, in one way."""

from __future__ import annotations

import threading

import anyio
import pytest

from bulkedit._progress import Phase, StopSignal, WorkProgress, draining_by, ended_by, report_every
from bulkedit.errors import EXIT_INTERRUPTED, StoppedError


async def test_a_signal_from_another_thread_ends_the_block() -> None:
    stop, begun = StopSignal(), threading.Event()

    def send() -> None:
        begun.wait(60)
        stop.send()

    async def work() -> None:
        async with ended_by(stop, kept="All is kept."):
            begun.set()
            await anyio.sleep(60)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(StoppedError) as raised:
        await work()
    thread.join()
    assert raised.value.likely == "All is kept."
    assert raised.value.exit_code == EXIT_INTERRUPTED


async def test_a_signal_that_was_sent_before_lets_no_block_begin() -> None:
    stop, begun = StopSignal(), threading.Event()
    stop.send()
    stop.send()
    with pytest.raises(StoppedError):
        async with ended_by(stop, kept=""):
            begun.set()
    assert not begun.is_set()


@pytest.mark.parametrize("stop", [None, StopSignal()], ids=["none", "unsent"])
async def test_without_a_signal_the_block_is_as_it_is(stop: StopSignal | None) -> None:
    async with ended_by(stop, kept=""):
        await anyio.lowlevel.checkpoint()
    with pytest.raises(KeyError):  # in no group
        async with ended_by(stop, kept=""):
            raise KeyError


async def test_a_block_that_has_ended_is_not_stopped() -> None:
    stop = StopSignal()
    async with ended_by(stop, kept=""):
        stop.send()


async def test_one_signal_ends_several_blocks() -> None:
    stop, ended = StopSignal(), []

    async def work() -> None:
        try:
            async with ended_by(stop, kept=""):
                await anyio.sleep(60)
        except StoppedError:
            ended.append(1)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        stop.send()
    assert len(ended) == 3


async def test_draining_lets_the_block_end_by_itself() -> None:
    stop, drained = StopSignal(), anyio.Event()
    async with draining_by(stop, drained.set):
        stop.send()
        await drained.wait()
        await anyio.lowlevel.checkpoint()
    drained = anyio.Event()
    async with draining_by(StopSignal(), drained.set):
        pass
    assert not drained.is_set()


async def test_work_that_tells_nothing_is_told_of_meanwhile_and_at_its_end() -> None:
    told, done = list[int](), 0

    def record() -> WorkProgress:
        return WorkProgress(phase=Phase.READING, done=done)

    async with report_every(0.001, record, lambda progress: told.append(progress.done)):
        while len(told) < 3:
            await anyio.sleep(0.001)
        done = 7
    assert told[:2] == [0, 0]
    assert told[-1] == 7
