"""Edits that were not applied for the same reason are one group, whatever numbers and ids their texts have."""

from __future__ import annotations

import polars as pl
import pytest

from bulkedit.after.report import reasons


def edits(*texts: tuple[str, str | None]) -> pl.DataFrame:
    rows = [(row, f"{row:032x}", "conflicted", *text) for row, text in enumerate(texts, 2)]
    columns = {"row": pl.UInt32, "image_set_id": pl.String, "outcome": pl.String}
    return pl.DataFrame(rows, {**columns, "reason": pl.String, "message": pl.String}, orient="row")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("another writer made version 3", "another writer made version 1207"),
        (f"locked: {'f' * 32} since 2026-11-28T23:47:41+00:00", f"locked: {'a' * 32} since 2026-11-29T01:02:03+00:00"),
        ("several copies: 1, 2", "several copies: 1, 2, 3"),
        ("No … of …", "No … … … of …"),
        ("given up at 14:02:05.3.", "given up at 9:02."),
        ("in 1.2.840.113619.2.55.3", "in 1.2.3"),
    ],
)
def test_texts_that_differ_only_in_numbers_ids_and_times_are_one_group(one: str, other: str) -> None:
    (group,) = reasons.groups(edits((one, None), (other, None)).lazy()).collect().to_dicts()
    assert (group["edits"], group["image_sets"], group["rows"], group["first_rows"]) == (2, 2, 2, [2, 3])
    assert group["first_image_sets"] == [f"{2:032x}", f"{3:032x}"]
    assert reasons.GAP in group["reason"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 403", "HTTP 500"),
        ("given up after repeated: lost (HTTP 502)", "given up after repeated: lost (HTTP 503)"),
        ("image set not found", "no such series"),
        ("another writer made version 3", "this run itself has made version 3"),
    ],
)
def test_texts_of_other_reasons_are_not(one: str, other: str) -> None:
    assert reasons.groups(edits((one, None), (other, None)).lazy()).collect().height == 2


def test_a_group_of_one_text_shows_it_whole_and_the_largest_group_is_first() -> None:
    found = edits(("gone", None), ("version 3", "at 4"), ("version 3", "at 5"))
    assert [title for title, _ in reasons.parts(found)] == ["conflicted: version 3: at …", "conflicted: gone"]
    assert reasons.groups(found.lazy()).collect().get_column("reason").to_list() == ["version 3", "gone"]
