"""Counts and durations as a person says them."""

from __future__ import annotations

import pytest

from bulkedit._words import about, amount, duration, noun, plural


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "0.3 s"),
        (45, "45 s"),
        (59.6, "1 min 00 s"),
        (842, "14 min 02 s"),
        (3 * 3600 + 300, "3 h 05 min"),
        (4 * 86_400 + 15 * 3600, "4 d 15 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "a few seconds"),
        (7.4, "a few seconds"),
        (43, "about 45 s"),
        (57.4, "about 55 s"),
        (58, "about 1 min 00 s"),
        (96, "about 1 min 40 s"),
        (116, "about 2 min"),
        (3569, "about 59 min"),
        (3570, "about 1 h 00 min"),
        (3 * 3600 + 400, "about 3 h 05 min"),
        (100 * 3600, "about 4 d 04 h"),
    ],
)
def test_an_estimate_is_no_more_exact_than_it_can_be(seconds: float, text: str) -> None:
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (20_000_000, "20 MB"),
        (3_100_000_000, "3.1 GB"),
        (5_000_000_000_000, "5,000 GB"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_fits(size: int, text: str) -> None:
    assert amount(size) == text


def test_one_is_singular_and_all_other_counts_are_plural() -> None:
    assert [plural(count, "edit") for count in (0, 1, 2_000)] == ["0 edits", "1 edit", "2,000 edits"]
    assert [noun(count, "study", "studies") for count in (1, 2)] == ["study", "studies"]
