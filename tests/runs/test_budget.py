"""How much may go wrong: the truth tables of both budgets, and runs that spend them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkedit.client.pacing import Operation
from bulkedit.client.responses import Accepted, CallState, Datastore, Lost, Outcome
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind
from bulkedit.errors import (
    AccessError,
    BudgetSpentError,
    BulkeditError,
    CredentialsError,
    DatastoreError,
    EndpointError,
    UsageError,
)
from bulkedit.options.running import Halt
from bulkedit.runs.budget import (
    PASSWORD_S,
    TOKENS,
    TRICKLE_S,
    ErrorBudget,
    ForeignAnswers,
    MaxErrors,
    RetryBudget,
    parse_max_errors,
)
from tests.emulator.hospital import document
from tests.runs.factories import PassThroughClient, planned, row
from tests.runs.journal_check import judge
from tests.runs.killable import emulated, process

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.client.contract import Client, UpdateRequest
    from bulkedit.client.responses import ImageSet, Page, Refused
    from tests.runs.journal_check import Sheet
    from tests.runs.killable import Emulated

O = Outcome  # noqa: E741
UPDATE, GET = "UpdateImageSetMetadata", "GetImageSet"


# -- the truth tables


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0", MaxErrors(0)),
        ("20", MaxErrors(20)),
        ("5%", MaxErrors(0.05, share=True)),
        ("0.5 %", MaxErrors(0.005, True)),
    ],
)
def test_a_limit_is_a_number_or_a_share(text: str, limit: MaxErrors) -> None:
    assert parse_max_errors(text) == limit


@pytest.mark.parametrize("text", ["", "-1", "five", "5.5", "101%", "%"])
def test_a_limit_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_max_errors(text)


@pytest.mark.parametrize(
    ("limit", "completed", "why"),
    [
        (None, {O.REJECTED: 1_000}, None),
        ("0", {O.APPLIED: 1_000}, None),
        ("0", {O.REJECTED: 1}, "1 edits failed, the limit is 0"),
        ("2", {O.REJECTED: 1, O.FAILED: 1}, None),
        ("2", {O.REJECTED: 2, O.FAILED: 1}, "3 edits failed, the limit is 2"),
        ("0", {O.CONFLICTED: 1_000}, None),
        ("0", {O.UNPROCESSED: 1_000}, None),
        ("5%", {O.REJECTED: 99}, None),
        ("5%", {O.REJECTED: 100}, "100.0 % of 100 edits failed, the limit is 5 % after 100"),
        ("5%", {O.REJECTED: 5, O.APPLIED: 95}, None),
        ("5%", {O.REJECTED: 6, O.APPLIED: 94}, "6.0 % of 100 edits failed, the limit is 5 % after 100"),
        ("0%", {O.APPLIED: 100}, None),
        ("100%", {O.REJECTED: 100}, None),
    ],
)
def test_only_rejected_and_failed_edits_spend_the_budget(
    limit: str | None, completed: dict[Outcome, int], why: str | None
) -> None:
    budget = ErrorBudget(None if limit is None else parse_max_errors(limit), 100)
    for outcome, edits in completed.items():
        budget.add(outcome, edits)
    assert budget.spent == why


def test_repeats_beyond_the_tokens_go_out_one_by_one() -> None:
    budget = RetryBudget()
    waits = [budget.repeat(10.0) for _ in range(int(TOKENS) + 3)]
    assert waits == [0.0] * int(TOKENS) + [TRICKLE_S, 2 * TRICKLE_S, 3 * TRICKLE_S]


def test_an_answer_gives_a_token_back_and_frees_the_queue() -> None:
    budget = RetryBudget(tokens=0.0)
    assert [budget.repeat(0.0), budget.repeat(0.0)] == [TRICKLE_S, 2 * TRICKLE_S]
    budget.answered()
    assert [budget.repeat(0.0), budget.repeat(0.0)] == [0.0, TRICKLE_S]


def test_tokens_do_not_pile_up() -> None:
    budget = RetryBudget()
    for _ in range(1_000):
        budget.answered()
    assert budget.tokens == TOKENS


def test_silence_lasts_from_the_first_lost_answer_to_the_next_answer() -> None:
    budget = RetryBudget()
    assert budget.silent_s(5.0) == 0.0
    budget.lost(10.0)
    budget.lost(20.0)
    assert budget.silent_s(25.0) == 15.0
    budget.answered()
    assert budget.silent_s(30.0) == 0.0


def test_answers_of_something_else_count_by_operation_and_one_for_a_password_soon_lasts_too_long() -> None:
    page, password = Lost("HTTP 403 without an error type", 403), Lost("HTTP 407 without an error type", 407)
    foreign = ForeignAnswers()
    foreign.note(Operation.UPDATE, page, 0.0)
    foreign.note(Operation.GET, Datastore("0" * 32, "ACTIVE"), 50.0)
    foreign.note(Operation.UPDATE, Lost("ReadTimeoutError"), 60.0)
    assert foreign.lasting(99.0, 100.0) is None
    assert foreign.lasting(100.0, 100.0) is page
    foreign.note(Operation.UPDATE, Accepted(2), 101.0)
    assert foreign.lasting(1_000.0, 0.0) is None
    foreign.note(Operation.UPDATE, password, 200.0)
    assert foreign.lasting(200.0 + PASSWORD_S - 1, 3600.0) is None
    assert foreign.lasting(200.0 + PASSWORD_S, 3600.0) is password


# -- runs


class Hospital:
    """Image sets, a plan of one call each, and a run of it."""

    def __init__(self, folder: Path, count: int, *, bad: int = 0) -> None:
        self.server: Emulated = emulated()
        self.folder = folder
        self.ids = [
            self.server.world.add_image_set(
                DEFAULT_DATASTORE_ID, document(study=f"1.2.{number}"), now=self.server.now(), primary=False
            )
            for number in range(count)
        ]
        rows = [row(one, "StudyID" if n < bad else "PatientName", f"V{n}") for n, one in enumerate(self.ids)]
        self.plan = planned(folder / "plan", DEFAULT_DATASTORE_ID, rows)

    def trouble(self, **fields: Any) -> None:
        self.server.faults.add([Fault(**fields)], now=self.server.now())

    def run(self, **options: Any) -> None:
        process(self.server, self.plan, self.folder / "ledger.sqlite", **options)

    def stops(self, kind: type[BulkeditError], **options: Any) -> BulkeditError:
        with pytest.raises(kind) as caught:
            self.run(**options)
        return caught.value

    def sheet(self) -> Sheet:
        return judge(self.server, self.plan, self.folder / "ledger.sqlite")


@pytest.mark.parametrize("halt", Halt)
def test_a_spent_budget_stops_the_run_which_can_go_on(tmp_path: Path, halt: Halt) -> None:
    hospital = Hospital(tmp_path, 60, bad=20)
    error = hospital.stops(BudgetSpentError, max_errors=MaxErrors(4), halt=halt, max_in_flight=5, workers=2)
    assert error.exit_code == 3
    assert "edits failed, the limit is 4" in error.what
    sheet = hospital.sheet()
    assert 5 <= sheet.outcomes[O.REJECTED] <= 10
    assert sheet.outcomes[O.UNPROCESSED] >= 45
    # `soon` has waited for what was under way
    assert (sheet.states[CallState.ACCEPTED] + sheet.states[CallState.INTENDED] == 0) or halt is Halt.NOW
    hospital.run()
    assert hospital.sheet().outcomes == {O.APPLIED: 40, O.REJECTED: 20}


def test_a_budget_that_is_spent_by_the_last_edit_stops_nothing(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 3, bad=3)
    hospital.run(max_errors=MaxErrors(2))
    assert hospital.sheet().outcomes == {O.REJECTED: 3}


def test_throttles_faults_and_conflicts_spend_no_error_budget(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 20)
    for kind in (FaultKind.THROTTLE, FaultKind.DROP_AFTER, FaultKind.FAIL, FaultKind.FOREIGN_BEFORE):
        hospital.trouble(kind=kind, action=UPDATE, rate=0.3)
    hospital.run(max_errors=MaxErrors(0))
    assert hospital.sheet().outcomes == {O.APPLIED: 20}


@pytest.mark.parametrize(
    ("kind", "error"),
    [(FaultKind.DENIED, AccessError), (FaultKind.EXPIRED, CredentialsError)],
    ids=["denied", "expired"],
)
@pytest.mark.parametrize("action", [UPDATE, GET])
def test_what_no_call_can_get_past_stops_the_run_at_once(
    tmp_path: Path, kind: FaultKind, error: type[BulkeditError], action: str
) -> None:
    hospital = Hospital(tmp_path, 50)
    hospital.trouble(kind=kind, action=action, skip=20)
    assert hospital.stops(error, workers=4, max_in_flight=4).exit_code == 4
    refused = sum(hospital.sheet().struck.values())
    assert 1 <= refused <= (14 if kind is FaultKind.DENIED else 4)  # ten in a row, and those under way
    hospital.server.faults.clear()
    hospital.run()
    sheet = hospital.sheet()
    assert (sheet.outcomes, sheet.updated) == ({O.APPLIED: 50}, 50)


@pytest.mark.parametrize("status", ["DELETED", "DELETING", None])
def test_a_data_store_that_goes_stops_the_run_and_rejects_nothing(tmp_path: Path, status: str | None) -> None:
    hospital = Hospital(tmp_path, 5)
    world = hospital.server.world
    store = world.datastores[DEFAULT_DATASTORE_ID]
    if status is None:
        del world.datastores[DEFAULT_DATASTORE_ID]
    else:
        store.status = status
    hospital.stops(DatastoreError)
    world.datastores[DEFAULT_DATASTORE_ID] = store
    store.status = "ACTIVE"
    assert hospital.sheet().outcomes == {O.UNPROCESSED: 5}
    hospital.run()
    assert hospital.sheet().outcomes == {O.APPLIED: 5}


def test_many_image_sets_that_are_gone_need_one_question_for_the_data_store(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 30)
    for one in hospital.ids:
        image_set = hospital.server.world.image_set(DEFAULT_DATASTORE_ID, one)
        image_set.deleted_at = 1.0
    hospital.run()
    assert hospital.sheet().outcomes == {O.REJECTED: 30}
    asked = [entry for entry in hospital.server.journal.since() if entry.action == "GetDatastore"]
    assert 1 <= len(asked) <= 32  # those that were under way together


def test_a_service_that_stays_silent_stops_the_run_and_nothing_is_given_up(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 30)
    hospital.trouble(kind=FaultKind.DROP_BEFORE)
    error = hospital.stops(EndpointError, retry_for_s=600.0)
    assert "has not answered for 600 s" in error.what
    assert hospital.sheet().outcomes == {O.UNPROCESSED: 30}
    hospital.server.faults.clear()
    hospital.run()
    sheet = hospital.sheet()
    assert (sheet.outcomes, sheet.updated) == ({O.APPLIED: 30}, 30)


class BehindProxy(PassThroughClient):
    """A client whose updates, or all requests, are answered by a proxy in a span of its clock."""

    def __init__(self, inner: Client, page: Lost, *, reads: bool, until: float = math.inf) -> None:
        super().__init__(inner)
        self._page, self._reads, self._until = page, reads, until

    @property
    def _blocked(self) -> bool:
        return anyio.current_time() < self._until

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        return self._page if self._blocked else await super().update(request)

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused | Lost:
        return self._page if self._reads and self._blocked else await super().list_versions(image_set_id, **page)

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        return self._page if self._reads and self._blocked else await super().get_image_set(image_set_id, version)


@pytest.mark.parametrize("reads", [False, True], ids=["updates", "all requests"])
@pytest.mark.parametrize(("status", "words"), [(403, "the proxy http://p:3128 has sent it"), (407, "HTTPS_PROXY=")])
def test_a_proxy_that_answers_for_the_service_stops_the_run_and_gives_no_edit_an_outcome(
    tmp_path: Path, reads: bool, status: int, words: str
) -> None:
    hospital = Hospital(tmp_path, 10)
    page = Lost(f"HTTP {status} without an error type", status, "http://p:3128")
    error = hospital.stops(EndpointError, wrap=lambda client: BehindProxy(client, page, reads=reads), retry_for_s=60.0)
    assert f"HTTP {status} without an error type" in error.what
    assert words in str(error)
    assert "bulkedit resume RUN" in str(error.hint)
    assert hospital.sheet().outcomes == {O.UNPROCESSED: 10}
    hospital.run()
    assert (hospital.sheet().outcomes, hospital.sheet().updated) == ({O.APPLIED: 10}, 10)


def test_calls_that_only_a_proxy_stops_are_left_and_the_run_says_so(tmp_path: Path) -> None:
    """The attempts of each call are used up before `retry_for` is over."""
    hospital = Hospital(tmp_path, 3)
    page = Lost("HTTP 403 without an error type", 403)
    error = hospital.stops(EndpointError, wrap=lambda client: BehindProxy(client, page, reads=False), max_attempts=2)
    assert "a firewall or a sign-in page" in str(error.likely)
    assert hospital.sheet().outcomes == {O.UNPROCESSED: 3}


def test_a_page_of_a_proxy_for_ten_minutes_is_outlasted(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 10)
    page = Lost("HTTP 503 without an error type", 503)
    hospital.run(wrap=lambda client: BehindProxy(client, page, reads=True, until=600.0))
    assert (hospital.sheet().outcomes, hospital.sheet().updated) == ({O.APPLIED: 10}, 10)


def test_an_outage_is_outlasted(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 30)
    hospital.trouble(kind=FaultKind.DROP_BEFORE, start=0.0, end=900.0)
    hospital.run()
    sheet = hospital.sheet()
    assert (sheet.outcomes, sheet.updated) == ({O.APPLIED: 30}, 30)


def test_a_storm_of_faults_does_not_multiply_the_load(tmp_path: Path) -> None:
    """In 900 s of silence repeats come one a second, once the tokens are spent, however many calls want theirs."""
    hospital = Hospital(tmp_path, 100)
    hospital.trouble(kind=FaultKind.ERROR_BEFORE, start=0.0, end=900.0)
    hospital.run()
    struck = hospital.sheet().struck[FaultKind.ERROR_BEFORE]
    first = 100  # looks
    assert struck <= first + TOKENS + 900 / TRICKLE_S


def test_a_call_is_given_up_after_so_many_updates_and_no_other_with_it(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, 3)
    hospital.trouble(kind=FaultKind.FAIL, action=UPDATE, image_set_id=hospital.ids[1])
    hospital.run(max_attempts=3)
    sheet = hospital.sheet()
    assert sheet.outcomes == {O.APPLIED: 2, O.FAILED: 1}
    assert sheet.failed == 3
