"""Where everything stands, and what may come next.

A choice is a word or a few; a script is a list of choices, from the state in which a run has not begun:

complete P: the update of image set P ends. resume new, failed or all: a process begins. answer: the service answers the
lane's request as its rules say. throttle: it refuses it for the quota. lose: the answer to an update is lost, its
request is on its way. arrive N: the request number N of those is carried out. conflict, unknown: refusals. fail W,
arrive N W: the update is accepted and will fail. lag: a look shows what was there before the last change. write P W:
another writer makes a version. drain: the run is to stop, and withdraw: it has. kill N: it is killed; of what was noted
since the ledger was last written, N groups are durable. kill sending: it is killed with a request on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bulkedit.client.responses import Accepted, CallState
from bulkedit.runs.ledger import Event, Part
from bulkedit.runs.requests import GetImageSet, Update
from tests.runs.model import service
from tests.runs.model.copies import fingerprint
from tests.runs.model.service import BY_REQUEST, BY_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.client.contract import UpdateRequest
    from bulkedit.runs.lane import LaneRun
    from tests.runs.model.case import Case, Records
    from tests.runs.model.service import Store, Stored

DOOMS: Final = {"by-request": BY_REQUEST, "by-service": BY_SERVICE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How much may go wrong."""

    faults: int = 0
    writes: int = 0  # of another writer
    stops: int = 0  # kills and drains
    again: int = 0  # resumes that send again what did not end well
    troubles: int = 99  # of all these


class State(NamedTuple):
    """Where everything stands. The lane is never changed in place: a choice works on a clone."""

    lane: LaneRun | None  # None: no process runs
    store: Store
    ledger: Records = ()  # durable
    tail: tuple[Records, ...] = ()  # noted and not durable yet, in the groups in which it will be
    late: tuple[tuple[UpdateRequest, int], ...] = ()  # requests on their way, and their calls
    draining: bool = False
    faults: int = 0
    writes: int = 0
    kills: int = 0
    drains: int = 0
    again: int = 0


def key_of(state: State) -> int:
    """What tells a state from another."""
    lane = None if state.lane is None else fingerprint(state.lane)
    return hash((lane, *state[1:]))


def choices(case: Case, state: State, scope: Scope) -> Iterator[str]:
    """All that may happen next."""
    troubles = _allowed(state, scope)
    yield from (f"complete {place}" for place, stored in enumerate(state.store) if stored.pending)
    if state.lane is None:
        yield from _beginnings(case, state, troubles)
    elif withdraws(state):
        yield "withdraw"
    else:
        yield from _answers(case, state, state.lane.request, troubles)
    if state.lane is not None and "stops" in troubles:
        yield from (f"kill {count}" for count in range(len(state.tail) + 1))
        if not state.draining:
            yield "drain"
    for number, (request, _) in enumerate(state.late):
        yield f"arrive {number}"
        if "faults" in troubles:
            yield from (f"arrive {number} {why}" for why in _dooms(case, state, request))
    if "writes" in troubles:
        yield from _writes(case, state)


def _allowed(state: State, scope: Scope) -> set[str]:
    """What may go wrong yet."""
    had = {
        "faults": state.faults,
        "writes": state.writes,
        "stops": state.kills + state.drains,
        "again": state.again,
    }
    if sum(had.values()) >= scope.troubles:
        return set()
    return {trouble for trouble, times in had.items() if times < getattr(scope, trouble)}


def _beginnings(case: Case, state: State, troubles: set[str]) -> Iterator[str]:
    if unfinished(case, state):
        yield "resume new"
    if "again" in troubles and state.ledger:
        yield from ("resume failed", "resume all")


def _answers(case: Case, state: State, request: Any, troubles: set[str]) -> Iterator[str]:
    """What may come of an request."""
    yield "answer"
    sends = isinstance(request, Update)
    if sends:
        yield "throttle"
    if sends and "stops" in troubles:
        yield "kill sending"
    if "faults" not in troubles:
        return
    if sends:
        yield from ("lose", "conflict", "unknown")
        yield from (f"fail {why}" for why in _dooms(case, state, request.update))
    elif isinstance(request, GetImageSet) and request.version is None:
        stored = state.store[case.places[request.image_set_id]]
        if (stored.number > 1 or stored.failures) and not _lag_cannot_be_told(
            case, state, stored, request.image_set_id
        ):
            yield "lag"


def _lag_cannot_be_told(case: Case, state: State, stored: Stored, image_set_id: str) -> bool:
    """Known limits: lagging looks that nothing tells from what another writer has done.

    A failure that left no version, seen by a look that does not see the update under way yet; the first look at an
    image set that a call of the whole study has changed by the way; and both looks, apart, after an invalid request.
    """
    books = state.lane._current_call if state.lane else None
    after_invalid = books is not None and books.invalid is not None and books.polls > 0
    if after_invalid or (stored.pending and stored.failures):
        return True
    maker = stored.pending.maker if stored.pending else stored.versions[-1].maker
    return maker in case.calls and case.calls[maker].image_set_id != image_set_id


def _writes(case: Case, state: State) -> Iterator[str]:
    free = [place for place, stored in enumerate(state.store) if not stored.pending]
    for word in case.writes:
        if word not in case.wide:
            yield from (f"write {place} {word}" for place in free)
        elif len(free) == len(state.store):
            yield f"write all {word}"


def fair(case: Case, state: State) -> str | None:
    """What happens next if all goes well; None at the end."""
    under_way = (place for place, stored in enumerate(state.store) if stored.pending)
    if (place := next(under_way, None)) is not None:
        return f"complete {place}"
    if state.lane is None:
        return "resume new" if unfinished(case, state) else None
    return "withdraw" if withdraws(state) else "answer"


def _dooms(case: Case, state: State, request: UpdateRequest) -> list[str]:
    """How an update can fail, if it is accepted."""
    reply, _ = service.update(state.store, request, case.places[request.image_set_id], 0, case.switches)
    return list(DOOMS) if isinstance(reply, Accepted) else []


def withdraws(state: State) -> bool:
    """Whether a run that is stopped ends here (`bulkedit.runs.engine.Engine._withdraw`)."""
    lane = state.lane
    return lane is not None and state.draining and (isinstance(lane.request, Update) or not lane.in_flight)


def states(state: State) -> dict[int, Event]:
    """The last event of each call, also of those that are not durable."""
    last: dict[int, Event] = {}
    for group in (state.ledger, *state.tail):
        for record in group:
            if isinstance(record, Event):
                last[record.call] = record
    return last


def unfinished(case: Case, state: State) -> bool:
    """Whether calls, or parts of calls, are left."""
    last = states(state)
    wanted = {call.call for call in case.lane.calls}
    for group in (state.ledger, *state.tail):
        wanted.update(record.call for record in group if isinstance(record, Part))
    return any(
        call not in last or not (last[call].state.completed or last[call].state is CallState.SPLIT) for call in wanted
    )
