"""`bulkedit resume` with other settings than those of the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit.runs.ledger import Ledger

if TYPE_CHECKING:
    import pytest

    from tests.cli.shell import Shell


def test_a_resume_changes_settings_from_then_on_and_says_so(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(2))
    shell.unbegun(edits, "r")
    assert {"BULKEDIT_RATE", "BULKEDIT_READ_RATE"} <= shell.env.keys()  # variables of `apply` change nothing
    first = shell.run("resume", "r", "--rate", "1000/s", "--max-in-flight", "4", "--region", "eu-west-1")
    assert first.exit_code == 0
    said = (
        "Settings of the run have changed: --region from none to eu-west-1, --rate from auto to 1000/s, --max-in-flight"
    )
    assert said in " ".join(first.stderr.split())
    again = shell.run("resume", "r", "--rate", "1000/s")
    assert "have changed" not in again.stderr
    with Ledger.read(shell.folder / "r/ledger.sqlite") as ledger:
        assert [one.name for one in ledger.settings()] == ["region", "rate", "max_in_flight"]


def test_a_changed_time_is_said_without_needless_zeros(shell: Shell) -> None:
    shell.unbegun(shell.descriptions(shell.image_sets(1)), "r")
    told = " ".join(shell.run("resume", "r", "--unlock-timeout", "30").stderr.split())
    assert "have changed: --unlock-timeout from 3600 to 30." in told
    again = shell.run("resume", "r").stderr
    assert "Resuming with --strategy new: 0 calls without an outcome. Left alone: 1 completed call." in again
    failed = shell.run("resume", "r", "--strategy", "failed").stderr
    assert "--strategy failed: no call. Left alone: 1 completed call." in failed


def test_ctrl_c_before_the_service_answers_names_the_command_that_continues(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    shell.unbegun(shell.descriptions(shell.image_sets(1)), "r")
    monkeypatch.setattr("bulkedit.cli.apply.connect", interrupted)
    result = shell.run("resume", "r")
    assert (result.exit_code, result.stderr) == (130, "Interrupted. To continue: bulkedit resume r\n")


def test_an_invalid_setting_changes_nothing_and_sends_nothing(shell: Shell) -> None:
    shell.unbegun(shell.descriptions(shell.image_sets(1)), "r")
    result = shell.run("resume", "r", "--rate", "soon")
    assert (result.exit_code, "invalid rate" in result.stderr) == (2, True)
    assert not (shell.folder / "r/ledger.sqlite").exists()
    assert shell.requests() == []


def test_a_setting_with_which_the_service_cannot_be_reached_is_not_kept(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    shell.unbegun(edits, "r")
    assert shell.run("resume", "r", "--profile", "of-nobody").exit_code != 0
    assert "have changed" not in shell.run("resume", "r").stderr
