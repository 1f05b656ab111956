"""`python -m bulkedit` is the command, and says in words that it does not run on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from packaging.version import Version

from bulkedit._version import __version__
from bulkedit.errors import EXIT_FATAL, EXIT_OK

# what Windows has not, and the modules here import or read
WINDOWS = """
import os, signal, sys
for module in ("fcntl", "pwd", "resource", "termios"):
    sys.modules[module] = None
for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fdatasync", "fstatvfs", "geteuid"):
    delattr(os, name) if hasattr(os, name) else None
del signal.SIGHUP
"""
UNSUPPORTED = "bulkedit does not run on Windows."


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "bulkedit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"bulkedit {Version(__version__)}\n"


def on_windows(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WINDOWS + code, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("plan", "edits.csv"), ("status", "run"), ("clean",)], ids=lambda words: words[0])
def test_a_command_on_windows_says_what_to_do(words: tuple[str, ...]) -> None:
    done = on_windows("from bulkedit.cli.app import app; app(prog_name='bulkedit')", *words)
    first, *rest = done.stderr.splitlines()
    assert (done.returncode, first) == (EXIT_FATAL, f"error: {UNSUPPORTED}")
    assert rest[-1] == "Install it in the Windows Subsystem for Linux: wsl --install"


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("plan", "--help")], ids=" ".join)
def test_help_and_version_are_there_on_windows(words: tuple[str, ...]) -> None:
    done = on_windows("from bulkedit.cli.app import app; app(prog_name='bulkedit')", *words)
    assert (done.returncode, done.stderr) == (EXIT_OK, "")


@pytest.mark.parametrize("name", ["bulkedit.plan", "bulkedit.emulator.serve"])
def test_the_library_on_windows_says_it_as_an_import_error(name: str) -> None:
    module = name.rpartition(".")[0]
    done = on_windows(f"import {module}\ntry: {name}\nexcept ImportError as error: print(error)")
    assert done.stdout.startswith(UNSUPPORTED), done.stderr
