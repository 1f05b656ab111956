"""The service in short: image sets with versions, one update under way at a time, documents of a few values.

All of it is immutable: an update makes a new `Store`. Where the documentation is silent there is a switch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bulkedit.client.responses import Accepted, Datastore, ImageSet, ImageSetState, Metadata, Refusal, Refused

if TYPE_CHECKING:
    from bulkedit.client.contract import UpdateRequest

FIRST, ANOTHER = -1, -2  # makers of versions that are not ours; a version of ours has the number of its call
POISON: Final = "POISON"  # a value that this service refuses
UPDATED, FAILED = "UPDATED", "UPDATE_FAILED"
BY_REQUEST, BY_SERVICE = "INVALID_REQUEST: refused", "INTERNAL_ERROR: failed"

Path = tuple[str, ...]
Document = frozenset[tuple[Path, str]]  # path of an attribute, and its value


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What the documentation leaves open."""

    failed: str = "consumed"  # whether a failed update uses a version up: consumed, kept
    stale: str = "stale"  # what a version that is not the latest gets (`Refusal`): stale, conflict
    checks: str = "async"  # a request that cannot be: accepted, and fails; or 400 at once: version-first, content-first
    removal: str = "exact"  # the value that a removal must name: exact, empty, any


class Version(NamedTuple):
    """One version; a failed one has the document of the version before."""

    document: Document
    maker: int
    failed: str | None = None  # why
    reused: frozenset[int] = frozenset()  # calls whose failed updates had this number before


class Pending(NamedTuple):
    """An update under way."""

    document: Document
    maker: int
    fails: str | None


class Stored(NamedTuple):
    """An image set."""

    versions: tuple[Version, ...]
    pending: Pending | None = None
    failures: tuple[tuple[int, str], ...] = ()  # updates that failed on the latest version and left none: maker, why

    @property
    def number(self) -> int:
        return len(self.versions) + (self.pending is not None)


Store = tuple[Stored, ...]  # by the number of the image set


@cache
def changes(updatable: str | None, removable: str | None) -> tuple[Document, Document]:
    """What a request sets and what it removes, with the values that it names."""
    return frozenset(_flat(json.loads(updatable or "{}"))), frozenset(_flat(json.loads(removable or "{}")))


def _flat(document: dict[str, Any], path: Path = ()) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for key, inner in document.items():
        if key == "DICOM":
            found += [((*path, key, name), value if isinstance(value, str) else "") for name, value in inner.items()]
        elif isinstance(inner, dict):
            found += _flat(inner, (*path, key))
    return found


@cache
def as_json(document: Document) -> Metadata:
    """The metadata document."""
    whole: dict[str, Any] = {}
    for path, value in sorted(document):
        node = whole
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return Metadata(whole)


@cache
def edited(document: Document, updatable: str | None, removable: str | None, removal: str) -> Document | None:
    """The document after a request; None if the request cannot be carried out on it."""
    sets, removals = changes(updatable, removable)
    stored = dict(document)
    for path, value in removals:
        wanted = {"exact": stored.get(path), "empty": ""}.get(removal, value)
        if path not in stored or value != wanted:
            return None
    if any(value == POISON for _, value in sets):
        return None
    gone, new = {path for path, _ in removals}, dict(sets)
    return frozenset({path: value for path, value in {**stored, **new}.items() if path not in gone}.items())


def update(
    store: Store, request: UpdateRequest, place: int, maker: int, switches: Switches, *, doom: str | None = None
) -> tuple[Accepted | Refused, Store]:
    """UpdateImageSetMetadata; ``doom``: accepted, it fails for this reason."""
    targets = range(len(store)) if request.include_study else [place]
    found = store[place]
    documents = [_after(store[target], request, switches) for target in targets]
    invalid = None in documents and (switches.checks != "async" or request.revert_to is not None)
    if invalid and switches.checks == "content-first":
        return Refused(Refusal.INVALID, "ValidationException"), store
    if any(store[target].pending for target in targets):
        return Refused(Refusal.CONFLICT, "ConflictException"), store
    if request.expected_version != found.number:
        return Refused(Refusal(switches.stale), "stale"), store
    if invalid:
        return Refused(Refusal.INVALID, "ValidationException"), store
    # what fails by its request once does so again
    again = (maker, BY_REQUEST) in found.failures
    fails = BY_REQUEST if again or None in documents else doom
    after = list(store)
    for target, document in zip(targets, documents, strict=True):
        old = after[target]
        new = old.versions[-1].document if document is None or fails else document
        after[target] = old._replace(pending=Pending(new, maker, fails))
    return Accepted(found.number + 1), tuple(after)


def _after(found: Stored, request: UpdateRequest, switches: Switches) -> Document | None:
    if request.revert_to is None:
        return edited(found.versions[-1].document, request.updatable, request.removable, switches.removal)
    there = request.revert_to < found.number and not found.versions[request.revert_to - 1].failed
    return found.versions[request.revert_to - 1].document if there else None


def complete(store: Store, place: int, switches: Switches) -> Store:
    """The update under way ends."""
    found = store[place]
    pending = found.pending
    if pending is None:
        raise LookupError("nothing is under way")
    if pending.fails and switches.failed == "kept":
        after = found._replace(pending=None, failures=(*found.failures, (pending.maker, pending.fails)))
    else:
        after = _grown(found, Version(pending.document, pending.maker, pending.fails))
    return _with(store, place, after)


def write_as_another(store: Store, place: int, sets: Document) -> Store:
    """Another writer makes a version."""
    found = store[place]
    new = frozenset({**dict(found.versions[-1].document), **dict(sets)}.items())
    return _with(store, place, _grown(found, Version(new, ANOTHER)))


def _grown(found: Stored, new: Version) -> Stored:
    reused = frozenset(maker for maker, _ in found.failures)
    return Stored((*found.versions, new._replace(reused=reused)))


def _with(store: Store, place: int, new: Stored) -> Store:
    return (*store[:place], new, *store[place + 1 :])


def look(store: Store, place: int, name: str, version: int | None, *, lags: bool = False) -> ImageSet | Refused:
    """GetImageSet; ``lags``: it shows what was there before the last change."""
    found = store[place]
    if lags:
        before = Stored(found.versions) if found.pending or found.failures else Stored(found.versions[:-1])
        found = before._replace(failures=found.failures if found.pending else found.failures[:-1])
    number = version or found.number
    if number > found.number:
        return Refused(Refusal.NOT_FOUND, "ResourceNotFoundException")
    under_way = number > len(found.versions)
    failures = found.failures if number == len(found.versions) else ()
    why = None if under_way else failures[-1][1] if failures else found.versions[number - 1].failed
    return ImageSet(
        image_set_id=name,
        version=number,
        state=ImageSetState.LOCKED if under_way else ImageSetState.ACTIVE,
        status="UPDATING" if under_way else FAILED if why else UPDATED,
        full_message=why or "",
        updated_at=10.0 * number + len(failures),
    )


def read(store: Store, place: int, version: int) -> Metadata | Refused:
    """GetImageSetMetadata."""
    versions = store[place].versions
    if version > len(versions):
        return Refused(Refusal.NOT_FOUND, "ResourceNotFoundException")
    return as_json(versions[version - 1].document)


STORE: Final = Datastore("d", "ACTIVE")
