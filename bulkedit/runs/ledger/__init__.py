"""The durable record of every call: its intent, the replies, its outcome.

One SQLite file in WAL mode with `synchronous=FULL`, written by one process. Rows are only appended, and the last row of
a call has its state. So a process that is killed leaves complete rows up to some point. The ledger has no value of an
edit or of metadata: for each payload it has a keyed digest, and the key is in `run.json`.

Writes are committed in groups: rows that arrive during a commit share the next one.

records     rows as Python objects, and the states in them
schema      the tables, and what is checked in their rows
rows        records as rows with checksums
faults      the states of a ledger, and its faults in words
opening     SQLite files, also hostile and damaged ones
lock        one process works on a run
comparison  of a ledger with its anchor: is it whole?
ledger      the ledger of one run, for its writer and for readers
rebuild     a ledger that replaces one that is not whole
commit      groups of rows, and the wait for a ledger that another program has locked
"""

from bulkedit.runs.ledger.commit import GroupCommit, once_unlocked
from bulkedit.runs.ledger.faults import ASSUME_UNKNOWN, LedgerState, missing
from bulkedit.runs.ledger.ledger import Codes, Ledger
from bulkedit.runs.ledger.lock import is_held
from bulkedit.runs.ledger.rebuild import rebuilt
from bulkedit.runs.ledger.records import (
    Ending,
    Event,
    Made,
    Pace,
    Part,
    ProcessRecord,
    ProcessState,
    Record,
    RequestRecord,
    SettingRecord,
    host_name,
    user_name,
)
from bulkedit.runs.ledger.schema import LAST_ROW, SCHEMA, SETUP

__all__ = [
    "ASSUME_UNKNOWN",
    "LAST_ROW",
    "SCHEMA",
    "SETUP",
    "Codes",
    "Ending",
    "Event",
    "GroupCommit",
    "Ledger",
    "LedgerState",
    "Made",
    "Pace",
    "Part",
    "ProcessRecord",
    "ProcessState",
    "Record",
    "RequestRecord",
    "SettingRecord",
    "host_name",
    "is_held",
    "missing",
    "once_unlocked",
    "rebuilt",
    "user_name",
]
