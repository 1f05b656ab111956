"""Finds the other image sets of a study, by a search for its current StudyInstanceUID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from bulkedit.client.responses import Refused
from bulkedit.inventories.lookup import search_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkedit.client.reader import Reader


async def siblings_of(reader: Reader, lead: str) -> list[str]:
    """Return the other primary image sets of the study of ``lead``; empty if it cannot be read."""
    found = await reader.completed(lead)
    if isinstance(found, Refused):
        return []
    document = await reader.metadata(lead, found.version)
    return [] if isinstance(document, Refused) else await in_study_of(reader, lead, document)


async def in_study_of(reader: Reader, lead: str, document: Mapping[str, Any]) -> list[str]:
    """As `siblings_of`, with the metadata document of ``lead``."""
    uid = document.get("Study", {}).get("DICOM", {})
    keys = pl.DataFrame({"selector": ["study_instance_uid"], "key": [uid.get("StudyInstanceUID")]})
    inventory = await search_keys(reader, keys.cast(pl.String).drop_nulls())
    primaries = inventory.filter("primary").get_column("image_set_id").unique().sort().to_list()
    return [image_set_id for image_set_id in primaries if image_set_id != lead]
