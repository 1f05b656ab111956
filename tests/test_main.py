"""`python -m bulkedit` is the command."""

from __future__ import annotations

import subprocess
import sys

from packaging.version import Version

from bulkedit._version import __version__


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "bulkedit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"bulkedit {Version(__version__)}\n"
