"""De-identification: profiles and a key, metadata documents in, an ordinary edit list out.

`table` and `profile` say what is to be done, `rules` looks it up, `walk` does it to one document; nothing of these
performs I/O. `documents` and `reading` bring documents, `record` keeps what came of them.
"""

from bulkedit.deid.keys import ENVIRONMENT, Key
from bulkedit.deid.keys import exposed as exposed_key
from bulkedit.deid.keys import load as load_key
from bulkedit.deid.keys import make as make_key
from bulkedit.deid.making import Making, Recipe
from bulkedit.deid.profile import OPTIONS, PRECEDENCE, SHIPPED, Profile
from bulkedit.deid.profile import load as load_profile
from bulkedit.deid.pseudonyms import load_mapping
from bulkedit.deid.reading import read_all, selected_by_id
from bulkedit.deid.record import SELECTION, Record, folder_of
from bulkedit.deid.rules import Rules
from bulkedit.deid.selection import selected
from bulkedit.deid.walk import KINDS, Derived, Edit, Finding, Mark, Walker

__all__ = [
    "ENVIRONMENT",
    "KINDS",
    "OPTIONS",
    "PRECEDENCE",
    "SELECTION",
    "SHIPPED",
    "Derived",
    "Edit",
    "Finding",
    "Key",
    "Making",
    "Mark",
    "Profile",
    "Recipe",
    "Record",
    "Rules",
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
