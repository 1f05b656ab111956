"""`-v` and `--log-file` of commands that work long, and the file to which a defect leaves its traceback."""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from bulkedit import _log
from bulkedit._printable import printable
from bulkedit._version import __version__
from bulkedit.cli._console import err
from bulkedit.errors import EXIT_OK, BulkeditError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DETAILS: Final = 2  # -vv


@contextmanager
def logged(command: str, verbose: int, log_file: Path | None) -> Iterator[None]:
    """Write what happens in the block where the options say. Raises UsageError for a file that is no log."""
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
            _log.leave(error, log_file)
            raise
        finally:
            ended["seconds"] = round(time.monotonic() - began, 3)
            _log.log("command.ended", **ended)


class _OnStandardError(logging.Handler):
    """Records as a person reads them."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # nobody reads any more
            err().print(f"{_log.utc(record.created)}  {record.getMessage()}")


def _opened(path: Path) -> _log.LogFile:
    """Raises UsageError if the file has something else than lines of a log in it, or cannot be opened."""
    try:
        handler = _log.LogFile(path)
        with path.open("rb") as file:
            start = file.read(len(_log.LINE_START))
    except OSError as error:
        raise UsageError(f"the log cannot be written ({error.strerror}).", where=str(path)) from error
    if start in {b"", _log.LINE_START}:
        return handler
    handler.close()
    raise UsageError(
        "this file is no log of bulkedit.",
        where=str(path),
        likely="--log-file names an edit list, or another file that is to be kept.",
        hint="Name another file; lines are only ever appended to it.",
    )


def tell_of_defect(error: Exception) -> None:
    """Say where the traceback of a defect is, without values, and where to report it."""
    console = err()
    if (place := _log.leave(error, None) or _left_in_a_file_of_its_own(error)) is not None:
        console.print(f"Its traceback, without values, is in {printable(place)}")
    console.print(f"Please report it, with that traceback and no patients' data: {where_to_report()}")


def _left_in_a_file_of_its_own(error: Exception) -> Path | None:
    """Leave it in a private file in the folder for temporary files; None if that cannot be written."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="bulkedit-defect-", suffix=".log")  # 0600
        os.close(descriptor)
        with _log.written_to(_log.LogFile(Path(name))):
            return _log.leave(error, Path(name))
    except OSError:
        return None


def where_to_report() -> str:
    """The address for issues in the metadata of the installed package. It is run without being installed, too."""
    urls: list[str] = []
    with suppress(metadata.PackageNotFoundError):
        urls = metadata.metadata("bulkedit").get_all("Project-URL") or []
    addresses = [text.removeprefix("Issues, ") for text in urls if text.startswith("Issues, ")]
    place = addresses[0] if addresses else "as an issue of the project"
    return f"{place} (if values were exposed: as SECURITY.md says)"
