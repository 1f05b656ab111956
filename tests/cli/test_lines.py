"""Lines that commands print in rare states, from the functions that make them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pytest
import typer

from bulkedit._progress import Phase, WorkProgress
from bulkedit.after.verify.job import VerifyProgress
from bulkedit.cli import _config, app, apply, audit, deid, demo, emulate, inventory, plan, report, revert, verify
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_USAGE, BulkeditError, StoppedError
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.running import Strategy
from bulkedit.options.where import Where
from bulkedit.runs.resume import Resumption
from tests.deidentification.walkers import KEY
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from bulkedit.emulator import Emulator
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
    rows = [("failed", f"reason {chr(97 + i)}", None) for i in range(reasons)]
    monkeypatch.setattr(report, "lines_of_edits", lambda _: [])
    schema = dict.fromkeys(["outcome", "reason", "message"], pl.String)
    report._show_edits(pl.DataFrame(rows, schema, orient="row"))
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
    assert "(3 because a later edit has changed the same attribute since)" in line
    assert line.endswith("7 calls without an outcome.")


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


def test_more_image_sets_that_a_revert_leaves_out_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"{i:032}", "is locked.", None) for i in range(revert._SHOWN + 2)]
    left_out = pl.DataFrame(rows, ["image_set_id", "problem", "hint"], orient="row")
    made: Any = SimpleNamespace(plan=SimpleNamespace(counts={"calls": 1}), left_out=left_out)
    revert._name_left_out(made)
    assert "and 2 more; --json lists all." in capsys.readouterr().err


def test_deleting_originals_is_asked_for_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = SimpleNamespace(counts={"calls": 1, "originals_deleted": 2}, datastore_id="d", short_digest="x")
    asked: list[str] = []

    def answered(question: str) -> bool:
        asked.append(question)
        return len(asked) == 1

    monkeypatch.setattr(apply, "confirmed", answered)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(typer.Exit):
        apply._confirm(made, yes=False, delete_originals=False)
    assert asked[1] == "Permanently delete 2 original image sets?"


def test_the_place_of_an_error_in_a_group_is_that_of_the_first() -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("CANARY")
    assert app._place(ExceptionGroup("several", [caught.value])) == app._place(caught.value)
    assert app._place(caught.value).startswith("KeyError at test_lines.py:")


def test_the_demo_gives_the_credentials_of_the_machine_back(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "own")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    with demo._without_account(emulator):
        assert (os.environ.get("AWS_PROFILE"), os.environ["AWS_ACCESS_KEY_ID"] == "own") == (None, False)
    assert (os.environ["AWS_PROFILE"], os.environ["AWS_ACCESS_KEY_ID"]) == ("own", "own")


async def test_what_an_emulator_has_is_not_imported_again(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.add(document())
    await emulate._import(emulator, [], demo=True)
    assert "has image sets already; nothing was imported" in capsys.readouterr().err


@pytest.mark.parametrize(("unknown", "end"), [(0, "30 days"), (2, "the tier of 2 is not known")])
def test_the_cost_of_archived_image_sets(unknown: int, end: str) -> None:
    counts = {"archived_image_sets": 3, "unknown_tier_image_sets": unknown}
    counts |= {"tier_dollars_at_least": 1, "tier_dollars_per_gb": 1}
    text = plan._tier_text(cast("Any", SimpleNamespace(counts=counts)))
    assert text.startswith("at least $1.00 ($1.000/GB): 3 archived")
    assert text.endswith(end)


async def test_the_progress_of_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(plan, "showing", lambda numbers: lines.append(numbers()))
    counters: Any = SimpleNamespace(
        reads=SimpleNamespace(requests=4, throttled=1), image_sets=9, read=1, archived=2, unread=3, total=7, throttled=0
    )
    messages = plan.PlanningMessages()
    messages.looking_up(lambda: counters)
    messages.reading(lambda: counters)
    assert lines == [
        "searching image sets: 4 searches · 9 image sets · 1 throttled",
        "reading: 6/7 image sets · 0 throttled",
    ]
