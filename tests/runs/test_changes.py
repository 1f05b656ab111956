"""Rows of frames, as the types of the code have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_type_hints

import polars as pl
import pytest

from bulkedit.edits.edit import EDITS, EditRow
from bulkedit.errors import UnprovenLedgerError
from bulkedit.plans.schema import PLANNED_EDITS, PlannedEdit
from bulkedit.runs import folder
from bulkedit.runs.changes import CHANGES, ChangeRow, Changes
from bulkedit.runs.ledger import Ledger
from tests.runs.factories import planned

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

KINDS = {pl.String: str, pl.Enum: str, pl.UInt32: int, pl.Float64: float, pl.Boolean: bool}


@pytest.mark.parametrize(
    ("row", "schema"),
    [(EditRow, EDITS), (PlannedEdit, PLANNED_EDITS), (ChangeRow, CHANGES)],
    ids=["edit", "plan", "change"],
)
def test_a_row_has_the_types_of_its_frame(row: type[Any], schema: pl.Schema) -> None:
    for name, hint in get_type_hints(row).items():
        assert hint in {KINDS[schema[name].base_type()], KINDS[schema[name].base_type()] | None}, name


def test_a_change_has_all_columns_of_its_frame() -> None:
    assert get_type_hints(ChangeRow).keys() == set(CHANGES)


def test_a_run_that_began_and_has_no_ledger_is_an_error(tmp_path: Path) -> None:
    plan = planned(tmp_path / "plan", "d" * 32, [])
    run = folder.create(tmp_path / "r", plan, {"connection": {}, "options": {}}, datetime.now(UTC))
    assert Changes(run).all().collect().height == 0
    Ledger.create(run.ledger).close()
    for file in run.folder.glob("ledger.sqlite*"):
        file.unlink()
    with pytest.raises(UnprovenLedgerError, match="the ledger of this run is missing"):
        Changes(run)
