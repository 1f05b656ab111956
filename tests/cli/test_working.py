"""What a command that works for long does to its process."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from bulkedit.cli import _working
from bulkedit.cli._working import short_collections

if TYPE_CHECKING:
    import pytest


def test_a_collection_leaves_out_what_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_working, "gc", gc)  # the other tests do without
    before = gc.get_freeze_count()
    there: list[list[int]] = [[] for _ in range(10_000)]
    try:
        with short_collections():
            assert gc.get_freeze_count() >= before + len(there)
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()
