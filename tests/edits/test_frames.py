"""Edits in memory become one frame; an error names types and columns, and nothing of what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from bulkedit.edits.frames import frame_of
from bulkedit.errors import BulkeditError, EditListError, UsageError

ROWS = pl.DataFrame({"image_set_id": ["a", "b"], "StudyDescription": ["X", None]})
SECRET = "DOE^JANE"


@dataclass(frozen=True)
class OtherFrame:
    """A frame of another library: all that is known of it is Arrow's interface."""

    columns: pl.DataFrame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.columns.__arrow_c_stream__(requested_schema)


class BrokenFrame:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise ValueError(SECRET)


class FrameWithoutPyarrow:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise ModuleNotFoundError("no pyarrow", name="pyarrow")


@pytest.mark.parametrize(
    "edits",
    [
        ROWS,
        ROWS.lazy(),
        OtherFrame(ROWS),
        OtherFrame(ROWS.with_columns(__index_level_0__=pl.lit(3))),  # as pandas hands a filtered frame over
        ROWS.to_dict(as_series=False),
        {"image_set_id": np.array(["a", "b"]), "StudyDescription": ("X", None)},
        ROWS.to_dicts(),
        [{"image_set_id": "a", "StudyDescription": "X"}, {"image_set_id": "b"}],
        ROWS.with_columns(pl.col("image_set_id").cast(pl.Categorical)),
    ],
    ids=["eager", "lazy", "arrow", "index", "dict", "arrays", "dicts", "missing", "categories"],
)
def test_all_kinds_are_the_same_frame(edits: Any) -> None:
    found = frame_of(edits)
    assert found.equals(ROWS)
    assert found.schema == ROWS.schema


def test_a_key_of_a_later_row_is_a_column() -> None:
    rows = [{"image_set_id": "a"} for _ in range(300)] + [{"image_set_id": "b", "StudyDate": "20200101"}]
    assert frame_of(rows).get_column("StudyDate").drop_nulls().to_list() == ["20200101"]


@pytest.mark.parametrize(
    ("edits", "kind", "told"),
    [
        (object(), UsageError, "cannot be read from object"),
        ({SECRET}, UsageError, "cannot be read from set"),
        ([SECRET], UsageError, "a list of str"),
        (BrokenFrame(), EditListError, "test_frames.BrokenFrame cannot"),
        (FrameWithoutPyarrow(), EditListError, "pip install pyarrow"),
        (pl.LazyFrame({"a": [SECRET]}).cast(pl.Int64), EditListError, "InvalidOperationError"),
        ({"a": [SECRET, 1]}, EditListError, "column a"),
        ({"a": SECRET}, EditListError, "column a is str"),
        ({"a": iter([SECRET])}, EditListError, "list_iterator"),
        ({"a": ["x"], "b": [SECRET, "y"]}, EditListError, "differ in length"),
        ({1: [SECRET]}, EditListError, "names of columns"),
        ({"a": [object()]}, EditListError, "has Python objects"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_errors_name_types_and_no_values(edits: Any, kind: type[BulkeditError], told: str) -> None:
    with pytest.raises(kind) as raised:
        frame_of(edits)
    assert told in str(raised.value)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None  # a traceback would show their texts
