"""At most one process works on a run, whatever is done to its folder meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.errors import LedgerError, RunHeldError
from bulkedit.runs.ledger import Event, Ledger, ProcessRecord, rebuilt
from bulkedit.runs.ledger.lock import RunLock, is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def event(call: int) -> Event:
    return Event(at=0.0, call=call, state=CallState.INTENDED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "r").mkdir()
    return tmp_path / "r" / "ledger.sqlite"


@pytest.fixture
def at_work(path: Path) -> Iterator[Ledger]:
    """The ledger of a process that has worked for a while."""
    ledger = Ledger.create(path)
    ledger.append([event(0)])
    yield ledger
    ledger.close()


# -- what is done to the folder of a run while a process works on it; each returns where the run is then


def nothing(path: Path) -> Path:
    return path


def removed(*names: str) -> Callable[[Path], Path]:
    def remove(path: Path) -> Path:
        for name in names:
            path.with_name(name).unlink()
        return path

    return remove


def replaced(*names: str) -> Callable[[Path], Path]:
    """By copies, as a program does that restores a backup."""

    def replace(path: Path) -> Path:
        for name in names:
            copy = path.with_name(f"{name}.new")
            shutil.copy2(path.with_name(name), copy)
            copy.rename(path.with_name(name))
        return path

    return replace


def moved(path: Path) -> Path:
    return path.parent.rename(path.parent.with_name("moved")) / path.name


def moved_and_copied_back(path: Path) -> Path:
    shutil.copytree(moved(path).parent, path.parent)
    return path


def removed_and_copied_back(path: Path) -> Path:
    copy = shutil.copytree(path.parent, path.parent.with_name("copy"))
    shutil.rmtree(path.parent)
    copy.rename(path.parent)
    return path


def exchanged(path: Path) -> Path:
    """Another run has its name."""
    moved(path)
    path.parent.mkdir()
    return path


ALL = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.anchor")
CHANGES = {
    "nothing": nothing,
    "no anchor": removed("ledger.anchor"),
    "no ledger": removed(*ALL[:3]),
    "no log": removed(*ALL[1:3]),
    "no files": removed(*ALL),
    "another anchor": replaced("ledger.anchor"),
    "another ledger": replaced("ledger.sqlite"),
    "another ledger and log": replaced(*ALL[:3]),
    "other files": replaced(*ALL),
    "moved": moved,
    "moved and copied back": moved_and_copied_back,
    "removed and copied back": removed_and_copied_back,
    "exchanged": exchanged,
}


def resumed(path: Path) -> Ledger:
    return Ledger.open(path)


def begun(path: Path) -> Ledger:
    return Ledger.create(path)


def rebuilt_and_resumed(path: Path) -> Ledger:
    """As `resume --assume-unknown`."""
    with rebuilt(path, run="", stamp="before"):
        pass
    return Ledger.open(path)


@pytest.mark.parametrize("second", [resumed, begun, rebuilt_and_resumed])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_of_two_processes_at_most_one_can_write(
    path: Path, at_work: Ledger, change: Callable[[Path], Path], second: Callable[[Path], Ledger]
) -> None:
    where = change(path)
    try:
        other = second(where)
    except LedgerError:
        other = None
    writers = [ledger for ledger in (at_work, other, at_work, other) if ledger is not None and writes(ledger)]
    if other is not None:
        other.close()
    assert len({id(ledger) for ledger in writers}) <= 1
    if change is nothing:
        assert writers == [at_work, at_work]


def writes(ledger: Ledger) -> bool:
    try:
        ledger.append([event(1)])
    except LedgerError:
        return False
    return True


@pytest.mark.parametrize("change", [nothing, removed("ledger.anchor"), moved], ids=["nothing", "no anchor", "moved"])
@pytest.mark.parametrize("second", [resumed, begun, rebuilt_and_resumed])
def test_the_second_one_is_refused_where_the_folder_is_still_that_of_the_run(
    path: Path, at_work: Ledger, change: Callable[[Path], Path], second: Callable[[Path], Ledger]
) -> None:
    where = change(path)
    assert at_work.path == path
    assert is_held(where)
    with pytest.raises(RunHeldError, match=r"this run is in use by process \d+ on \S+ since \d{4}-\S+ \S+Z\."):
        second(where)


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.sqlite-wal", "ledger.anchor"])
def test_a_process_whose_files_were_replaced_writes_nothing_more(path: Path, at_work: Ledger, name: str) -> None:
    replaced(name)(path)
    with pytest.raises(LedgerError, match="not in its folder any more"):
        at_work.append([event(1)])
    with pytest.raises(LedgerError):
        at_work.append([event(2)])


class TestWithoutLocks:
    """On a file system that grants each lock."""

    @pytest.fixture(autouse=True)
    def no_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.runs.ledger.lock.lock", lambda *_, **__: None)

    def test_the_first_process_stops_at_its_next_commit(self, path: Path, at_work: Ledger) -> None:
        with Ledger.open(path) as second:
            with pytest.raises(RunHeldError, match=r"process \d+ on \S+ since .* works on this run now") as caught:
                at_work.append([event(1)])
            assert (caught.value.exit_code, "bulkedit resume RUN" in str(caught.value)) == (4, True)
            second.append([event(2)])
            assert [row["call"] for row in second.events()] == [0, 2]
            with pytest.raises(RunHeldError):
                at_work.end("stopped")
        with pytest.raises(RunHeldError):
            at_work.append([event(1)])  # the second has ended, and what it did is not known here

    def test_a_process_that_was_overtaken_while_it_opened_the_ledger_does_not_begin(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Ledger.create(path).close()
        start = ProcessRecord.of_this_process

        def overtaken() -> ProcessRecord:
            monkeypatch.setattr(ProcessRecord, "of_this_process", start)
            with Ledger.open(path) as other:
                other.append([event(7)])
            return start()

        monkeypatch.setattr(ProcessRecord, "of_this_process", overtaken)
        with pytest.raises(RunHeldError, match="another process works on this run now"):
            Ledger.open(path)
        with Ledger.read(path) as read:
            assert [row["call"] for row in read.events()] == [7]


class TestLock:
    def test_a_folder_that_cannot_be_locked_leaves_the_anchor(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """NFS locks nothing that is not open for writing."""
        Ledger.create(path).close()
        locked = RunLock.__init__.__globals__["lock"]

        def on_nfs(descriptor: Any, **options: Any) -> None:
            if Path(f"/proc/self/fd/{descriptor}").is_dir():
                raise OSError(9, "Bad file descriptor")
            locked(descriptor, **options)

        monkeypatch.setattr("bulkedit.runs.ledger.lock.lock", on_nfs)
        with Ledger.open(path):
            assert is_held(path)
            with pytest.raises(RunHeldError):
                Ledger.open(path)
        assert not is_held(path)

    def test_a_new_anchor_is_locked_too(self, path: Path) -> None:
        with Ledger.create(path):
            moved(path)
            (other := path.with_name("moved")).mkdir(parents=True)
            path.parent.with_name("moved").joinpath("ledger.anchor").rename(other / "ledger.anchor")
            with pytest.raises(BlockingIOError):
                RunLock(other / path.name)

    def test_a_run_that_no_process_works_on_is_not_held(self, path: Path) -> None:
        assert not is_held(path)
        Ledger.create(path).close()
        assert not is_held(path)
        assert not is_held(path.with_name("absent") / path.name)
