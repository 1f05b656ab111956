"""SearchImageSets from a list in memory, where a server of its own would be too slow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from bulkedit.client.responses import Page

if TYPE_CHECKING:
    from bulkedit.client.responses import Lost, Refused

CANARY = "CANARY"  # begins every patient id, accession number and study id
STORE = "5" * 32


@dataclass
class MemoryClient:
    """SearchImageSets of a data store as a list in memory, sorted by creation; the token is a position."""

    items: list[dict[str, Any]]
    asked: int = 0
    inclusive: bool = True  # whether BETWEEN finds its limits, which the documentation does not say

    async def search(
        self, criteria: dict[str, Any] | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        found = [item for item in self.items if _between(item, criteria or {}, inclusive=self.inclusive)]
        if (criteria or {}).get("sort", {}).get("sortOrder") == "DESC":
            found.reverse()
        start = int(next_token or 0)
        end = start + limit
        return Page(found[start:end], str(end) if end < len(found) else None)


def _between(item: dict[str, Any], criteria: dict[str, Any], *, inclusive: bool) -> bool:
    for one in criteria.get("filters", []):
        ((field, low),), ((_, high),) = (value.items() for value in one["values"])
        assert low == low.replace(microsecond=0)  # the SDK sends whole seconds
        value = item.get(field)
        if value is None or not (low <= value <= high if inclusive else low < value < high):
            return False
    return True


def item(number: int, *, second: float | None = 0, **fields: Any) -> dict[str, Any]:
    """One item of a search answer, as the client hands it on."""
    made = {"imageSetId": f"{number:032x}", "version": 1, "DICOMTags": {"DICOMPatientId": f"{CANARY}{number}"}}
    if second is not None:
        made["createdAt"] = datetime.fromtimestamp(1_700_000_000 + second, UTC)
    return made | fields
