"""Small files and endless answers are refused in words, and take no more than a gigabyte of memory on the way."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.bombs.cases import BOMBS, MOST, Bomb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bombs.cases import Ended, Trial

_AT_ONCE = 2  # each process has a peak of its own

Trials = dict["Trial", Future["Ended"]]


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """The trials of all tests that were selected, already under way; of the harmless ones, one for each command."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    params = [item.callspec.params.get("bomb") for item in items]
    chosen = [bomb for bomb in params if isinstance(bomb, Bomb)]
    folder = tmp_path_factory.mktemp("trials")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        by_command: dict[str, Future[Ended]] = {}
        found: Trials = {}
        for bomb in chosen:
            found[bomb.trial] = pool.submit(bomb.trial.carry_out, folder / str(len(found)))
            command = bomb.harmless.words[0]
            if command not in by_command:
                by_command[command] = pool.submit(bomb.harmless.carry_out, folder / str(len(found)))
            found[bomb.harmless] = by_command[command]
        yield found


@pytest.mark.parametrize(
    "bomb", [pytest.param(bomb, marks=[pytest.mark.slow] if bomb.slow else []) for bomb in BOMBS], ids=str
)
def test_a_bomb_is_refused_in_words_within_a_gigabyte(bomb: Bomb, trials: Trials) -> None:
    harmless, ended = trials[bomb.harmless].result(), trials[bomb.trial].result()
    assert not ended.killed, ended.text
    assert ended.exit_code == bomb.exit_code, ended.text
    assert bomb.says in ended.text
    assert "Traceback" not in ended.text
    assert "defect in bulkedit" not in ended.text
    assert harmless.peak > 0
    assert ended.peak - harmless.peak <= MOST
