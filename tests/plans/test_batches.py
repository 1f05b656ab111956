"""Planning in batches: the plan is that of one batch, whatever their size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit import plans
from bulkedit.plans import batches
from tests.examples import examples
from tests.plans.test_proof import an_edit, plan_of, rows_of

IDS = [f"{n:032d}" for n in range(4)]


@given(edits=st.lists(an_edit(), min_size=1, max_size=12), data=st.data(), limit=st.sampled_from([10_000, 250]))
@examples(8)
def test_a_plan_does_not_depend_on_the_size_of_its_batches(
    edits: list[dict[str, Any]], data: st.DataObject, limit: int
) -> None:
    where = data.draw(st.lists(st.integers(0, 3), min_size=len(edits), max_size=len(edits)))
    rows = rows_of(edits, IDS, where)
    whole = plan_of(rows, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_ROWS", 2)
        parted = plan_of(rows, limit)
        assert plans.estimate(parted) == plans.estimate(whole)
    assert parted.edits.equals(whole.edits)
    assert parted.set_aside.equals(whole.set_aside)
    kept = [name for name in whole.calls.columns if name not in {"updatable", "removable"}]
    assert parted.calls.select(kept).equals(whole.calls.select(kept))
