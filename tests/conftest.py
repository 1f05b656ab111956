"""The base of every test: no AWS account, no settings of the person who runs them, and an emulator if asked for."""

from __future__ import annotations

import functools
import gc
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import JSONFileLoader, Loader

from bulkedit.cli import _working
from bulkedit.cli._commands import COMMANDS
from bulkedit.cli.app import load_command
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests import examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import Emulator

# variables that make rich and typer write to a pipe as to a terminal
_TERMINAL = ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH", "TTY_COMPATIBLE")


def switches() -> set[str]:
    """The environment variables of the commands' options."""
    options: list[Any] = [option for name in COMMANDS for option in load_command(name).params]
    return {str(option.envvar) for option in options}


def pytest_configure(config: pytest.Config) -> None:
    examples.load_profile(config.getoption("markexpr"))


@pytest.fixture(scope="session", autouse=True)
def without_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Placeholder credentials; nothing of ~/.aws, of an instance role or of the caller's settings and cache is used."""
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
        patch.setenv("XDG_CACHE_HOME", str(absent.parent / "cache"))
        yield


def pytest_collection_finish() -> None:
    """Garbage collections leave out what is there by now: they took half of the CPU of a command in this process."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def kept_models() -> Iterator[None]:
    """The SDK's models are read once for all tests: each new client would read and search them again."""
    search, read = Loader.list_available_services, functools.cache(JSONFileLoader().load_file)
    found: dict[Any, Any] = {}

    def available(loader: Loader, kind: str) -> Any:
        key = kind, *loader.search_paths
        if key not in found:
            found[key] = search(loader, kind)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "list_available_services", available)
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture(scope="session", autouse=True)
def heap_of_the_tests() -> Iterator[None]:
    """A command in this process does not collect the heap, which is that of all tests (`short_collections`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_working, "gc", SimpleNamespace(collect=int, freeze=int, unfreeze=int))
        yield


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A HealthImaging of its own over HTTP, without throttling, whose updates are done in a moment."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as running:
        yield running
