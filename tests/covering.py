"""A few of all combinations, in which each two values of two parameters meet: the short form of a full product.

Most defects of configurable software need no more than two values to meet (Kuhn, Wallace, Gallo: "Software Fault
Interactions and Implications for Software Testing", IEEE TSE 30, 2004). The full product belongs to `-m slow`.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Cell = tuple[str, int]  # a parameter, and the number of one of its values


def pairs(row: dict[str, int]) -> set[frozenset[Cell]]:
    """The pairs of values that meet in a combination."""
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def covering(parameters: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Combinations in which each value of each of two or more parameters meets each value of every other.

    Greedy, and the same each time: a row begins with a pair that is left, and takes the values that cover most of them.
    """
    cells = [(name, number) for name, values in parameters.items() for number in range(len(values))]
    left = {frozenset(pair): None for pair in combinations(cells, 2) if pair[0][0] != pair[1][0]}
    rows = []
    while left:
        row = dict(sorted(next(iter(left)), key=cells.index))
        for name in sorted(parameters.keys() - row.keys(), key=lambda name: (-len(parameters[name]), name)):
            row[name] = max(range(len(parameters[name])), key=lambda n: len(pairs({**row, name: n}) & left.keys()))
        for pair in pairs(row):
            left.pop(pair, None)
        rows.append({name: values[row[name]] for name, values in parameters.items()})
    return rows


def short_and_long(parameters: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The full product for `pytest.mark.parametrize`; all but a covering of its pairs are marked as slow."""
    short = {tuple(row.values()) for row in covering(parameters)}
    return [
        pytest.param(*values, marks=() if values in short else pytest.mark.slow)
        for values in product(*parameters.values())
    ]
