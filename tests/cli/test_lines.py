"""Lines that commands print in rare states, from the functions that make them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import typer

from bulkedit._progress import Phase, WorkProgress
from bulkedit.after.verify.job import VerifyProgress
from bulkedit.cli import _config, apply, audit, deid, demo, inventory, report, revert, verify
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_USAGE, BulkeditError, StoppedError
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.running import Strategy
from bulkedit.options.where import Where
from bulkedit.runs.resume import Resumption
from tests.deidentification.walkers import KEY

if TYPE_CHECKING:
    from tests.cli.shell import Shell

READ = WorkProgress(phase=Phase.READING, done=5, total=1200, found=1, throttled=3)


def test_the_progress_of_an_audit_and_of_a_deidentification() -> None:
    assert audit._progress_line(WorkProgress()) == "reading the run"
    assert audit._progress_line(READ) == "5/1,200 image sets · 1 finding · 3 throttled"
    assert deid._progress_line(READ) == "5 of 1,200 image sets · 1 edit · 3 throttled"
    assert deid._progress_line(WorkProgress(done=5)).startswith("5 image sets · ")


def test_more_findings_than_are_shown_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    many = audit._SHOWN + 3
    kind, how = "value", next(iter(audit._HOW))
    audit._show_findings(
        pl.DataFrame([(kind, how, f"A{i}") for i in range(many)], ["kind", "match", "path"], orient="row")
    )
    audit._show_undone(pl.DataFrame([(f"{i:032}", 2, 1) for i in range(many)], ["id", "edits", "left"], orient="row"))
    said = capsys.readouterr().out
    assert "and 3 more places." in said
    assert "and 3 more image sets." in said


def test_more_differences_and_reasons_than_are_shown_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify._more(verify._SHOWN + 1_000)
    reasons = report._SHOWN_REASONS + 2
    rows = [("failed", f"reason {i}", None) for i in range(reasons)]
    monkeypatch.setattr(report, "lines_of_edits", lambda _: [])
    report._show_edits(pl.DataFrame(rows, ["outcome", "reason", "message"], orient="row"))
    said = capsys.readouterr().out
    assert "and 1,000 more like these." in said
    assert "and 2 more reasons; --only OUTCOME --json lists all edits." in said


def test_an_interrupted_verification_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Any = VerifyProgress(9, 9, Path("v"), 1, counts=None, stopped=True)  # type: ignore[arg-type]
    verify._left(seen, "bulkedit verify r")
    assert capsys.readouterr().err == "Interrupted; what was read is kept. To continue:  bulkedit verify r\n"


def test_what_a_resume_leaves_is_said() -> None:
    found = Resumption(strategy=Strategy.FAILED, outcome_unknown=1, again=(1, 2), new=7, overtaken=3, completed=4)
    line = apply.resumption_line(found)
    assert "3 of them because a later edit has changed the same attribute since" in line
    assert line.endswith("7 without an outcome left for later.")


def test_the_command_that_continues_an_inventory_has_its_options(tmp_path: Path) -> None:
    again = partial(inventory._again, "d" * 32, tmp_path / "i.parquet")
    taking = InventoryOptions(fresh=True)
    assert again(taking, Where(allow_http=True)).endswith(" --allow-http --fresh")
    assert "--" not in again(InventoryOptions(), Where())


def test_the_line_of_a_setting_is_not_named_if_only_its_encoding_is_wrong() -> None:
    assert _config._place(b"# \xff\nrate = 1\n") is None
    assert _config._place(b"\nrate =\n") == "See line 2."


def test_without_its_list_the_demo_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a/b/demo.py"))
    with pytest.raises(BulkeditError, match="not installed"):
        demo._sample()


async def stopped(*_: object) -> None:
    raise StoppedError("a signal came first.")


def test_a_signal_before_the_first_read_of_a_verification(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "with_progress", stopped)
    unread: Any = None
    with pytest.raises(typer.Exit) as caught:
        verify._seen(unread, unread, Where(), "bulkedit verify r")
    assert caught.value.exit_code == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "Interrupted; nothing was read. To continue:  bulkedit verify r\n"


def test_a_signal_before_the_first_read_of_a_revert(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(revert, "with_progress", stopped)
    monkeypatch.setattr("bulkedit.runs.folder.load", lambda _: None)
    monkeypatch.setattr(revert, "confirmed_where", lambda *_: Where())
    options: Any = SimpleNamespace(run=Path("r"), where=Where(), undoing=None, out=Path("o"))
    context: Any = None
    with pytest.raises(typer.Exit) as caught:
        revert.revert(options, context)
    assert caught.value.exit_code == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "Interrupted. Nothing was planned.\n"


def test_a_signal_during_a_deidentification_and_a_plan_without_a_data_store(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write("deid.key", KEY.secret).chmod(0o600)
    words = ["deid", "--deid-profile", "basic", "--all", "--key", "deid.key", "-o", "edits.csv"]
    monkeypatch.setattr(deid, "with_progress", stopped)
    done = shell.run(*words)
    assert (done.exit_code, done.messages[-1]) == (
        EXIT_INTERRUPTED,
        "Interrupted, with 0 image sets kept. The same command continues.",
    )
    done = shell.run(*words, "--plan", "p", env={"BULKEDIT_DATASTORE": None})
    assert done.exit_code == EXIT_USAGE
    assert "--plan needs a data store" in done.stderr


def test_a_plan_that_does_not_exist_is_said(shell: Shell) -> None:
    done = shell.run("apply", "no-plan")
    assert (done.exit_code, shell.requests()) == (EXIT_USAGE, [])
    assert "no plan or edit list found" in done.stderr
