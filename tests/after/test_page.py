"""The page of a run as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.after.report import page, write_page
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_page_that_cannot_be_written_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = object()
    monkeypatch.setattr(page, "page", lambda *_: "<html>")
    path = tmp_path / "absent/page.html"
    with pytest.raises(UsageError, match=r"the page cannot be written \(No such file or directory\)") as caught:
        write_page(nothing, path, call_outcomes=nothing)
    assert caught.value.where == str(path)


COUNTS: Any = {"calls": 200, "saved_by_merging": 0, "saved_by_study_wide": 0, "saved_by_superseding": 0}


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, "200 updates."),
        ({"saved_by_merging": 67}, "200 updates instead of 267, saved 67 by merging."),
        (
            {"saved_by_merging": 30, "saved_by_study_wide": 7, "saved_by_superseding": 30, "already_satisfied": 1},
            (
                "200 updates instead of 267, saved 30 by merging, 7 by study-wide calls, 30 by rows that later ones "
                "replace. 1 edit already satisfied needs no call."
            ),
        ),
        ({"copies": 80, "deletions": 20}, "100 updates, and 100 copies and deletions."),
    ],
)
def test_the_saved_calls_of_every_kind_are_shown(counts: Any, text: str) -> None:
    of_plan: Any = {**COUNTS, **counts}
    assert page._saved(of_plan) == text
