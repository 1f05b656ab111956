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
from typing import TYPE_CHECKING, Any

from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.emulator.document import parse
from bulkedit.ledger import Ledger
from bulkedit.outcome import Outcome, Standing, outcome_of
from tests.plan.reference import APPLIED, Reference

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import Profile
    from bulkedit.emulator.server import Server
    from bulkedit.planner import SavedPlan

UPDATE = "UpdateImageSetMetadata"
OURS, FAILED, STRANGERS = "ours", "failed", "a stranger's"


@dataclass(slots=True)
class Sheet:
    """The balance sheet of a run."""

    edits: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of edits
    standings: Counter[Standing] = field(default_factory=Counter)  # of calls
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
                f"calls      {', '.join(f'{count:,} {standing}' for standing, count in self.standings.items())}",
                f"requests   {self.requests:,} updates",
                f"accepted   {self.accepted:,} = {self.updated:,} updated + {self.failed:,} failed",
                f"refused    {', '.join(f'{count:,} {code}' for code, count in self.refused.most_common()) or 'none'}",
                f"faults     {', '.join(f'{count:,} {kind}' for kind, count in self.struck.most_common()) or 'none'}",
                f"strangers  {self.strangers:,} versions",
            )
        )


def judge(server: Server, plan: SavedPlan, path: Path) -> Sheet:
    """Hold ledger and service against each other. Raises AssertionError where they do not agree."""
    server.catch_up()
    with Ledger.read(path) as ledger:
        rows = {row["call"]: row for row in ledger.standings().iter_rows(named=True)}
        parts = ledger.parts()
    carried = _edits_by_call(plan, parts)
    sheet = Sheet(plan.counts["edits"])
    made = _made(server, sheet)
    image_set_of = dict(plan.calls().select("call", "image_set_id").collect().iter_rows())
    for part in parts:
        image_set_of[part.call] = image_set_of[part.parent]

    claimed: dict[tuple[str, int], int] = {}
    open_: dict[tuple[str, int], int] = {}
    for call, edits in carried.items():
        standing = Standing(rows[call]["standing"]) if call in rows else Standing.PLANNED
        sheet.standings[standing] += 1
        sheet.outcomes[outcome_of(standing)] += len(edits)
        if standing is Standing.APPLIED:
            version = (image_set_of[call], rows[call]["version"])
            assert version not in claimed, f"calls {claimed[version]} and {call} claim one version"
            assert rows[call]["base"] + 1 == rows[call]["version"]
            claimed[version] = call
        elif standing in {Standing.INTENDED, Standing.IN_DOUBT, Standing.ACCEPTED}:
            open_[image_set_of[call], rows[call]["base"] + 1] = call
    assert sum(sheet.outcomes.values()) == sheet.edits

    _hold_versions(server, made, {**open_, **claimed}, carried, plan)
    missing = [call for version, call in claimed.items() if made.get(version[0], {}).get(version[1]) != OURS]
    assert not missing, f"calls {missing} claim versions that are not ours"
    return sheet


def _edits_by_call(plan: SavedPlan, parts: list[Any]) -> dict[int, list[dict[str, Any]]]:
    """The edits of every call that can be settled, in the order of the list; split calls are left to their parts."""
    call_of = {edit: part.call for part in parts for edit in part.edits}
    carried: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for edit in plan.edits().collect().sort("edit").iter_rows(named=True):
        carried[call_of.get(edit["edit"], edit["call"])].append(edit)
    return carried


def _made(server: Server, sheet: Sheet) -> dict[str, dict[int, str]]:
    """Who made which version, from the journal: image set -> version -> maker."""
    made: dict[str, dict[int, str]] = defaultdict(dict)
    under_way: set[str] = set()
    begun = 0
    assert server.journal.dropped == 0
    for entry in server.journal.since():
        if entry.kind == "request":
            if entry.action == UPDATE:
                sheet.requests += 1
                sheet.accepted += entry.version is not None
                sheet.refused[entry.code or ""] += entry.code is not None
            sheet.struck.update((entry.fault or "").split(",") if entry.fault else ())
        elif entry.workflow in {"UPDATING", "UPDATING_FOR_STUDY_CONSISTENCY"}:
            begun += entry.workflow == "UPDATING"
            under_way.add(entry.image_set_id or "")
        elif entry.image_set_id and entry.version and entry.workflow in {"UPDATED", "UPDATE_FAILED"}:
            ours = entry.image_set_id in under_way
            under_way.discard(entry.image_set_id)
            maker = STRANGERS if not ours else OURS if entry.workflow == "UPDATED" else FAILED
            if maker != FAILED or entry.version not in made[entry.image_set_id]:
                made[entry.image_set_id][entry.version] = maker
            sheet.updated += maker == OURS
            sheet.failed += maker == FAILED
            sheet.strangers += maker == STRANGERS
    # every write of ours was a request that the service has accepted, and the other way round
    assert begun == sheet.accepted
    sheet.refused = +sheet.refused
    return made


def _hold_versions(
    server: Server,
    made: dict[str, dict[int, str]],
    call_of: dict[tuple[str, int], int],
    carried: dict[int, list[dict[str, Any]]],
    plan: SavedPlan,
) -> None:
    """Every version is accounted for, and its content follows from the one before."""
    wide = set(plan.calls().filter("study_wide").select("call").collect().to_series())
    profile = server.settings.profile
    for image_set_id, image_set in server.world.datastores[DEFAULT_DATASTORE_ID].image_sets.items():
        if image_set.deleted_at is not None:
            continue
        documents = [parse(version.document) for version in image_set.versions]
        makers = made.get(image_set_id, {})
        for number in range(2, image_set.settled + 1):
            before, after = documents[number - 2], documents[number - 1]
            where = f"version {number} of {image_set_id}"
            if makers.get(number) == OURS and (call := call_of.get((image_set_id, number))) is not None:
                assert after == _expected(carried[call], documents[: number - 1], profile), where
            elif makers.get(number) == FAILED:
                assert after == before, where
            elif makers.get(number) == STRANGERS:
                assert after == _rewritten(before), where
            else:
                # a sibling of a study-wide call
                assert wide, f"{where} is nobody's"
                assert makers.get(number) == OURS, f"{where} is nobody's"


def _expected(edits: list[dict[str, Any]], history: list[dict[str, Any]], profile: Profile) -> dict[str, Any]:
    """The content after the edits of one call."""
    any_value = profile.removal_match != "exact"
    reference = Reference(copy.deepcopy(history[-1]), list(history), any_value=any_value)
    for edit in edits:
        if edit["action"] == "revert":
            target: dict[str, Any] = history[edit["revert_to"] - 1]
            return target
        outcome = reference.apply({**edit, "version": None})
        assert outcome == APPLIED or not edit["sent"]
    return _renamed(reference.document) if profile.uid_keys == "renamed" else reference.document


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """With the keys of Series and Instances as the UIDs inside say."""
    for series in document["Study"]["Series"].values():
        series["Instances"] = {one["DICOM"]["SOPInstanceUID"]: one for one in series["Instances"].values()}
    named = {one["DICOM"]["SeriesInstanceUID"]: one for one in document["Study"]["Series"].values()}
    document["Study"]["Series"] = named
    return document


def _rewritten(document: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for series in document["Study"]["Series"].values():
        series["DICOM"]["ProtocolName"] = "WRITTEN BY ANOTHER"
    return document
