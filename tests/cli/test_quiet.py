"""What libraries, threads, tasks and native code print never reaches stderr, and no path but one ends with code 1."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import textwrap
import threading
import warnings
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit import _log
from bulkedit.cli import app as module
from bulkedit.cli import apply as apply_module
from bulkedit.cli import status as status_module
from bulkedit.cli._quiet import quiet_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

CANARY = "CANARY^JANE"


class Broken:
    """An object whose destructor fails."""

    def __del__(self) -> None:
        raise ValueError(CANARY)


def in_a_thread() -> None:
    def fail() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def in_a_destructor() -> None:
    Broken()
    gc.collect()


def in_a_task() -> None:
    async def fail() -> None:
        raise ValueError(CANARY)

    async def main() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(main())


def in_a_session_that_is_not_closed() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "Unclosed client session"})

    asyncio.run(main())


def by_a_library() -> None:
    for name in ("aiohttp", "asyncio", "botocore", "urllib3", "polars"):
        logging.getLogger(name).error(CANARY, exc_info=ValueError(CANARY))


def by_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(CANARY, RuntimeWarning, stacklevel=1)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "fails",
    [in_a_thread, in_a_destructor, in_a_task, in_a_session_that_is_not_closed, by_a_library, by_a_warning],
    ids=lambda fails: fails.__name__,
)
def test_nothing_of_it_is_printed_and_its_kind_is_logged(
    fails: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with _log.written_to(_log.LogFile(tmp_path / "test.log")), quiet_libraries():
        fails()
    assert capfd.readouterr() == ("", "")
    text = (tmp_path / "test.log").read_text()
    assert CANARY not in text
    expected = fails in {in_a_thread, in_a_destructor, in_a_task, by_a_library}
    assert ("background.error" in text and "ValueError" in text) is expected


def test_the_former_hooks_come_back() -> None:
    former = sys.unraisablehook, threading.excepthook
    with quiet_libraries():
        assert sys.unraisablehook is not former[0]
    assert (sys.unraisablehook, threading.excepthook) == former


NATIVE = """
    import os
    from polars.exceptions import PanicException
    from bulkedit.cli import status

    def fail(*_):
        os.write(2, b"thread '<unnamed>' panicked at CANARY")
        raise PanicException("CANARY")

    status.status = fail
    from bulkedit.cli.app import app
    app()
"""


def test_a_panic_of_native_code_is_a_defect_without_its_text_and_with_code_4(shell: Shell) -> None:
    with shell.started("status", "r", start=("-c", textwrap.dedent(NATIVE))) as process:
        stdout, stderr = process.communicate()
    assert process.returncode == 4
    assert "error: this is a defect in bulkedit: PanicException" in stderr
    assert "CANARY" not in stdout + stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (pl.exceptions.PanicException(CANARY), 4, "defect in bulkedit: PanicException"),
        (SystemExit(1), 4, "defect in bulkedit: SystemExit"),
        (asyncio.CancelledError(), 4, "defect in bulkedit: CancelledError"),
        (MemoryError(), 4, "defect in bulkedit: MemoryError"),
        (BrokenPipeError(32, "pipe"), 4, "defect in bulkedit: BrokenPipeError"),
        (EOFError(), 4, "defect in bulkedit: EOFError"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (BaseExceptionGroup("g", [ValueError(CANARY), KeyboardInterrupt()]), 130, "Interrupted."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_no_error_of_a_command_ends_with_code_1(
    error: BaseException, code: int, words: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(status_module, "status", fail)
    result = shell.run("status", "r")
    assert result.exit_code == code
    assert words in result.stderr
    assert CANARY not in result.stderr


def test_a_warning_names_options_as_the_flags_of_the_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_module, "apply", lambda *_: logging.getLogger("bulkedit").warning("See `endpoint_url`."))
    assert shell.run("apply", "edits.csv").stderr == "See --endpoint-url.\n"


def test_an_error_outside_of_a_command_is_a_defect_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ImportError(CANARY)

    monkeypatch.setattr(module, "load_command", fail)
    result = shell.run("status", "r")
    assert (result.exit_code, "defect in bulkedit: ImportError" in result.stderr) == (4, True)
    assert CANARY not in result.stderr
