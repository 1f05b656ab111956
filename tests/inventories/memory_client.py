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

    async def search(
        self, criteria: dict[str, Any] | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        begin = _begin(criteria or {})
        found = [item for item in self.items if begin is None or ("createdAt" in item and item["createdAt"] >= begin)]
        start = int(next_token or 0)
        end = start + limit
        return Page(found[start:end], str(end) if end < len(found) else None)


def _begin(criteria: dict[str, Any]) -> datetime | None:
    begins = [one["values"][0]["createdAt"] for one in criteria.get("filters", [])]
    return begins[0] if begins else None


def item(number: int, *, second: float | None = 0, **fields: Any) -> dict[str, Any]:
    """One item of a search answer, as the client hands it on."""
    made = {"imageSetId": f"{number:032x}", "version": 1, "DICOMTags": {"DICOMPatientId": f"{CANARY}{number}"}}
    if second is not None:
        made["createdAt"] = datetime.fromtimestamp(1_700_000_000 + second, UTC)
    return made | fields
