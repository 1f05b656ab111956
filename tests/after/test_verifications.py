"""A verification as files: what was found is kept, counted, and read again as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bulkedit.after.verify.folder import DIFFERENCES, Counts, VerifyFolder, load
from bulkedit.after.verify.job import VerifyProgress
from bulkedit.errors import ReceivedError, UsageError
from bulkedit.options.verify import VerifyOptions

if TYPE_CHECKING:
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


def test_an_interrupted_verification_without_a_whole_line_starts_at_its_first_image_set(tmp_path: Path) -> None:
    """Its process ended before it had read an image set, or while it wrote the first line."""
    options = VerifyOptions(seed=7)
    run: Any = SimpleNamespace(folder=tmp_path)
    begun = VerifyFolder.open(run, "a", options, 3)
    assert VerifyFolder.open(run, "b", options, 3).folder == begun.folder
    assert not (begun.folder / "progress.jsonl").exists()
    (begun.folder / "progress.jsonl").write_text('{"image_set_id": "a"')
    again = VerifyFolder.open(run, "c", options, 3)
    assert (again.folder, again.done, again.counts.matching) == (begun.folder, set(), 0)


def test_a_kept_line_is_counted_again_if_its_differences_are_whole(tmp_path: Path) -> None:
    options, run = VerifyOptions(seed=7), cast("Any", SimpleNamespace(folder=tmp_path))
    begun = VerifyFolder.open(run, "a", options, 3)
    begun.add(line("a", "run"))
    begun.close()
    again = VerifyFolder.open(run, "b", options, 3)
    assert (again.done, again.counts) == ({"a"}, begun.counts)
    progress = begun.folder / "progress.jsonl"
    good = json.dumps({**line("a"), "differences": [{"origin": "run"}]})
    for damaged, problem in (('{"origin": 1}', "origin"), ("{}", "origin"), ("1", "a difference")):
        progress.write_text(good.replace('{"origin": "run"}', damaged) + "\n")
        with pytest.raises(ReceivedError, match=problem):
            VerifyFolder.open(run, "c", options, 3)


def test_a_verification_of_no_image_set_is_finished(tmp_path: Path) -> None:
    (tmp_path / "begun.json").write_text("{}")
    made = VerifyFolder(tmp_path, seed=7).finish(ABOUT, history=True)
    assert (made.differences().collect().height, made.kept().collect().height) == (0, 0)


def test_a_folder_without_a_result_is_no_verification(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the folder of a finished verification"):
        load(tmp_path)


def test_image_sets_left_are_the_archived_and_the_unread() -> None:
    progress = VerifyProgress(5, 5, Path(), 7, Counts(), archived=["a"], unread={"locked": 2, "AccessDenied": 1})
    assert progress.left == 4
