"""Breadth first over all states of a case, each once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.runs.model import state as states
from tests.runs.model import steps
from tests.runs.model.invariants import broken, result
from tests.runs.model.state import Scope, State

if TYPE_CHECKING:
    from tests.runs.model.case import Case


@dataclass(slots=True)
class Found:
    """What an exploration has seen."""

    states: int = 0
    steps: int = 0
    depth: int = 0
    seconds: float = 0.0
    results: dict[Any, list[tuple[int, int]]] = field(default_factory=dict)  # result -> faults and kills it took
    scripts: dict[Any, int] = field(default_factory=dict)  # (result, faults, kills) -> a state that ends so
    wrong: list[tuple[str, list[str]]] = field(default_factory=list)  # what, and the shortest script to it
    parents: list[tuple[int, str]] = field(default_factory=list)

    def add(self, why: str, script: list[str]) -> None:
        """Something does not hold; of each kind the shortest script is kept."""
        if all(why != known for known, _ in self.wrong):
            self.wrong.append((why, script))

    def line(self) -> str:
        """In figures."""
        return (
            f"{self.states:,} states, {self.steps:,} steps, depth {self.depth}, {self.seconds:.1f} s, "
            f"{len(self.results):,} ends"
        )

    def told(self) -> str:
        """What does not hold, with scripts."""
        return "\n".join(f"{why}\n    {script}" for why, script in self.wrong)

    def script(self, number: int) -> list[str]:
        """The choices that lead to a state."""
        found: list[str] = []
        while number:
            number, choice = self.parents[number]
            found.append(choice)
        return found[::-1]


def explore(case: Case, scope: Scope, *, at_most: int = 10**7, wrong_at_most: int = 5) -> Found:
    """Visit every state that a case can come to in a scope, and hold it to the invariants."""
    began = time.perf_counter()
    found = Found()
    first = State(lane=None, store=case.first)
    known = {states.key_of(first): 0}
    found.parents.append((0, ""))
    layer = [(0, first)]
    goes_on: list[int | None] = [None]  # by the number of a state, the next one if all goes well
    while layer and found.wrong.__len__() < wrong_at_most and len(known) < at_most:
        found.depth += 1
        following: list[tuple[int, State]] = []
        for number, state in layer:
            if why := broken(case, state):
                found.add(why, found.script(number))
                continue
            _note_end(case, state, number, found)
            fair = states.fair(case, state)
            for choice in states.choices(case, state, scope):
                found.steps += 1
                try:
                    after = steps.step(case, state, choice)
                except Exception as error:  # noqa: BLE001 - a defect of the lane is what is looked for
                    found.add(f"{type(error).__name__}: {error}", [*found.script(number), choice])
                    continue
                key = states.key_of(after)
                if key not in known:
                    known[key] = len(found.parents)
                    found.parents.append((number, choice))
                    goes_on.append(None)
                    following.append((known[key], after))
                if choice == fair:
                    goes_on[number] = known[key]
        layer = following
    found.states = len(known)
    if not found.wrong and not layer:
        _find_dead_ends(goes_on, found)
    found.seconds = time.perf_counter() - began
    return found


def _find_dead_ends(goes_on: list[int | None], found: Found) -> None:
    """States from which a run does not end, though all goes well from there."""
    ends: set[int] = set()
    for number in range(len(goes_on)):
        passed, at = dict.fromkeys([number]), goes_on[number]
        while at is not None and at not in ends and at not in passed:
            passed[at] = None
            at = goes_on[at]
        if at is not None and at not in ends:
            found.add("a run does not end from here, though all goes well", found.script(number))
            return
        ends.update(passed)


def _note_end(case: Case, state: State, number: int, found: Found) -> None:
    if state.lane is not None or state.again or states.unfinished(case, state):
        return
    if any(stored.pending for stored in state.store):
        return
    key = result(state)
    took = state.faults, state.kills
    told = found.results.setdefault(key, [])
    if all(faults > took[0] or kills > took[1] for faults, kills in told):
        told.append(took)
        found.scripts[key, took] = number


def replay(case: Case, script: list[str]) -> State:
    """The state after a script, and after all goes well from there; AssertionError if an invariant does not hold."""
    state = State(lane=None, store=case.first)
    for choice in script:
        state = steps.step(case, state, choice)
        why = broken(case, state)
        assert not why, why
    seen: set[int] = set()
    while (fair := states.fair(case, state)) is not None:
        state = steps.step(case, state, fair)
        why = broken(case, state)
        assert not why, why
        assert states.key_of(state) not in seen, "the run does not end"
        seen.add(states.key_of(state))
    return state


def only_with_stops(case: Case, scope: Scope, stopped: Found) -> list[tuple[str, list[str]]]:
    """Ends that a run with stops comes to, and that no run without stops does.

    A kill loses at most the answers to one update, a drain none. So whatever a run with f faults and k kills comes to,
    with all its outcomes, versions, counted conflicts, and who made which version, a run with f + k faults must come
    to as well.
    """
    kills = scope.stops
    plain = explore(case, Scope(faults=scope.faults + kills, writes=scope.writes, troubles=scope.troubles))
    stopped.steps += plain.steps
    stopped.states += plain.states
    stopped.seconds += plain.seconds
    found = []
    for key, all_took in stopped.results.items():
        least = min((faults for faults, _ in plain.results.get(key, ())), default=None)
        for took in all_took:
            if least is None or least > sum(took):
                why = f"no run without stops ends so (faults, kills: {took}; without stops: {least}): {told(key)}"
                found.append((why, stopped.script(stopped.scripts[key, took])))
    return sorted(found, key=lambda one: len(one[1]))


def told(key: Any) -> str:
    """A result in words."""
    outcomes, stores = key
    calls = ", ".join(f"{state}, version {version}, {n} conflicts" for state, version, n in outcomes)
    makers = [[f"{maker}{'!' if failed else ''}" for _, maker, failed in versions] for versions in stores]
    return f"{calls}; made by {makers}"


def checked(case: Case, scope: Scope) -> Found:
    """Explore, and hold the ends of runs with stops to those of runs without."""
    found = explore(case, scope)
    if not found.wrong:
        found.wrong = only_with_stops(case, scope, found)
    return found
