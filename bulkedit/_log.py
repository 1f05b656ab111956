"""The log of bulkedit: records of the standard library's logging that cannot contain values.

A record is an action with a stable name (`call.applied`) and fields, without free text. `Fields` lists all fields, and
a string must match its field's pattern in `_FORMS`. So no value of an edit or of metadata is logged. Nothing that
libraries log is written either, because handlers are attached to the logger of these records, never to the root.

A thread writes the records (`logging.handlers.QueueListener`), so the event loop never waits for a disk. A program
that imports `bulkedit` gets the records on its logger `bulkedit`, at the level set there.
"""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import re
import sys
import sysconfig
import traceback
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from bulkedit import _received as received

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM: Final = logging.getLogger("bulkedit")
_RECORDS: Final = logging.getLogger("bulkedit.log")
_SILENT: Final = logging.CRITICAL + 1
RUN_LOG: Final = "run.log"
_RUN_LOG_BYTES: Final = 64 * 2**20  # largest size of one file
_RUN_LOGS_KEPT: Final = 7  # full files kept beside it: 512 MiB in all, about a million calls
_WAITING: Final = 50_000  # most records that wait for the disk; later ones are dropped and counted
_TRACE_LINES: Final = 200
_HIDDEN: Final = "…"


class Fields(TypedDict, total=False):
    """All fields of a record. None is not written. `_FORMS` has the patterns of strings."""

    command: str
    version: str  # of bulkedit
    python: str
    pid: int
    exit_code: int
    call: int  # number in the plan
    image_set_id: str | None
    operation: str | None  # such as UpdateImageSetMetadata
    request_id: str | None  # assigned by the service; AWS Support asks for it
    status: int | None  # HTTP status
    code: str | None  # documented error code, or the kind of fault if there was no response
    attempt: int  # number of the update request for this call, from 1
    duration_ms: float
    retry_after_s: float | None
    expected_version: int | None  # latestVersionId of the request
    made: int | None  # version that the update made
    attempts: int
    throttles: int
    faults: int
    conflicts: int
    reason: str | None  # as in the ledger
    parent: int  # number of the call that was split
    quota_per_second: float
    plan: str  # first 16 digits of its digest
    calls: int
    edits: int
    applied: int  # number of edits, as are the next four
    rejected: int
    conflicted: int
    failed: int
    unprocessed: int
    seconds: float
    error: str  # type of the exception
    traceback: list[str]
    left_out: int  # number of dropped records


_FORMS: Final = {
    "command": r"[a-z]+",
    "version": r"[\w.+]+",
    "python": r"[\w.+]+",
    "image_set_id": r"[0-9a-z]{32}",
    "operation": r"[A-Z][A-Za-z]+",
    "request_id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "code": r"[A-Za-z]{1,80}|HTTP \d{3}(?: without an error type)?|no HTTP status|unreadable answer",
    # codes, or our own text
    "reason": r"[A-Za-z]{1,80}|HTTP \d{3}(?: without an error type)?|[a-z-]+(?:[:;,]? [a-z-]+){0,24}",
    "plan": r"[0-9a-f]{16}",
    "error": r"[A-Za-z_]\w{0,79}",
    "traceback": r"(?:caused by |one of it )?[A-Za-z_]\w*|  (?:\S+:\d+ in \S+|…)",
}
_MATCHES: Final = {name: re.compile(form).fullmatch for name, form in _FORMS.items()}
_NUMBERS: Final = frozenset(Fields.__annotations__) - _FORMS.keys()


# -- records


class ActionRecord(logging.LogRecord):
    """An action with its fields."""

    def __init__(self, level: int, action: str, fields: dict[str, Any]) -> None:
        super().__init__(_RECORDS.name, level, __file__, 0, action, None, None)
        self.action = action
        self.fields = fields
        self.run = _run.get()

    def shown(self) -> dict[str, Any]:
        """The fields that may be written. A string that does not match its field's pattern becomes `…`."""
        return {name: _fit(name, value) for name, value in self.fields.items() if _is_written(name, value)}

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """The record as one line of text; a traceback follows on the same line."""
        pairs = (f"{name}={value}" for name, value in self.shown().items() if name != "traceback")
        return "  ".join((self.action, *pairs, *self.shown().get("traceback", ())))


_run: ContextVar[object | None] = ContextVar("run", default=None)  # identifies the run that logs
_bound: ContextVar[dict[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - replaced, never changed


def is_logged(level: int) -> bool:
    """Whether records of this level are written anywhere."""
    return _RECORDS.isEnabledFor(level) or _PROGRAM.isEnabledFor(level)


def log(action: str, level: int = logging.INFO, /, **fields: Unpack[Fields]) -> None:
    """Log an action with these fields and those of `bound`."""
    if is_logged(level):
        _RECORDS.handle(ActionRecord(level, action, {**_bound.get(), **fields}))


@contextmanager
def bound(**fields: Unpack[Fields]) -> Iterator[None]:
    """Add these fields to all records of the block."""
    former = _bound.get()
    _bound.set({**former, **fields})
    try:
        yield
    finally:
        _bound.set(former)  # not reset(token): an async generator may end in another context than it began in


def _is_written(name: str, value: object) -> bool:
    return value is not None and (name in _NUMBERS or name in _MATCHES)


def _fit(name: str, value: object) -> object:
    if name in _NUMBERS:
        return value if type(value) in {int, float} else _HIDDEN
    if name == "traceback":
        lines = value if isinstance(value, list | tuple) else ()
        return [line if _MATCHES[name](line) else _HIDDEN for line in lines]
    return value if isinstance(value, str) and _MATCHES[name](value) else _HIDDEN


class _ToTheProgram(logging.Handler):
    """Passes records to the logger `bulkedit` of the importing program, if it is set to their level."""

    def emit(self, record: logging.LogRecord) -> None:
        if _PROGRAM.isEnabledFor(record.levelno):
            _PROGRAM.handle(record)


_RECORDS.propagate = False  # otherwise the program's handlers would get records below the level that it has set
_RECORDS.addHandler(_ToTheProgram())
_RECORDS.setLevel(_SILENT)


# -- where they are written


def utc(seconds: float, *, milliseconds: bool = False) -> str:
    """Epoch seconds as an RFC 3339 time in UTC: with T and milliseconds for machines, with a blank for people."""
    time = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return time.isoformat("T" if milliseconds else " ", "milliseconds" if milliseconds else "seconds") + "Z"


def iso(seconds: float) -> str:
    """Epoch seconds as an ISO 8601 time in UTC, to the second; the form of files and `--json`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


class JsonLinesFormatter(logging.Formatter):
    """Formats a record as one line of ASCII JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The object has ``time``, ``level``, ``action`` and the fields."""
        fields = record.shown() if isinstance(record, ActionRecord) else {}
        action = record.action if isinstance(record, ActionRecord) else _HIDDEN
        return _encode(
            {"time": utc(record.created, milliseconds=True), "level": record.levelname, "action": action, **fields}
        )


_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
LINE_START: Final = b'{"time":"'


class LogFile(RotatingFileHandler):
    """Appends JSON lines to a private file. If it cannot be written, warns once, and the work continues."""

    def __init__(self, path: Path, *, at_most: int = 0, kept: int = 0) -> None:
        """``at_most``: bytes; a full file is renamed to PATH.1. ``kept``: renamed files to keep. 0: no limit.

        Raises ReceivedError for a link, a pipe, a device, a folder or a file with hard links, and OSError.
        """
        self.path = path.absolute()
        self._has_warned = False
        super().__init__(self.path, maxBytes=at_most, backupCount=kept, encoding="ascii")
        self.setFormatter(JsonLinesFormatter())

    def _open(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(received.opened_to_write(self.path), encoding="ascii", write_through=True)

    def shouldRollover(self, _: logging.LogRecord) -> bool:  # noqa: N802 - logging's name
        """Whether the file is full."""
        stream: io.TextIOWrapper | None = self.stream  # None if a rename has failed
        return stream is not None and 0 < self.maxBytes <= os.fstat(stream.fileno()).st_size

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Warn once."""
        if not self._has_warned:
            self._has_warned = True
            error = sys.exc_info()[1]
            warn_of_log(self.path, getattr(error, "strerror", None) or type(error).__name__)

    def close(self) -> None:
        """Close the file. An error, such as a full disk, is ignored."""
        with suppress(OSError):
            super().close()


def warn_of_log(path: Path, reason: str) -> None:
    """Warn that a log cannot be written."""
    _PROGRAM.warning("The log cannot be written (%s); continuing without it: %s", reason, path)


class _Gate(QueueHandler):
    """Passes records of one run, or of all, to the thread that writes them."""

    queue: queue.SimpleQueue[logging.LogRecord]

    def __init__(self, level: int, run: object | None) -> None:
        super().__init__(queue.SimpleQueue())
        self.setLevel(level)
        self._run = run
        self.left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        return self._run is None or getattr(record, "run", None) is self._run

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record unchanged: it stays in this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record into the queue. If the queue is full, because the disk hangs, drop and count it."""
        if self.queue.qsize() < _WAITING:
            self.queue.put_nowait(record)
        else:
            self.left_out += 1


@contextmanager
def written_to(handler: logging.Handler, run: object | None = None) -> Iterator[None]:
    """Write the records of the block to a handler. ``run``: only those of this run. All are written when it ends."""
    gate = _Gate(handler.level or logging.DEBUG, run)
    listener = QueueListener(gate.queue, handler)
    listener.start()
    _RECORDS.addHandler(gate)
    _set_level()
    try:
        yield
    finally:
        _RECORDS.removeHandler(gate)
        _set_level()
        listener.stop()
        if gate.left_out:
            handler.handle(ActionRecord(logging.WARNING, "log.gap", {"left_out": gate.left_out}))
        handler.close()


def _set_level() -> None:
    gates = [handler.level for handler in _RECORDS.handlers if isinstance(handler, _Gate)]
    _RECORDS.setLevel(min(gates, default=_SILENT))


_levels: Final = [logging.INFO]  # stack of levels of run logs; the last one applies


@contextmanager
def detailed(level: int) -> Iterator[None]:
    """Set the level of the logs of runs that start in the block."""
    _levels.append(level)
    try:
        yield
    finally:
        _levels.pop()


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """Write the records of the block, and of tasks and threads that it starts, to the log of a run.

    The traceback of a defect is logged there too. Raises ReceivedError if the log is a link or not a regular file.
    """
    path = folder / RUN_LOG
    try:
        handler = LogFile(path, at_most=_RUN_LOG_BYTES, kept=_RUN_LOGS_KEPT)
    except OSError as error:
        warn_of_log(path, error.strerror or type(error).__name__)
        yield
        return
    handler.setLevel(_levels[-1])
    former, run = _run.get(), object()
    with written_to(handler, run):
        _run.set(run)
        try:
            yield
        except Exception as error:
            log_defect(error, path)
            raise
        finally:
            _run.set(former)


# -- defects


def log_defect(error: BaseException, place: Path | None) -> Path | None:
    """Log the traceback of a defect, once. Returns the log file that has it. ``place``: the present log file, if any.

    A `BulkeditError` is not a defect: its text is shown in full.
    """
    from bulkedit.errors import BulkeditError

    if isinstance(error, BulkeditError):
        return None
    if (logged_in := getattr(error, _LOGGED_IN, None)) is not None:
        return Path(logged_in)
    if place is not None:
        log("defect", logging.ERROR, error=type(error).__name__, traceback=trace(error))
        with suppress(AttributeError):  # an exception without attributes may be logged twice
            setattr(error, _LOGGED_IN, str(place))
    return place


_LOGGED_IN: Final = "_bulkedit_log"


def trace(error: BaseException) -> list[str]:
    """A traceback without values: exception types, files, lines and functions; no exception texts, no local variables.

    The text of an exception can be a value (``KeyError('Doe^John')``).
    """
    lines: list[str] = []
    todo, seen = [("", error)], {id(error)}
    while todo and len(lines) < _TRACE_LINES:
        how, one = todo.pop(0)
        lines.append(how + type(one).__name__)
        lines += map(_place, traceback.extract_tb(one.__traceback__))
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        behind = [*(("one of it ", member) for member in members), *([("caused by ", cause)] if cause else [])]
        todo += [(how, other) for how, other in behind if id(other) not in seen]
        seen |= {id(other) for _, other in behind}
    return lines[:_TRACE_LINES]


_PACKAGE: Final = Path(__file__).parent
_LIBRARIES: Final = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")]


def _place(frame: traceback.FrameSummary) -> str:
    """File, line and function of a frame. Hidden for code outside bulkedit and libraries: its names may be values."""
    file = Path(frame.filename)
    root = _PACKAGE.parent if file.is_relative_to(_PACKAGE) else next(filter(file.is_relative_to, _LIBRARIES), None)
    return f"  {_HIDDEN}" if root is None else f"  {file.relative_to(root)}:{frame.lineno} in {frame.name}"
