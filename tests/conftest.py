"""What every test stands on: no AWS account, no settings of whoever runs them, and an emulator where asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from bulkedit.cli._commands import COMMANDS
from bulkedit.cli.app import load_command
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import Emulator

# variables that make rich and typer write to a pipe as to a terminal
_TERMINAL = ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH", "TTY_COMPATIBLE")


def switches() -> set[str]:
    """The variables that stand for options of the commands."""
    options: list[Any] = [option for name in COMMANDS for option in load_command(name).params]
    return {str(option.envvar) for option in options}


# machines are shared and noisy: no test is judged by how long it takes
hypothesis.settings.register_profile("bulkedit", deadline=None)
hypothesis.settings.load_profile("bulkedit")


@pytest.fixture(scope="session", autouse=True)
def without_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Words that stand for credentials; nothing of ~/.aws, of an instance role or of the caller's settings is used."""
    absent = tmp_path_factory.mktemp("account") / "absent"
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name in _TERMINAL or name in switches():
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", str(absent))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(absent))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A HealthImaging of its own over HTTP, without throttling, whose updates are done in a moment."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as running:
        yield running
