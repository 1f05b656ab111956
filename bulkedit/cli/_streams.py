"""Standard output and error whose readers may go away: a run is worth more than its messages.

A stream that fails, because its reader is gone or its disk is full, is dropped. That is said once on the other stream.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import typer

from bulkedit.errors import EXIT_FATAL, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES: Final = {"stdout": "Standard output", "stderr": "Standard error"}


class Output:
    """A stream that drops what its file does not take any more. All other attributes are those of the file."""

    def __init__(self, file: IO[str], name: str, *, ends: bool, text: bool) -> None:
        """``name``: stdout or stderr; ``ends``: raise OutputError once the file fails; ``text``: it has no JSON."""
        self.file = file
        self.lost = False
        self.text = text
        self._name, self._ends = name, ends

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        if not self.lost:
            try:
                return self.file.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush the file."""
        if not self.lost:
            try:
                self.file.flush()
            except OSError as error:
                self._lose(error)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - an attribute of the file
        return getattr(self.file, name)

    def _lose(self, error: OSError) -> None:
        self.lost = True
        _discard(self.file)
        what = f"{_NAMES[self._name]} cannot be written ({error.strerror})"
        if self._ends and isinstance(error, BrokenPipeError):
            raise typer.Exit(EXIT_FATAL) from None  # as in `| head`, which needs no words
        if self._ends:
            raise OutputError(
                f"{what}.", likely="Its reader has ended, or its disk is full.", hint="Run the command again."
            ) from None
        other = cast("object", sys.stderr if self._name == "stdout" else sys.stdout)
        if isinstance(other, Output) and other.text:
            other.write(f"{what}; the command continues without it.\n")
            other.flush()


def _discard(file: IO[str]) -> None:
    """Send what the file has buffered, and will at its end, to nowhere, so that it cannot fail again."""
    with suppress(OSError):  # no descriptor: it is in memory
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


def open_closed_descriptors() -> None:
    """Open /dev/null as each standard descriptor that was closed before Python started, as some schedulers do.

    Otherwise the next file that is opened, such as a ledger, takes its number, and gets what is written to it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives


@contextmanager
def lasting_outputs(*, printing: bool, as_json: bool) -> Iterator[None]:
    """Let the block survive the loss of stdout and stderr.

    ``printing``: the output is all that the command does, so it ends with `OutputError` if stdout fails.
    ``as_json``: stdout has JSON lines, so that no message may appear there.
    """
    former = sys.stdout, sys.stderr
    stdout, stderr = (one.file if isinstance(one, Output) else one for one in cast("Any", former))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        # a stream that was closed before Python started is None
        sys.stdout = cast("Any", Output(stdout or nowhere, "stdout", ends=printing, text=not as_json))
        sys.stderr = cast("Any", Output(stderr or nowhere, "stderr", ends=False, text=True))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = former


def takes_more(stream: IO[str]) -> bool:
    """Whether a short text can be written without waiting: false if the reader of a pipe does not read any more."""
    try:
        waiting = select.poll()
        waiting.register(stream.fileno(), select.POLLOUT)
        return bool(waiting.poll(0))
    except (OSError, ValueError):  # no descriptor: it is in memory
        return True
