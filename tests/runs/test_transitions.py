"""The truth table of what happens next to a call."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import Accepted, ImageSet, Lost, Refusal, Refused, Standing, State
from bulkedit.runs import transitions as verdict
from bulkedit.runs.transitions import NEXT, Finding, Step, next_step

if TYPE_CHECKING:
    from collections.abc import Callable

S, F = Standing, Finding
OPEN = (S.PLANNED, S.INTENDED, S.IN_DOUBT, S.ACCEPTED)
SENT = (S.INTENDED, S.IN_DOUBT)


def image_set(
    version: int, state: State = State.ACTIVE, status: str = "UPDATED", message: str = "", updated_at: float = 0.0
) -> ImageSet:
    return ImageSet(
        image_set_id="0" * 32, version=version, state=state, status=status, full_message=message, updated_at=updated_at
    )


@pytest.mark.parametrize("standing", SENT)
@pytest.mark.parametrize("reply", [Accepted(2), Lost("x"), *(Refused(kind, "x") for kind in Refusal)], ids=repr)
def test_every_answer_to_an_update_has_a_next_step(standing: Standing, reply: Accepted | Refused | Lost) -> None:
    assert next_step(standing, verdict.of_answer(reply)) in Step


@pytest.mark.parametrize("standing", OPEN)
@pytest.mark.parametrize("reply", [Lost("x"), *(Refused(kind, "x") for kind in Refusal)], ids=repr)
def test_every_failed_read_has_a_next_step(standing: Standing, reply: Refused | Lost) -> None:
    assert next_step(standing, verdict.of_failed_read(reply)) in Step


@pytest.mark.parametrize("standing", OPEN)
@pytest.mark.parametrize("version", [3, 4, 5, 6])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("status", ["UPDATED", "UPDATE_FAILED"])
def test_every_look_has_a_next_step(standing: Standing, version: int, state: State, status: str) -> None:
    found = image_set(version, state, status, updated_at=9.0)
    if standing is S.PLANNED:
        meanings = {verdict.of_first_look(found, expected=e, behind=b) for e in (True, False) for b in (True, False)}
    else:
        chosen: list[Any] = [{"base_updated_at": at, "reused": r} for at in (None, 0.0) for r in (True, False)]
        meanings = {verdict.of_look(found, standing=standing, base=4, **options) for options in chosen}
    assert all(next_step(standing, meaning) in Step for meaning in meanings)


def test_only_the_service_or_the_edit_ends_a_call() -> None:
    """Throttles, stale versions, conflicts and lost answers never settle one."""
    endings = {Step.APPLIED, Step.REJECTED, Step.FAILED}
    ends = {finding for (_, finding), step in NEXT.items() if step in endings}
    assert ends.isdisjoint({F.THROTTLED, F.TOO_MANY, F.STALE, F.CONFLICT, F.LOST, F.READ_LOST, F.READ_THROTTLED})


def test_a_call_in_doubt_is_applied_only_on_proof_and_rejected_only_on_the_services_word() -> None:
    applied = [finding for (standing, finding), step in NEXT.items() if standing is S.IN_DOUBT and step is Step.APPLIED]
    rejected = [
        finding for (standing, finding), step in NEXT.items() if standing is S.IN_DOUBT and step is Step.REJECTED
    ]
    assert (applied, rejected) == ([F.OURS, F.UNCHANGED], [F.INVALID_ON_BASE])


def test_a_request_is_sent_again_only_where_nothing_newer_than_its_base_stands() -> None:
    again = {finding for (_, finding), step in NEXT.items() if step is Step.SEND_AGAIN}
    assert again == {F.THROTTLED, F.TOO_MANY, F.UNMOVED}


def test_a_systemic_answer_halts_wherever_the_call_is() -> None:
    assert {NEXT[standing, F.SYSTEMIC] for standing in OPEN} == {Step.HALT}


def test_a_pair_that_cannot_be_raises_and_names_both() -> None:
    with pytest.raises(LookupError, match="planned cannot find: accepted"):
        next_step(S.PLANNED, F.ACCEPTED)


LOOKS: list[tuple[Standing, int | None, ImageSet, Finding]] = [
    (S.INTENDED, 4, image_set(5), F.REACHED),
    (S.INTENDED, 4, image_set(6), F.PASSED),
    (S.INTENDED, 4, image_set(6, State.LOCKED), F.LOCKED),
    (S.IN_DOUBT, 4, image_set(3), F.LOCKED),
    (S.IN_DOUBT, 4, image_set(6, State.LOCKED), F.PASSED),
    (S.IN_DOUBT, 4, image_set(4), F.UNMOVED),
    (S.IN_DOUBT, 4, image_set(4, State.LOCKED), F.LOCKED),
    (S.IN_DOUBT, 4, image_set(5, State.LOCKED), F.LOCKED),
    (S.IN_DOUBT, 4, image_set(5), F.REACHED),
    (S.IN_DOUBT, 4, image_set(6), F.PASSED),
    (S.ACCEPTED, 4, image_set(4), F.UNMOVED),
    (S.ACCEPTED, 4, image_set(5, State.LOCKED), F.LOCKED),
    (S.ACCEPTED, 4, image_set(5), F.REACHED),
    (S.ACCEPTED, 4, image_set(7), F.PASSED),
    (S.ACCEPTED, 4, image_set(5, status="UPDATE_FAILED", message="INVALID_REQUEST: no"), F.FAILED_REQUEST),
    (S.ACCEPTED, 4, image_set(5, status="UPDATE_FAILED", message="INTERNAL_ERROR: no"), F.FAILED_SERVICE),
    # a service whose failed updates use no version up: told from a read that lags by its time
    (S.ACCEPTED, 4, image_set(4, status="UPDATE_FAILED", updated_at=2.0), F.FAILED_REQUEST),
    (S.ACCEPTED, 4, image_set(4, status="UPDATE_FAILED", updated_at=1.0), F.UNMOVED),
    (S.ACCEPTED, 4, image_set(5, State.DELETED), F.GONE),
]


@pytest.mark.parametrize(
    ("standing", "base", "found", "finding"),
    LOOKS,
    ids=[f"{s}-{b}-{f.version}-{f.state}-{f.status}" for s, b, f, _ in LOOKS],
)
def test_what_a_look_means(standing: Standing, base: int, found: ImageSet, finding: Finding) -> None:
    assert verdict.of_look(found, standing=standing, base=base, base_updated_at=1.0) == finding


@pytest.mark.parametrize(
    ("found", "expected", "behind", "finding"),
    [
        (image_set(4), True, False, F.UNMOVED),
        (image_set(4), False, False, F.PASSED),
        (image_set(4), True, True, F.LOCKED),
        (image_set(4), False, True, F.LOCKED),
        (image_set(4, State.LOCKED), True, False, F.LOCKED),
        (image_set(4, State.LOCKED), False, False, F.LOCKED),
        (image_set(4, State.DELETED), False, False, F.GONE),
    ],
    ids=["free", "another writer's", "lagging", "lagging and another's", "locked", "locked by another", "gone"],
)
def test_what_a_look_before_the_request_means(found: ImageSet, expected: bool, behind: bool, finding: Finding) -> None:
    assert verdict.of_first_look(found, expected=expected, behind=behind) == finding


@pytest.mark.parametrize(
    ("message", "finding"),
    [
        ("INVALID_REQUEST:  Series don't match.", F.FAILED_REQUEST),
        ("", F.FAILED_REQUEST),
        ("SERVICE_UNAVAILABLE: try again", F.FAILED_SERVICE),
    ],
    ids=["by the request", "without words", "by the service"],
)
def test_whose_fault_a_failed_update_is(message: str, finding: Finding) -> None:
    assert verdict.of_failure(message) == finding


def test_the_lifecycle_lists_the_whole_table() -> None:
    lines = verdict.lifecycle().splitlines()
    assert len(lines) == 2 + len(NEXT)
    assert "| in doubt | answer lost | look |" in lines


def test_every_finding_and_every_step_is_used() -> None:
    used: Callable[[int], set[object]] = lambda place: {(*pair, step)[place] for pair, step in NEXT.items()}  # noqa: E731
    assert used(1) == set(Finding)
    assert used(2) == set(Step)
    assert used(0) == set(OPEN)
    assert len(set(itertools.chain(OPEN, Standing))) == len(Standing)
