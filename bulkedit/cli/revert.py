"""`bulkedit revert`: plans to undo a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import typer

from bulkedit._progress import WorkProgress
from bulkedit._words import plural
from bulkedit.after import revert as reversal
from bulkedit.cli._console import as_flags, command, err, json_line, out
from bulkedit.cli._working import Latest, confirmed_where, with_progress
from bulkedit.cli.plan import show_plan
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_NOT_ALL_APPLIED, EXIT_OK, StoppedError
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.after.revert import Reversal
    from bulkedit.cli._parameters import RevertCommand

_SHOWN: Final = 10


def revert(options: RevertCommand, _: typer.Context) -> None:
    """Run `bulkedit revert`."""
    found = runs.load(options.run)
    where = confirmed_where(found, options.where)
    work = partial(reversal.revert_run, found, options.undoing, folder=options.out, where=where)
    try:
        made = anyio.run(with_progress, work, _progress_line, Latest(WorkProgress()))
    except StoppedError:
        err().print("Interrupted. Nothing was planned.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if options.as_json:
        _json(options.run, made)
    elif made.plan.counts["calls"]:
        show_plan(made.plan)
        out().print(f"\nTo apply it:  {command('apply', made.plan.folder)}")
    _warn(made)
    raise typer.Exit(EXIT_NOT_ALL_APPLIED if made.left_out.height else EXIT_OK)


def _progress_line(progress: WorkProgress) -> str:
    return f"{progress.done:,}/{progress.total or 0:,} image sets read"


def _json(run: Path, made: Reversal) -> None:
    for row in made.left_out.iter_rows(named=True):
        json_line({"type": "left-out", **row})
    json_line(
        {
            "type": "revert",
            "run": str(run),
            "plan": str(made.plan.folder),
            "digest": made.plan.digest,
            "datastore_id": made.plan.datastore_id,
            "image_sets": made.plan.counts["image_sets"],
            "calls": made.plan.counts["calls"],
            "left_out": made.left_out.height,
            "study_wide_calls": made.study_wide_calls,
            "study_wide_reverts": made.study_wide_reverts,
            "inconsistent_studies": len(made.inconsistent),
            "other_rows": made.other_rows,
            "unprocessed": made.unprocessed,
        }
    )


def _warn(made: Reversal) -> None:
    """Print what to know before the plan is applied."""
    console = err()
    if made.left_out.height:
        _name_left_out(made)
    if made.study_wide_calls:
        console.print(
            f"\n{plural(made.study_wide_calls, 'study-wide call')} of the run "
            f"{'is' if made.study_wide_calls == 1 else 'are'} undone by one call per image set: "
            f"{plural(made.study_wide_reverts, 'call')}. Until all are applied, the image sets of a study differ."
        )
    if made.inconsistent:
        console.print(
            f"\nWarning: {plural(len(made.inconsistent), 'study', 'studies')} would become inconsistent. Primary image "
            "sets of a study must have the same patient and study attributes, but these keep those of the run:"
        )
        for others in list(made.inconsistent.values())[:_SHOWN]:
            console.print(f"  {', '.join(others[:3])}{' …' if len(others) > 3 else ''}")
    if made.other_rows:
        console.print(
            f"\nWarning: {plural(len(made.other_rows), 'other row')} undone too: "
            f"{reversal.ranges(made.other_rows[:_SHOWN])}{' …' if len(made.other_rows) > _SHOWN else ''}"
        )
    if made.unprocessed:
        console.print(f"\nThe run has {plural(made.unprocessed, 'edit')} left, which a resume would apply.")


def _name_left_out(made: Reversal) -> None:
    console = err()
    if not made.plan.counts["calls"]:
        console.print("Nothing can be undone: all image sets are left out.")
    console.print(f"\n{plural(made.left_out.height, 'image set')} left out:")
    for row in made.left_out.head(_SHOWN).iter_rows(named=True):
        console.print(f"  {row['image_set_id']} {row['problem']}")
    if (more := made.left_out.height - _SHOWN) > 0:
        console.print(f"  … and {more:,} more; --json lists all.")
    for hint in made.left_out.get_column("hint").drop_nulls().unique(maintain_order=True):
        console.print(f"  {as_flags(hint)}")
