"""What is wrong with what a scenario of `tests.runs.random_scenarios` has left: nothing, or a list of sentences.

Books against the journal (`tests.runs.journal_check`); the stored documents against the applied rows, one by one in
their order (`tests.plans.reference`); each outcome against what the service would have said; what the undoing leaves.
"""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from collections import Counter, defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bulkedit.client.responses import CallState, Outcome, outcome_of
from bulkedit.edits.edit import STORED_VALUE
from bulkedit.emulator import DEFAULT_DATASTORE_ID, FaultKind
from bulkedit.emulator.api.failures import Broken, Invalid
from bulkedit.emulator.state.document import parse, split
from bulkedit.emulator.state.editing import edited
from bulkedit.emulator.state.rules import why_refused
from bulkedit.emulator.state.updates import parse_updates
from bulkedit.options.running import OnConflict
from bulkedit.runs.lane import EARLIER_CONFLICT
from bulkedit.runs.ledger import Ledger
from tests.plans.reference import APPLIED, meant, note
from tests.runs.journal_check import (
    FAILED,
    FAILED_OF_ANOTHER,
    OURS,
    SIBLINGS,
    STRANGERS,
    Books,
    Made,
    Sheet,
    is_absent,
    made_by,
    reference_of,
    weigh,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.runs import folder as runs
    from tests.runs.random_scenarios import Played

_MINE = {OURS, SIBLINGS, FAILED}
_THEIRS = {STRANGERS, FAILED_OF_ANOTHER}


def of_run(played: Played) -> list[str]:
    """All that is wrong with a run."""
    _, wrong = weigh(played.server, played.run.plan, played.run.ledger)
    return [*wrong, *_Outcomes(played, played.run).wrong()]


def of_undo(played: Played) -> list[str]:
    """All that is wrong with the undoing of the run."""
    if played.undo is None:
        return []
    first = (played.run.plan, played.run.ledger)
    _, wrong = weigh(played.server, played.undo.plan, played.undo.ledger, first)
    return [*wrong, *_Undone(played).wrong()]


def figures(played: Played) -> Counter[str]:
    """What there was of each."""
    sheet = Sheet(0)
    made_by(played.server, sheet)
    return Counter(
        {
            "edits": played.run.plan.counts["edits"],
            "processes": len(played.scenario.lives) + 1,
            "kills": played.kills,
            "stops": played.stops,
            "faults": sum(sheet.struck.values()),
            "updates": sheet.requests,
            "versions of others": sheet.strangers,
            "runs undone": int(played.undo is not None),
        }
    )


class _Outcomes:
    """The outcomes of one run, each held to what the service has."""

    def __init__(self, played: Played, run: runs.Run) -> None:
        self._played = played
        self._server = played.server
        self._profile = played.server.settings.profile
        self._image_sets = played.server.world.datastores[DEFAULT_DATASTORE_ID].image_sets
        self._run = run
        self._books = Books.read(run.plan, run.ledger)
        self._made: Made = made_by(played.server, Sheet(0))
        with Ledger.read(run.ledger) as ledger:
            self._events = list(ledger.events())
        self._leads = dict(run.plan.calls().select("call", "image_set_id").collect().iter_rows())
        with Ledger.read(run.ledger) as ledger:
            for part in ledger.parts():
                self._leads[part.call] = self._leads[part.parent]

    @cached_property
    def _documents(self) -> dict[str, list[dict[str, Any]]]:
        return {one: [parse(v.document) for v in found.versions] for one, found in self._image_sets.items()}

    def wrong(self) -> Iterator[str]:
        for call, edits in self._books.carried.items():
            outcome = outcome_of(self._books.state(call))
            if outcome is Outcome.UNPROCESSED:
                yield f"call {call} is unprocessed ({self._books.state(call)})"
            if outcome is Outcome.FAILED and not self._may_fail():
                yield f"call {call} has failed: {self._books.rows[call]['reason']}"
            if outcome is Outcome.APPLIED:
                yield from self._untrue_version(call, edits)
            if outcome is Outcome.REJECTED:
                yield from self._untrue_rejection(call, edits)
            if outcome is Outcome.CONFLICTED:
                yield from self._untrue_conflict(call, edits)
        for image_set_id in self._image_sets:
            yield from self._other_document(image_set_id)
        yield from self._miscounted_conflicts()

    def _may_fail(self) -> bool:
        return any(one.fault.kind is FaultKind.DENIED for one in self._played.scenario.troubles)

    def _maker(self, image_set_id: str, number: int) -> str:
        """Who made a version; the failed one that a lost request may have left is taken for ours."""
        found = self._made.maker((image_set_id, number)) or "import"
        return FAILED if found == FAILED_OF_ANOTHER and (image_set_id, number) in self._books.doubtful else found

    def _untrue_version(self, call: int, edits: list[dict[str, Any]]) -> Iterator[str]:
        """A row that names a version is applied only to that one, or to what failed updates of ours have made of it."""
        base, lead = self._books.rows[call]["expected_version"], self._leads[call]
        for version in {edit["version"] for edit in edits} - {None}:
            if base is None or not self._is_named(call, version, lead, base):
                yield f"call {call} names version {version} and is applied to version {base}"

    def _is_named(self, call: int, version: int, image_set_id: str, latest: int) -> bool:
        """Whether a call whose row names a version may be sent while another is the latest."""
        number, moved = latest, 0
        while (maker := self._maker(image_set_id, number)) in _MINE:
            moved += maker == FAILED and self._moves(call, image_set_id, number)
            number -= 1
        return 0 <= latest - version <= moved

    def _moves(self, call: int, image_set_id: str, failed: int) -> bool:
        """Whether a failed version moves what the call names: not if another call was rejected with it."""
        of = [e for e in self._events if e["version"] is not None and self._has_left(e, image_set_id, failed)]
        return all(e["state"] == CallState.PLANNED or e["call"] == call for e in of)

    def _has_left(self, event: dict[str, Any], image_set_id: str, failed: int) -> bool:
        """Whether an event is of the update that has left a failed version, perhaps of a sibling: at the same time."""
        lead, versions = self._leads[event["call"]], self._made.versions
        if lead == image_set_id or event["call"] not in self._books.wide:
            return bool(lead == image_set_id and event["version"] == failed)
        left = versions.get(lead, {}).get(event["version"]) if self._is_sibling(lead, image_set_id) else None
        return left is not None and left.at == versions[image_set_id][failed].at

    def _untrue_rejection(self, call: int, edits: list[dict[str, Any]]) -> Iterator[str]:
        """What is rejected would have been refused alone, at the version that it was sent to."""
        units: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for edit in edits:  # what a row asks of a version is one write
            units[("row", edit["row"]) if edit["version"] else ("edit", edit["unit"])].append(edit)
        for unit in units.values():
            if not any(self._refused_somewhere(edit, call) for edit in unit):
                cause = self._books.rows[call]["reason"]
                yield f"row {unit[0]['row']} is rejected ({cause}), and would be taken alone"

    def _refused_somewhere(self, edit: dict[str, Any], call: int) -> bool:
        base, image_set_id = self._books.rows[call]["expected_version"], edit["image_set_id"]
        named = image_set_id == self._leads[call] and base
        at = [base] if named else range(1, len(self._documents[image_set_id]) + 1)
        return any(self._refused(edit, image_set_id, number, study_wide=call in self._books.wide) for number in at)

    def _refused(self, edit: dict[str, Any], image_set_id: str, number: int, *, study_wide: bool) -> bool:
        """Whether the service refuses the edit of a version of an image set, in a call of its own."""
        image_set, document = self._image_sets[image_set_id], self._documents[image_set_id][number - 1]
        if edit["action"] == "revert":
            target = edit["revert_to"]
            return not 1 <= target < number or image_set.versions[target - 1].failed
        unnamed = edit["action"] == "remove" and edit["value"] == STORED_VALUE
        if unnamed and (_place(document, edit) is None or study_wide):
            return True  # a study-wide call can name one value only, and the image sets may hold several
        study = self._server.world.primaries_of(DEFAULT_DATASTORE_ID, image_set.keys.study_uid)
        try:
            updates = parse_updates(_body(edit, document, self._profile.removal_match), self._profile)
            if why_refused(
                updates,
                self._profile,
                forced=edit["force"],
                primary=image_set.primary,
                study_wide=study_wide,
                alone=len(study) <= 1,
            ):
                return True
            edited(split(document), updates, self._profile)
        except (Broken, Invalid):
            return True
        return False

    def _untrue_conflict(self, call: int, edits: list[dict[str, Any]]) -> Iterator[str]:
        """Another writer's version is in its way, or the version that it names was not there."""
        lead = self._leads[call]
        if self._books.rows[call]["reason"] == EARLIER_CONFLICT:
            if not any(self._is_stopped_by(other, lead) for other in self._books.carried):
                yield f"call {call} is conflicted by an earlier conflict, and there was none"
            return
        at = next(e["at"] for e in reversed(self._events) if e["call"] == call and e["state"] == CallState.CONFLICTED)
        # what was made in the same millisecond may have been made after it
        latest = [
            max((n for n, version in self._made.versions.get(lead, {}).items() if version.at <= until), default=1)
            for until in (at - 1e-3, at + 1e-3)
        ]
        named = next((edit["version"] for edit in edits if edit["version"]), None)
        stops = self._played.scenario.on_conflict is OnConflict.STOP
        if named is None and not stops:
            yield f"call {call} is conflicted, though it names no version and nothing says stop"
        if named is not None and not all(self._is_named(call, named, lead, n) for n in range(latest[0], latest[1] + 1)):
            return
        if not stops or not self._study_has_others(lead):
            yield f"call {call} is conflicted, and no version of another is in its way"

    def _is_stopped_by(self, other: int, lead: str) -> bool:
        row, theirs = self._books.rows.get(other, {}), self._leads[other]
        met = row.get("state") == CallState.CONFLICTED and row.get("reason") != EARLIER_CONFLICT
        return met and (
            theirs == lead or self._image_sets[theirs].keys.study_uid == self._image_sets[lead].keys.study_uid
        )

    def _study_has_others(self, image_set_id: str) -> bool:
        study = self._image_sets[image_set_id].keys.study_uid
        members = [one for one, found in self._image_sets.items() if found.keys.study_uid == study]
        return any(self._maker(one, n) in _THEIRS for one in members for n in self._made.versions.get(one, {}))

    def _other_document(self, image_set_id: str) -> Iterator[str]:
        """The rows that are applied, one by one in their order, leave what is stored."""
        documents = self._documents[image_set_id]
        reference = reference_of(copy.deepcopy(documents[0]), [], self._profile)
        reference.renames_keys = self._profile.uid_keys == "renamed"
        new = dict[str, str]()
        for edit in self._applied_to(image_set_id):
            if edit["action"] == "revert":
                reference.document = copy.deepcopy(documents[edit["revert_to"] - 1])
            elif self._left_as_it_was(edit, reference.document):
                continue
            elif reference.apply({**meant(edit, reference.document, new), "version": None}) != APPLIED:
                yield f"row {edit['row']} is applied, and cannot be after the rows before it"
            note(edit, new)
        if _own(reference.document) != _own(documents[-1]):
            yield f"{image_set_id} is not what the applied rows leave in their order"

    def _left_as_it_was(self, edit: dict[str, Any], document: dict[str, Any]) -> bool:
        """Whether an edit removes what is not there, in a call that is applied without a version of its own.

        A lost request of ours, or another writer, has made a version that changes nothing: which one cannot be told.
        """
        unclaimed = any(edit in self._books.carried[call] for call in self._books.unclaimed.values())
        return unclaimed and is_absent(edit, document)

    def _applied_to(self, image_set_id: str) -> list[dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for call, edits in self._books.carried.items():
            if outcome_of(self._books.state(call)) is not Outcome.APPLIED:
                continue
            mine = [edit for edit in edits if edit["image_set_id"] == image_set_id]
            if call in self._books.wide and not mine and self._is_sibling(self._leads[call], image_set_id):
                mine = [edit for edit in edits if edit["image_set_id"] == self._leads[call]]
            found |= {edit["edit"]: edit for edit in mine}
        return [found[number] for number in sorted(found)]

    def _is_sibling(self, lead: str, other: str) -> bool:
        one, two = self._image_sets[lead], self._image_sets[other]
        return two.primary and one.keys.study_uid == two.keys.study_uid

    def _miscounted_conflicts(self) -> Iterator[str]:
        """Every stretch of versions of others between two of ours is a conflict of a call, and nothing else is one."""
        if self._books.wide or self._played.resent:
            return
        for image_set_id in self._image_sets:
            calls = [call for call, lead in self._leads.items() if lead == image_set_id]
            rows = [self._books.rows[call] for call in calls if call in self._books.rows]
            expected_versions = [
                e["expected_version"] for e in self._events if e["call"] in calls and e["expected_version"] is not None
            ]
            if not expected_versions:
                continue
            makers = [
                self._maker(image_set_id, n) in _THEIRS
                for n in range(min(expected_versions) + 1, max(expected_versions) + 1)
            ]
            least = sum(theirs and not before for before, theirs in zip([False, *makers], makers, strict=False))
            counted = sum(row["conflicts"] for row in rows)
            named = sum(any(e["version"] for e in self._books.carried.get(call, ())) for call in calls)
            all_theirs = sum(v.maker in _THEIRS for v in self._made.versions.get(image_set_id, {}).values())
            # a row can name just the version that another has made
            if not least - named <= counted <= all_theirs + named:
                yield (
                    f"{counted} conflicts are counted in {image_set_id}, not {least} to {all_theirs} "
                    f"and {named} of rows that name versions"
                )


class _Undone(_Outcomes):
    """What the undoing of a run has left."""

    def __init__(self, played: Played) -> None:
        assert played.undo is not None
        super().__init__(played, played.undo)
        self._first = Books.read(played.run.plan, played.run.ledger)

    def wrong(self) -> Iterator[str]:
        for call in self._books.carried:
            outcome = outcome_of(self._books.state(call))
            others = self._theirs(self._leads[call], since=0)
            if outcome is not Outcome.APPLIED and not others and not self._may_fail():
                yield f"the undoing of {self._leads[call]} is {outcome}: {self._books.rows[call]['reason']}"
        for image_set_id, documents in self._documents.items():
            others = self._theirs(image_set_id, since=0)
            if not others and documents[-1] != documents[0] and image_set_id not in self._left_out():
                yield f"{image_set_id} is not as before the run, and no other writer came"

    def _left_out(self) -> set[str]:
        """Image sets that are left out for a reason.

        A service that keeps the numbers of failed updates calls a version failed that has not.
        """
        codes = {"unknown-version", *(["no-version"] if self._profile.failed_version == "kept" else ())}
        return {one for one, code in self._played.left_out.items() if code in codes}

    def _theirs(self, image_set_id: str, since: int) -> list[int]:
        versions = self._made.versions.get(image_set_id, {})
        return [n for n, version in versions.items() if version.maker in _THEIRS and n > since]


def _own(document: dict[str, Any]) -> dict[str, Any]:
    """Without what other writers write."""
    document = {name: copy.deepcopy(document[name]) for name in ("Patient", "Study")}
    for series in document["Study"]["Series"].values():
        series["DICOM"].pop("ProtocolName", None)
    return document


def _place(document: dict[str, Any], edit: dict[str, Any]) -> dict[str, Any] | None:
    node: Any = document.get("Patient" if edit["level"] == "Patient" else "Study")
    for name, uid in (("Series", edit["series_uid"]), ("Instances", edit["instance_uid"])):
        if uid is not None:
            node = (node or {}).get(name, {}).get(uid)
    found: dict[str, Any] | None = node
    return found


def _body(edit: dict[str, Any], document: dict[str, Any], removal_match: str) -> dict[str, Any]:
    """The request of one edit."""
    value = None if edit["value"] is None else json.loads(edit["value"])
    if edit["action"] == "remove" and edit["value"] == STORED_VALUE:
        stored = (_place(document, edit) or {}).get("DICOM", {}).get(edit["attribute"])
        value = "" if removal_match == "empty" else stored
    inner: dict[str, Any] = {} if edit["attribute"] is None else {"DICOM": {edit["attribute"]: value}}
    if edit["instance_uid"] is not None:
        inner = {"Instances": {edit["instance_uid"]: inner}}
    if edit["series_uid"] is not None:
        inner = {"Series": {edit["series_uid"]: inner}}
    content = {"SchemaVersion": 1.1, "Patient" if edit["level"] == "Patient" else "Study": inner}
    blob = "updatableAttributes" if edit["action"] == "set" else "removableAttributes"
    return {"DICOMUpdates": {blob: b64encode(json.dumps(content).encode()).decode()}}
