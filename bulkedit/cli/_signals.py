"""Ends a command on SIGTERM as on Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """In the block, SIGTERM raises KeyboardInterrupt like Ctrl-C, so that unfinished files are removed."""
    former = signal.getsignal(signal.SIGTERM)
    let_sigterm_interrupt()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)


def let_sigterm_interrupt() -> None:
    """Make SIGTERM raise KeyboardInterrupt. Has no effect outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
