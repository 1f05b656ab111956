"""`-v` and `--log-file`, and the log of defects."""

from __future__ import annotations

import logging
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from bulkedit import _log
from bulkedit._files import not_written
from bulkedit._printable import printable
from bulkedit._version import __version__
from bulkedit.cli._console import err
from bulkedit.cli._streams import takes_more
from bulkedit.errors import EXIT_OK, BulkeditError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DETAILS: Final = 2  # -vv


@contextmanager
def logged(command: str, verbose: int, log_file: Path | None) -> Iterator[None]:
    """Log the block to stderr and to a file, as the options say. Raises UsageError if the file is not a log."""
    level = logging.DEBUG if verbose >= _DETAILS else logging.INFO
    with ExitStack() as stack:
        stack.enter_context(_log.detailed(level))
        if log_file is not None:
            handler = _opened(log_file)
            handler.setLevel(level)
            stack.enter_context(_log.written_to(handler))
        if verbose:
            stack.enter_context(_log.written_to(_OnStandardError(level)))
        began = time.monotonic()
        _log.log(
            "command.begun", command=command, version=__version__, python=platform.python_version(), pid=os.getpid()
        )
        ended: _log.Fields = {"command": command}
        try:
            yield
            ended["exit_code"] = EXIT_OK
        except (typer.Exit, BulkeditError) as end:
            ended["exit_code"] = end.exit_code
            if isinstance(end, BulkeditError):
                ended["error"] = type(end).__name__
            raise
        except Exception as error:
            _log.log_defect(error, log_file)
            raise
        finally:
            ended["seconds"] = round(time.monotonic() - began, 3)
            _log.log("command.ended", **ended)


class _OnStandardError(logging.Handler):
    """Writes records as text."""

    def emit(self, record: logging.LogRecord) -> None:
        if takes_more(sys.stderr):
            err().print(f"{_log.utc(record.created)}  {record.getMessage()}")


def _opened(path: Path) -> _log.LogFile:
    """Open a log file. Raises UsageError if it cannot be opened or contains something else."""
    try:
        handler = _log.LogFile(path)
        with path.open("rb") as file:
            start = file.read(len(_log.LINE_START))
    except OSError as error:
        raise not_written("the log", path, error) from error
    if start in {b"", _log.LINE_START}:
        return handler
    handler.close()
    raise UsageError(
        "this file is not a log of bulkedit.",
        where=str(path),
        likely="--log-file names an edit list or another file by mistake.",
        hint="Name a new file, or a log of bulkedit, which is appended to.",
    )


def report_defect(error: BaseException) -> None:
    """Print which file has the traceback of a defect, and where to report it."""
    console = err()
    if (place := _log.log_defect(error, None) or _logged_to_new_file(error)) is not None:
        console.print(f"Its traceback, without values, is in {printable(place)}")
    console.print(f"Please report it, with that traceback and no patients' data: {where_to_report()}")


def _logged_to_new_file(error: BaseException) -> Path | None:
    """Log a defect to a private temporary file; None if that cannot be written."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="bulkedit-defect-", suffix=".log")  # 0600
        os.close(descriptor)
        with _log.written_to(_log.LogFile(Path(name))):
            return _log.log_defect(error, Path(name))
    except OSError:
        return None


def where_to_report() -> str:
    """The URL for issues in the package's metadata. Also works if the package is not installed."""
    urls: list[str] = []
    with suppress(metadata.PackageNotFoundError):
        urls = metadata.metadata("bulkedit").get_all("Project-URL") or []
    addresses = [text.removeprefix("Issues, ") for text in urls if text.startswith("Issues, ")]
    place = addresses[0] if addresses else "as an issue of the project"
    return f"{place} (if values were exposed, see SECURITY.md)"
