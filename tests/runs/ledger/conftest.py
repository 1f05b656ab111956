"""A new ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit.runs.ledger import (
    Ledger,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.create(path) as created:
        yield created
