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
