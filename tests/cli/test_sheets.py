"""The options of workbooks reach the reader, and what a spreadsheet hides is in the plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.edits.excel.books import Page, book
from tests.edits.lists import A, B

if TYPE_CHECKING:
    from tests.cli.shell import Shell

CELLS = [["image_set_id", "StudyDescription"], [A, "x"], [B, "y"]]


def test_hidden_rows_are_refused_or_counted_in_the_plan(shell: Shell) -> None:
    (shell.folder / "e.xlsx").write_bytes(book(Page(CELLS, hidden_rows=[3]), Page(CELLS[:2], "other")))
    refused = shell.run("plan", "e.xlsx", "-o", "p")
    assert refused.exit_code == 2
    assert "--hidden-rows include" in refused.stderr
    assert not (shell.folder / "p").exists()
    result = shell.run("plan", "e.xlsx", "-o", "p", "--hidden-rows", "skip")
    assert "Notice (row 3): Rows that the spreadsheet hides are left out." in result.stdout
    notices = json.loads((shell.folder / "p/manifest.json").read_text())["notices"]
    assert [(notice["code"], notice["rows"]) for notice in notices] == [("other-sheets", 0), ("hidden-rows", 1)]
    unknown = shell.run("plan", "e.xlsx", "-o", "q", "--sheet", "nix")
    assert (unknown.exit_code, "Its sheets are 'edits', 'other'. To choose one: --sheet NAME" in unknown.stderr) == (
        2,
        True,
    )
