"""The estimate: what is saved and how, time at two quotas, what it costs, and the request for a higher quota."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest

from bulkedit import plans
from bulkedit.client.pacing import Rate
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import ReadOptions
from bulkedit.edits import read as read_list

CSV = """image_set_id,attribute,value
{a},PatientName,A^A
{a},PatientID,1
{a},PatientID,2
{b},PatientName,B^B
{b},StudyDescription,Head
{c},PatientName,C^C
""".format(a="a" * 32, b="b" * 32, c="c" * 32)


def counts(inventory: pl.DataFrame | None = None, **quotas: Rate) -> Any:
    options = ReadOptions(rules=dicom.RULES["2026"])
    edits = read_list(io.BytesIO(CSV.encode()), options).edits.with_columns(image_set_id=pl.col("key"))
    settings = plans.PlanningSettings(
        rules=dicom.RULES["2026"], payload_limit=10_000, contradictions=plans.Contradictions.LAST
    )
    return plans.estimate(plans.make(edits, settings), plans.Quotas(**quotas), inventory=inventory).as_json()


def tiers(**of: str | None) -> pl.DataFrame:
    ids = [name * 32 for name in of]
    return pl.DataFrame(
        {"image_set_id": ids, "storage_tier": list(of.values())},
        schema={"image_set_id": pl.String, "storage_tier": pl.String},
    )


def test_calls_and_what_is_saved_add_up_to_one_call_for_each_row() -> None:
    found = counts()
    kinds = ("calls", "saved_by_merging", "saved_by_superseding")
    assert {kind: found[kind] for kind in kinds} == {"calls": 3, "saved_by_merging": 2, "saved_by_superseding": 1}


def test_time_is_the_least_that_the_quota_allows() -> None:
    found = counts(current=Rate(0.5, 1), raised=Rate(10, 2))
    assert (found["seconds"], found["raised_seconds"]) == (4.0, 0.1)
    assert (found["rate_per_second"], found["raised_rate_per_second"]) == (0.5, 10.0)


@pytest.mark.parametrize(
    ("inventory", "archived", "unknown", "dollars"),
    [
        (None, None, 3, None),
        (tiers(), None, 3, None),
        (tiers(a=None, b=None, c=None), None, 3, None),
        (tiers(a="FREQUENT_ACCESS", b="FREQUENT_ACCESS", c="FREQUENT_ACCESS"), 0, 0, 0.0),
        (tiers(a="ARCHIVE_INSTANT_ACCESS", b="ARCHIVE_INSTANT_ACCESS", c=None), 2, 1, 2 * 0.005 * 0.099),
        (tiers(a="ARCHIVE_INSTANT_ACCESS", d="ARCHIVE_INSTANT_ACCESS"), 1, 2, 0.005 * 0.099),
    ],
)
def test_archived_image_sets_of_the_plan_are_counted_and_priced(
    inventory: pl.DataFrame | None, archived: int | None, unknown: int, dollars: float | None
) -> None:
    found = counts(inventory)
    assert (found["archived_image_sets"], found["unknown_tier_image_sets"]) == (archived, unknown)
    assert found["tier_dollars_at_least"] == (dollars if dollars is None else pytest.approx(dollars))


def test_the_quota_request_names_both_quotas_the_calls_and_the_time() -> None:
    large = counts() | {"calls": 100_000, "seconds": 4e5, "raised_seconds": 2e4}
    text = plans.quota_request(large, "d" * 32)
    for words in ("from 0.25 to 5 transactions per second", "3 image sets", "d" * 32, "100,000", "4.6 days", "6 hours"):
        assert words in text
    assert "GetImageSet" not in text


def test_a_quota_beyond_what_the_looks_allow_asks_for_those_too() -> None:
    assert "GetImageSet from 25 to 75" in plans.quota_request(counts(raised=Rate(50)), "d" * 32)
