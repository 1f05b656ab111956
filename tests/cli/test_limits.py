"""Open files: the soft limit is raised, and under a low hard limit fewer connections are opened."""

from __future__ import annotations

import resource
import textwrap
from typing import TYPE_CHECKING

import pytest

from bulkedit.cli._limits import allow_files
from bulkedit.client.aws import _connections

if TYPE_CHECKING:
    from tests.cli.shell import Shell

UNLIMITED = resource.RLIM_INFINITY
LOW_LIMIT = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    from bulkedit.cli.app import app
    app()
"""


@pytest.mark.parametrize(
    ("limits", "changed"),
    [
        ((256, UNLIMITED), (4096, UNLIMITED)),
        ((256, 1024), (1024, 1024)),
        ((256, 10_000), (4096, 10_000)),
        ((64, 64), (64, 64)),
        ((8192, 8192), None),
        ((UNLIMITED, UNLIMITED), None),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_the_hard_one_lets(
    limits: tuple[int, int], changed: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: seen.append(wanted))
    allow_files()
    assert seen == ([] if changed is None else [changed])


def test_a_sandbox_that_forbids_it_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 128))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_files()


@pytest.mark.parametrize(("files", "connections"), [(64, 24), (16, 4), (1024, 128), (UNLIMITED, 128)])
def test_connections_leave_files_for_the_rest(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert _connections(128) == connections
    assert len(caplog.messages) == int(connections < 128)


def test_a_run_with_a_thousand_workers_and_few_files_is_whole(shell: Shell) -> None:
    image_sets = shell.image_sets(60)
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", "r", "--workers", "1000")
    with shell.started(*words, start=("-c", textwrap.dedent(LOW_LIMIT))) as process:
        _, stderr = process.communicate()
    assert (process.returncode, stderr.count("This process may open 64 files")) == (0, 1), stderr
    assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(60)]
