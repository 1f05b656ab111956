"""The tables of a ledger, the text that the checksum of each row covers, and what makes a row invalid."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from bulkedit.client.responses import CallState
from bulkedit.runs.ledger.records import Event, ProcessRecord, RequestRecord, SettingRecord

SCHEMA: Final = 4
SETUP: Final = """
BEGIN;
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,  -- row number, in the order of writing
    at         REAL NOT NULL,        -- epoch seconds
    call       INTEGER NOT NULL,     -- number of the call in the plan
    state      TEXT NOT NULL,        -- state of the call after this event
    expected_version INTEGER,        -- latestVersionId of the request
    version    INTEGER,              -- version made by an applied call, or left by a failed update
    attempts   INTEGER NOT NULL,     -- requests sent so far
    throttles  INTEGER NOT NULL,     -- of these, throttled
    faults     INTEGER NOT NULL,     -- lost answers and failed reads so far
    conflicts  INTEGER NOT NULL,     -- times that another writer was first
    reason     TEXT,                 -- error code, or why the call has this state
    message    TEXT,                 -- the service's message, without values
    digest     TEXT,                 -- keyed digest of the payload; intents only
    expected_version_updated_at REAL, -- updatedAt of the expected version before the request, epoch seconds
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE part (
    call       INTEGER PRIMARY KEY,  -- number of the part, higher than all numbers of the plan
    parent     INTEGER NOT NULL,     -- the call that was split
    edits      TEXT NOT NULL,        -- numbers of its edits in the plan, as a JSON array
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE pace (
    at         REAL NOT NULL,        -- epoch seconds
    quota      REAL NOT NULL,        -- updates per second that the run assumed as its quota from then on
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE made (
    call         INTEGER NOT NULL,  -- number of a call that copies an image set to a new one
    image_set_id TEXT NOT NULL,     -- the image set
    ours         INTEGER NOT NULL,  -- 1: made by the call; 0: existed before it
    checksum     INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE process (
    at         REAL NOT NULL,       -- epoch seconds
    process    TEXT NOT NULL,       -- random name of a process that works on the run
    state      TEXT NOT NULL,       -- started or ended
    pid        INTEGER NOT NULL,    -- its number on the host
    host       TEXT NOT NULL,       -- name of the host
    user       TEXT NOT NULL,       -- name of its user on the host
    reason     TEXT,                -- ended: completed, stopped, interrupted, or the name of an error
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE setting (
    at         REAL NOT NULL,       -- epoch seconds
    name       TEXT NOT NULL,       -- setting of the run that a resume changed
    before     TEXT NOT NULL,       -- its value before, as JSON
    after      TEXT NOT NULL,       -- its value from then on, as JSON
    user       TEXT NOT NULL,       -- name of the user who changed it, on the host
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE request (
    at         REAL NOT NULL,       -- epoch seconds of the answer, or of the request's loss
    call       INTEGER NOT NULL,    -- number of the call that it was sent for
    operation  TEXT NOT NULL,       -- such as UpdateImageSetMetadata
    request_id TEXT,                -- AWS's id of the request; missing if no answer came
    result     TEXT NOT NULL,       -- accepted, answered, an error code, or lost: CAUSE
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
PRAGMA user_version = 4;
COMMIT;
"""
TABLES: Final = ("event", "part", "pace", "made", "process", "setting", "request")


def _exact(real: str) -> str:
    """A real number as two integers, which every version of SQLite prints alike."""
    return f"CAST({real} AS INTEGER), CAST(({real} - CAST({real} AS INTEGER)) * {FRACTION}.0 AS INTEGER)"


FRACTION: Final = 2**62
# the text that a row's checksum covers; `_text_of_event` and `_row` of `rows` write the same text
_EVENT_TEXT: Final = f"""'%d|%d|%s|%s|%s|%d|%d|%d|%d|%s|%s|%s|%d.%d|%s.%s', seq, call, state, expected_version,
    version, attempts, throttles, faults, conflicts, reason, message, digest, {_exact("at")},
    {_exact("expected_version_updated_at")}"""
TEXTS: Final = {
    "event": f"CAST(printf({_EVENT_TEXT}) AS BLOB)",
    "part": "CAST(printf('%d|%d|%s', call, parent, edits) AS BLOB)",
    "pace": f"CAST(printf('%d.%d|%d.%d', {_exact('at')}, {_exact('quota')}) AS BLOB)",
    "made": "CAST(printf('%d|%s|%d', call, image_set_id, ours) AS BLOB)",
    "process": f"""CAST(printf('%s|%s|%d|%s|%s|%s|%d.%d', process, state, pid, host, user, reason, {_exact("at")})
        AS BLOB)""",
    "setting": f"CAST(printf('%s|%s|%s|%s|%d.%d', name, before, after, user, {_exact('at')}) AS BLOB)",
    "request": f"CAST(printf('%d|%s|%s|%s|%d.%d', call, operation, request_id, result, {_exact('at')}) AS BLOB)",
}
# the text that the digest of the events covers; one printf, because `||` takes twice as long
DIGESTED: Final = f"CAST(printf('%d|' || {_EVENT_TEXT.replace(', seq', ', checksum, seq', 1)}) AS BLOB)"
# views of a damaged ledger: only rows with a correct checksum
INTACT_ROWS: Final = {
    table: f"SELECT rowid AS rowid, * FROM main.{table} WHERE checksum = crc32({text})"  # noqa: S608 - our names
    for table, text in TEXTS.items()
}
# conditions for invalid rows, by table: readers expect 32-bit numbers and values of `CallState`
_LARGEST: Final = 2**32 - 1
_COUNTED: Final = ("expected_version", "version", "attempts", "throttles", "faults", "conflicts")
INVALID: Final = {
    "event": " OR ".join(
        [
            f"call NOT BETWEEN 0 AND {_LARGEST - 1}",
            f"state NOT IN ({', '.join(repr(str(state)) for state in CallState)})",
            "at NOT BETWEEN 0 AND 1e11",
            *(f"{name} NOT BETWEEN 0 AND {_LARGEST}" for name in _COUNTED),
        ]
    ),
    "part": f"parent < 0 OR parent >= call OR call >= {_LARGEST}",
    "pace": "at NOT BETWEEN 0 AND 1e11 OR quota NOT BETWEEN 0 AND 1e9",
    "made": f"call NOT BETWEEN 0 AND {_LARGEST - 1} OR ours NOT IN (0, 1)",
    "process": f"at NOT BETWEEN 0 AND 1e11 OR state NOT IN ('started', 'ended') OR pid NOT BETWEEN 0 AND {_LARGEST}",
    "setting": "at NOT BETWEEN 0 AND 1e11 OR NOT json_valid(before) OR NOT json_valid(after)",
    "request": f"at NOT BETWEEN 0 AND 1e11 OR call NOT BETWEEN 0 AND {_LARGEST - 1}",
}
EVENT_NAMES: Final = [field.name for field in fields(Event)]
EVENT_COLUMNS: Final = ", ".join(EVENT_NAMES)
PROCESS_NAMES: Final = [field.name for field in fields(ProcessRecord)]
SETTING_NAMES: Final = [field.name for field in fields(SettingRecord)]
REQUEST_NAMES: Final = [field.name for field in fields(RequestRecord)]


def _insert(table: str, *columns: str) -> str:
    places = ", ".join("?" * (len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}, checksum) VALUES ({places})"  # noqa: S608 - names of our own


INSERTS: Final = {
    "event": _insert("event", "seq", *EVENT_NAMES),
    "part": _insert("part", "call", "parent", "edits"),
    "pace": _insert("pace", "at", "quota"),
    "made": _insert("made", "call", "image_set_id", "ours"),
    "process": _insert("process", *PROCESS_NAMES),
    "setting": _insert("setting", *SETTING_NAMES),
    "request": _insert("request", *REQUEST_NAMES),
}

# columns of a call's last row that readers use
LAST_ROW: Final = (
    "call",
    "state",
    "expected_version",
    "version",
    "attempts",
    "throttles",
    "faults",
    "conflicts",
    "reason",
    "message",
    "at",
    "expected_version_updated_at",
)


# the newest row of table process
NEWEST_PROCESS: Final = "SELECT process, state, pid, host, at FROM process ORDER BY rowid DESC LIMIT 1"
