"""Replaces a ledger that is not whole by another one (`bulkedit.runs.reconcile`)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bulkedit import _received as received
from bulkedit._files import draft
from bulkedit.errors import UnprovenLedgerError
from bulkedit.runs import anchor as anchors
from bulkedit.runs.ledger.comparison import anchor_of, read_anchor
from bulkedit.runs.ledger.faults import explained
from bulkedit.runs.ledger.ledger import Ledger
from bulkedit.runs.ledger.lock import held
from bulkedit.runs.ledger.opening import connect, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def rebuilt(path: Path, *, run: str, stamp: str) -> Iterator[tuple[Ledger | None, Ledger]]:
    """The old ledger (None if it is missing), and an empty one that replaces it if the block succeeds.

    The run is locked meanwhile. The old ledger is kept, with ``stamp`` in its name. ``run``: name of the run, for a
    missing anchor. If the process is killed, the old ledger is still there and this can be repeated. Raises
    RunHeldError, LedgerError.
    """
    with contextlib.ExitStack() as undo:
        lock = undo.enter_context(held(path))
        left = _left_of(path)
        if left is not None:
            undo.enter_context(left)
        with explained(path), draft(path, replace=True) as new:
            set_up(new)
            with Ledger(new, connect(new), None) as ledger:
                yield left, ledger
            if left is not None:
                left.close()
            _put_aside(path, stamp)
        if read_anchor(path) is None and received.there(beside := anchors.beside(path)):
            _put_aside(beside, stamp)
        anchor = undo.enter_context(contextlib.closing(anchor_of(path, run, lock)))
        with explained(path):
            anchor.adopt(begun=True, **ledger.contents())


def _left_of(path: Path) -> Ledger | None:
    if not received.there(path):
        return None
    try:
        return Ledger.read(path)
    except UnprovenLedgerError:  # it cannot be read at all
        return None


def _put_aside(path: Path, stamp: str) -> None:
    """Rename a database and SQLite's files beside it, the log first, so that it is never replayed into a new file."""
    for suffix in ("-wal", "-shm", ""):
        file = path.with_name(path.name + suffix)
        if received.there(file):
            file.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}{suffix}"))
