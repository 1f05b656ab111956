"""A run of a week among surroundings that fail, on a clock that jumps: the books must be even to the last edit.

Its calendar is drawn from a seed: outages, a proxy that answers in the service's place, credentials that are renewed
every hour and sometimes cannot be, a full disk, other writers, changed quotas, kills. A supervisor starts the run again
after each end, as a scheduler would. `tests/runs/test_week.py` plays a short one, `benchmarks/week.py` a hundred weeks.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from bulkedit.client.pacing import DOCUMENTED, Auto, Operation, Rate
from bulkedit.client.responses import Lost, Outcome
from bulkedit.emulator import DEFAULT_DATASTORE_ID, CompletionTime, Fault, FaultKind
from bulkedit.errors import BulkeditError
from bulkedit.options.running import Strategy
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.resume import resumption
from tests.emulator.hospital import document
from tests.runs.factories import FAST, planned, row
from tests.runs.journal_check import Sheet, weigh
from tests.runs.killable import Emulated, KillSwitch, emulated, process
from tests.runs.schedule import DistantClient, Schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.ledger import Record

R = TypeVar("R")
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
PACE: Final = 30 / HOUR_S  # calls per second: far below the quota, so that a week needs few calls
BUSY: Final = 0.8  # share of the time that the calls would take without trouble
UPDATE: Final = "UpdateImageSetMetadata"
PROXY_PAGE: Final = Lost("HTTP 407 without the service's error type")
OUTAGES: Final = (FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER)
ENDS: Final = {"CredentialsError", "LedgerError"}  # what may end a process
TRIED_AGAIN_S: Final = 10 * MINUTE_S  # by the supervisor
MOST_PROCESSES: Final = 100


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the week, in seconds since its start."""

    start: float
    end: float

    def covers(self, at: float) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What happens in one seed."""

    seed: int
    days: float
    calls: int
    auto: bool  # the pace is found, below a limit that the user gave; otherwise it is given
    faults: tuple[Fault, ...]
    proxy: Window
    disk: Window
    kills: tuple[float, ...]  # seconds since the start
    writers: tuple[tuple[float, int], ...]  # seconds since the start, image set


def draw(seed: int, days: float = 7.0) -> Week:
    """The week of a seed; ``days`` makes it shorter, with the same troubles."""
    rng, length = random.Random(f"week {seed}"), days * DAY_S
    short = days / 7

    def window(shortest: float, longest: float, factor: float = short) -> Window:
        start = rng.uniform(0.02, 0.8) * length
        return Window(start, start + rng.uniform(shortest, longest) * factor)

    def fault(kind: FaultKind, of: Window, **fields: Any) -> Fault:
        return Fault(kind=kind, start=of.start, end=of.end, **fields)

    calls = int(length * PACE * BUSY)
    outages = [fault(rng.choice(OUTAGES), window(2 * MINUTE_S, 40 * MINUTE_S)) for _ in range(3)]
    quotas = [
        fault(FaultKind.QUOTA, window(HOUR_S, 6 * HOUR_S), scale=rng.choice([0.02, 0.1, 0.5, 4.0])) for _ in range(4)
    ]
    # the old credentials hold for ten minutes in which no new ones come; after that AWS refuses them
    expired = [fault(FaultKind.EXPIRED, window(5 * MINUTE_S, 40 * MINUTE_S)) for _ in range(2)]
    others = [
        Fault(kind=kind, action=UPDATE, rate=0.01) for kind in (FaultKind.FOREIGN_BEFORE, FaultKind.FOREIGN_AFTER)
    ]
    losses = [Fault(kind=kind, action=UPDATE, rate=0.005) for kind in (*OUTAGES, FaultKind.FAIL)]
    return Week(
        seed=seed,
        days=days,
        calls=calls,
        auto=seed % 2 == 0,
        faults=(*outages, *quotas, *expired, *others, *losses),
        proxy=window(10 * MINUTE_S, 10 * MINUTE_S),
        disk=window(HOUR_S, 3 * HOUR_S, 1.0),  # SQLite fills its last page first
        kills=tuple(sorted(rng.uniform(0.0, 0.9) * length for _ in range(4))),
        writers=tuple(sorted((rng.uniform(0.0, 1.0) * length, rng.randrange(calls)) for _ in range(calls // 20))),
    )


@dataclass(slots=True)
class Played:
    """A week that was played."""

    week: Week
    sheet: Sheet
    wrong: list[str]
    processes: int
    kills: int
    seconds: float  # from the start to the last answer
    ends: Counter[str] = field(default_factory=Counter)  # names of errors that ended processes
    pages: int = 0  # answers of the proxy
    renewals: int = 0  # of credentials

    def row(self) -> str:
        """As a row of the table."""
        outcomes, ends = self.sheet.outcomes, ", ".join(f"{count} {name}" for name, count in sorted(self.ends.items()))
        return (
            f"| {self.week.seed} | {'auto' if self.week.auto else 'given'} | {self.seconds / DAY_S:.2f} "
            f"| {self.sheet.edits:,} | {self.sheet.requests:,} | {sum(self.sheet.struck.values()):,} | {self.pages:,} "
            f"| {self.renewals} | {self.processes} | {self.kills} | {ends or '-'} | {self.sheet.strangers:,} "
            f"| {outcomes[Outcome.APPLIED]:,} | {outcomes[Outcome.REJECTED]} | {outcomes[Outcome.CONFLICTED]} "
            f"| {len(self.wrong) or 'even'} |"
        )


HEAD: Final = (
    "| seed | pace | days | edits | updates | faults | proxy pages | renewals | processes | kills | other ends "
    "| versions of others | applied | rejected | conflicted | books |\n" + "|---" * 16 + "|"
)


def play(week: Week, folder: Path) -> Played:
    """Play a week to its end, and hold its books against the service's journal."""
    server = emulated(scale=1.0, completion_time=CompletionTime(seconds=2.0, sigma=0.5), journal_limit=200 * week.calls)
    world = _World(week, server, server.now())
    plan, path = _planned(week, server, folder / "plan"), folder / "ledger.sqlite"
    server.faults.add(list(week.faults), now=world.began)
    played = Played(week, Sheet(0), [], processes=0, kills=0, seconds=0.0)
    while _runs_on(played, world, plan, path):
        if played.processes >= MOST_PROCESSES:
            played.wrong.append(f"not done after {MOST_PROCESSES} processes")
            break
        server.wait(TRIED_AGAIN_S)
        world.write_as_others()
    played.seconds = server.now() - world.began
    server.wait(DAY_S)
    played.sheet, wrong = weigh(server, plan, path)
    played.wrong += [*wrong, *_unexpected(played)]
    return played


def _unexpected(played: Played) -> list[str]:
    outcomes = played.sheet.outcomes
    wrong = [f"{count} edits are {one}" for one in (Outcome.FAILED, Outcome.UNPROCESSED) if (count := outcomes[one])]
    wrong += [f"a process ended with {name}" for name in played.ends if name not in ENDS]
    if outcomes[Outcome.APPLIED] != played.sheet.updated:
        wrong.append(f"{outcomes[Outcome.APPLIED]} edits are applied, {played.sheet.updated} versions were made")
    return wrong


def _planned(week: Week, server: Emulated, folder: Path) -> SavedPlan:
    """One call an image set. Each hundredth row is invalid, each tenth names a version."""
    rows = []
    for number in range(week.calls):
        one = server.world.add_image_set(
            DEFAULT_DATASTORE_ID,
            document(study=f"1.2.{number}", instances=1),
            now=server.now(),
            image_set_id=f"{number:032d}",
            primary=False,
        )
        attribute = "StudyID" if number % 100 == 17 else "StudyDescription"  # StudyID needs force: rejected
        rows.append(row(one, attribute, f"V{number}", version=1 if number % 10 == 3 else None))
    return planned(folder, DEFAULT_DATASTORE_ID, rows)


class _World:
    """What surrounds the run, by the time of the server's clock."""

    def __init__(self, week: Week, server: Emulated, began: float) -> None:
        self.week, self.server, self.began = week, server, began
        self.pages = self.renewals = 0
        self._writers = list(week.writers)
        self.kills = list(week.kills)
        self._renewed_in_hour = 0

    @property
    def at(self) -> float:
        """Seconds since the start of the week."""
        return self.server.now() - self.began

    def write_as_others(self) -> None:
        while self._writers and self._writers[0][0] <= self.at:
            _, number = self._writers.pop(0)
            image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, f"{number:032d}")
            self.server.world.write_as_another(image_set, self.server.now())
            self.server.catch_up()

    def must_renew(self) -> bool:
        """Whether the credentials of the last hour have ended; the asker renews them."""
        hour = int(self.at // HOUR_S)
        if hour == self._renewed_in_hour:
            return False
        self._renewed_in_hour = hour
        self.renewals += 1
        return True

    def is_killed(self) -> bool:
        """Whether the process dies now, once for each kill of the calendar."""
        if not self.kills or self.kills[0] > self.at:
            return False
        self.kills.pop(0)
        return True


class _Surrounded(DistantClient):
    """The client of one process in the world of a week."""

    def __init__(self, inner: Client, world: _World, schedule: Schedule, death: KillSwitch) -> None:
        super().__init__(inner, schedule)
        self._world, self._death = world, death

    async def _ask(self, answer: Callable[[], Awaitable[R]]) -> R:
        world = self._world
        if world.must_renew():
            await anyio.sleep(2.0)
        if world.is_killed():
            await self._death.now()
        if world.week.proxy.covers(world.at):
            world.pages += 1
            await self._schedule.pause()
            return PROXY_PAGE  # type: ignore[return-value]  # every request may be answered so

        async def carried_out() -> R:
            world.write_as_others()
            answered = await answer()
            if world.is_killed():
                await self._death.now()
            return answered

        return await super()._ask(carried_out)


class _DiskFull:
    """Makes SQLite refuse to grow the ledger while the disk is full."""

    def __init__(self, world: _World) -> None:
        self._world = world

    def apply(self, ledger: Ledger) -> None:
        full = self._world.week.disk.covers(self._world.at)
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages if full else 2**30}")


def _runs_on(played: Played, world: _World, plan: SavedPlan, path: Path) -> bool:
    """One process; whether the run needs another."""
    played.processes += 1
    schedule = Schedule(f"{played.week.seed} {played.processes}")
    disk = _DiskFull(world)
    pace = Auto(DOCUMENTED[Operation.UPDATE], most=PACE) if played.week.auto else Rate(PACE, 1)

    def mortal(client: Client, death: KillSwitch) -> Client:
        _fill(death.ledger, disk)
        return _Surrounded(client, world, schedule, death)

    try:
        if path.exists():
            with Ledger.open(path) as ledger:
                disk.apply(ledger)
                ledger.append(resumption(plan, ledger, Strategy.NEW).events(ledger, world.server.now()))
        ended = process(
            world.server, plan, path, mortal=mortal, schedule=schedule, rates={**FAST, Operation.UPDATE: pace}
        )
    except BulkeditError as error:
        played.ends[type(error).__name__] += 1
        return True
    finally:
        played.pages, played.renewals = world.pages, world.renewals
    played.kills += ended.killed
    return ended.killed


def _fill(ledger: Ledger, disk: _DiskFull) -> None:
    """Let the disk decide before each commit."""
    append = ledger.append

    def limited(records: Sequence[Record]) -> None:
        disk.apply(ledger)
        append(records)

    ledger.append = limited  # type: ignore[method-assign]
