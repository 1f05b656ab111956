"""Inventories: SearchImageSets results as a file, looked up for an edit list, and resolved to image sets."""

from bulkedit.inventories.by_id import AT_MOST, lookup_ids
from bulkedit.inventories.condition import condition_of
from bulkedit.inventories.folder import folder_of
from bulkedit.inventories.frame import INVENTORY, trimmed, trimmed_key
from bulkedit.inventories.lookup import Lookup, complete_studies, lookup, lookup_in_file, search_keys
from bulkedit.inventories.narrow import Narrowed, resolve_narrowed
from bulkedit.inventories.resolve import (
    COUNTS,
    RESOLVED,
    Resolved,
    ResolveOptions,
    RowState,
    patients,
    resolve,
)
from bulkedit.inventories.saved import Snapshot, load
from bulkedit.inventories.search import PAGE, SearchCounters
from bulkedit.inventories.take import take

__all__ = [
    "AT_MOST",
    "COUNTS",
    "INVENTORY",
    "PAGE",
    "RESOLVED",
    "Lookup",
    "Narrowed",
    "ResolveOptions",
    "Resolved",
    "RowState",
    "SearchCounters",
    "Snapshot",
    "complete_studies",
    "condition_of",
    "folder_of",
    "load",
    "lookup",
    "lookup_ids",
    "lookup_in_file",
    "patients",
    "resolve",
    "resolve_narrowed",
    "search_keys",
    "take",
    "trimmed",
    "trimmed_key",
]
