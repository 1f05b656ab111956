"""What a choice does: the real lane is driven as `bulkedit.runs.engine` drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.responses import Lost, Refusal, Refused
from bulkedit.options.running import Strategy
from bulkedit.runs.ledger import Event, Part
from bulkedit.runs.requests import GetDatastore, GetImageSet, GetMetadata, PollSibling, ReadStudy, Update
from tests.runs.model import service
from tests.runs.model.case import plain
from tests.runs.model.copies import clone
from tests.runs.model.state import DOOMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.client.contract import UpdateRequest
    from bulkedit.runs.lane import LaneRun
    from bulkedit.runs.requests import Reply
    from tests.runs.model.case import Case, Record, Records
    from tests.runs.model.state import State


def step(case: Case, state: State, choice: str) -> State:
    """The state after a choice."""
    word, *rest = choice.split()
    return _clean(_STEPS[word](case, state, *rest))


def _clean(state: State) -> State:
    """Without requests that can never be carried out now, because their version is past."""
    if not state.late:
        return state
    alive = tuple(
        sorted((late for late in state.late if late[0].expected_version >= _completed(state, late)), key=repr)
    )
    return state._replace(late=alive)


def _completed(state: State, late: tuple[UpdateRequest, int]) -> int:
    return len(state.store[ord(late[0].image_set_id[0]) - ord("a")].versions)


def _complete(case: Case, state: State, place: str) -> State:
    return state._replace(store=service.complete(state.store, int(place), case.switches))


def _arrive(case: Case, state: State, number: str, why: str = "") -> State:
    request, call = state.late[int(number)]
    place = case.places[request.image_set_id]
    _, store = service.update(state.store, request, place, call, case.switches, doom=DOOMS.get(why))
    late = tuple(one for at, one in enumerate(state.late) if at != int(number))
    return state._replace(store=store, late=late, faults=state.faults + bool(why))


def _write(case: Case, state: State, place: str, word: str) -> State:
    store = state.store
    for written in range(len(store)) if place == "all" else [int(place)]:
        store = service.write_as_another(store, written, case.writes[word])
    return state._replace(store=store, writes=state.writes + 1)


def _kill(_: Case, state: State, groups: str) -> State:
    if groups == "sending":
        state = _sent(state)
        groups = "0"
    kept = tuple(record for group in state.tail[: int(groups)] for record in group)
    return _ended(state._replace(ledger=_noted(state.ledger, kept), tail=(), kills=state.kills + 1))


def _drain(_: Case, state: State) -> State:
    return state._replace(draining=True, drains=state.drains + 1)


def _withdraw(_: Case, state: State) -> State:
    lane = clone(state.lane)
    event = lane.withdraw(0.0)
    return _ended(_flushed(state, event))


def _ended(state: State) -> State:
    return state._replace(lane=None, draining=False)


def _flushed(state: State, *more: Record | None) -> State:
    """All that was noted is durable, and this too."""
    records = tuple(record for group in state.tail for record in group)
    extra = tuple(plain(record) for record in more if record is not None)
    return state._replace(ledger=_noted(state.ledger, (*records, *extra)), tail=())


def _noted(ledger: Records, more: Records) -> Records:
    """With more records; what says the same as the last word of its call is not kept twice."""
    for record in more:
        said = next((one for one in reversed(ledger) if isinstance(one, Event) and one.call == record.call), None)
        if record != said:
            ledger = (*ledger, record)
    return ledger


def _resume(case: Case, state: State, word: str) -> State:
    strategy = Strategy(word)
    events, lane = case.resume(state.ledger, strategy)
    state = state._replace(ledger=_noted(state.ledger, events), again=state.again + (strategy is not Strategy.NEW))
    return state if lane is None else _follow(state, lane)


def _sent(state: State) -> State:
    """The request has left, and is on its way."""
    lane = clone(state.lane)
    call = lane.call.call
    intent = lane.begin(0.0)
    if intent is not None:
        state = _flushed(state, intent)
    return state._replace(lane=lane, late=(*state.late, (lane.request.update, call)))


def _perform(case: Case, state: State, reply_of: Callable[[Any, Any, State], tuple[Reply, State]]) -> State:
    lane = clone(state.lane)
    request = lane.request
    if isinstance(request, Update) and (intent := lane.begin(0.0)):
        state = _flushed(state, intent)
    reply, state = reply_of(lane, request, state)
    lane.absorb(reply, now=0.0, epoch=0.0)
    if lane.to_split is not None:
        records = (*state.ledger, *(record for group in state.tail for record in group))
        lane.split(case.edits_of(records, lane.to_split.call), now=0.0, epoch=0.0)
        case.calls.update((call.call, call) for call in (lane.call, *lane._rest) if call is not None)
    if lane.siblings_wanted is not None:
        lane.know_siblings(case.places)
    return _follow(state, lane)


def _follow(state: State, lane: LaneRun) -> State:
    events = tuple(plain(record) for record in lane.take_events() if isinstance(record, Event | Part))
    if events:
        state = state._replace(tail=(*state.tail, events))
    state = state._replace(lane=lane)
    return _ended(_flushed(state)) if lane.request is None else state


def _answer(case: Case, state: State, *, lags: bool = False, doom: str | None = None) -> State:
    def reply_of(lane: LaneRun, request: Any, state: State) -> tuple[Reply, State]:
        if isinstance(request, GetDatastore):
            return service.STORE, state
        if isinstance(request, Update):
            update = request.update
            assert lane.call is not None
            reply, store = service.update(
                state.store, update, case.places[update.image_set_id], lane.call.call, case.switches, doom=doom
            )
            return reply, state._replace(store=store)
        if isinstance(request, ReadStudy):
            return Refused(Refusal.ACCESS_DENIED, "AccessDeniedException"), state  # the plan names all image sets
        place = case.places[request.image_set_id]
        if isinstance(request, GetImageSet | PollSibling):
            return service.look(state.store, place, request.image_set_id, request.version, lags=lags), state
        assert isinstance(request, GetMetadata)
        return service.read(state.store, place, request.version), state

    return _perform(case, state, reply_of)


def _told(case: Case, state: State, reply: Reply, *, faults: int = 1) -> State:
    return _perform(case, state._replace(faults=state.faults + faults), lambda _lane, _request, state: (reply, state))


def _lose(case: Case, state: State) -> State:
    def reply_of(lane: LaneRun, request: Any, state: State) -> tuple[Reply, State]:
        assert lane.call is not None
        return Lost("timeout"), state._replace(late=(*state.late, (request.update, lane.call.call)))

    return _perform(case, state._replace(faults=state.faults + 1), reply_of)


def _lag(case: Case, state: State) -> State:
    return _answer(case, state._replace(faults=state.faults + 1), lags=True)


def _fail(case: Case, state: State, why: str) -> State:
    return _answer(case, state._replace(faults=state.faults + 1), doom=DOOMS[why])


_STEPS: Final[dict[str, Callable[..., State]]] = {
    "complete": _complete,
    "arrive": _arrive,
    "write": _write,
    "kill": _kill,
    "drain": _drain,
    "withdraw": _withdraw,
    "resume": _resume,
    "answer": _answer,
    "lose": _lose,
    "lag": _lag,
    "fail": _fail,
    "throttle": lambda case, state: _told(case, state, Refused(Refusal.THROTTLED, "ThrottlingException"), faults=0),
    "conflict": lambda case, state: _told(case, state, Refused(Refusal.CONFLICT, "ConflictException")),
    "unknown": lambda case, state: _told(case, state, Refused(Refusal.UNKNOWN, "Strange")),
}
