"""Which measured quotas are kept, and which of them a later run begins with."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.pacing import Auto, Operation, Rate, pacer
from bulkedit.client.pacing.remembered import (
    MOST,
    OLDEST_S,
    Account,
    RememberedQuota,
    measured,
    merged,
    with_guesses,
)
from tests.client.test_pacing import drive, learner

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Account("medical-imaging.us-east-1.amazonaws.com", "us-east-1", "123456789012")
NOW = 1_800_000_000.0
QUOTA = RememberedQuota(
    host=HERE.host,
    region=HERE.region,
    account=HERE.account,
    operation="update",
    per_second=20.0,
    burst=40.0,
    learned_at=NOW,
)


def guess(quota: RememberedQuota, rate: Rate | Auto = Auto(Rate(0.25))) -> Rate | None:  # noqa: B008
    rates: Mapping[Operation, Rate | Auto] = with_guesses({Operation.UPDATE: rate}, [quota], HERE, NOW)
    return found.remembered if isinstance(found := rates[Operation.UPDATE], Auto) else None


def test_a_young_quota_of_the_account_is_the_guess() -> None:
    assert guess(replace(QUOTA, learned_at=NOW - OLDEST_S)) == Rate(20.0, 40.0)


@pytest.mark.parametrize(
    "other",
    [
        {"learned_at": NOW - OLDEST_S - 1},
        {"learned_at": NOW + 1},
        {"host": "vpce-1.medical-imaging.us-east-1.vpce.amazonaws.com"},
        {"region": "us-west-2"},
        {"account": "210987654321"},
        {"operation": "copy"},
    ],
    ids=str,
)
def test_an_old_quota_and_one_of_another_account_region_or_operation_is_not(other: dict[str, Any]) -> None:
    assert guess(replace(QUOTA, **other)) is None


def test_a_fixed_rate_stays() -> None:
    assert guess(QUOTA, Rate(1)) is None


def test_only_what_was_measured_is_kept() -> None:
    found, new = learner(), learner()
    drive(found, 1000, 20, 20)
    pacers = {
        Operation.UPDATE: found,
        Operation.COPY: new,
        Operation.GET: pacer(Rate(1), random.Random(0)),
    }
    (kept,) = measured(pacers, HERE, NOW)
    assert (kept.key, kept.learned_at) == ((HERE, "update"), NOW)
    assert kept.per_second == pytest.approx(20, rel=0.02)


def test_the_newest_are_kept_one_for_each_operation() -> None:
    others = [replace(QUOTA, account=str(number), learned_at=NOW - number) for number in range(MOST + 5)]
    newer = replace(QUOTA, account="3", learned_at=NOW + 1)
    kept = merged(others, [newer])
    assert kept[0] == newer
    assert [one.account for one in kept].count("3") == 1
    assert [one.account for one in kept[1:]] == [str(number) for number in range(MOST) if number != 3]


@pytest.mark.parametrize(
    "wrong", [{"per_second": 0}, {"burst": 0.5}, {"per_second": math.inf}, {"learned_at": math.nan}]
)
def test_numbers_that_are_no_quota_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"finite|above 0"):
        replace(QUOTA, **wrong)
