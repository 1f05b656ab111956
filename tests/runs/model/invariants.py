"""What must hold in every state."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bulkedit.client.responses import CallState
from bulkedit.runs.lane import EARLIER_CONFLICT
from bulkedit.runs.ledger import Event
from tests.runs.model import service
from tests.runs.model.state import states

if TYPE_CHECKING:
    from bulkedit.plans import PlannedCall
    from tests.runs.model.case import Case
    from tests.runs.model.service import Document, Stored
    from tests.runs.model.state import State

_ABSENT = object()


def broken(case: Case, state: State) -> str | None:
    """What does not hold of what the ledger says and what the image sets are; None if all does."""
    last = states(state)
    for call, event in last.items():
        found = case.calls[call]
        if (why := _twice(case, state, found)) or (event.state.completed and (why := _untrue(case, state, event))):
            return f"call {call} ({event.state}, version {event.version}, reason {event.reason}): {why}"
    return _out_of_order(case, last)


def _out_of_order(case: Case, last: dict[int, Event]) -> str | None:
    """Calls of one place that were applied in another order than that of the list."""
    applied = [(call, last[call]) for call in sorted(last) if last[call].state is CallState.APPLIED]
    for (call, event), (later, after) in pairwise(applied):
        reverts = case.calls[later].revert_to or case.calls[call].revert_to
        one_place = reverts or _paths(case.calls[call]) & _paths(case.calls[later])
        named = case.calls[call].image_set_id == case.calls[later].image_set_id
        if named and one_place and event.version and after.version and event.version > after.version:
            return f"call {call} made version {event.version} after call {later} made version {after.version}"
    return None


def _paths(call: PlannedCall) -> set[service.Path]:
    return {path for document in service.changes(call.updatable, call.removable) for path, _ in document}


def _places(case: Case, call: PlannedCall) -> list[int]:
    """The image sets that a call changes, the named one first."""
    named = case.places[call.image_set_id]
    return [named, *(place for place in case.places.values() if call.study_wide and place != named)]


def _ours(stored: Stored, call: int) -> list[int]:
    """The versions that a call has made, without failed ones."""
    return [number for number, one in enumerate(stored.versions, 1) if one.maker == call and not one.failed]


def _twice(case: Case, state: State, call: PlannedCall) -> str | None:
    for place in _places(case, call):
        if len(made := _ours(state.store[place], call.call)) > 1:
            return f"carried out {len(made)} times, as versions {made}"
    return None


def _untrue(case: Case, state: State, event: Event) -> str | None:
    """Why an outcome that was told is not true."""
    call = case.calls[event.call]
    places = _places(case, call)
    made = [(place, number) for place in places for number in _ours(state.store[place], call.call)]
    met = _conflicts(state, call, places)
    if event.conflicts > met * (1 + state.again):  # what is sent again meets the same version again
        return f"{event.conflicts} conflicts counted, and {met} versions of others"
    if event.state in {CallState.APPLIED, CallState.SKIPPED}:
        return _not_applied(state, call, event, places, made)
    if made:
        return f"it was carried out: {made}"
    told = event.state is CallState.CONFLICTED and event.reason != EARLIER_CONFLICT
    return "no other writer was there" if told and not met else None


def _conflicts(state: State, call: PlannedCall, places: list[int]) -> int:
    """How often a call can have met another writer.

    For a row that names a version, each version after it is a conflict, and so is that it is, or was, not there yet.
    """
    strangers = sum(one.maker == service.ANOTHER for place in places for one in state.store[place].versions)
    if call.version is None:
        return strangers
    versions = state.store[places[0]].versions
    beyond = any(one.maker >= 0 and not one.failed for one in versions[call.version :])
    return strangers + (beyond or call.version > 1)


def _not_applied(
    state: State, call: PlannedCall, event: Event, places: list[int], made: list[tuple[int, int]]
) -> str | None:
    """Why a call is not applied that was told to be; or to hold already, if no version is claimed."""
    if event.version is not None:
        ours = (places[0], event.version) in made or _cannot_be_told(state, event, places[0])
        return None if ours else f"its versions are {made}"
    changed = [(place, number) for place, number in made if _changes(state.store[place], number)]
    if changed:
        return f"its version {changed} is claimed by nobody"
    never = [place for place in places if not _held(call, state.store[place])]
    return f"what it asks for never held in {never}" if never else None


def _cannot_be_told(state: State, event: Event, place: int) -> bool:
    """A known limit: of a service that keeps the numbers of failed updates, while none was seen to fail.

    Ours failed and another writer has made a version with the same number before the next look.
    """
    told = [one for group in (state.ledger, *state.tail) for one in group if isinstance(one, Event)]
    before = told[: told.index(event)]
    seen = any(one.version is not None and one.version == one.expected_version for one in before)
    version = state.store[place].versions[(event.version or 0) - 1]
    return not seen and event.call in version.reused


def _changes(stored: Stored, number: int) -> bool:
    return stored.versions[number - 1].document != stored.versions[number - 2].document


def _held(call: PlannedCall, stored: Stored) -> bool:
    """Whether what a call asks for was so in some version."""
    documents = [one.document for one in stored.versions]
    if call.revert_to is not None:
        return documents[call.revert_to - 1] in documents[call.revert_to :]
    return any(_holds(call, document) for document in documents)


def _holds(call: PlannedCall, document: Document) -> bool:
    sets, removals = service.changes(call.updatable, call.removable)
    stored: dict[Any, str] = dict(document)
    return all(stored.get(path) == value for path, value in sets) and not any(path in stored for path, _ in removals)


def outcomes(state: State) -> list[tuple[CallState, int | None, int]]:
    """Of each call: state, version and counted conflicts."""
    last = states(state)
    return [(last[call].state, last[call].version, last[call].conflicts) for call in sorted(last)]


def result(state: State) -> tuple[Any, ...]:
    """What became of all: outcomes, versions, conflicts, and the versions with their makers."""
    makers = tuple(tuple((one.document, one.maker, one.failed) for one in stored.versions) for stored in state.store)
    return tuple(outcomes(state)), makers
