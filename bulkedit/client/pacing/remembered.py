"""What earlier runs have measured: the quotas of an account's operations, with their age. Pure.

A remembered quota is the first guess of the search (`Learner`), never a fact: AWS may have changed it since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing.adaptive import Learner
from bulkedit.client.pacing.rates import Auto, Operation, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkedit.client.pacing.token_bucket import Pacing

OLDEST_S: Final = 30 * 24 * 3600.0  # older ones are no guess any more
MOST: Final = 50  # that are kept: the newest


@dataclass(frozen=True, slots=True)
class Account:
    """Whose quotas they are: an account has its own in each Region, and an endpoint may have others."""

    host: str
    region: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedQuota:
    """A quota that a run has measured. ``learned_at``: epoch seconds."""

    host: str
    region: str
    account: str
    operation: str
    per_second: float
    burst: float
    learned_at: float

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that are no quota."""
        if not (math.isfinite(self.learned_at) and math.isfinite(self.burst) and math.isfinite(self.per_second)):
            raise ValueError("a number is not finite")
        Rate(self.per_second, self.burst)

    @property
    def key(self) -> tuple[Account, str]:
        """Whose quota it is, and of which operation."""
        return Account(self.host, self.region, self.account), self.operation


def measured(pacers: Mapping[Operation, Pacing], of: Account, now: float) -> list[RememberedQuota]:
    """The quotas that pacers have measured; a fixed rate is none."""
    return [
        RememberedQuota(
            host=of.host,
            region=of.region,
            account=of.account,
            operation=operation,
            per_second=found.per_second,
            burst=found.burst,
            learned_at=now,
        )
        for operation, pacer in pacers.items()
        if isinstance(pacer, Learner) and (found := pacer.measured) is not None
    ]


def merged(kept: Iterable[RememberedQuota], new: Iterable[RememberedQuota]) -> list[RememberedQuota]:
    """The newest of both, one for each key."""
    found = {one.key: one for one in (*kept, *new)}
    return sorted(found.values(), key=lambda one: -one.learned_at)[:MOST]


def with_guesses(
    rates: Mapping[Operation, Rate | Auto], kept: Iterable[RememberedQuota], of: Account, now: float
) -> dict[Operation, Rate | Auto]:
    """The rates, each with what is remembered of it, unless that is too old or from the future."""
    known = {one.key: Rate(one.per_second, one.burst) for one in kept if 0 <= now - one.learned_at <= OLDEST_S}
    return {
        operation: replace(rate, remembered=known.get((of, operation))) if isinstance(rate, Auto) else rate
        for operation, rate in rates.items()
    }
