"""The rows of an image set are applied by version, then by `order`, then by row, whether rows share calls or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit import plans
from bulkedit._json import object_in
from bulkedit.edits.edit import EDITS, in_order
from bulkedit.emulator.state.document import parse
from tests.runs.factories import about_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cli.shell import Shell

HEADER = "image_set_id,action,attribute,value,order,version"
FIRST, LAST = "FIRST", "LAST"
# rows of one image set each (action, value, order, version), and the StudyDescription that they leave; before them,
# version 1 has CHEST and version 2 has SECOND
CASES: dict[str, tuple[list[tuple[str, str, str, str]], str | None]] = {
    "sets": ([("set", LAST, "2", ""), ("set", FIRST, "1", "")], LAST),
    "numbers, not texts": ([("set", LAST, "10", ""), ("set", FIRST, "9", "")], LAST),
    "the same order": ([("set", FIRST, "1", ""), ("set", LAST, "1", "")], LAST),
    "a set after a removal": ([("set", LAST, "2", ""), ("remove", "", "1", "")], LAST),
    "a removal after a set": ([("remove", "", "2", ""), ("set", FIRST, "1", "")], None),
    "a removal by value after a set": ([("remove", FIRST, "2", ""), ("set", FIRST, "1", "")], None),
    "a set after a revert": ([("set", LAST, "2", ""), ("revert", "1", "1", "")], LAST),
    "a revert after a set": ([("revert", "1", "2", ""), ("set", FIRST, "1", "")], "CHEST"),
    "a version is before an order": ([("set", LAST, "0", ""), ("set", FIRST, "9", "2")], LAST),
    "versions": ([("set", LAST, "0", "3"), ("set", FIRST, "9", "2")], LAST),
    "an order is before none": ([("revert", "1", "", ""), ("set", FIRST, "5", "")], "CHEST"),
}


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    """An image set for each case, at version 2."""
    found = shell.image_sets(len(CASES))
    rows = "".join(f"{one},StudyDescription,SECOND\n" for one in found)
    edits = shell.write("second.csv", f"image_set_id,attribute,value\n{rows}")
    assert shell.run("apply", edits, "--yes", "--run", "before").exit_code == 0
    return found


def listed(shell: Shell, image_sets: list[str], name: str = "edits.csv") -> Any:
    lines = [
        f"{one},{action},{'' if action == 'revert' else 'StudyDescription'},{value},{order},{version}"
        for one, (rows, _) in zip(image_sets, CASES.values(), strict=True)
        for action, value, order, version in rows
    ]
    return shell.write(name, "\n".join([HEADER, *lines]) + "\n")


def stored(shell: Shell, image_sets: Sequence[str]) -> dict[str, str | None]:
    def look(world: Any) -> list[Any]:
        found = [world.image_set(shell.emulator.datastore_id, one) for one in image_sets]
        return [object_in(parse(one.latest.document), "Study", "DICOM").get("StudyDescription") for one in found]

    return dict(zip(CASES, shell.emulator.do(look), strict=True))


WANTED = {name: wanted for name, (_, wanted) in CASES.items()}


@pytest.mark.parametrize("words", [(), ("--no-merge",)], ids=["merged", "each row a call"])
class TestWhichRowComesLast:
    def test_the_store_has_what_the_last_row_asks_for(
        self, shell: Shell, image_sets: list[str], words: tuple[str, ...]
    ) -> None:
        done = shell.run("apply", listed(shell, image_sets), "--yes", "--run", "r", *words)
        assert done.exit_code == 0, done.stderr
        assert stored(shell, image_sets) == WANTED
        assert shell.run("verify", "r").exit_code == 0

    def test_result_files_are_lists_of_the_same_order(
        self, shell: Shell, image_sets: list[str], words: tuple[str, ...]
    ) -> None:
        shell.unbegun(listed(shell, image_sets), "r")
        assert shell.run("report", "r", "--results", "out", "--include-values").exit_code == 0
        done = shell.run("apply", "out/unprocessed.csv", "--yes", "--run", "again", *words)
        assert done.exit_code == 0, done.stderr
        assert stored(shell, image_sets) == WANTED


def test_verify_compares_the_store_with_the_list_whatever_order_the_calls_are_in(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    rows = f"{one},set,StudyDescription,{LAST},2,\n{one},set,StudyDescription,{FIRST},1,\n"
    edits = shell.write("edits.csv", f"{HEADER}\n{rows}")
    assert shell.run("plan", edits, "--no-merge", "-o", "good").exit_code == 0
    good = plans.load(shell.folder / "good")
    other = 1 - pl.col("call").cast(pl.Int64)
    calls, carried = (frame.with_columns(call=other).sort("call").collect() for frame in (good.calls(), good.edits()))
    turned = plans.Plan(calls.cast(plans.CALLS), carried.cast(plans.PLANNED_EDITS), good.set_aside().collect())
    plans.save(turned, shell.folder / "turned", about_plan(turned, shell.emulator.datastore_id))
    assert shell.run("apply", "turned", "--yes", "--run", "r").exit_code == 0
    assert shell.stored(one)[1] == FIRST
    result = shell.run("verify", "r", "--json")
    assert result.exit_code == 7
    assert [(line["row"], line["difference"]) for line in result.json[:-1]] == [(2, "other value")]


def test_edits_are_put_in_order_once() -> None:
    said = [(2, 1, None), (3, None, None), (3, None, None), (4, 0, None), (5, None, 2), (6, 7, 1), (7, 0, None)]
    rows = [{"row": row, "order": order, "version": version} for row, order, version in said]
    names = [str(place) for place in range(len(rows))]
    edits = pl.DataFrame(rows, schema={name: EDITS[name] for name in ("row", "order", "version")}).with_columns(
        edit_id=pl.Series(names)
    )
    assert "".join(in_order(edits)["edit_id"]) == "5436012"
    assert in_order(edits.clear()).height == 0
    turned = edits.sort("row", descending=True, maintain_order=True)
    assert "".join(in_order(turned)["edit_id"]) == "5436012"
