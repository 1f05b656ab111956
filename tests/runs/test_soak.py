"""The short form of the soak; the long one is `python -m benchmarks.soak`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit.client.responses import Outcome
from bulkedit.emulator import FaultKind
from tests.runs.soak import soak

if TYPE_CHECKING:
    from pathlib import Path


def test_a_thousand_calls_in_constant_trouble_end_with_even_books(tmp_path: Path) -> None:
    sheet = soak(tmp_path, 1_000)
    assert sheet.outcomes[Outcome.REJECTED] == 10
    assert 0 < sheet.outcomes[Outcome.CONFLICTED] < 10
    for kind in (
        FaultKind.THROTTLE,
        FaultKind.DROP_AFTER,
        FaultKind.ERROR_AFTER,
        FaultKind.ERROR_BEFORE,
        FaultKind.FAIL,
        FaultKind.FOREIGN_BEFORE,
    ):
        assert sheet.struck[kind] > 0
