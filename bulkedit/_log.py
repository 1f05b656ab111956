"""What happens while bulkedit works, as records of the standard library's logging that cannot hold a value.

A record is an action with a stable name (`call.applied`) and fields. There are no texts: `Fields` lists all fields
that are ever written, and a text must have the form that its field has in `_FORMS`. So neither a value of an edit or
of metadata nor what a library logs gets in: handlers are on the logger of these records, never on the root.

Records are written by a thread of their own (`logging.handlers.QueueListener`), so no event loop waits for a disk. A
program that imports `bulkedit` gets the records that its logger `bulkedit` is set to.
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
_RUN_LOG_BYTES: Final = 64 * 2**20  # of one file
_RUN_LOGS_KEPT: Final = 7  # full files beside it: 512 MiB in all, about a million calls
_WAITING: Final = 50_000  # records that wait for the disk; what comes then is left out, and counted
_TRACE_LINES: Final = 200
_HIDDEN: Final = "…"


class Fields(TypedDict, total=False):
    """All fields of a record; None is not written. The forms of texts are in `_FORMS`."""

    command: str
    version: str  # of bulkedit
    python: str
    pid: int
    exit_code: int
    call: int  # number in the plan
    image_set_id: str | None
    operation: str | None  # of the service, such as UpdateImageSetMetadata
    request_id: str | None  # that the service gave the request; AWS Support asks for it
    status: int | None  # of HTTP
    code: str | None  # documented error code, or the kind of fault if there was no answer
    attempt: int  # of the update of this call, from 1
    duration_ms: float
    retry_after_s: float | None
    expected_version: int | None  # version that the request takes for the latest
    made: int | None  # version that the update has made
    attempts: int
    throttles: int
    faults: int
    conflicts: int
    reason: str | None  # as in the ledger
    parent: int  # the call that was split
    quota_per_second: float
    plan: str  # the first 16 digits of its digest
    calls: int
    edits: int
    applied: int  # edits, as the following
    rejected: int
    conflicted: int
    failed: int
    unprocessed: int
    seconds: float
    error: str  # type of an exception
    traceback: list[str]
    left_out: int  # records


_FORMS: Final = {
    "command": r"[a-z]+",
    "version": r"[\w.+]+",
    "python": r"[\w.+]+",
    "image_set_id": r"[0-9a-z]{32}",
    "operation": r"[A-Z][A-Za-z]+",
    "request_id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "code": r"[A-Za-z]{1,80}|HTTP \d{3}|no HTTP status|unreadable answer",
    "reason": r"[A-Za-z]{1,80}|HTTP \d{3}|[a-z-]+(?:[:;,]? [a-z-]+){0,24}",  # codes, and our words
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
        """The fields that may be written; of a text that has not its field's form only that there was one."""
        return {name: _fit(name, value) for name, value in self.fields.items() if _is_written(name, value)}

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """As a person reads it."""
        pairs = (f"{name}={value}" for name, value in self.shown().items() if name != "traceback")
        return "  ".join((self.action, *pairs, *self.shown().get("traceback", ())))


_run: ContextVar[object | None] = ContextVar("run", default=None)  # whose log it is
_bound: ContextVar[dict[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - replaced, never changed


def is_logged(level: int) -> bool:
    """Whether anybody gets records of this level."""
    return _RECORDS.isEnabledFor(level) or _PROGRAM.isEnabledFor(level)


def log(action: str, level: int = logging.INFO, /, **fields: Unpack[Fields]) -> None:
    """Log an action, with the fields of `bound` beside its own."""
    if is_logged(level):
        _RECORDS.handle(ActionRecord(level, action, {**_bound.get(), **fields}))


@contextmanager
def bound(**fields: Unpack[Fields]) -> Iterator[None]:
    """Give all records of the block these fields."""
    former = _bound.get()
    _bound.set({**former, **fields})
    try:
        yield
    finally:
        _bound.set(former)  # by no token: an async generator may end in another context than it began in


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
    """Hands records to the logger of the program that has imported us, if that is set to their level."""

    def emit(self, record: logging.LogRecord) -> None:
        if _PROGRAM.isEnabledFor(record.levelno):
            _PROGRAM.handle(record)


_RECORDS.propagate = False  # a program's handlers would get records whose level it has not asked for
_RECORDS.addHandler(_ToTheProgram())
_RECORDS.setLevel(_SILENT)


# -- where they are written


def utc(seconds: float, *, milliseconds: bool = False) -> str:
    """Epoch seconds as RFC 3339 writes a time in UTC: with T and ms for machines, with a blank for people."""
    time = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return time.isoformat("T" if milliseconds else " ", "milliseconds" if milliseconds else "seconds") + "Z"


class JsonLinesFormatter(logging.Formatter):
    """A record as a line of JSON in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """``time``, ``level``, ``action`` and the fields."""
        fields = record.shown() if isinstance(record, ActionRecord) else {}
        action = record.action if isinstance(record, ActionRecord) else _HIDDEN
        return _encode(
            {"time": utc(record.created, milliseconds=True), "level": record.levelname, "action": action, **fields}
        )


_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
LINE_START: Final = b'{"time":"'


class LogFile(RotatingFileHandler):
    """Lines of JSON appended to a private file. What cannot be written is told once, and the work goes on."""

    def __init__(self, path: Path, *, at_most: int = 0, kept: int = 0) -> None:
        """``at_most``: bytes; a full file becomes PATH.1, and the last of ``kept`` such files is dropped. 0: no limit.

        Raises ReceivedError for a link, a pipe, a device, a folder and a file with hard links; and OSError.
        """
        self.path = path.absolute()
        self._is_told = False
        super().__init__(self.path, maxBytes=at_most, backupCount=kept, encoding="ascii")
        self.setFormatter(JsonLinesFormatter())

    def _open(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(received.opened_to_write(self.path), encoding="ascii", write_through=True)

    def shouldRollover(self, _: logging.LogRecord) -> bool:  # noqa: N802 - logging's name
        """Whether the file is full."""
        stream: io.TextIOWrapper | None = self.stream  # None after a file that could not be renamed
        return stream is not None and 0 < self.maxBytes <= os.fstat(stream.fileno()).st_size

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say it once."""
        if not self._is_told:
            self._is_told = True
            error = sys.exc_info()[1]
            warn_of_log(self.path, getattr(error, "strerror", None) or type(error).__name__)

    def close(self) -> None:
        """Close the file; what a full disk has no room for is left out."""
        with suppress(OSError):
            super().close()


def warn_of_log(path: Path, reason: str) -> None:
    """Warn that a log cannot be written."""
    _PROGRAM.warning("The log cannot be written (%s), and the work goes on without it: %s", reason, path)


class _Gate(QueueHandler):
    """Passes records on to the thread that writes them; of one run, or of all."""

    queue: queue.SimpleQueue[logging.LogRecord]

    def __init__(self, level: int, run: object | None) -> None:
        super().__init__(queue.SimpleQueue())
        self.setLevel(level)
        self._run = run
        self.left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        return self._run is None or getattr(record, "run", None) is self._run

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Nothing: a record is not changed, and stays in this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it into the queue, unless a disk that hangs has filled that."""
        if self.queue.qsize() < _WAITING:
            self.queue.put_nowait(record)
        else:
            self.left_out += 1


@contextmanager
def written_to(handler: logging.Handler, run: object | None = None) -> Iterator[None]:
    """Write the records of the block, or of one run in it; all of them are written when it ends."""
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


_levels: Final = [logging.INFO]  # of logs of runs; the last is in force


@contextmanager
def detailed(level: int) -> Iterator[None]:
    """Let the logs of runs that begin in the block have this level."""
    _levels.append(level)
    try:
        yield
    finally:
        _levels.pop()


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """Write what happens in the block, and in tasks and threads that it starts, to the log of a run.

    A defect leaves its traceback there. Raises ReceivedError if the log is a link or no regular file.
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
            leave(error, path)
            raise
        finally:
            _run.set(former)


# -- defects


def leave(error: Exception, place: Path | None) -> Path | None:
    """Log the traceback of a defect, once. Returns the file in which it is, of ``place`` and that of an earlier time.

    An error that a user can cause is no defect: its text is shown in full.
    """
    from bulkedit.errors import BulkeditError

    if isinstance(error, BulkeditError):
        return None
    if (there := getattr(error, _LEFT, None)) is not None:
        return Path(there)
    if place is not None:
        log("defect", logging.ERROR, error=type(error).__name__, traceback=trace(error))
        with suppress(AttributeError):  # of one that takes no attribute it is left twice
            setattr(error, _LEFT, str(place))
    return place


_LEFT: Final = "_bulkedit_log"


def trace(error: BaseException) -> list[str]:
    """A traceback without values: types, files, lines and functions; neither texts of exceptions nor local variables.

    An exception's text can be a value (``KeyError('Doe^John')``). Those of our errors are left out too.
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
    """Where a frame is; of code that is neither ours nor a library's, nothing, since its names can be any."""
    file = Path(frame.filename)
    root = _PACKAGE.parent if file.is_relative_to(_PACKAGE) else next(filter(file.is_relative_to, _LIBRARIES), None)
    return f"  {_HIDDEN}" if root is None else f"  {file.relative_to(root)}:{frame.lineno} in {frame.name}"
