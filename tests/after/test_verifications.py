"""A verification as files: what was found is kept, counted, and read again as it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bulkedit.after.verify.folder import DIFFERENCES, VerifyFolder, load
from bulkedit.errors import ReceivedError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit._json import JsonObject
    from bulkedit.after.verify.folder import CheckedLine, VerificationAbout

ABOUT: VerificationAbout = {
    "run": "r",
    "plan_digest": "0" * 64,
    "datastore_id": "d" * 32,
    "read_at": 1.7e9,
    "of_image_sets": 3,
    "sample": None,
    "archived": 1,
}


def line(image_set_id: str, *origins: str, siblings: int = 0) -> CheckedLine:
    differences: list[JsonObject] = [
        {**dict.fromkeys(DIFFERENCES), "image_set_id": image_set_id, "row": row, "difference": "absent", "origin": one}
        for row, one in enumerate(origins, 2)
    ]
    counts: CheckedLine = {
        "image_set_id": image_set_id,
        "matching": 2,
        "superseded": 1,
        "siblings": siblings,
        "differences": differences,
        "kept": [],
    }
    return counts


def test_what_was_found_is_counted_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "begun.json").write_text("{}")
    progress = VerifyFolder(tmp_path, seed=7)
    progress.add(line("a", "run", "later writer", siblings=1))
    progress.add(line("b", "unknown"))
    made = progress.finish(ABOUT, history=False)
    numbers = {"image_sets": 3, "matching": 4, "superseded": 2, "differences": 3, "by_later_writers": 1, "by_run": 1}
    assert made.summary == {**ABOUT, **numbers, "kept": 0, "seed": 7, "files": made.summary["files"]}
    assert load(tmp_path).summary == made.summary == json.loads((tmp_path / "verification.json").read_bytes())
    assert made.differences().collect().select("image_set_id", "origin").rows() == [
        ("a", "run"),
        ("b", "unknown"),
        ("a", "later writer"),
    ]


def test_numbers_that_are_none_are_not_those_of_a_verification(tmp_path: Path) -> None:
    (tmp_path / "verification.json").write_text('{"differences": "none", "image_sets": 1}')
    with pytest.raises(ReceivedError, match="differences is text"):
        load(tmp_path)
