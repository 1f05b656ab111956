"""The short form of the week; a hundred weeks are `python -m benchmarks.week`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from bulkedit.runs.ledger import Ledger
from tests.runs import week

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, Lost, Refused

SEEDS = (1, 4)
DAYS = 0.15


def test_a_run_outlives_its_surroundings_and_its_books_are_even(tmp_path: Path) -> None:
    played = []
    for seed in SEEDS:
        (tmp_path / str(seed)).mkdir()
        played.append(week.play(week.draw(seed, DAYS), tmp_path / str(seed)))
    assert [one.wrong for one in played] == [[], []]
    # every trouble of the calendar has come
    assert sum((one.ends for one in played), Counter()).keys() == week.ENDS
    assert sum(one.sheet.struck[kind] for one in played for kind in week.OUTAGES) > 10
    for trouble in ("kills", "pages", "renewals"):
        assert sum(getattr(one, trouble) for one in played) > 5
    assert min(one.sheet.strangers for one in played) > 0


def test_the_same_seed_gives_the_same_ledger(tmp_path: Path) -> None:
    rows = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        week.play(week.draw(5, 0.05), folder)
        with Ledger.read(folder / "ledger.sqlite") as ledger:
            rows.append(list(ledger.events()))
    assert len(rows[0]) > 50
    assert rows[0] == rows[1]


def test_a_request_that_is_sent_twice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(week._Surrounded):
        async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
            answer = await super().update(request)
            await anyio.sleep(60)  # until the image set is unlocked
            await self.inner.update(replace(request, expected_version=request.expected_version + 1))
            return answer

    monkeypatch.setattr(week, "_Surrounded", Twice)
    quiet = replace(week.draw(3, 0.02), faults=(), kills=(), writers=())
    assert any("no call claims it" in wrong for wrong in week.play(quiet, tmp_path).wrong)
