"""Runs of the real engine against the emulated service, on a clock that jumps, held against what is possible.

The limit of a run is the smallest of what binds it: the quota of updates; those of reads, of which a lane of n calls
needs n + 1, through GetImageSet or ListImageSetVersions; the updates in flight, each of which takes up its place from
its request until the look that finds it completed has come back; the workers. None of it is told to the engine.
"""

from __future__ import annotations

import itertools
import math
import random
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from bulkedit.emulator import DEFAULT_DATASTORE_ID, UNTHROTTLED, CompletionTime, Settings
from bulkedit.emulator.state.quota import Bucket, Quota
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.options import EngineOptions
from tests.emulator.hospital import Service, document
from tests.runs.factories import KEY, planned, row
from tests.runs.virtual_time import InProcess, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, ImageSet, Lost, Page, Refused
    from bulkedit.runs.progress import Progress

UPDATE, GET, LIST = "UpdateImageSetMetadata", "GetImageSet", "ListImageSetVersions"
START_S, START_CALLS = 60.0, 20  # are not counted, whichever is longer
CALLS_A_LANE = 4


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at_s`` on the quota of updates is so many times the first one."""

    at_s: float
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One service, seen from the engine; rates per second, times in seconds."""

    rate: float
    burst: float
    latency_s: float = 0.1
    latest_s: float | None = None  # requests take between `latency_s` and this, each its own time
    completion_s: float = 2.0
    reads: tuple[float, float] = (25, 50)  # of GetImageSet, and as many of ListImageSetVersions
    steps: tuple[Step, ...] = ()
    tenant: float = 0.0  # the part of the quota that another tenant asks for, evenly
    concurrent: int = 100
    lane: int = CALLS_A_LANE  # calls on each image set
    calls: int | None = None
    seconds: float = 300.0  # of the run, about, where `calls` is not given; never under 500 calls
    seed: int = 0

    @property
    def limits(self) -> dict[str, float]:
        """Updates a second that each thing allows."""
        reads_an_update = (self.lane + 1) / self.lane
        slot_s = max(self.completion_s, self.latency_s) + self.latency_s
        return {
            "updates": self.rate * (1 - self.tenant),
            "reads": 2 * self.reads[0] / reads_an_update,
            "in flight": self.concurrent / slot_s,
            "workers": EngineOptions().workers / (self.latency_s * (1 + reads_an_update)),
        }

    @property
    def binds(self) -> str:
        return min(self.limits, key=self.limits.__getitem__)

    @property
    def limit(self) -> float:
        return self.limits[self.binds]

    def least_s(self, start: float, calls: int) -> float:
        """Seconds from ``start`` on that so many calls take at the limit, steps of the quota included."""
        at = start
        for begin, end, factor in self._spans():
            if end <= at:
                continue
            at = max(at, begin)
            most = min({**self.limits, "updates": self.limits["updates"] * factor}.values())
            if calls <= most * (end - at):
                return at + calls / most - start
            calls -= round(most * (end - at))
            at = end
        raise AssertionError("the last span has no end")

    def _spans(self) -> list[tuple[float, float, float]]:
        """(from, to, factor of the quota of updates)."""
        steps = [Step(0.0, 1.0), *self.steps, Step(math.inf, 0.0)]
        return [(one.at_s, two.at_s, one.factor) for one, two in itertools.pairwise(steps)]

    @property
    def count(self) -> int:
        seconds = self.seconds + 25 * self.completion_s  # in which the last lanes, one call after another, weigh little
        wanted = self.calls or max(500, math.ceil(self.limit * seconds))
        return -(-wanted // self.lane) * self.lane

    @property
    def shortest_s(self) -> float:
        """Seconds from the first to the last update that the quota allows: the burst at once, the rest at its rate."""
        return (self.count - self.burst) / (self.rate * (1 - self.tenant))


class _Quotas(Quota):
    """Two buckets, steps of the quota of updates, and another tenant."""

    def __init__(self, scenario: Scenario, now: float) -> None:
        super().__init__(UNTHROTTLED)
        self._scenario, self.began = scenario, now
        self.updates = Bucket(scenario.rate, scenario.burst, scenario.burst, now)
        self._reads = {action: Bucket(*scenario.reads, scenario.reads[1], now) for action in (GET, LIST)}
        self._steps = list(scenario.steps)
        self._theirs_at = now
        self.answers: list[tuple[float, str, bool]] = []  # seconds, action, let in

    def take(self, action: str, now: float) -> bool:
        if action in self._reads:
            good = self._reads[action].take(now)
        else:
            self._others(now)
            while self._steps and self._steps[0].at_s <= now - self.began:
                self._step(self._steps.pop(0), now)
            good = self.updates.rate > 0 and self.updates.take(now)
        self.answers.append((now - self.began, action, good))
        return good

    def _step(self, step: Step, now: float) -> None:
        self.updates.take(now)
        self.updates.rate = self._scenario.rate * step.factor
        self.updates.burst = max(1.0, self._scenario.burst * step.factor)
        self.updates.tokens = min(self.updates.tokens, self.updates.burst) if step.factor else 0.0

    def _others(self, now: float) -> None:
        if self._scenario.tenant:
            while self._theirs_at <= now:
                self.updates.take(self._theirs_at)
                self._theirs_at += 1 / (self._scenario.rate * self._scenario.tenant)


class _Distant(InProcess):
    """Requests and answers take half of a latency each."""

    def __init__(self, service: Service, latency_s: float, latest_s: float | None = None, seed: int = 0) -> None:
        super().__init__(service, epoch=service.now)
        self._between = latency_s / 2, (latest_s or latency_s) / 2
        self._rng = random.Random(seed)

    async def _travel(self) -> None:
        await anyio.sleep(self._rng.uniform(*self._between))

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        await self._travel()
        reply = await super().update(request)
        await self._travel()
        return reply

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        await self._travel()
        reply = await super().get_image_set(image_set_id, version)
        await self._travel()
        return reply

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused | Lost:
        await self._travel()
        reply = await super().list_versions(image_set_id, **page)
        await self._travel()
        return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a scenario."""

    scenario: Scenario
    ended: Progress
    seconds: float  # of the whole run
    ratio: float  # of the time after the start to the least possible
    throttled: float  # of all requests
    throttled_steady: float  # of those after the start
    updates_throttled_steady: float
    reached: float  # of the limit, in what follows the start
    first_to_last: float  # time from the first to the last update, by the shortest (`Scenario.shortest_s`)
    updates_throttled: int
    reads_an_update: float
    longest_gap: float  # between two calls of one lane after the start, as a multiple of the median
    answers: list[tuple[float, str, bool]] = field(repr=False)

    def row(self) -> str:
        """As a row of the table."""
        s = self.scenario
        change = "".join(f", times {step.factor:g} at {step.at_s:g} s" for step in s.steps)
        change += f", another tenant takes {s.tenant:.0%}" if s.tenant else ""
        return (
            f"| {s.rate:g}/{s.burst:g}{change} | {s.latency_s * 1000:g} ms | {s.completion_s:g} s | {s.count:,} "
            f"| {s.binds} {s.limit:.3g}/s | {self.ratio:.3f} | {self.reached:.0%} | {self.throttled_steady:.1%} "
            f"| {self.throttled:.1%} | {self.updates_throttled_steady:.1%} | {self.reads_an_update:.2f} "
            f"| {self.longest_gap:.1f} |"
        )


HEAD = (
    "| quota | latency | complete | calls | limit | time / limit | reached | throttled, steady | throttled, all | "
    "updates throttled, steady | reads an update | longest gap |\n" + "|---" * 12 + "|"
)


def simulate(scenario: Scenario) -> Result:
    """Run it to its end."""
    service = Service(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=scenario.completion_s)))
    quotas = _Quotas(scenario, service.now)
    service.world.quota = quotas
    service.world.settings = replace(service.world.settings, concurrent=scenario.concurrent)
    ids = [service.add(document(study=f"1.2.{n}", instances=1)) for n in range(scenario.count // scenario.lane)]
    rows = [row(one, "StudyDescription", f"V{n}") for one in ids for n in range(scenario.lane)]

    async def main() -> tuple[Progress, float]:
        began = anyio.current_time()
        with Ledger.create(Path(folder) / "ledger.sqlite") as ledger:
            client = _Distant(service, scenario.latency_s, scenario.latest_s, scenario.seed)
            engine = Engine(plan, client, ledger, EngineOptions(), key=KEY, rng=random.Random(scenario.seed))
            await engine.run()
        return engine.progress(), anyio.current_time() - began

    with tempfile.TemporaryDirectory(dir=_quick_disk()) as folder:
        plan = planned(Path(folder) / "plan", DEFAULT_DATASTORE_ID, rows, merge=False)
        ended, seconds = run_virtual(main())
    return _judged(scenario, ended, seconds, quotas, lambda start: _gaps(service, ids, quotas.began + start))


def _quick_disk() -> str | None:
    """The ledger's durability is not what is simulated."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def _gaps(service: Service, ids: list[str], start: float) -> list[float]:
    """Seconds between the versions of each image set since ``start``, the one that it came with left out."""
    gaps: list[float] = []
    for image_set_id in ids:
        versions = service.world.datastores[DEFAULT_DATASTORE_ID].image_sets[image_set_id].versions
        times: list[Any] = [version.updated_at for version in versions[1:]]
        times = [at for at in times if at >= start]
        gaps += [later - earlier for earlier, later in itertools.pairwise(times)]
    return sorted(gaps)


def _judged(
    scenario: Scenario, ended: Progress, seconds: float, quotas: _Quotas, gaps_since: Callable[[float], list[float]]
) -> Result:
    accepted = [at for at, action, good in quotas.answers if good and action == UPDATE]
    start = max(START_S, accepted[min(START_CALLS, len(accepted)) - 1])
    gaps = gaps_since(start)
    steady = [answer for answer in quotas.answers if answer[0] > start]
    left = sum(at > start for at in accepted)
    tail = scenario.completion_s + 2 * scenario.latency_s  # the last call has to complete, too
    shown = [at for at in accepted if at > start][: max(START_CALLS, round(20 * scenario.limit))]
    updates = [good for _, action, good in steady if action == UPDATE]
    return Result(
        scenario=scenario,
        ended=ended,
        seconds=seconds,
        ratio=(seconds - start) / (scenario.least_s(start, left) + tail) if left else 1.0,
        throttled=_share([good for *_, good in quotas.answers]),
        throttled_steady=_share([good for *_, good in steady]),
        updates_throttled_steady=_share(updates),
        reached=len(shown) / (shown[-1] - start) / scenario.limit if shown else 1.0,
        first_to_last=(accepted[-1] - accepted[0]) / scenario.shortest_s,
        updates_throttled=[action for _, action, good in quotas.answers if not good].count(UPDATE),
        reads_an_update=sum(action in (GET, LIST) and good for _, action, good in quotas.answers) / len(accepted),
        longest_gap=gaps[-1] / gaps[len(gaps) // 2] if gaps else 1.0,
        answers=quotas.answers,
    )


def _share(answers: list[bool]) -> float:
    """Of these, how many were throttled."""
    return answers.count(False) / len(answers) if answers else 0.0


QUOTAS = [(0.25, 1), (1, 2), (5, 10), (20, 20), (100, 200), (1000, 1000)]
LATENCIES_S = [0.02, 0.1, 1.0]
COMPLETIONS_S = [0.2, 2.0, 20.0]
STEADY = [
    Scenario(rate=rate, burst=burst, latency_s=latency, completion_s=complete)
    for rate, burst in QUOTAS
    for latency in LATENCIES_S
    for complete in COMPLETIONS_S
]
SHORT = [  # and the most time that each may take, as a multiple of the shortest
    (Scenario(rate=rate, burst=burst, calls=calls, lane=1, latency_s=0.05, completion_s=0.5), most)
    for rate, burst, calls, most in ((20, 20, 100, 1.5), (20, 20, 1200, 1.05), (0.25, 1, 24, 1.10), (5, 10, 200, 1.10))
]
HALVED, DOUBLED = (Step(400, 0.5),), (Step(400, 2.0),)
ZERO = (Step(400, 0.0), Step(700, 1.0))  # for five minutes
CHANGES = [
    scenario
    for rate, burst in QUOTAS[:5]
    for scenario in (
        Scenario(rate=rate, burst=burst, steps=HALVED, seconds=600),
        Scenario(rate=rate, burst=burst, steps=DOUBLED, seconds=900),
        Scenario(rate=rate, burst=burst, steps=ZERO, seconds=900),
        Scenario(rate=rate, burst=burst, tenant=0.5),
    )
]
