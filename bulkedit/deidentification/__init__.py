"""De-identification: derives an ordinary edit list from metadata documents, with a profile and a key.

`table` and `profile` define the actions, `rules` finds the action of an attribute, and `walk` applies it to one
document. `rules` and `walk` do no I/O. `documents` and `reading` read documents; `record` writes the results.
"""

from bulkedit.deidentification.keys import Key
from bulkedit.deidentification.keys import exposed as exposed_key
from bulkedit.deidentification.keys import load as load_key
from bulkedit.deidentification.keys import make as make_key
from bulkedit.deidentification.profile import OPTIONS, PRECEDENCE, DeidProfile
from bulkedit.deidentification.profile import load as load_profile
from bulkedit.deidentification.pseudonyms import load_mapping
from bulkedit.deidentification.reading import read_all, selected_by_id
from bulkedit.deidentification.record import SELECTION, DeidRecord, folder_of
from bulkedit.deidentification.rules import ProfileRules
from bulkedit.deidentification.selection import selected
from bulkedit.deidentification.walk import KINDS, DeidFinding, DeidMark, Derived, Edit, Walker
from bulkedit.deidentification.writer import DeidRecipe, DeidWriter
from bulkedit.options.deid import ENVIRONMENT, SHIPPED

__all__ = [
    "ENVIRONMENT",
    "KINDS",
    "OPTIONS",
    "PRECEDENCE",
    "SELECTION",
    "SHIPPED",
    "DeidFinding",
    "DeidMark",
    "DeidProfile",
    "DeidRecipe",
    "DeidRecord",
    "DeidWriter",
    "Derived",
    "Edit",
    "Key",
    "ProfileRules",
    "Walker",
    "exposed_key",
    "folder_of",
    "load_key",
    "load_mapping",
    "load_profile",
    "make_key",
    "read_all",
    "selected",
    "selected_by_id",
]
