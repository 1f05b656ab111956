"""Makes SQLite files and opens them, also hostile and damaged ones."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import zlib
from typing import TYPE_CHECKING, Final

from bulkedit import _received as received
from bulkedit._files import draft
from bulkedit.errors import LedgerError, UnprovenLedgerError
from bulkedit.runs.ledger.faults import WITHOUT, LedgerState, explained, invalid_row, not_as_written
from bulkedit.runs.ledger.schema import INVALID, SCHEMA, SETUP, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_CHECKPOINT_PAGES: Final = 100  # of the write-ahead log
_TABLES_AT_MOST: Final = 2 * len(INVALID)
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2**28,  # bytes of a row or a parameter; a resume passes all calls in one
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}
_STEPS: Final = 100_000  # SQLite instructions between two checks of the limit
_STEPS_PER_BYTE: Final = 100  # limit when a file is checked; a normal file takes about two


def make_file(path: Path) -> None:
    """Write an empty ledger. It gets its name once it is complete, so a killed process leaves a whole file or none."""
    if received.there(path):
        raise FileExistsError(path)
    with draft(path) as new:
        set_up(new)


def set_up(new: Path) -> None:
    """Write the tables into a new file. Raises OSError and sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # no journal file that a killed process could leave
        connection.executescript(SETUP)
        # so a named ledger never has a rollback journal (`_require_files`)
        connection.execute("PRAGMA journal_mode = WAL")


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing, each commit durable. Raises LedgerError, OSError and sqlite3.Error."""
    connection = guarded(path, "mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open for reading. In a read-only folder SQLite needs the log beside the ledger, or `immutable`."""
    try:
        return connect(path)
    except sqlite3.OperationalError:
        log = log_of(path)
        return guarded(path, "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1")


def guarded(path: Path, mode: str) -> sqlite3.Connection:
    """Open a SQLite file that may be hostile, without running anything in its schema.

    Follows SQLite's advice for untrusted files (https://www.sqlite.org/security.html). Raises LedgerError if its tables
    are not exactly ours, so that no query runs a foreign view, trigger or expression.
    """
    _require_files(path)
    # writes happen on worker threads, one at a time
    connection = sqlite3.connect(path.absolute().as_uri() + "?" + mode, uri=True, check_same_thread=False)
    try:
        connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
        # texts of a damaged ledger can be any bytes
        connection.text_factory = lambda text: text.decode(errors="replace")
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {setting}")
        with bounded(connection, path):
            _require_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_files(path: Path, *, own: bool = False) -> None:
    """Raises ReceivedError if a file that SQLite would open is not a plain file, LedgerError for a journal."""
    received.require_file(path, own=own)
    for name in ("-wal", "-shm"):
        beside = path.with_name(path.name + name)
        if received.there(beside):
            received.require_file(beside, own=own)
    # a rollback journal can name any file, and SQLite would delete that file after the rollback
    if received.there(journal := path.with_name(path.name + "-journal")):
        raise LedgerError(
            "there is a rollback journal beside the ledger, and bulkedit makes none.",
            where=str(journal),
            likely="Another program made it: SQLite would write its contents to the ledger.",
            hint="Ask who made the folder.",
        )


def _require_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raises LedgerError if this is not a ledger of this version with exactly its tables."""
    found = _version(connection)
    if found == 0:
        raise UnprovenLedgerError(
            "this file is not a ledger.",
            where=str(path),
            likely="It was emptied or replaced.",
            hint=WITHOUT,
            state=str(LedgerState.DAMAGED),
        )
    if found != SCHEMA:
        raise LedgerError(
            f"this ledger was written by {'an earlier' if found < SCHEMA else 'a later'} version of bulkedit.",
            where=str(path),
            hint="Use the version that began the run: run.json beside the ledger names it.",
        )
    with contextlib.closing(sqlite3.connect(":memory:")) as own:
        own.executescript(SETUP)
        ours = tables_of(own)
    # read from sqlite_master: a file can define its own sqlite_schema, which is only an alias
    there = tables_of(connection)
    if there != ours:
        names = [table[1] for table in (*there, *ours) if table not in ours or table not in there]
        raise LedgerError(
            f"the tables of this file are not those of a ledger: {names[0] if names else 'event'!a:.40}.",
            where=str(path),
            likely="Another program changed it: a view or a trigger in it could run foreign SQL.",
            hint="Nothing in it was run. Ask who made the folder.",
        )


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def tables_of(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Kind, name, table and statement of each schema entry, sorted; statements without comments and blanks."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master").fetchmany(_TABLES_AT_MOST + 1)
    return sorted((str(kind), str(name), str(table), _plain(str(sql))) for kind, name, table, sql in rows)


def _plain(sql: str) -> str:
    """A statement without `--` comments and blanks. Quotes and other comments remain, and ours have none."""
    return re.sub(r"\s+", "", re.sub(r"--[^\n]*", "", sql))


@contextlib.contextmanager
def bounded(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Interrupt SQLite after far more steps than a file of this size needs: its pages may form a circle."""
    left = 100 * _STEPS + _STEPS_PER_BYTE * size_of(path)

    def spent() -> bool:
        nonlocal left
        left -= _STEPS
        return left < 0

    connection.set_progress_handler(spent, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if left >= 0:
            raise
        raise LedgerError(
            "SQLite would never finish reading this file.",
            where=str(path),
            likely="It was damaged, or manipulated.",
            hint=WITHOUT,
        ) from None
    finally:
        connection.set_progress_handler(None, 0)


def size_of(path: Path) -> int:
    """Bytes of a ledger and its log."""
    log = log_of(path)
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def log_of(path: Path) -> Path:
    """The path of SQLite's write-ahead log."""
    return path.with_name(path.name + "-wal")


def place_of(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None if it is missing."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def checked(path: Path, *, tolerant: bool = False) -> tuple[sqlite3.Connection, str | None]:
    """Open an existing ledger of this version; with ``tolerant`` also a damaged one, and say what is wrong."""
    with explained(path), contextlib.ExitStack() as undo:
        if not tolerant:
            _require_files(path, own=True)
        connection = undo.enter_context(contextlib.closing((connect_to_read if tolerant else connect)(path)))
        with bounded(connection, path):
            damage = _damage(connection)
            if damage and not tolerant:
                raise sqlite3.DatabaseError(damage)
            if not damage:
                damage = _require_rows(connection, path)
                if damage and not tolerant:
                    raise sqlite3.DatabaseError(damage)
        undo.pop_all()
    return connection, damage


def _damage(connection: sqlite3.Connection) -> str | None:
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise
    except UnicodeDecodeError:
        return "a text in it is not UTF-8"
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if verdict == "ok" else str(verdict).replace("\n", " ")


def _require_rows(connection: sqlite3.Connection, path: Path) -> str | None:
    """The fault of a damaged row. Raises LedgerError for an invalid row with a correct checksum."""
    damage = None
    for table in (name for _, name, *_ in tables_of(connection)):
        query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {INVALID[table]})"  # noqa: S608 - names of our own
        if connection.execute(query).fetchone() == (0,):
            continue
        made = query[:-1].replace("WHERE ", "WHERE (") + f") AND checksum = crc32({TEXTS[table]}))"
        if connection.execute(made).fetchone() != (0,):
            raise invalid_row(path, table)
        damage = not_as_written(table)
    return damage
