"""A command that is killed, or that the disk fails, at any of its writes: it can be typed again, and nothing is left.

`python -m benchmarks.kills --every-write` does the same at every write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.every_write import OPERATIONS, tried, writes_of
from tests.cli.write_faults import COMPILER, Commands, WriteFault, commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import Emulator

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler (cc) to make what fails the writes")

# one for each fault that was found
SAMPLE = [
    ("apply PLAN", WriteFault(2, "ENOSPC", lasts=True, only="pwrite r/.ledger.sqlite")),  # its ledger cannot be made
    ("apply LIST", WriteFault(1, "before", only="mkdir .r.")),  # the plan is made, and the run is not
    ("report", WriteFault(1, "before", only="link page.html")),  # the result files are written, and the page is not
]
MORE = [
    ("plan", WriteFault(1, "before", only="mkdir .p.")),  # the rows set aside are written, and the plan is not
    ("plan", WriteFault(1, "EDQUOT", only="write .p.")),
    ("apply PLAN", WriteFault(1, "before", only="open r/.ledger.sqlite")),  # the run has its folder, and no ledger
    ("apply PLAN", WriteFault(1, "before", only="unlink r/.ledger.sqlite")),  # its ledger has two names
    ("resume", WriteFault(3, "EIO", only="pwrite r/ledger.sqlite-wal")),
]

WRITING = {"write", "pwrite", "writev", "sendfile", "copy_file_range"}


@pytest.fixture(scope="module")
def starting() -> Iterator[Commands]:
    with commands() as started:
        yield started


@pytest.mark.parametrize(
    ("name", "fault"), [*SAMPLE, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)], ids=str
)
def test_a_command_that_fails_at_a_write_can_be_typed_again(
    emulator: Emulator, starting: Commands, name: str, fault: WriteFault
) -> None:
    trial = tried(OPERATIONS[name], emulator, starting, fault)
    assert (trial.wrong, bool(trial.step)) == ("", True), trial


@pytest.mark.slow
def test_the_files_of_a_run_are_on_the_disk_before_it_has_its_name(emulator: Emulator, starting: Commands) -> None:
    writes = [one.split(" ", 1) for one in writes_of(OPERATIONS["apply PLAN"], emulator, starting)]
    before = writes[: writes.index(["rename", "r"])]
    written, synced = ({path for call, path in before if call in calls} for calls in (WRITING, {"fsync"}))
    assert len(written) >= 7
    assert written - synced == set()
