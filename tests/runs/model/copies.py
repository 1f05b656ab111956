"""Copies of a lane to go on from, and what tells one state of a lane from another.

Both know nothing of the lane but what of it does not decide what comes next: all else is copied, and counts.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from bulkedit.client.pacing import CompletionTimes
from bulkedit.runs.budget import RetryBudget
from bulkedit.runs.options import EngineOptions


@dataclass(slots=True)
class Numbers:
    """Numbers of parts."""

    next: int

    def __call__(self) -> int:
        self.next += 1
        return self.next - 1


_NEUTRAL: Final = {  # times, waits, counters, and what is the same in all states
    *("due", "quota", "quota_hit", "locked_since", "sent_at", "accepted_at", "locked_at", "refused_since"),
    *("began", "told"),
    *("attempts", "throttles", "faults", "polls", "write_retries", "read_retries", "calls_left", "edits", "number"),
    *("_sent", "_now", "_epoch", "rng", "budget", "completion_times", "options", "key", "payload_limit"),
}
_SHARED: Final = (
    str,
    int,
    float,
    bool,
    type(None),
    Enum,
    random.Random,
    bytes,
    EngineOptions,
    CompletionTimes,
    RetryBudget,
)
_RETRIES: Final = {"write_retries", "read_retries"}  # they count, and time what comes next
_atoms: set[type] = set()  # types whose values do not change
_changing: dict[type, str] = {}  # other types, and how they are copied


def _learn(cls: type, value: Any) -> bool:
    """Enter a type that has not been met; whether its values do not change."""
    frozen = is_dataclass(value) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    plain = callable(value) and not isinstance(value, Numbers)
    if isinstance(value, _SHARED) or plain or frozen or cls in {tuple, frozenset}:
        _atoms.add(cls)
        return True
    for kind, classes in (("dict", dict), ("list", (list, deque)), ("set", set)):
        if isinstance(value, classes):
            _changing[cls] = kind
            return False
    _changing[cls] = "object"
    return False


@cache
def _slots(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


@cache
def _decisive(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in _NEUTRAL)


def _is_atom(value: Any) -> bool:
    cls = type(value)
    return cls in _atoms or (cls not in _changing and _learn(cls, value))


def clone(value: Any) -> Any:
    """A copy that shares nothing that can change."""
    if _is_atom(value):
        return value
    cls = type(value)
    kind = _changing[cls]
    if kind == "object":
        return _object(value)
    if kind == "dict":
        new = value.copy()
        for key, inner in value.items():
            if type(inner) not in _atoms:
                new[key] = clone(inner)
        return new
    return cls(map(clone, value)) if kind == "list" else set(value)


def _object(value: Any) -> Any:
    new = object.__new__(type(value))
    if hasattr(value, "__dict__"):
        new.__dict__.update(value.__dict__)
        for name, inner in value.__dict__.items():
            if type(inner) not in _atoms:
                new.__dict__[name] = clone(inner)
        return new
    for name in _slots(value.__class__):
        inner = getattr(value, name)
        setattr(new, name, inner if type(inner) in _atoms else None if name in _RETRIES else clone(inner))
    return new


def fingerprint(value: Any) -> Any:
    """What tells one state of a lane from another: hashable."""
    if _is_atom(value):
        return value
    cls = type(value)
    kind = _changing[cls]
    if kind == "dict":
        return frozenset([(key, fingerprint(inner)) for key, inner in value.items() if inner != 0])
    if kind == "list":
        return tuple([fingerprint(inner) for inner in value])
    if kind == "set":
        return frozenset(value)
    if hasattr(value, "__dict__"):
        return tuple([fingerprint(value.__dict__[name]) for name in _decisive(tuple(value.__dict__))])
    found = [fingerprint(getattr(value, name)) for name in _decisive(_slots(value.__class__))]
    found.append(getattr(value, "refused_since", None) is None)  # if not, the study is polled before the call is sent
    call = getattr(value, "call", None)
    if getattr(value, "invalid", None) is not None or getattr(call, "version", None) is not None:
        found.append(min(value.polls, 2))  # they are counted after an invalid request, and where a row names a version
    return tuple(found)
