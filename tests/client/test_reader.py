"""The one reader: what is repeated and for how long, and what ends it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import pytest

from bulkedit.client.pacing import DOCUMENTED, FAULT, POLL, WRITES, Operation, Rate
from bulkedit.client.reader import ACTIONS, ATTEMPTS, Clock, Reader
from bulkedit.client.responses import ImageSet, ImageSetState, Lost, Metadata, Page, Refusal, Refused
from bulkedit.errors import AccessError, CredentialsError, EndpointError, UntrustedServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ONE = "1" * 32
LISTED = {"imageSetId": ONE, "versionId": "3", "imageSetState": "ACTIVE"}
GOOD: dict[Operation, Any] = {
    Operation.GET: ImageSet(image_set_id=ONE, version=3, state=ImageSetState.ACTIVE, status="UPDATED"),
    Operation.METADATA: Metadata({"Study": {}}),
    Operation.VERSIONS: Page([LISTED], None),
    Operation.SEARCH: Page([{"imageSetId": ONE}], None),
}
LOST = Lost("ReadTimeoutError")


class Scripted:
    """Gives its answers one after another, the last one for ever; any read gets them."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.now = 0.0
        self.slept: list[float] = []
        self.asked = 0

    async def _next(self, *_names: Any, **_more: Any) -> Any:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    get_image_set = get_metadata = list_versions = search = _next

    async def sleep(self, seconds: float) -> None:
        self.slept += [seconds] if seconds else []
        self.now += seconds
        await anyio.lowlevel.checkpoint()

    def reader(self, rate: Rate = Rate(1000, 1000), **options: Any) -> Reader:  # noqa: B008 - frozen
        clock = Clock(monotonic=lambda: self.now, sleep=self.sleep)
        client: Any = self
        return Reader(client, dict.fromkeys(ACTIONS, rate), random.Random(1), clock, **options)


def _ids(page: Page) -> list[str]:
    return [str(one["imageSetId"]) for one in page.items]


READS: dict[Operation, Callable[[Reader], Awaitable[Any]]] = {
    Operation.GET: lambda reader: reader.image_set(ONE),
    Operation.METADATA: lambda reader: reader.metadata(ONE),
    Operation.VERSIONS: lambda reader: reader.versions(ONE),
    Operation.SEARCH: lambda reader: reader.search({}, _ids, limit=50),
}
each_read = pytest.mark.parametrize("operation", READS, ids=ACTIONS.get)


def test_every_read_of_the_service_has_its_name() -> None:
    assert ACTIONS.keys() == DOCUMENTED.keys() - set(WRITES) == READS.keys()


@each_read
@pytest.mark.parametrize("kind", [Refusal.THROTTLED, Refusal.TOO_MANY])
async def test_a_quota_is_waited_for_as_long_as_it_takes(operation: Operation, kind: Refusal) -> None:
    client = Scripted(*[Refused(kind, "")] * 40, GOOD[operation])
    reader = client.reader(Rate(1, 1))
    assert not isinstance(await READS[operation](reader), Refused)
    assert (reader.reads.requests, reader.reads.throttled, reader.reads.faults) == (41, 40, 0)
    assert client.slept[:3] == sorted(client.slept[:3])
    assert client.now > 30 * 32  # the pacer's pauses, which grow


@each_read
@pytest.mark.parametrize("fault", [LOST, Refused(Refusal.CONFLICT, "ConflictException")], ids=["lost", "409"])
async def test_a_fault_is_repeated_with_waits_that_grow(operation: Operation, fault: Lost | Refused) -> None:
    client = Scripted(*[fault, Refused(Refusal.THROTTLED, "")] * (ATTEMPTS - 1), GOOD[operation])
    reader = client.reader()
    assert not isinstance(await READS[operation](reader), Refused)
    assert (reader.reads.faults, reader.reads.throttled) == (ATTEMPTS - 1, ATTEMPTS - 1)
    assert client.slept[0] == FAULT.wait(1, random.Random(1))
    assert sum(client.slept) > sum(min(30, 0.5 * 2**n) / 2 for n in range(ATTEMPTS - 1))


@each_read
async def test_after_all_attempts_a_lost_answer_is_an_error_and_409_is_told(operation: Operation) -> None:
    client = Scripted(LOST)
    with pytest.raises(EndpointError, match=f"does not respond to {ACTIONS[operation]}, 10 times in a row .Read"):
        await READS[operation](client.reader())
    assert (client.asked, len(client.slept)) == (ATTEMPTS, ATTEMPTS - 1)  # no wait after the last
    client = Scripted(refused := Refused(Refusal.CONFLICT, "ConflictException"))
    assert await READS[operation](client.reader()) is refused
    assert client.asked == ATTEMPTS


@each_read
@pytest.mark.parametrize("kind", [Refusal.NOT_FOUND, Refusal.INVALID, Refusal.STALE, Refusal.UNKNOWN])
async def test_what_would_be_refused_again_is_not_repeated(operation: Operation, kind: Refusal) -> None:
    client = Scripted(refused := Refused(kind, ""))
    reader = client.reader()
    assert await READS[operation](reader) is refused
    assert (client.asked, reader.reads.faults) == (1, 0)


@each_read
@pytest.mark.parametrize(
    ("kind", "error"), [(Refusal.CREDENTIALS, CredentialsError), (Refusal.UNTRUSTED, UntrustedServerError)]
)
async def test_what_no_read_gets_past_ends_at_once(operation: Operation, kind: Refusal, error: type[Exception]) -> None:
    client = Scripted(Refused(kind, "Code"))
    with pytest.raises(error) as found:
        await READS[operation](client.reader())
    assert client.asked == 1
    if error is CredentialsError:
        assert "`profile=NAME`" in str(found.value)


@pytest.mark.parametrize("operation", [Operation.SEARCH, Operation.VERSIONS], ids=ACTIONS.get)
async def test_a_denial_that_is_of_no_image_set_ends_at_once(operation: Operation) -> None:
    with pytest.raises(AccessError) as found:
        await READS[operation](Scripted(Refused(Refusal.ACCESS_DENIED, "Code")).reader())
    assert f"medical-imaging:{ACTIONS[operation]}" in (found.value.likely or "")


@pytest.mark.parametrize("allowed_before", [False, True])
async def test_image_sets_that_are_denied_in_a_row_tell_of_the_permission(allowed_before: bool) -> None:
    denied = Refused(Refusal.ACCESS_DENIED, "Code")
    client = Scripted(*[denied] * 4, *([GOOD[Operation.GET]] if allowed_before else []), denied)
    reader = client.reader()
    many = 10 if allowed_before else 5
    for number in range(4 + allowed_before):
        await reader.image_set(f"{number:032}")
    for number in range(many - 1 if allowed_before else 0):
        assert await reader.image_set(f"{number + 100:032}") is denied
        assert await reader.image_set(f"{number + 100:032}") is denied  # the same one again is no other
    assert await reader.metadata(ONE) is denied  # counted by operation
    with pytest.raises(AccessError, match="AWS denied access"):
        await reader.image_set("9" * 32)


@pytest.mark.parametrize("operation", [Operation.SEARCH, Operation.VERSIONS], ids=ACTIONS.get)
async def test_a_page_that_cannot_be_read_is_asked_for_again(operation: Operation) -> None:
    client = Scripted(Page([{"versionId": "3"}], None), GOOD[operation])
    reader = client.reader()
    assert not isinstance(await READS[operation](reader), Refused)
    assert (client.asked, reader.reads.faults) == (2, 1)
    with pytest.raises(EndpointError, match="unreadable answer"):
        await READS[operation](Scripted(Page([{"versionId": "3"}], None)).reader())


async def test_versions_are_listed_as_far_as_they_are_asked_for() -> None:
    pages = [Page([{**LISTED, "versionId": str(n)}], f"token {n}" if n > 1 else None) for n in (3, 2, 1)]
    for since, versions in ((1, [3, 2, 1]), (2, [3, 2]), (3, [3])):
        found = await Scripted(*pages).reader().versions(ONE, since)
        assert not isinstance(found, Refused)
        assert [one.version for one in found] == versions


async def test_a_locked_image_set_is_looked_at_again_while_that_helps() -> None:
    locked = ImageSet(image_set_id=ONE, version=3, state=ImageSetState.LOCKED, status="UPDATING")
    active = GOOD[Operation.GET]
    client = Scripted(*[locked] * (ATTEMPTS - 1), active)
    assert await client.reader().completed(ONE) is active
    assert POLL.first_s / 2 <= client.slept[0] <= POLL.first_s < client.slept[-1]
    client = Scripted(locked)
    assert await client.reader().completed(ONE) is locked
    assert (client.asked, len(client.slept)) == (ATTEMPTS, ATTEMPTS - 1)


async def test_reads_of_several_share_the_quota_and_do_not_mix_their_attempts() -> None:
    class Slow(Scripted):
        async def get_image_set(self, image_set_id: str, _version: int | None) -> Any:
            self.asked += 1
            lost[image_set_id] -= 1
            return LOST if lost[image_set_id] >= 0 else GOOD[Operation.GET]

    lost = {f"{number:032}": ATTEMPTS - 1 for number in range(6)}
    client = Slow(None)
    reader = client.reader(Rate(1, 1))
    async with anyio.create_task_group() as tasks:
        for image_set_id in lost:
            tasks.start_soon(reader.image_set, image_set_id)
    assert set(lost.values()) == {-1}
    assert (reader.reads.requests, reader.reads.faults) == (6 * ATTEMPTS, 6 * (ATTEMPTS - 1))
    assert client.now >= 6 * ATTEMPTS - 1


async def test_a_defect_is_raised_as_it_is_and_not_repeated() -> None:
    class Defect(Scripted):
        async def get_image_set(self, *_names: Any) -> Any:
            self.asked += 1
            raise ZeroDivisionError

    client = Defect(None)
    with pytest.raises(ZeroDivisionError):
        await client.reader().image_set(ONE)
    assert client.asked == 1
