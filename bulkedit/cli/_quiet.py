"""Keeps what libraries and Python itself print away from stderr: it has tracebacks, and can have values.

It goes to the log instead, as types and places without texts. Messages of this program are the only ones on stderr.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR: Final = 2


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """In the block, errors that nothing catches in threads, tasks and destructors are logged, and warnings dropped."""
    # without a handler, Python would print the warnings of libraries, the SDK's with tracebacks
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    former = sys.unraisablehook, threading.excepthook
    tasks, handler = logging.getLogger("asyncio"), _OfTasks(logging.ERROR)
    with warnings.catch_warnings():
        warnings.showwarning = lambda *_, **__: None
        sys.unraisablehook = lambda found: _note(found.exc_value)
        threading.excepthook = lambda found: _note(found.exc_value)
        tasks.addHandler(handler)
        try:
            yield
        finally:
            tasks.removeHandler(handler)
            sys.unraisablehook, threading.excepthook = former


class _OfTasks(logging.Handler):
    """Logs what asyncio reports, such as an exception of a task that nothing waits for."""

    def emit(self, record: logging.LogRecord) -> None:
        _note(record.exc_info[1] if record.exc_info else None)


def _note(error: BaseException | None) -> None:
    if error is not None:
        from bulkedit import _log  # late: it imports what Windows does not have

        _log.log("background.error", logging.ERROR, error=type(error).__name__, traceback=_log.trace(error))


@contextmanager
def quiet_descriptor() -> Iterator[None]:
    """In the block, what native code writes to the descriptor of stderr is dropped: a panic of polars quotes values.

    Messages of this program go to a copy of the descriptor. Does nothing if stderr is not the process's own.
    """
    stream = sys.stderr
    try:
        own = stream.fileno() == _STDERR and stream is sys.__stderr__
    except (AttributeError, OSError, ValueError):  # closed, or in memory
        own = False
    if not own:
        yield
        return
    stream.flush()
    kept = os.dup(_STDERR)
    sys.stderr = os.fdopen(
        os.dup(_STDERR), "w", encoding=stream.encoding, errors=stream.errors, buffering=1, closefd=True
    )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stderr.close()
        os.dup2(kept, _STDERR)
        os.close(kept)
        sys.stderr = stream
