"""Options of a de-identification that contradict each other, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkedit.errors import UsageError
from bulkedit.options.deid import DeidOptions


def test_image_sets_of_a_service_need_its_data_store() -> None:
    options = DeidOptions(deid_profile="basic", everything=True)
    with pytest.raises(UsageError, match="no data store is named") as caught:
        options.check_for(Path("edits.parquet"), None)
    assert caught.value.hint == "Give it: `datastore_id=ID`"
    options.check_for(Path("edits.parquet"), "d" * 32)
