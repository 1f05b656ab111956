"""The I/O of a run: opens lanes, sends their requests when quotas allow, and writes the ledger.

Lanes decide what to send, the scheduler and the pacers decide when. One task opens lanes and dispatches their requests,
a bounded number of workers send one request at a time, and one task commits the ledger. A lane that waits for a quota
or an unlock is an entry of the scheduler and occupies no worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio import lowlevel

from bulkedit import _log
from bulkedit._concurrency import first_error, run_blocking
from bulkedit.client.pacing import CompletionTimes, Operation, Window, pacer
from bulkedit.client.parsing import newest_of, systemic_error
from bulkedit.client.reader import Clock
from bulkedit.client.responses import (
    Accepted,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    ImageSetState,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
    outcome_of,
)
from bulkedit.client.sent import sent_requests
from bulkedit.client.unreached import not_reached
from bulkedit.errors import (
    AccessError,
    BudgetSpentError,
    BulkeditError,
    DatastoreError,
)
from bulkedit.options.running import Halt
from bulkedit.runs.budget import ErrorBudget, ForeignAnswers, RetryBudget
from bulkedit.runs.copy_lane import ViaCopyRun, unsafe
from bulkedit.runs.counters import RunCounters
from bulkedit.runs.denials import AccessDenial, Denials
from bulkedit.runs.history import History, Lanes
from bulkedit.runs.lane import LaneContext, LaneRun
from bulkedit.runs.ledger import Ending, Event, GroupCommit, Pace, Part, RequestRecord
from bulkedit.runs.locks import TOLD_AFTER_S
from bulkedit.runs.logged import RecordLog
from bulkedit.runs.progress import Progress
from bulkedit.runs.requests import (
    OF_STUDY,
    WRITES,
    Copy,
    Delete,
    GetDatastore,
    GetImageSet,
    GetMetadata,
    PollSibling,
    ReadStudy,
    Search,
    SearchStudy,
    Update,
)
from bulkedit.runs.scheduler import QUOTAS, Scheduler
from bulkedit.runs.second_process import SecondProcess, versions_to_read
from bulkedit.runs.service_quirks import ServiceQuirks
from bulkedit.runs.time_left import TimeLeft, WorkLeft
from bulkedit.runs.waiting import Waiting, WaitingFor

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream

    from bulkedit.client.contract import Client
    from bulkedit.client.sent import SentRequest
    from bulkedit.errors import EndpointError
    from bulkedit.plans import Lane, PlannedCall, SavedPlan
    from bulkedit.runs.ledger import Ledger
    from bulkedit.runs.locks import LockWait
    from bulkedit.runs.options import EngineOptions
    from bulkedit.runs.requests import LaneRequest, Reply

_STORE_S: Final = 60.0  # how long an answer of GetDatastore is valid
# the quota is recorded every 60 s, and after a change of 2 % at most once a second
_PACE_S, _PACE_AT_MOST_S, _PACE_CHANGE = 60.0, 1.0, 0.02
_SILENT_S: Final = 5.0  # without an answer for so long, the run waits for the service
_VIA_COPY_AHEAD: Final = 8  # lanes with copies: they wait for three quotas in turn
_AHEAD_S: Final = 2.0  # lanes are opened this long before the quota lets them send
_REQUESTS_AT_ONCE: Final = 256  # reads that wait for a commit
_SEARCHING_AHEAD: Final = 8  # lanes, while the quota is unknown: each is polled before it is wanted
_OPENED_AT_ONCE: Final = 64  # lanes; takes some milliseconds
_WAITING_MOST: Final = 10_000  # open lanes that wait for an unlock; each takes some kilobytes
_TAIL: Final = 2.0  # durations of one lane: near the end all lanes are opened at once, so that they end together


@dataclass(slots=True)
class Stop:
    """Stops a run: after `drain` nothing new is sent, and the run ends once nothing is under way."""

    draining: bool = False
    _changed: Callable[[], None] = field(default=lambda: None)

    def drain(self) -> None:
        """Send nothing new."""
        self.draining = True
        self._changed()


class Engine:
    """One run of one plan."""

    def __init__(
        self,
        plan: SavedPlan,
        client: Client,
        ledger: Ledger,
        options: EngineOptions,
        *,
        key: bytes,
        rng: random.Random,
        clock: Clock | None = None,
        sends_new: bool = True,
        since: float | None = None,
        credentials_awaited_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Prepare a run or a resume.

        ``key``: for the ledger's payload digests, so that values cannot be guessed from the ledger alone. ``clock``
        gives the time; the engine waits with anyio, never with ``clock.sleep``. If not ``sends_new``, calls that were
        never begun are not sent (`Strategy.FAILED`). ``since``: epoch seconds at which the run began, to notice another
        process with the same plan (`SecondProcess`). ``credentials_awaited_s``: for how long requests have waited for
        new credentials.
        """
        self._client = client
        self._credentials_awaited_s = credentials_awaited_s
        # of reads and of writes: when those without an answer were sent, by lane, and when the last one was answered
        self._asked: dict[bool, dict[int, float]] = {False: {}, True: {}}
        self._answered_at = {False: -math.inf, True: -math.inf}
        self._options = options
        self._clock = clock or Clock()
        self._log = RecordLog()
        self._commit = GroupCommit(ledger, noted=self._log.take)
        self._requests: list[RequestRecord] = []  # of reads; they share the commit of the next event
        self.pacers = {operation: pacer(rate, rng) for operation, rate in options.rates.items()}
        self.completion_times = CompletionTimes()
        self._window = Window(options.max_in_flight)
        self._scheduler = Scheduler(self.pacers)
        self._retries = RetryBudget()
        self._foreign = ForeignAnswers()
        self._denials = Denials()
        self._errors = ErrorBudget(options.max_errors, options.min_sample)
        self._store: tuple[float, Datastore] | None = None  # last answer of GetDatastore, and when
        self.counters = RunCounters(calls=plan.counts["calls"], edits=plan.counts["edits"])
        self._history = History(plan, ledger, self.counters, sends_new=sends_new)
        self._context = LaneContext(
            options=options,
            rng=rng,
            key=key,
            quirks=ServiceQuirks(versions_reused=self._history.versions_reused),
            budget=self._retries,
            completion_times=self.completion_times,
            begun=self._history.begun,
            new_call=self._history.new_call,
            payload_limit=plan.payload_limit,
        )
        self._lanes = Lanes(plan, self._history)
        self._time_left = TimeLeft()
        self._noted = Pace(-math.inf, 0.0)
        self._open_lanes = 0
        self._runs: dict[int, LaneRun] = {}  # open lanes by number
        self._calls_ahead = self.counters.calls - self.counters.completed_calls  # of lanes that are not open yet
        self._longest_ahead: int = plan.counts.get("longest_lane", 0)  # calls; of lanes that are not open yet
        self._in_flight: set[int] = set()  # lane numbers
        self._idle: set[int] = set()  # lane numbers: not in flight, and waiting for an unlock
        self._busy = 0  # workers with a request
        self._news = anyio.Event()
        self._fatal: BulkeditError | None = None
        self._second_process = SecondProcess(since)
        self._interrupted = False
        self.stop = Stop(_changed=self._wake)

    async def run(self) -> RunCounters:
        """Send all calls, or stop after `Stop.drain`. If cancelled, write every received answer and end at once.

        Returns the counters. Raises AccessError, CredentialsError, DatastoreError or EndpointError if no call of the
        run can succeed, LedgerError if the ledger cannot be written, and BudgetSpentError if too many edits failed and
        some are left. After any of them the run can be resumed.
        """
        self.counters.started = self._clock.monotonic()
        try:
            with first_error():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._commit.run)
                    await self._work()
                    tasks.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            self._interrupted = True
            raise
        finally:
            self._note_requests()
            with anyio.CancelScope(shield=True):
                await self._commit.finish()
        if self._fatal is None and self.counters.unprocessed and not self.stop.draining:
            # calls are left because something on the way blocks one operation
            blocked = self._foreign.lasting(math.inf, 0.0)
            self._fatal = _unanswered("the service itself does not answer", blocked) if blocked is not None else None
        if self._fatal is not None:
            raise self._fatal
        if self.stop.draining and self._errors.spent and self.counters.unprocessed:
            raise _too_many_errors(self._errors.spent)
        return self.counters

    @property
    def ending(self) -> Ending:
        """Why `run` has ended without an error."""
        left = self.counters.unprocessed or self.counters.completed_calls < self.counters.calls
        if self._interrupted or (left and self.stop.draining):
            return Ending.INTERRUPTED
        return Ending.STOPPED if left else Ending.COMPLETED

    def progress(self) -> Progress:
        """A snapshot of the run."""
        now, counters = self._clock.monotonic(), self.counters
        updates = self.pacers[Operation.UPDATE]
        return Progress(
            calls=counters.calls,
            completed=counters.completed_calls,
            edits=counters.edits,
            outcomes=dict(counters.outcomes),
            in_flight=counters.in_flight,
            per_second=counters.rate(now),
            quota_per_second=updates.rate.per_second,
            searching=updates.searching,
            requests=counters.requests + counters.reads,
            throttled=counters.throttled,
            limited_by=counters.bottleneck,
            seconds_left=self._seconds_left(now),
            completion_p50_s=self.completion_times.quantile(0.5),
            completion_p95_s=self.completion_times.quantile(0.95),
            image_sets_in_flight=tuple(self._image_sets(self._in_flight)),
            waiting=tuple(self._waiting(now)),
        )

    def _image_sets(self, lanes: Iterable[int]) -> Iterator[str]:
        """The image sets that open lanes work on."""
        for number in lanes:
            if (lane := self._runs.get(number)) is not None and (call := lane.call) is not None:
                yield call.image_set_id

    def _seconds_left(self, now: float) -> float | None:
        counters, updates = self.counters, self.pacers[Operation.UPDATE]
        left = counters.calls - counters.completed_calls
        waiting = sum(self._runs[number].calls_left for number in self._idle)
        if waiting and left == waiting:
            return None  # nothing is left but calls that wait for an unlock
        work = WorkLeft(
            done=counters.completed_calls,
            left=left - waiting,
            in_flight=counters.in_flight,
            quota=updates.rate.per_second,
            searching=updates.searching,
            lanes={number: lane.calls_left for number, lane in self._runs.items() if number not in self._idle},
            longest_ahead=0 if self._lanes.ended else self._lanes.next_length or self._longest_ahead,
        )
        return self._time_left.observe(work, now)

    def _waiting(self, now: float) -> Iterator[Waiting]:
        """What keeps the run from sending."""
        if (credentials_s := self._credentials_awaited_s()) >= _SILENT_S:
            yield Waiting(WaitingFor.CREDENTIALS, credentials_s)
        elif (silent_s := max(self._retries.silent_s(now), self._unanswered_s(now))) >= _SILENT_S:
            yield Waiting(WaitingFor.SERVICE, silent_s)
        elif (still_s := self._time_left.standstill_s(now)) and self._scheduler.delayed_by & QUOTAS:
            yield Waiting(WaitingFor.QUOTA, still_s)
        if waits := [one for one in self._context.waiting.values() if self._clock.epoch() - one.since >= TOLD_AFTER_S]:
            locked = dict.fromkeys(one.image_set_id for one in waits if one.image_set_id is not None)
            yield Waiting(WaitingFor.UNLOCK, self._clock.epoch() - min(one.since for one in waits), tuple(locked))

    def _unanswered_s(self, now: float) -> float:
        """How long no read, or no write, has been answered, although some are under way."""
        oldest = {kind: next(iter(asked.values()), now) for kind, asked in self._asked.items()}
        return max(now - max(sent, self._answered_at[kind]) for kind, sent in oldest.items())

    # opening lanes and dispatching

    async def _work(self) -> None:
        send, receive = anyio.create_memory_object_stream[LaneRun](math.inf)
        free = anyio.Semaphore(self._options.workers)
        # the stream outlives the workers: cancelling a task from outside would close it while they use it
        async with send, receive, anyio.create_task_group() as workers:
            for _ in range(self._options.workers):
                workers.start_soon(self._worker, receive, free)
            while True:
                await free.acquire()  # before `_next`, so that no quota is used while all workers are busy
                lane = await self._next()
                if lane is None:
                    break
                self._busy += 1
                send.send_nowait(lane)
            workers.cancel_scope.cancel()

    async def _next(self) -> LaneRun | None:
        """Wait for a lane whose request may be sent; None at the end of the run."""
        while True:
            if self._news.is_set():
                self._news = anyio.Event()
            if self._stopping:
                self._withdraw()
                self._lanes.end()
            opened = 0
            while self._room and (lane := await self._lanes.next()):
                self._open(lane)
                opened += 1
                if opened % _OPENED_AT_ONCE == 0:
                    await lowlevel.checkpoint()  # lets received answers be handled
            found = self._take()
            if isinstance(found, LaneRun):
                return found
            if found is None and not self._busy and not len(self._scheduler) and self._lanes.ended:
                if not self._denials:
                    return None
                await self._judge_denials()
                continue
            began = self._clock.monotonic()
            with anyio.move_on_after(found):
                await self._news.wait()
            self.counters.waited(self._scheduler.delayed_by, self._clock.monotonic() - began)

    @property
    def _stopping(self) -> bool:
        return self.stop.draining or self._fatal is not None

    @property
    def _room(self) -> bool:
        """Whether to open a lane: only a little ahead of the quota, because an early poll would be stale."""
        updates = self.pacers[Operation.UPDATE]
        ahead = max(_SEARCHING_AHEAD if updates.searching else 2, math.ceil(updates.rate.per_second * _AHEAD_S))
        if self._history.has_copies:
            ahead = max(ahead, _VIA_COPY_AHEAD)
        if self._near_end:
            ahead = self._options.max_in_flight
        if len(self._idle) >= _WAITING_MOST:
            return False
        return self._open_lanes - len(self._in_flight) - len(self._idle) < min(ahead, self._options.max_in_flight)

    @property
    def _near_end(self) -> bool:
        """Whether the remaining lanes take little longer than the longest of them: then all of them are opened."""
        length, completion_s = self._lanes.next_length, self.completion_times.first_poll()
        if length < 2 or not len(self.completion_times):
            return False
        at_once = min(self.pacers[Operation.UPDATE].rate.per_second * completion_s, self._options.max_in_flight)
        return self._calls_ahead <= _TAIL * length * at_once

    def _open(self, lane: Lane) -> None:
        self._open_lanes += 1
        self._log.opens(lane)
        self._calls_ahead -= len(lane.calls)
        history, now = self._history.copy_history_of(lane), self._clock.monotonic()
        run = (LaneRun if history is None else partial(ViaCopyRun, history))(
            lane,
            self._context,
            versions=self._history.versions_of(lane),
            conflicted=self._history.conflicted_in(lane),
            now=now,
            epoch=self._clock.epoch(),
        )
        self._runs[lane.number] = run
        self._follow(run, now)

    def _take(self) -> LaneRun | float | None:
        """As `Scheduler.take`. A write counts as in flight from here, before another worker takes a lane."""
        found = self._scheduler.take(self._clock.monotonic(), self._admit)
        if isinstance(found, LaneRun) and isinstance(found.request, WRITES):
            self._set_in_flight(found, in_flight=True)
        return found

    def _admit(self, lane: LaneRun) -> bool:
        """Whether the window of image sets in flight has room; a lane that is in flight already may continue."""
        if not isinstance(lane.request, WRITES) or lane.number in self._in_flight:
            return True
        return len(self._in_flight) < self._window.size

    def _withdraw(self) -> None:
        """Stop: end the lanes with nothing under way, and send no request again."""
        fatal = self._fatal is not None
        for lane in self._scheduler.drop(lambda lane: fatal or isinstance(lane.request, WRITES) or not lane.in_flight):
            self._end(lane, lane.withdraw(self._clock.epoch()))
        for denied in self._denials.take():
            self._open_lanes += 1
            self._end(denied.lane, denied.lane.withdraw(self._clock.epoch(), denied=True))

    def _end(self, lane: LaneRun, event: Event | None) -> None:
        if event is not None:
            self._commit.note(event)
        self._left(lane)

    # sending requests

    async def _worker(self, lanes: MemoryObjectReceiveStream[LaneRun], free: anyio.Semaphore) -> None:
        sent = sent_requests()
        async for lane in lanes:
            found: LaneRun | None = lane
            while found is not None:
                await self._perform(found, sent)
                found = self._next_ready()
            self._busy -= 1
            free.release()
            self._wake()

    def _next_ready(self) -> LaneRun | None:
        """A lane whose request the same worker may send now, which saves two task switches.

        None if no lane is due, while stopping, or if lanes must first be read from the plan, by the dispatcher.
        """
        if self._stopping:
            return None
        for _ in range(_OPENED_AT_ONCE):
            if not self._room:
                break
            if (lane := self._lanes.next_ready()) is not None:
                self._open(lane)
            elif self._lanes.ended:
                break
            else:
                return None
        found = self._take()
        return found if isinstance(found, LaneRun) else None

    async def _perform(self, lane: LaneRun, sent_by_task: list[SentRequest]) -> None:
        request = lane.request
        if request is None:
            raise LookupError("a lane without a request was dispatched")
        if isinstance(request, WRITES) and (intent := lane.begin(self._clock.epoch())):
            await self._commit.write(intent)
        sent = self._clock.monotonic()
        lane.mark_sent(sent)
        self._asked[isinstance(request, WRITES)][lane.number] = sent
        if isinstance(request, WRITES):
            self._time_left.sent(lane.number, sent)
        try:
            with _log.bound(**lane.logged()):
                reply = await self._ask(request, quota := lane.quota or request.operation)
                if isinstance(reply, ImageSet) and self._second_process.is_news(reply):
                    await self._look_for_second_process(lane, reply)
        finally:
            self._asked[isinstance(request, WRITES)].pop(lane.number, None)
            self._answered_at[isinstance(request, WRITES)] = self._clock.monotonic()
            self._take_requests(lane, sent_by_task, now=isinstance(request, WRITES))
        # a received answer is written in any case
        now = self._clock.monotonic()
        if (
            isinstance(reply, Refused)
            and reply.kind is Refusal.ACCESS_DENIED
            and not isinstance(request, (GetDatastore, *OF_STUDY))
        ):
            self.pacers[quota].answered(now, sent)
            self._retries.answered()
            self._set_aside(request.operation, lane, reply)
            return
        lane.absorb(reply, now=now, epoch=self._clock.epoch())
        if lane.to_split is not None:
            with anyio.CancelScope(shield=True):
                await self._split(lane, lane.to_split)
        if lane.siblings_wanted is not None:
            with anyio.CancelScope(shield=True):
                lane.know_siblings(await run_blocking(self._history.image_sets_of, lane.siblings_wanted.call))
        self._pace(quota, lane, reply, sent, now)
        self._follow(lane, now)
        if not isinstance(reply, Refused | Lost):
            self._denied_alone(self._denials.allowed(request.operation))

    async def _look_for_second_process(self, lane: LaneRun, found: ImageSet) -> None:
        """Compare the documents of an image set that others have changed. An unreadable one shows nothing."""
        calls, documents = lane.unsent(found), {}
        if not calls or not self._second_process.wants(found):
            return
        for version in versions_to_read(found, calls):
            self.counters.reads += 1
            read = await self._client.get_metadata(found.image_set_id, version)
            if not isinstance(read, Metadata):
                return
            documents[version] = read.document
        self._fatal = self._fatal or self._second_process.compare(found, calls, documents)

    def _take_requests(self, lane: LaneRun, sent: list[SentRequest], *, now: bool) -> None:
        """Record the requests that were sent for the lane's call, not later than the event that they cause.

        If not ``now``, together with the next event of any call, because reads would need a commit each.
        """
        if lane.call is not None:
            at, call = self._clock.epoch(), lane.call.call
            self._requests += [
                RequestRecord(at=at, call=call, operation=one.operation, request_id=one.request_id, result=one.result)
                for one in sent
            ]
        sent.clear()
        if now or len(self._requests) >= _REQUESTS_AT_ONCE:
            self._note_requests()

    def _note_requests(self) -> None:
        requests, self._requests = self._requests, []
        for request in requests:
            self._commit.note(request)

    def _set_aside(self, operation: Operation, lane: LaneRun, refused: Refused) -> None:
        """Keep a lane that was denied access until it is clear whether all are denied; it is not in flight."""
        self._open_lanes -= 1
        self._set_in_flight(lane, in_flight=False)
        self._note_wait(lane, None)
        if lane.call is None:
            raise LookupError("a lane without a call was denied access")
        if self._denials.set_aside(operation, lane.call.image_set_id, AccessDenial(lane, refused)):
            self._fatal = self._fatal or _systemic(refused)

    def _denied_alone(self, denials: list[AccessDenial]) -> None:
        """Only these image sets are denied: their calls fail."""
        for lane, refused in denials:
            self._open_lanes += 1
            now = self._clock.monotonic()
            lane.absorb(refused, now=now, epoch=self._clock.epoch())
            if lane.siblings_wanted is not None:
                lane.know_siblings(())  # a search finds them
            self._follow(lane, now)

    async def _judge_denials(self) -> None:
        """At the end of the run: decide whether all access is denied, or only access to these image sets."""
        store = await self._ask_store()
        if isinstance(store, Refused) and store.kind is Refusal.ACCESS_DENIED:
            self._fatal = self._fatal or _systemic(store)
        elif (denied := self._denials.of_all()) is not None:
            self._fatal = self._fatal or _systemic(denied.refused)
        else:
            self._denied_alone(self._denials.take())

    async def _split(self, lane: LaneRun, call: PlannedCall) -> None:
        """Read the edits of a refused call and split it."""
        edits = await run_blocking(self._history.edits_of, call.call)
        lane.split(edits, now=self._clock.monotonic(), epoch=self._clock.epoch())
        self.counters.calls += 1

    async def _ask(self, request: LaneRequest, quota: Operation) -> Reply:
        if isinstance(request, Delete):
            return await self._delete(request)
        if isinstance(request, WRITES):
            self.counters.requests += 1
        else:
            self.counters.reads += 1
        match request:
            case Update():
                reply: Reply = await self._client.update(request.update)
            case Copy():
                reply = await self._client.copy(request.copy)
            case GetDatastore():
                reply = await self._ask_store()
            case GetImageSet() if quota is Operation.VERSIONS:
                reply = await self._poll_by_list(request)
            case GetImageSet() | PollSibling():
                reply = await self._client.get_image_set(request.image_set_id, request.version)
            case Search() | SearchStudy():
                reply = await self._client.search(request.criteria, next_token=request.next_token)
            case GetMetadata() | ReadStudy():
                reply = await self._client.get_metadata(request.image_set_id, request.version)
        return reply

    async def _delete(self, request: Delete) -> Reply:
        """Poll both image sets, and delete if that is safe. The two polls hardly count against the quota of polls."""
        for image_set_id in (request.promoted, request.image_set_id):
            self.counters.reads += 1
            found = await self._client.get_image_set(image_set_id)
            if not isinstance(found, ImageSet) or unsafe(request, found):
                return found
        self.counters.requests += 1
        return await self._client.delete(request.image_set_id)

    async def _poll_by_list(self, request: GetImageSet) -> Reply:
        """Poll by ListImageSetVersions; by GetImageSet if the version is deleted or failed, or after a refusal."""
        found = await self._client.list_versions(request.image_set_id, limit=2)
        if isinstance(found, Lost) or (isinstance(found, Refused) and found.throttled):
            return found
        newest = newest_of(found) if isinstance(found, Page) else None
        if newest is not None and newest.state is not ImageSetState.DELETED and not newest.failed:
            return newest
        if newest is None and not (isinstance(found, Refused) and found.kind is Refusal.NOT_FOUND):
            self._scheduler.list_no_more()
        self.counters.reads += 1
        return await self._client.get_image_set(request.image_set_id)

    async def _ask_store(self) -> Reply:
        """GetDatastore, cached: if many image sets are gone, one answer serves all."""
        now = self._clock.monotonic()
        if self._store is not None and now - self._store[0] < _STORE_S:
            return self._store[1]
        found = await self._client.get_datastore()
        if isinstance(found, Datastore) and found.status == "ACTIVE":
            self._store = now, found
        return found

    def _pace(self, operation: Operation, lane: LaneRun, reply: Reply, sent: float, now: float) -> None:
        paced = self.pacers[operation]
        self.counters.faults += isinstance(reply, Lost) and lane.quota_hit is None
        if isinstance(reply, Accepted | Copied | Deleting):
            self._window.accepted()
        self._foreign.note(operation, reply, now)
        if isinstance(reply, Lost):
            self._lost(reply, now)
        else:
            self._retries.answered()
        if lane.quota_hit is None:
            paced.answered(now, sent)
            return
        self.counters.throttled += 1
        self.counters.updates_throttled += operation is Operation.UPDATE
        if lane.quota_hit.kind is Refusal.TOO_MANY:
            paced.answered(now, sent)  # the request rate itself was not refused
            self._window.refused(now, sent, len(self._in_flight) - 1)
        else:
            paced.throttled(now, sent, lane.quota_hit.retry_after_s)

    def _lost(self, reply: Lost, now: float) -> None:
        """Stop the run if the service has been silent for too long, or if something else answers in its place."""
        self._retries.lost(now)
        limit = self._options.retry_for_s
        if self._retries.silent_s(now) >= limit:
            self._fatal = self._fatal or _unanswered(f"the service has not answered for {limit:,.0f} s", reply)
        elif (last := self._foreign.lasting(now, limit)) is not None:
            self._fatal = self._fatal or _unanswered("the service itself does not answer", last)

    def _note_pace(self) -> None:
        """Record the assumed quota in the ledger: after a change, and every 60 s."""
        at, quota = self._clock.epoch(), self.pacers[Operation.UPDATE].rate.per_second
        since = at - self._noted.at
        changed = abs(quota - self._noted.quota) > _PACE_CHANGE * self._noted.quota
        if since >= _PACE_S or (changed and since >= _PACE_AT_MOST_S):
            self._noted = Pace(at, quota)
            self._commit.note(self._noted)

    def _follow(self, lane: LaneRun, now: float) -> None:
        """Write the lane's rows to the ledger, and schedule its next request or close it."""
        events = lane.take_events()
        if events:
            self._note_requests()
        for record in events:
            self._commit.note(record)
            if isinstance(record, Part):
                self._history.add(record)
            elif isinstance(record, Event) and record.state.completed:
                self.counters.completed(record.state, lane.edits[record.call], now)
                self._errors.add(outcome_of(record.state), lane.edits[record.call])
                self._time_left.completed(lane.number, now)
                self._note_pace()
        if lane.halted is not None:
            self._fatal = self._fatal or _systemic(lane.halted)
        self._set_in_flight(lane, in_flight=lane.in_flight)
        self._note_wait(lane, lane.waits_for)
        if lane.request is None:
            self._left(lane)
        else:
            self._scheduler.put(lane, self.completion_times.first_poll())
        if (why := self._errors.spent) and self.counters.unprocessed:
            if self._options.halt is Halt.NOW:
                raise _too_many_errors(why)
            self.stop.draining = True

    def _left(self, lane: LaneRun) -> None:
        self._open_lanes -= 1
        self._log.closes(lane.edits)
        self._runs.pop(lane.number, None)
        self._set_in_flight(lane, in_flight=False)
        self._note_wait(lane, None)
        self.counters.unresolved += lane.unresolved

    def _set_in_flight(self, lane: LaneRun, *, in_flight: bool) -> None:
        (self._in_flight.add if in_flight else self._in_flight.discard)(lane.number)
        if in_flight:
            self._idle.discard(lane.number)
        self.counters.in_flight = len(self._in_flight)

    def _note_wait(self, lane: LaneRun, wait: LockWait | None) -> None:
        """Note the unlock that a lane waits for; None: it waits for none."""
        (self._idle.discard if wait is None or lane.in_flight else self._idle.add)(lane.number)
        if wait is None:
            self._context.waiting.pop(lane.number, None)
        else:
            self._context.waiting[lane.number] = wait

    def _wake(self) -> None:
        self._news.set()


def _unanswered(problem: str, last: Lost) -> EndpointError:
    return not_reached(problem, last, then="Once it answers, continue with: bulkedit resume RUN")


def _too_many_errors(why: str) -> BudgetSpentError:
    return BudgetSpentError(
        f"stopped: {why}.",
        likely="The list may be wrong as a whole. The reason for each edit: bulkedit report RUN",
        hint="To continue with a new error budget: bulkedit resume RUN",
    )


def _systemic(refused: Refused) -> BulkeditError:
    """The error for an answer that stops the whole run."""
    if refused.kind is Refusal.NOT_FOUND:
        return DatastoreError(
            f"the data store is gone ({refused.code}).",
            likely="It was deleted, or is being deleted.",
            hint="If it is restored, continue with: bulkedit resume RUN",
        )
    denied = AccessError(
        f"AWS denied access ({refused.code}).",
        likely="The role lacks medical-imaging:UpdateImageSetMetadata or medical-imaging:GetImageSet; or, for a plan "
        "made with `via_copy`, CopyImageSet, DeleteImageSet, SearchImageSets or GetImageSetMetadata.",
        hint="Add the permission, then continue with: bulkedit resume RUN",
    )
    return systemic_error(refused, denied=denied, in_run=True) or denied
