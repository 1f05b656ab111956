"""Image sets that another writer has locked are named where a user looks: at the end of a run, in status and report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulkedit.errors import EXIT_STOPPED
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from tests.cli.shell import Shell

SINCE = r"locked since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ \(1 call\)"


def test_a_run_names_the_image_sets_that_stayed_locked(shell: Shell) -> None:
    free, locked, other = (shell.emulator.add(document(study=f"7.{number}")) for number in range(3))
    for one in (locked, other):
        shell.emulator.lock(one)
    ended = shell.run("apply", str(shell.descriptions([free, locked, other])), *APPLY)
    assert ended.exit_code == EXIT_STOPPED
    report, status = shell.run("report", "r"), shell.run("status", "r")
    for one in (locked, other):
        assert re.search(f"Waits for unlock: +image set {one}, {SINCE}", ended.stdout)
        assert re.search(f"Waits for unlock: +image set {one}, {SINCE}", report.stdout)
        assert re.search(f"locked +image set {one}, {SINCE}", status.stdout)
    assert free not in "".join(line for line in report.stdout.splitlines() if "unlock" in line)
    (line,) = shell.run("status", "r", "--json").json
    told = [found for found in shell.run("report", "r", "--json").json if found["type"] == "locked"]
    assert {found["image_set_id"] for found in line["locked"]} == {locked, other}
    assert [{"type": "locked", **found} for found in line["locked"]] == told
    resumed = [found for found in shell.run("resume", "r", "--json").json if found["type"] == "locked"]
    assert {found["image_set_id"] for found in resumed} == {locked, other}


def test_nothing_is_named_once_the_lock_has_ended(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    shell.emulator.lock(one, 2.5)
    shell.run("apply", str(shell.descriptions([one])), *APPLY)
    assert shell.run("status", "r", "--json").json[0]["locked"] != []
    assert shell.run("resume", "r", "--unlock-timeout", "30").exit_code == 0
    assert shell.run("status", "r", "--json").json[0]["locked"] == []
    assert "unlock" not in shell.run("report", "r").stdout


APPLY = ("--yes", "--run", "r", "--unlock-timeout", "1")
