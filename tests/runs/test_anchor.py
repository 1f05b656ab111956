"""The anchor beside a ledger: what was written and is not there is told, and a kill at any instant is not.

The invariant: a ledger opens if, and only if, it has every row that `append` has returned from, as it was written.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.errors import LedgerError, UnprovenLedgerError
from bulkedit.runs import anchor, ledger_frames
from bulkedit.runs.anchor import Anchor
from bulkedit.runs.ledger import Event, Ledger, LedgerState, Made, Pace, Part, RequestRecord, SettingRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLIPS = 120


def event(call: int, **fields: Any) -> Event:
    return Event(
        at=1.7e9 + call / 7, call=call, state=CallState.APPLIED, expected_version=1, version=2, attempts=1, **fields
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "ledger.sqlite"


@pytest.fixture
def written(path: Path) -> Path:
    """A closed ledger with rows in every table."""
    with Ledger.create(path) as ledger:
        ledger.append([event(call, message="words " * (call % 9), digest=f"{call:032x}") for call in range(300)])
        ledger.append([Part(300, 7, [1, 2]), Pace(5.5, 0.3), Made(3, "a" * 32), Made(4, "b" * 32, ours=False)])
        ledger.append([event(call, reason="words", expected_version_updated_at=1.7e9 + 1 / 3) for call in range(300)])
        ledger.append([SETTING, *REQUESTS])
        ledger.end("completed")
    return path


SETTING = SettingRecord(at=5.5, name="rate", before="null", after='"20/s"', user="jörg|x")
REQUESTS = [
    RequestRecord(at=1.7e9 + 1 / 3, call=7, operation="UpdateImageSetMetadata", request_id="4b0d-1", result="accepted"),
    RequestRecord(at=1.7e9, call=7, operation="GetImageSet", request_id=None, result="lost: ReadTimeoutError"),
]


def content(ledger: Ledger) -> list[Any]:
    rows = [list(ledger.events()), ledger.parts(), ledger.made(), ledger_frames.paces(ledger, 10).rows()]
    return [*rows, ledger.processes()[:2], ledger.settings(), list(ledger.requests())]


def opened(path: Path) -> list[Any]:
    with Ledger.open(path) as ledger:
        return content(ledger)


class TestDamage:
    def test_a_flipped_byte_in_any_row_is_noticed(self, written: Path) -> None:
        rng, whole, kept = random.Random(3), written.read_bytes(), anchor.beside(written).read_bytes()
        rows = opened(written)
        noticed = 0
        for place in sorted(rng.sample(range(len(whole)), FLIPS)):
            flipped = bytearray(whole)
            flipped[place] ^= rng.randint(1, 255)
            written.write_bytes(flipped)
            anchor.beside(written).write_bytes(kept)
            try:
                found = opened(written)
            except LedgerError:
                noticed += 1
            else:
                assert found == rows, place  # it was in no row: a page has room that is not used
        assert noticed > FLIPS / 2

    @pytest.mark.parametrize("column", ["seq", "at", "call", "expected_version", "version", "attempts", "checksum"])
    def test_a_changed_number_is_noticed(self, written: Path, column: str) -> None:
        with closing(sqlite3.connect(written)) as connection:
            connection.execute(f"UPDATE event SET {column} = {column} + 1 WHERE seq = 600")  # noqa: S608
            connection.commit()
        with pytest.raises(UnprovenLedgerError) as caught:
            Ledger.open(written)
        assert caught.value.state == LedgerState.DAMAGED

    @pytest.mark.parametrize("table", ["part", "pace", "made", "process", "setting"])
    def test_so_is_a_row_of_another_table(self, written: Path, table: str) -> None:
        for change, state in ((f"UPDATE {table} SET checksum = 7", "damaged"), (f"DELETE FROM {table}", "behind")):  # noqa: S608
            with closing(sqlite3.connect(written)) as connection:
                connection.execute(change)
                connection.commit()
            with pytest.raises(UnprovenLedgerError) as caught:
                Ledger.open(written)
            assert caught.value.state == state

    def test_a_changed_request_is_noticed_when_it_is_read(self, written: Path) -> None:
        """Opening a ledger only counts them: there are about three for each call."""
        with closing(sqlite3.connect(written)) as connection:
            connection.execute("UPDATE request SET request_id = 'x' WHERE result = 'accepted'")
            connection.commit()
        with Ledger.read(written) as ledger:
            assert list(ledger.requests(tolerant=True)) == REQUESTS[1:]
            with pytest.raises(UnprovenLedgerError, match="a row of table request is not as it was written"):
                list(ledger.requests())

    def test_a_missing_request_is_noticed(self, written: Path) -> None:
        with closing(sqlite3.connect(written)) as connection:
            connection.execute("DELETE FROM request WHERE result = 'accepted'")
            connection.commit()
        with pytest.raises(UnprovenLedgerError, match="table request has 1 of 2 rows"):
            Ledger.open(written)

    def test_what_is_read_of_it_are_the_rows_that_are_as_they_were_written(self, written: Path) -> None:
        with closing(sqlite3.connect(written)) as connection:
            connection.execute("UPDATE event SET state = 'failed' WHERE seq > 590")
            connection.execute("UPDATE event SET call = 299 WHERE seq = 100")
            connection.commit()
        with Ledger.read(written) as ledger:
            assert (ledger.state, ledger.damage) == (LedgerState.DAMAGED, "its events are not those that were written")
            assert set(ledger_frames.states(ledger)["state"]) == {"applied"}
            assert len(list(ledger.intact_events())) == 589


class TestKill:
    """What lies there when a process dies between the write of a ledger and that of its anchor, or in either."""

    @pytest.fixture
    def states(self, path: Path) -> list[tuple[bytes, bytes]]:
        """Ledger and anchor after each of some commits."""
        found = []
        Ledger.create(path).close()
        for call in range(4):
            with Ledger.open(path) as ledger:
                ledger.append([event(call), event(call + 10)])
            found.append((path.read_bytes(), anchor.beside(path).read_bytes()))
        return found

    def put(self, path: Path, ledger: bytes, told: bytes) -> None:
        path.write_bytes(ledger)
        with anchor.beside(path).open("r+b") as file:
            file.write(told)

    def test_a_ledger_ahead_of_its_anchor_goes_on(self, path: Path, states: list[tuple[bytes, bytes]]) -> None:
        for later in range(1, 4):
            self.put(path, states[later][0], states[later - 1][1])
            assert len(opened(path)[0]) == 2 * (later + 1)

    def test_a_ledger_behind_its_anchor_does_not(self, path: Path, states: list[tuple[bytes, bytes]]) -> None:
        for later in range(1, 4):
            self.put(path, states[later - 1][0], states[later][1])
            with pytest.raises(UnprovenLedgerError) as caught:
                Ledger.open(path)
            assert caught.value.state == LedgerState.BEHIND

    @pytest.mark.parametrize("slot", [0, 1])
    def test_a_slot_that_was_torn_is_as_if_it_were_not_written(
        self, path: Path, states: list[tuple[bytes, bytes]], slot: int
    ) -> None:
        ledger, told = states[3]
        for length in (1, 40, 200):
            begin = slot * 4096
            self.put(path, ledger, told[:begin] + b"x" * length + told[begin + length :])
            assert len(opened(path)[0]) == 8

    def test_a_ledger_that_was_made_and_not_told_of_is_begun(self, path: Path) -> None:
        Anchor.create(anchor.beside(path), "name").close()
        before = anchor.beside(path).read_bytes()
        Ledger.create(path).close()
        self.put(path, path.read_bytes(), before)
        assert opened(path)[0] == []


class TestPlace:
    def test_a_copy_is_told_and_the_first_one_goes_on(self, written: Path) -> None:
        shutil.copytree(written.parent, copy := written.parent.with_name("copy"))
        with pytest.raises(UnprovenLedgerError) as caught:
            Ledger.open(copy / written.name)
        assert caught.value.state == LedgerState.COPIED
        with Ledger.read(copy / written.name) as ledger:
            assert (ledger.state, ledger.damage, len(list(ledger.events()))) == (LedgerState.COPIED, None, 600)
        opened(written)

    def test_a_folder_that_was_renamed_is_no_copy(self, written: Path) -> None:
        written.parent.rename(new := written.parent.with_name("renamed"))
        opened(new / written.name)

    def test_an_anchor_is_for_its_owner_and_never_grows(self, written: Path) -> None:
        file = anchor.beside(written).stat()
        assert (stat.S_IMODE(file.st_mode), file.st_size) == (0o600, 8192)

    def test_without_it_a_ledger_is_not_gone_on_with(self, written: Path) -> None:
        anchor.beside(written).unlink()
        with pytest.raises(UnprovenLedgerError) as caught:
            Ledger.open(written)
        assert caught.value.state == LedgerState.UNANCHORED
        assert not anchor.beside(written).exists()

    def test_it_is_missed_while_a_process_writes(self, path: Path) -> None:
        with Ledger.create(path) as ledger:
            anchor.beside(path).unlink()
            with pytest.raises(LedgerError):
                ledger.append([event(1)])

    def test_a_ledger_that_was_there_is_not_made_again(self, written: Path) -> None:
        written.unlink()
        for way in (Ledger.create, Ledger.open):
            with pytest.raises(UnprovenLedgerError) as caught:
                way(written)
            assert caught.value.state == LedgerState.MISSING


def test_the_ledger_alone_is_never_far_behind_its_log(path: Path, tmp_path: Path) -> None:
    with Ledger.create(path) as ledger:
        for call in range(400):
            ledger.append([event(call)])
            if call % 50 == 49:
                shutil.copy(path, alone := tmp_path / f"{call}.sqlite")
                with closing(sqlite3.connect(alone)) as connection:
                    (count,) = connection.execute("SELECT count(*) FROM event").fetchone()
                assert count >= call + 1 - 100


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda told: told[:4096].replace(b'"begun"', b'"other"')])
def test_an_anchor_that_tells_nothing_is_no_anchor(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    Ledger.create(path).close()
    beside = anchor.beside(path)
    beside.write_bytes(spoil(beside.read_bytes()))
    with pytest.raises(anchor.UnreadableAnchorError):
        anchor.read(beside)
