"""Whatever the undocumented service does, every edit is made exactly once, or said not to be.

One scenario holds every trouble that a call can meet; it is run under each value of each switch of the emulator, that
is, under each answer to a question that the service's documentation leaves open, and judged from the service's side.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.responses import CallState, Outcome, outcome_of
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind, profile, switches
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger
from tests.covering import covering
from tests.emulator.hospital import document
from tests.runs.factories import FAST, planned, row
from tests.runs.journal_check import Sheet, weigh
from tests.runs.killable import Emulated, Following, Kill, emulated, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit.emulator import ServiceProfile
    from bulkedit.plans import SavedPlan

UPDATE, GET, METADATA = "UpdateImageSetMetadata", "GetImageSet", "GetImageSetMetadata"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One image set, what is asked of it, and what goes wrong."""

    edits: tuple[dict[str, Any], ...]
    faults: tuple[Fault, ...] = ()
    stranger: bool = False  # another writer follows a lost answer at once
    applied: int | None = None  # edits that are applied in the end; None for all


def once(kind: FaultKind, action: str = UPDATE, times: int = 1, **fields: Any) -> Fault:
    return Fault(kind=kind, action=action, times=times, **fields)


def of(attribute: str | None = None, value: Any = None, **fields: Any) -> dict[str, Any]:
    return {"attribute": attribute, "value": value, **fields}


SERIES = "{study}.1"
NAME = of("PatientName", "NEW^NAME")
STEPS = (  # four calls: the first names its version, and forced and unforced edits are not merged
    of("StudyDescription", "one", version=1),
    of("StudyDescription", "two"),
    of("StudyDescription", "three", force=True),
    of("StudyDescription", "four"),
)
REMOVAL = of("StudyDescription", {}, action="remove")
INSTANCE = of(action="remove-instance", series_uid=SERIES, instance_uid="{study}.1.2", force=True)
THERE = of("KVP", {}, action="remove", series_uid=SERIES, instance_uid="{study}.1.2")
TYPOS = tuple({**THERE, "attribute": name, "instance_uid": "{study}.1.9"} for name in ("KVP", "InstanceNumber"))
NEW_UID = of("SeriesInstanceUID", "{study}.77", series_uid=SERIES, force=True)
REVERT = (NAME, of(action="revert", revert_to=1))
FORBIDDEN = of("StudyID", "needs force")
REFUSED = of("StudyID", "needs force", version=1)
VERSIONS = (of("PatientName", "X", version=1), of("StudyDescription", "Y", version=2))
ORDERED = (  # the rows of a list from the last to the first; forced and unforced edits are not merged
    of("StudyDescription", "three", order=3),
    of("StudyDescription", "two", order=2, force=True),
    of("StudyDescription", "one", order=1),
)
HOLDS = of("StudyDescription", "CHEST")

LOSSES = {
    "dropped before": (once(FaultKind.DROP_BEFORE),),
    "dropped after": (once(FaultKind.DROP_AFTER),),
    "500 not applied": (once(FaultKind.ERROR_BEFORE),),
    "500 applied": (once(FaultKind.ERROR_AFTER),),
    "late": (once(FaultKind.LATE, seconds=0.05),),
    "later": (once(FaultKind.LATE, seconds=0.4),),
    "much later": (once(FaultKind.LATE, seconds=5.0),),
    "twice late": (once(FaultKind.LATE, times=2, seconds=0.6),),
    "lost thrice": (
        once(FaultKind.DROP_BEFORE),
        once(FaultKind.DROP_AFTER, skip=1),
        once(FaultKind.ERROR_BEFORE, skip=1),
    ),
}
IN_HIS_WAY = {"dropped before", "late"}  # the stranger comes before the lost request
EDITS = {
    "set": (NAME,),
    "removal": (REMOVAL,),
    "instance removal": (INSTANCE,),
    "changed UID": (NEW_UID,),
    "revert": REVERT,
    "lane": STEPS,
    "refused": (FORBIDDEN,),
}
TROUBLES: dict[str, Trouble] = {
    **{
        f"{edits}, {loss}": Trouble(EDITS[edits], LOSSES[loss], applied=0 if edits == "refused" else None)
        for edits, loss in itertools.product(EDITS, LOSSES)
    },
    **{
        f"{edits}, {loss}, then a stranger": Trouble(
            EDITS[edits],
            LOSSES[loss],
            stranger=True,
            applied=0 if edits == "refused" else 3 if edits == "lane" and loss in IN_HIS_WAY else None,
        )
        for edits, loss in itertools.product(EDITS, ("dropped before", "dropped after", "500 applied", "late"))
    },
    "no trouble": Trouble((NAME, of("StudyDescription", "X"))),
    "nothing to remove": Trouble((of("PatientComments", {}, action="remove"),)),
    "removal in no such series": Trouble((of("Modality", {}, action="remove", series_uid="{study}.9"),), applied=0),
    "removals in no such instance": Trouble(TYPOS, applied=0),
    "removals in no such instance beside others": Trouble((*TYPOS, NAME, REMOVAL, THERE), applied=3),
    "removal in no such instance beside others and lost": Trouble(
        (TYPOS[0], NAME, REMOVAL), (once(FaultKind.DROP_AFTER, times=2),), applied=2
    ),
    "overtaken": Trouble((NAME,), (once(FaultKind.FOREIGN_BEFORE),)),
    "overtaken twice": Trouble((NAME,), (once(FaultKind.FOREIGN_BEFORE, times=2),)),
    "overtaken, then lost": Trouble((NAME,), (once(FaultKind.FOREIGN_BEFORE), once(FaultKind.DROP_AFTER, skip=1))),
    "overtaken and lost": Trouble((NAME,), (once(FaultKind.FOREIGN_BEFORE), once(FaultKind.DROP_AFTER))),
    "a version of its own, overtaken": Trouble(
        (of("PatientName", "X", version=1),), (once(FaultKind.FOREIGN_BEFORE),), applied=0
    ),
    "followed": Trouble((NAME,), (once(FaultKind.FOREIGN_AFTER),)),
    "followed and lost": Trouble((NAME,), (once(FaultKind.FOREIGN_AFTER), once(FaultKind.DROP_AFTER))),
    "failed": Trouble((NAME,), (once(FaultKind.FAIL),)),
    "failed twice": Trouble((NAME,), (once(FaultKind.FAIL, times=2),)),
    "failed and lost": Trouble((NAME,), (once(FaultKind.FAIL), once(FaultKind.DROP_AFTER))),
    # the last of a lane: where failed updates leave no version behind, this has been learned by then
    "failed and followed": Trouble(STEPS, (once(FaultKind.FAIL, skip=3), once(FaultKind.FOREIGN_AFTER, skip=3))),
    "failed, followed and lost": Trouble(
        (NAME,), (once(FaultKind.FAIL), once(FaultKind.FOREIGN_AFTER), once(FaultKind.ERROR_AFTER))
    ),
    "refused beside others": Trouble((NAME, FORBIDDEN, of("AccessionNumber", "A7")), applied=2),
    "refused beside others and lost": Trouble(
        (NAME, FORBIDDEN, of("AccessionNumber", "A7")), (once(FaultKind.DROP_AFTER, times=2),), applied=2
    ),
    "refused beside others and overtaken": Trouble(
        (NAME, FORBIDDEN, of("AccessionNumber", "A7")), (once(FaultKind.FOREIGN_BEFORE, skip=1),), applied=2
    ),
    "throttled": Trouble((NAME,), (once(FaultKind.THROTTLE, times=4),)),
    "lost, then throttled": Trouble((NAME,), (once(FaultKind.DROP_AFTER), once(FaultKind.THROTTLE, times=3))),
    "409 for nothing": Trouble((NAME,), (once(FaultKind.CONFLICT, times=2),)),
    "looks lost": Trouble(
        (NAME,), (once(FaultKind.DROP_BEFORE, GET, times=3), once(FaultKind.ERROR_BEFORE, GET, skip=2))
    ),
    "looks throttled": Trouble((NAME,), (once(FaultKind.THROTTLE, GET, times=4),)),
    "lost, looks lost": Trouble(
        (NAME,), (once(FaultKind.DROP_AFTER), once(FaultKind.DROP_BEFORE, GET, skip=1, times=3))
    ),
    "lost, read lost": Trouble((NAME,), (once(FaultKind.DROP_AFTER), once(FaultKind.DROP_BEFORE, METADATA, times=2))),
    "lost, read refused for a while": Trouble(
        (NAME,), (once(FaultKind.DROP_AFTER), once(FaultKind.CONFLICT, METADATA, times=2))
    ),
    "removal, read lost": Trouble((REMOVAL,), (once(FaultKind.DROP_BEFORE, METADATA, times=2),)),
    "removal, overtaken": Trouble((REMOVAL,), (once(FaultKind.FOREIGN_BEFORE),)),
    "many removals": Trouble(
        (REMOVAL, of("AccessionNumber", {}, action="remove"), NAME), (once(FaultKind.DROP_AFTER, times=2),)
    ),
    "removal by the wrong value": Trouble((of("StudyDescription", "WRONG", action="remove"),), applied=0),
    "locked for ever": Trouble((NAME,), (once(FaultKind.HANG),), applied=0),
    # rows that name versions: those of our own failures and successes are nobody else's
    "versions": Trouble(VERSIONS),
    "versions, first failed": Trouble(VERSIONS, (once(FaultKind.FAIL),)),
    "versions, first failed twice": Trouble(VERSIONS, (once(FaultKind.FAIL, times=2),)),
    "versions, second failed": Trouble(VERSIONS, (once(FaultKind.FAIL, skip=1),)),
    "versions, each failed": Trouble(VERSIONS, (once(FaultKind.FAIL), once(FaultKind.FAIL, skip=2))),
    "versions, first failed and lost": Trouble(VERSIONS, (once(FaultKind.FAIL), once(FaultKind.DROP_AFTER))),
    "versions, second lost": Trouble(VERSIONS, (once(FaultKind.DROP_AFTER, skip=1),)),
    "versions, second late": Trouble(VERSIONS, (once(FaultKind.LATE, skip=1, times=2, seconds=0.6),)),
    "versions, second overtaken": Trouble(VERSIONS, (once(FaultKind.FOREIGN_BEFORE, skip=1),), applied=1),
    "versions, first followed": Trouble(VERSIONS, (once(FaultKind.FOREIGN_AFTER),), applied=1),
    "versions, first followed, then one without": Trouble(
        (*VERSIONS, of("AccessionNumber", "A7")), (once(FaultKind.FOREIGN_AFTER),), applied=2
    ),
    # the third: where failed updates leave no version behind, this has been learned by then
    "versions, third failed and followed": Trouble(
        (*VERSIONS, of("AccessionNumber", "A7", version=3), of("StudyDescription", "Z")),
        (once(FaultKind.FAIL, skip=2), once(FaultKind.FOREIGN_AFTER, skip=2)),
        applied=3,
    ),
    "versions, failed and overtaken": Trouble(
        VERSIONS, (once(FaultKind.FAIL), once(FaultKind.FOREIGN_BEFORE, skip=1)), applied=0
    ),
    "versions, overtaken by a failure": Trouble(VERSIONS, (once(FaultKind.FOREIGN_FAILED),), applied=1),
    "versions, first refused": Trouble((REFUSED, VERSIONS[1]), applied=1),
    "a version once refused": Trouble(
        (of("StudyID", "needs force", version=1), of("StudyDescription", "Y")), applied=1
    ),
    # a failed update that is sent again moves the versions that rows name by one, any other does not
    "a version named twice": Trouble((VERSIONS[0], of("StudyDescription", "Y", version=1)), applied=1),
    "a version named twice, first refused": Trouble((REFUSED, of("StudyDescription", "Y", version=1)), applied=0),
    "a version named twice, failed": Trouble(
        (VERSIONS[0], of("StudyDescription", "Y", version=1)), (once(FaultKind.FAIL, skip=1),), applied=1
    ),
    "a version that is not there yet": Trouble((of("PatientName", "X", version=5), NAME), applied=1),
    "order": Trouble(ORDERED),
    "order, failed": Trouble(ORDERED, (once(FaultKind.FAIL, skip=1),)),
    "order, twice late": Trouble(ORDERED, (once(FaultKind.LATE, skip=1, times=2, seconds=0.6),)),
    "failed and overtaken": Trouble((NAME,), (once(FaultKind.FAIL), once(FaultKind.FOREIGN_BEFORE, skip=1))),
    "overtaken by a failure": Trouble((NAME,), (once(FaultKind.FOREIGN_FAILED),)),
    "overtaken by a failure and lost": Trouble((NAME,), (once(FaultKind.FOREIGN_FAILED), once(FaultKind.DROP_AFTER))),
    "looks behind": Trouble(STEPS, (once(FaultKind.LAGGING, GET, skip=2, times=3),)),
    # what the image set holds already
    "holds, lost before, then a stranger": Trouble((HOLDS,), LOSSES["dropped before"], stranger=True),
    "holds, lost after, then a stranger": Trouble((HOLDS,), LOSSES["dropped after"], stranger=True),
    "holds, twice late": Trouble((HOLDS,), LOSSES["twice late"]),
    # the second writer changes nothing: its version reads as ours would
    "holds, overtaken, lost before, then a stranger": Trouble(
        (HOLDS,), (once(FaultKind.FOREIGN_BEFORE), once(FaultKind.DROP_BEFORE, skip=1)), stranger=True
    ),
    "holds, overtaken, lost after, then a stranger": Trouble(
        (HOLDS,), (once(FaultKind.FOREIGN_BEFORE), once(FaultKind.DROP_AFTER, skip=1)), stranger=True
    ),
}
# what another decision of the service makes of it
OTHERWISE: dict[tuple[str, str], dict[str, int]] = {
    ("removal_match", "any"): {"removal by the wrong value": 1},
    # the first row has left no version for the second to name, or another writer has taken its number
    ("failed_version", "kept"): {
        "versions, first refused": 0,
        "a version named twice, first refused": 1,
        "versions, failed and overtaken": 1,
        "versions, overtaken by a failure": 2,
    },
    ("constraints", "sync"): {"versions, first refused": 0, "a version named twice, first refused": 1},
    ("checked_first", "content"): {"versions, first refused": 0, "a version named twice, first refused": 1},
}


@dataclass(slots=True)
class Scenario:
    """All troubles at once, an image set each."""

    server: Emulated
    plan: SavedPlan
    ledger: Path
    names: dict[str, str]  # image set -> trouble
    watched: set[str]

    @classmethod
    def under(cls, rules: ServiceProfile, folder: Path, *, merge: bool = True) -> Scenario:
        server = emulated(profile=rules)
        names: dict[str, str] = {}
        rows: list[dict[str, Any]] = []
        for number, (name, trouble) in enumerate(TROUBLES.items()):
            study = f"1.2.{number}"
            image_set_id = server.world.add_image_set(
                DEFAULT_DATASTORE_ID, document(study=study), now=server.now(), primary=False
            )
            names[image_set_id] = name
            rows += [row(image_set_id, **_filled(edit, study)) for edit in trouble.edits]
            faults = [_of(fault, image_set_id) for fault in trouble.faults]
            server.faults.add(faults, now=server.now())
        rows += [row("0" * 32, "PatientName", "NOBODY")]
        plan = planned(folder / "plan", DEFAULT_DATASTORE_ID, rows, merge=merge)
        watched = {one for one, name in names.items() if TROUBLES[name].stranger}
        return cls(server, plan, folder / "ledger.sqlite", names, watched)

    def process(self, kill: Kill | None = None, **options: Any) -> bool:
        """One process of the run; whether it was killed."""
        wrap = lambda client: Following(client, self.server, self.watched)  # noqa: E731
        options = {"unlock_timeout_s": 60.0, **options}
        return process(self.server, self.plan, self.ledger, kill=kill, wrap=wrap, **options).killed

    def by_name(self, text: str) -> str:
        """A text with the troubles of the image sets that it names."""
        return re.sub("[0-9a-f]{32}", lambda found: f"'{self.names.get(found[0], 'nobody')}'", text)

    def applied(self) -> dict[str, int]:
        """Edits applied, by trouble."""
        with Ledger.read(self.ledger) as ledger:
            state = dict(ledger_frames.states(ledger).select("call", "state").iter_rows())
            call_of = {edit: part.call for part in ledger.parts() for edit in part.edits}
        counts = dict.fromkeys(TROUBLES, 0)
        for edit, call, image_set_id in self.plan.edits().select("edit", "call", "image_set_id").collect().iter_rows():
            where = state.get(call_of.get(edit, call), CallState.PLANNED)
            if image_set_id in self.names:
                counts[self.names[image_set_id]] += outcome_of(CallState(where)) is Outcome.APPLIED
        return counts


def _filled(edit: dict[str, Any], study: str) -> dict[str, Any]:
    return {name: value.format(study=study) if isinstance(value, str) else value for name, value in edit.items()}


def _of(fault: Fault, image_set_id: str) -> Fault:
    return replace(fault, image_set_id=image_set_id)


def wanted(rules: ServiceProfile) -> dict[str, int]:
    """Edits that are to be applied, by trouble."""
    found = {
        name: len(trouble.edits) if trouble.applied is None else trouble.applied for name, trouble in TROUBLES.items()
    }
    for (switch, choice), changes in OTHERWISE.items():
        if getattr(rules, switch) == choice:
            found |= changes
    return found


def single_switches() -> Iterator[Any]:
    """Both ages, and each other choice of each switch."""
    for age in ("2025", "2026"):
        yield pytest.param(profile(age), id=age)
    default = profile()
    for name, choices in switches().items():
        for choice in choices:
            if name != "service_version" and choice != getattr(default, name):
                yield pytest.param(profile(**{name: choice}), id=f"{name}={choice}")


@pytest.mark.slow
@pytest.mark.parametrize("rules", list(single_switches()))
def test_every_edit_is_made_once_or_said_not_to_be_switch_by_switch(rules: ServiceProfile, tmp_path: Path) -> None:
    scenario = Scenario.under(rules, tmp_path)
    assert not scenario.process()
    check(scenario)


# so few GetImageSet that hardly a look goes out under their quota
BY_LIST: dict[str, Any] = {"rates": {**FAST, Operation.GET: Rate(0.2, 1)}, "unlock_timeout_s": 600.0}


@pytest.mark.slow
@pytest.mark.parametrize("rules", list(single_switches()))
def test_every_edit_is_made_once_by_looks_at_lists(rules: ServiceProfile, tmp_path: Path) -> None:
    scenario = Scenario.under(rules, tmp_path)
    assert not scenario.process(**BY_LIST)
    check(scenario)
    assert looked_at_lists(scenario)


def looked_at_lists(scenario: Scenario) -> bool:
    """Whether most of the looks were at lists of versions."""
    actions = Counter(entry.action for entry in scenario.server.journal.since() if entry.kind == "request")
    return actions["ListImageSetVersions"] > actions[GET]


def check(scenario: Scenario) -> Sheet:
    """Judge what has become of every trouble; all that is wrong is told by the trouble's name."""
    sheet, wrong = weigh(scenario.server, scenario.plan, scenario.ledger)
    told = [scenario.by_name(one) for one in wrong]
    applied, wants = scenario.applied(), wanted(scenario.server.settings.profile)
    told += [f"{name}: {applied[name]} applied, not {wants[name]}" for name in TROUBLES if applied[name] != wants[name]]
    assert not told, "\n".join(told)
    return sheet


KILLED: dict[str, dict[str, str]] = {
    "documented": {},
    "stale is 409": {"stale_version": "conflict"},
    "failures leave no version": {"failed_version": "kept"},
    "refused at once": {"constraints": "sync"},
    "content before version": {"checked_first": "content"},
    "removals by the empty value": {"removal_match": "empty"},
    "no metadata during updates": {"metadata_while_updating": "conflict"},
}


@pytest.mark.slow
@pytest.mark.parametrize("rules", [profile(**choices) for choices in KILLED.values()], ids=KILLED)
def test_every_edit_is_made_once_without_merging(rules: ServiceProfile, tmp_path: Path) -> None:
    scenario = Scenario.under(rules, tmp_path, merge=False)
    assert not scenario.process()
    check(scenario)


DECISIVE = (
    "stale_version",
    "constraints",
    "checked_first",
    "failed_version",
    "removal_match",
    "metadata_while_updating",
    "uid_keys",
)


def combinations() -> Iterator[Any]:
    """Each choice of the switches that decide what answers mean, with each other."""
    for choices in itertools.product(*(switches()[name] for name in DECISIVE)):
        yield pytest.param(profile(**dict(zip(DECISIVE, choices, strict=True))), id="-".join(choices))


@pytest.mark.slow
@pytest.mark.parametrize("rules", list(combinations()))
def test_every_edit_is_made_once_under_every_combination(rules: ServiceProfile, tmp_path: Path) -> None:
    scenario = Scenario.under(rules, tmp_path)
    scenario.process()
    check(scenario)


EARLY, SOON_AGAIN = (40, 150, 333), (111, 7, 60)  # the requests at which the processes of a run are killed


@pytest.mark.slow
@pytest.mark.parametrize("rules", [profile(**choices) for choices in KILLED.values()], ids=KILLED)
@pytest.mark.parametrize("kills", [EARLY, SOON_AGAIN], ids=["early", "soon again"])
@pytest.mark.parametrize("options", [{}, BY_LIST], ids=["", "by list"])
def test_every_edit_is_made_once_through_kills(
    rules: ServiceProfile, kills: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    """Each kill falls between an intent and its answer, somewhere; the next process goes on."""
    scenario = Scenario.under(rules, tmp_path)
    through_kills(scenario, kills, options)
    check(scenario)


def through_kills(scenario: Scenario, kills: tuple[int, ...], options: dict[str, Any]) -> None:
    for number, at in enumerate(kills):
        assert scenario.process(Kill(at, done=number % 2 == 0), **options)
    assert not scenario.process(**options)


SWITCHES = {name: choices for name, choices in switches().items() if choices}  # one is a number: it has no choices
WAYS: dict[str, list[Any]] = {
    "kills": [(), EARLY, SOON_AGAIN],
    "options": [{}, BY_LIST],
    "merge": [True, False],
}


@pytest.mark.parametrize("chosen", covering({**SWITCHES, **WAYS}), ids=itertools.count())
def test_every_edit_is_made_once_or_said_not_to_be(chosen: dict[str, Any], tmp_path: Path) -> None:
    """Each choice of each switch beside each choice of every other; killed and not, merged and not, by list and not."""
    rules = {name: chosen[name] for name in SWITCHES if name != "service_version"}
    scenario = Scenario.under(profile(chosen["service_version"], **rules), tmp_path, merge=chosen["merge"])
    through_kills(scenario, chosen["kills"], chosen["options"])
    check(scenario)
    assert looked_at_lists(scenario) or chosen["options"] is not BY_LIST
