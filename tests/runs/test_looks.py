"""Looks go out under two quotas: GetImageSet, and ListImageSetVersions where that has no room."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.parsing import newest_of
from bulkedit.client.responses import Page, Refusal, Refused
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Emulator, Settings, serve
from tests.emulator.hospital import document
from tests.runs.factories import FAST, PassThroughClient, row, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit.client.responses import Lost

RATES = {**FAST, Operation.GET: Rate(5, 5)}
EDITS = 40


@pytest.fixture(name="emulator")
def _emulator() -> Iterator[Emulator]:
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        yield emulator


def rows(emulator: Emulator, count: int) -> list[dict[str, Any]]:
    return [row(emulator.add(document(study=f"1.2.{number}")), "PatientName", "X") for number in range(count)]


def asked(emulator: Emulator) -> Counter[str]:
    return Counter(str(entry.action) for entry in emulator.journal() if entry.kind == "request")


async def test_looks_that_one_quota_has_no_room_for_go_out_under_the_other(emulator: Emulator, tmp_path: Path) -> None:
    ended = await run(emulator, tmp_path, rows(emulator, EDITS), rates=RATES)
    assert ended.counters.applied == EDITS
    counts = asked(emulator)
    assert counts["ListImageSetVersions"] > EDITS > counts["GetImageSet"] > 0
    assert ended.counters.reads == counts["ListImageSetVersions"] + counts["GetImageSet"]


async def test_nothing_is_listed_while_there_is_room(emulator: Emulator, tmp_path: Path) -> None:
    ended = await run(emulator, tmp_path, rows(emulator, 5))
    assert ended.counters.applied == 5
    assert asked(emulator)["ListImageSetVersions"] == 0


class Unlisted(PassThroughClient):
    """Lists are of no use: refused, or in no order that tells which version is the latest."""

    answer: Page | Refused = Refused(Refusal.ACCESS_DENIED, "AccessDeniedException")
    asked = 0

    async def list_versions(self, image_set_id: str, **_: Any) -> Page | Refused | Lost:  # noqa: ARG002
        self.asked += 1
        return self.answer


class Shuffled(Unlisted):
    answer = Page([], "more")


@pytest.mark.parametrize("habit", [Unlisted, Shuffled])
async def test_a_run_that_may_not_list_goes_on_without(
    emulator: Emulator, tmp_path: Path, habit: type[Unlisted]
) -> None:
    clients: list[Unlisted] = []

    def wrap(client: Any) -> Unlisted:
        clients.append(habit(client))
        return clients[-1]

    rates = {**RATES, Operation.GET: Rate(50, 5)}
    ended = await run(emulator, tmp_path, rows(emulator, EDITS), wrap=wrap, rates=rates, workers=4)
    assert ended.counters.applied == EDITS
    assert ended.counters.unresolved == 0
    assert 1 <= clients[0].asked <= 4  # those that were out together


def item(version: int, state: str = "ACTIVE", **more: Any) -> dict[str, Any]:
    return {"imageSetId": "a" * 32, "versionId": str(version), "imageSetState": state, **more}


@pytest.mark.parametrize(
    ("versions", "more", "latest"),
    [
        ([2, 1], True, 2),
        ([12, 11, 10], False, 12),
        ([1], False, 1),
        ([1, 2], False, 2),  # all there are
        ([1, 2], True, None),  # oldest first: the latest is on some later page
        ([1], True, None),
        ([], False, None),
        ([3, 3], True, 3),  # a number that was given twice
    ],
)
def test_a_page_tells_the_latest_version_or_nothing(versions: list[int], more: bool, latest: int | None) -> None:
    newest = newest_of(Page([item(version) for version in versions], "more" if more else None))
    assert (newest and newest.version) == latest


def test_an_item_is_as_get_image_set_has_it() -> None:
    at = datetime(2026, 4, 1, tzinfo=UTC)
    newest = newest_of(Page([item(3, "LOCKED", ImageSetWorkflowStatus="UPDATING", updatedAt=at), item(2)], None))
    assert newest is not None
    assert (newest.state, newest.status, newest.updated_at) == ("LOCKED", "UPDATING", at.timestamp())


@pytest.mark.parametrize("page", [[{}], [item(1) | {"versionId": "x"}], [None]])
def test_a_page_of_another_shape_tells_nothing(page: list[Any]) -> None:
    assert newest_of(Page(page, None)) is None
