"""Request quotas of the account: one token bucket per operation (throttling-limits)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# operation -> (requests per second, burst)
LIMITS: Final[dict[str, tuple[float, float]]] = {
    "CreateDatastore": (0.085, 1),
    "DeleteDatastore": (0.085, 1),
    "GetDatastore": (10, 20),
    "ListDatastores": (5, 10),
    "StartDICOMImportJob": (1, 2),
    "GetDICOMImportJob": (25, 50),
    "ListDICOMImportJobs": (10, 20),
    "SearchImageSets": (25, 50),
    "GetImageSet": (25, 50),
    "GetImageSetMetadata": (50, 100),
    "GetImageFrame": (1000, 2000),
    "ListImageSetVersions": (25, 50),
    "UpdateImageSetMetadata": (0.25, 1),
    "CopyImageSet": (0.25, 1),
    "DeleteImageSet": (0.25, 1),
    "TagResource": (10, 20),
    "UntagResource": (10, 20),
    "ListTagsForResource": (10, 20),
}


@dataclass(slots=True)
class Bucket:
    """A token bucket: ``rate`` tokens per second are added, up to ``burst``."""

    rate: float
    burst: float
    tokens: float
    at: float  # the time of `tokens`

    def take(self, now: float) -> bool:
        """Take one token; False if the bucket is empty."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1 - 1e-9:  # a rounding error must not refuse a caller at exactly the rate
            return False
        self.tokens -= 1
        return True


class Quota:
    """The buckets of one account. ``scale`` multiplies all rates and bursts; a burst is at least 1.

    ``limits``: (requests per second, burst) by operation, in place of the documented quotas.
    """

    def __init__(self, scale: float = 1.0, limits: Mapping[str, tuple[float, float]] | None = None) -> None:
        self._scale = scale
        self._limits = LIMITS | dict(limits or {})
        self._buckets: dict[str, Bucket] = {}

    @property
    def scale(self) -> float:
        """The factor for rates and bursts."""
        return self._scale

    def rescale(self, scale: float) -> None:
        """Change the quotas from now on, as AWS does on request. Tokens above the new burst are lost."""
        self._scale = scale
        for action, bucket in self._buckets.items():
            bucket.rate, bucket.burst = self._limit(action)
            bucket.tokens = min(bucket.tokens, bucket.burst)

    def take(self, action: str, now: float) -> bool:
        """Count a request of this operation; False if it must be throttled."""
        if self._scale == math.inf:
            return True
        bucket = self._buckets.get(action)
        if bucket is None:
            rate, burst = self._limit(action)
            bucket = self._buckets[action] = Bucket(rate, burst, burst, now)
        return bucket.take(now)

    def _limit(self, action: str) -> tuple[float, float]:
        rate, burst = self._limits[action]
        return rate * self._scale, max(1.0, burst * self._scale)
