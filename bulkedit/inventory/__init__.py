"""What SearchImageSets tells of a data store: taken as a file, looked up for a list, resolved to image sets."""

from bulkedit.inventory.folder import folder_of
from bulkedit.inventory.frame import INVENTORY, trimmed
from bulkedit.inventory.lookup import Lookup, complete_studies, lookup, lookup_in_file, search_keys
from bulkedit.inventory.resolve import (
    COUNTS,
    RESOLVED,
    OnMany,
    OnMissing,
    Resolved,
    ResolveOptions,
    Standing,
    resolve,
)
from bulkedit.inventory.saved import Snapshot, load
from bulkedit.inventory.search import PAGE, Tally
from bulkedit.inventory.take import take

__all__ = [
    "COUNTS",
    "INVENTORY",
    "PAGE",
    "RESOLVED",
    "Lookup",
    "OnMany",
    "OnMissing",
    "ResolveOptions",
    "Resolved",
    "Snapshot",
    "Standing",
    "Tally",
    "complete_studies",
    "folder_of",
    "load",
    "lookup",
    "lookup_in_file",
    "resolve",
    "search_keys",
    "take",
    "trimmed",
]
