"""The combinations of short forms leave no pair of values out."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

from tests.covering import covering, short_and_long

PARAMETERS: dict[str, list[Any]] = {
    "size": [1, 2, 3],
    "shape": ["round", "square"],
    "colour": ["red", "green", "blue"],
    "lid": [True, False],
}


def test_each_two_values_of_two_parameters_meet() -> None:
    rows = covering(PARAMETERS)
    for one, other in combinations(PARAMETERS, 2):
        met = {(row[one], row[other]) for row in rows}
        assert met == set(product(PARAMETERS[one], PARAMETERS[other]))


def test_they_are_few_of_all() -> None:
    assert len(covering(PARAMETERS)) < 12 < 3 * 2 * 3 * 2


def test_they_are_the_same_each_time() -> None:
    assert covering(PARAMETERS) == covering(PARAMETERS)


def test_the_long_form_has_all_and_the_short_form_what_is_not_slow() -> None:
    both = short_and_long(PARAMETERS)
    assert {one.values for one in both} == set(product(*PARAMETERS.values()))
    assert [one.values for one in both if not one.marks] == sorted(
        (tuple(row.values()) for row in covering(PARAMETERS)), key=[one.values for one in both].index
    )
