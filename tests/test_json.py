"""JSON as types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit._json import object_in, object_made

if TYPE_CHECKING:
    from bulkedit._json import Json

NODE: Json = {"a": {"b": {"c": 1}}, "text": "x", "list": [{}]}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ((), NODE),
        (("a", "b"), {"c": 1}),
        (("a", "b", "c"), {}),
        (("a", "z", "c"), {}),
        (("text", "b"), {}),
        (("list",), {}),
    ],
)
def test_the_object_at_a_path_is_empty_if_there_is_none(path: tuple[str, ...], found: Json) -> None:
    assert object_in(NODE, *path) == found


def test_a_level_that_is_no_object_is_not_replaced() -> None:
    with pytest.raises(TypeError, match="must be an object"):
        object_made({"Study": "x"}, "Study")
