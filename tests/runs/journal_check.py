"""What a run has done, judged from the service's side: its journal, its versions and its documents.

The invariant: the versions that our requests have made and the calls that the ledger calls applied are the same, one
for one, and each such version is the one before it with exactly the edits of its call. So nothing is lost, nothing is
done twice, and nothing is said that is not so. It holds at every instant, but for the one version of each call that
is under way, of which the ledger does not know yet.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bulkedit.client.responses import CallState, Outcome, outcome_of
from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.emulator.state.document import parse
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger
from tests.plans.reference import APPLIED, Reference, renamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit.emulator import ServiceProfile
    from bulkedit.emulator.http.server import Server
    from bulkedit.plans import SavedPlan

UPDATE = "UpdateImageSetMetadata"
OURS, SIBLINGS, FAILED, STRANGERS = "ours", "of a study-wide call of ours", "failed", "another writer's"
FAILED_OF_ANOTHER = "failed, another writer's"
_FAILURES = {FAILED, FAILED_OF_ANOTHER}
_BEGUN = {"UPDATING": OURS, "UPDATING_FOR_STUDY_CONSISTENCY": SIBLINGS}


@dataclass(slots=True)
class Sheet:
    """The balance sheet of a run."""

    edits: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of edits
    states: Counter[CallState] = field(default_factory=Counter)  # of calls
    requests: int = 0  # updates that reached the service
    accepted: int = 0
    updated: int = 0  # versions made by our requests
    failed: int = 0  # updates that were accepted and failed
    strangers: int = 0  # versions made by others
    refused: Counter[str] = field(default_factory=Counter)  # by error code
    struck: Counter[str] = field(default_factory=Counter)  # by fault

    def lines(self) -> str:
        """For people."""
        outcomes = " + ".join(f"{self.outcomes[outcome]:,} {outcome}" for outcome in Outcome)
        return "\n".join(
            (
                f"edits      {self.edits:,} planned = {outcomes}",
                f"calls      {', '.join(f'{count:,} {state}' for state, count in self.states.items())}",
                f"requests   {self.requests:,} updates",
                f"accepted   {self.accepted:,} = {self.updated:,} updated + {self.failed:,} failed",
                f"refused    {', '.join(f'{count:,} {code}' for code, count in self.refused.most_common()) or 'none'}",
                f"faults     {', '.join(f'{count:,} {kind}' for kind, count in self.struck.most_common()) or 'none'}",
                f"strangers  {self.strangers:,} versions",
            )
        )


def judge(server: Server, plan: SavedPlan, path: Path) -> Sheet:
    """Hold ledger and service against each other. Raises AssertionError with all that does not agree."""
    sheet, wrong = weigh(server, plan, path)
    assert not wrong, "\n".join(wrong)
    return sheet


def weigh(server: Server, plan: SavedPlan, path: Path, *others: tuple[SavedPlan, Path]) -> tuple[Sheet, list[str]]:
    """The balance sheet of a run, and all in which ledger and service do not agree.

    ``others``: plans and ledgers of earlier runs, which have made versions too.
    """
    server.catch_up()
    books, *earlier = [Books.read(*run) for run in ((plan, path), *others)]
    sheet = Sheet(plan.counts["edits"])
    for call, edits in books.carried.items():
        state = books.state(call)
        sheet.states[state] += 1
        sheet.outcomes[outcome_of(state)] += len(edits)
    assert sum(sheet.outcomes.values()) == sheet.edits
    made = made_by(server, sheet)
    wrong = [*books.wrong, *_untrue_claims(books, made), *_untrue_failures(books, made)]
    return sheet, [*wrong, *_unfounded_versions(server, made, [*earlier, books])]


@dataclass(slots=True)
class Books:
    """What the ledger says: each version is named by its image set and number."""

    carried: dict[int, list[dict[str, Any]]]  # call -> its edits
    rows: dict[int, dict[str, Any]]
    wide: set[int]  # study-wide calls, parts included
    failures: set[tuple[str, int]]  # versions that failed updates of ours have left, as events tell
    doubtful: set[tuple[str, int]]  # versions that lost requests may have made, or failed to make
    claimed: dict[tuple[str, int], int] = field(default_factory=dict)  # versions of applied calls
    open: dict[tuple[str, int], int] = field(default_factory=dict)  # versions that calls under way may make
    unclaimed: dict[tuple[str, int], int] = field(default_factory=dict)  # those after the base of calls that held
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, plan: SavedPlan, path: Path) -> Books:
        """Read them, and note what cannot be whatever the service says."""
        with Ledger.read(path) as ledger:
            return cls._of(plan, ledger)

    @classmethod
    def _of(cls, plan: SavedPlan, ledger: Ledger) -> Books:
        parts = ledger.parts()
        image_set_of = dict(plan.calls().select("call", "image_set_id").collect().iter_rows())
        wide = set(plan.calls().filter("study_wide").select("call").collect().to_series())
        for part in parts:
            image_set_of[part.call] = image_set_of[part.parent]
            wide |= {part.call} if part.parent in wide else set()
        rows = {row["call"]: row for row in ledger_frames.states(ledger).iter_rows(named=True)}
        failures, doubtful = set(), set()
        for event in ledger.events():
            image_set_id = image_set_of[event["call"]]
            if event["version"] is not None and event["state"] != CallState.APPLIED:
                failures.add((image_set_id, event["version"]))
            if event["state"] == CallState.OUTCOME_UNKNOWN:
                doubtful.add((image_set_id, event["expected_version"] + 1))
        books = cls(_edits_by_call(plan, parts), rows, wide, failures, doubtful)
        for call in books.carried:
            books._enter(call, image_set_of[call])
        return books

    def state(self, call: int) -> CallState:
        return CallState(self.rows[call]["state"]) if call in self.rows else CallState.PLANNED

    def _enter(self, call: int, image_set_id: str) -> None:
        state, row = self.state(call), self.rows.get(call, {})
        if state in {CallState.INTENDED, CallState.OUTCOME_UNKNOWN, CallState.ACCEPTED}:
            self.open[image_set_id, row["expected_version"] + 1] = call
        elif state is CallState.APPLIED and row["version"] is None:
            self.unclaimed[image_set_id, row["expected_version"] + 1] = call
        elif state is CallState.APPLIED:
            version = (image_set_id, row["version"])
            if version in self.claimed:
                self.wrong.append(f"calls {self.claimed[version]} and {call} claim one version")
            if row["expected_version"] + 1 != row["version"]:
                self.wrong.append(f"call {call} claims version {row['version']} after its base {row['base']}")
            self.claimed[version] = call


def _edits_by_call(plan: SavedPlan, parts: list[Any]) -> dict[int, list[dict[str, Any]]]:
    """The edits of every call that can be completed, in the order of the list; split calls are left to their parts."""
    call_of = {edit: part.call for part in parts for edit in part.edits}
    carried: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for edit in plan.edits().collect().sort("edit").iter_rows(named=True):
        carried[call_of.get(edit["edit"], edit["call"])].append(edit)
    return carried


class Version(NamedTuple):
    """A version as the journal has it."""

    maker: str
    at: float


@dataclass(slots=True)
class Made:
    """Who made which version, from the journal."""

    versions: dict[str, dict[int, Version]] = field(default_factory=lambda: defaultdict(dict))  # by image set
    failures: set[tuple[str, int]] = field(default_factory=set)  # what was the latest once an update of ours failed

    def maker(self, version: tuple[str, int]) -> str | None:
        """Who made a version of an image set; None if nobody did."""
        found = self.versions.get(version[0], {}).get(version[1])
        return found.maker if found else None


def made_by(server: Server, sheet: Sheet) -> Made:
    made = Made()
    under_way: dict[str, str] = {}
    begun = 0
    assert server.journal.dropped == 0
    for entry in server.journal.since():
        if entry.kind == "request":
            if entry.action == UPDATE:
                sheet.requests += 1
                sheet.accepted += entry.version is not None
                sheet.refused[entry.code or ""] += entry.code is not None
            sheet.struck.update((entry.fault or "").split(",") if entry.fault else ())
        elif entry.workflow in _BEGUN:
            begun += entry.workflow == "UPDATING"
            under_way[entry.image_set_id or ""] = _BEGUN[entry.workflow]
        elif entry.image_set_id and entry.version and entry.workflow in {"UPDATED", "UPDATE_FAILED"}:
            maker = under_way.pop(entry.image_set_id, STRANGERS)
            if entry.workflow == "UPDATE_FAILED":
                if maker != STRANGERS:
                    made.failures.add((entry.image_set_id, entry.version))
                maker = FAILED if maker != STRANGERS else FAILED_OF_ANOTHER
            versions = made.versions[entry.image_set_id]
            if maker not in _FAILURES or entry.version not in versions:
                versions[entry.version] = Version(maker, entry.at)
            sheet.updated += maker in {OURS, SIBLINGS}
            sheet.failed += maker == FAILED
            sheet.strangers += maker == STRANGERS
    # every write of ours was a request that the service has accepted, and the other way round
    assert begun == sheet.accepted
    sheet.refused = +sheet.refused
    return made


def _untrue_claims(books: Books, made: Made) -> Iterator[str]:
    for version, call in books.claimed.items():
        if (maker := made.maker(version)) != OURS:
            yield f"call {call} claims version {version[1]} of {version[0]}, which is {maker or 'not there'}"


def _untrue_failures(books: Books, made: Made) -> Iterator[str]:
    """A lost request of ours may have left a failed version as well as another writer: which one cannot be told."""
    for image_set_id, version in sorted(books.failures - made.failures):
        doubtful = (image_set_id, version) in books.doubtful
        if not doubtful or made.maker((image_set_id, version)) != FAILED_OF_ANOTHER:
            yield f"no failed update of ours has left version {version} of {image_set_id}"


def _unfounded_versions(server: Server, made: Made, runs: list[Books]) -> Iterator[str]:
    """Every version is accounted for, and its content follows from the one before."""
    image_sets = server.world.datastores[DEFAULT_DATASTORE_ID].image_sets
    founded = _Founded(server.settings.profile, made, runs, {one: s.keys.study_uid for one, s in image_sets.items()})
    for image_set_id, image_set in image_sets.items():
        if image_set.deleted_at is not None:
            continue
        documents = [parse(version.document) for version in image_set.versions]
        for number in range(2, image_set.completed + 1):
            if why := founded.why_not(image_set_id, documents[:number]):
                yield f"version {number} of {image_set_id} {why}"
        for books in runs:
            for (one, number), call in books.unclaimed.items():
                if one == image_set_id and not _held_already(books.carried[call], documents[:number], founded.profile):
                    yield f"call {call} is applied without a version, but {one} did not hold it at {number - 1}"


class _Founded:
    """Whether what a version holds follows from who made it."""

    def __init__(self, profile: ServiceProfile, made: Made, runs: list[Books], studies: dict[str, str | None]) -> None:
        self.profile = profile
        self._made = made
        self._studies = studies
        self._call_of: dict[tuple[str, int], tuple[Books, int]] = {}
        for books in runs:
            found = {**books.unclaimed, **books.open, **books.claimed}
            self._call_of |= {version: (books, call) for version, call in found.items()}
        self._leads: dict[tuple[str | None, float], tuple[Books, int]] = {}  # study and time -> study-wide call
        for (image_set_id, number), (books, call) in self._call_of.items():
            version = made.versions.get(image_set_id, {}).get(number)
            if call in books.wide and version is not None and version.maker == OURS:
                self._leads[studies[image_set_id], version.at] = books, call

    def why_not(self, image_set_id: str, documents: list[dict[str, Any]]) -> str | None:
        """What is wrong with the last of an image set's documents."""
        version = self._made.versions.get(image_set_id, {}).get(len(documents))
        if version is None:
            return "is nobody's"
        if version.maker in {STRANGERS, *_FAILURES}:
            expected = rewritten(documents[-2]) if version.maker == STRANGERS else documents[-2]
            return None if documents[-1] == expected else f"is {version.maker}, and not as that leaves it"
        found = self._call_of.get((image_set_id, len(documents)))
        if version.maker == SIBLINGS:
            found = self._leads.get((self._studies[image_set_id], version.at))
        if found is None:
            return f"is {version.maker}, and no call claims it"
        books, call = found
        if books.unclaimed.get((image_set_id, len(documents))) == call:
            return None  # looked at by `_held_already`
        as_expected = documents[-1] == _expected(books.carried[call], documents[:-1], self.profile)
        return None if as_expected else f"is not as call {call} leaves it"


def _held_already(edits: list[dict[str, Any]], documents: list[dict[str, Any]], profile: ServiceProfile) -> bool:
    """Whether the last but one document reads as the edits would leave it, and the last one as well."""
    before, after = documents[-2], documents[-1]
    return before == after and all(
        _expected([edit], documents[:-1], profile) == before or is_absent(edit, before)
        for edit in edits
        if edit["sent"]
    )


def is_absent(edit: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether what an edit removes is not there."""
    if not edit["action"].startswith("remove"):
        return False
    node: Any = document.get("Patient" if edit["level"] == "Patient" else "Study", {})
    for name, uid in (("Series", edit["series_uid"]), ("Instances", edit["instance_uid"])):
        node = node if uid is None else node.get(name, {}).get(uid, {})
    return not node if edit["action"] != "remove" else edit["attribute"] not in node.get("DICOM", {})


def _expected(
    edits: list[dict[str, Any]], history: list[dict[str, Any]], profile: ServiceProfile
) -> dict[str, Any] | None:
    """The content after the edits of one call; None if one that was sent cannot be applied."""
    reference = reference_of(copy.deepcopy(history[-1]), list(history), profile)
    for edit in edits:
        if edit["action"] == "revert":
            return history[edit["revert_to"] - 1] if edit["revert_to"] < len(history) else None
        if reference.apply({**edit, "version": None}) != APPLIED and edit["sent"]:
            return None
    return renamed(reference.document) if profile.uid_keys == "renamed" else reference.document


def reference_of(document: dict[str, Any], versions: list[Any], profile: ServiceProfile) -> Reference:
    """The reference under the rules of a service."""
    return Reference(
        document,
        versions,
        any_value=profile.removal_match != "exact",
        absent=profile.removal_absent == "ignore",
        free=profile.instance_removal == "free",
    )


def rewritten(document: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for series in document["Study"]["Series"].values():
        series["DICOM"]["ProtocolName"] = "WRITTEN BY ANOTHER"
    return document
