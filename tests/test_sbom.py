"""The check of `make sbom` finds a bill of materials that is not the one of what is locked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sbom import faults

LOCKED = {"polars": "2.1.0", "dicom-anonymizer": "2.1.0"}


def bill(version: str | None, **components: str) -> dict[str, Any]:
    subject = {"name": "bulkedit"} | ({"version": version} if version else {})
    return {
        "metadata": {"component": subject},
        "components": [{"name": name, "version": number} for name, number in components.items()],
    }


def test_a_bill_with_all_that_is_locked_is_right() -> None:
    assert faults(bill("1.0", polars="2.1.0", dicom_anonymizer="2.1.0"), version="1.0", locked=LOCKED) == []


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (bill(None, polars="2.1.0", dicom_anonymizer="2.1.0"), "it is not the bill of bulkedit 1.0"),
        (bill("1.0", polars="2.1.0"), "dicom-anonymizer: None is listed, 2.1.0 is locked"),
        (bill("1.0", polars="2.0.0", dicom_anonymizer="2.1.0"), "polars: 2.0.0 is listed, 2.1.0 is locked"),
        (bill("1.0", polars="2.1.0", dicom_anonymizer="2.1.0", pip="1"), "pip: 1 is listed, None is locked"),
    ],
    ids=["no version", "missing", "another version", "not locked"],
)
def test_each_fault_is_found(wrong: dict[str, Any], fault: str) -> None:
    assert faults(wrong, version="1.0", locked=LOCKED) == [fault]
