"""`bulkedit revert`: plan the undoing of a run."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import anyio
import typer

from bulkedit._progress import WorkProgress
from bulkedit._words import plural
from bulkedit.after import revert as reversal
from bulkedit.cli import _options as o
from bulkedit.cli._console import command, err, json_line, out
from bulkedit.cli._working import Latest, agreed_where, attended
from bulkedit.cli.plan import show_plan
from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.client.pacing import AUTO
from bulkedit.client.where import Where
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_NOT_ALL_APPLIED, EXIT_OK, StoppedError, UsageError
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from bulkedit.after.revert import Reversal

_SHOWN: Final = 10

_UNDOING = "What to undo"
Rows = Annotated[
    str | None,
    typer.Option(
        "--rows",
        metavar="N,N-N,…",
        envvar="BULKEDIT_ROWS",
        help="Undo these rows of the edit list; refused where other rows would be undone with them.",
        rich_help_panel=_UNDOING,
        show_default=False,
    ),
]
ImageSets = Annotated[
    str | None,
    typer.Option(
        "--image-sets",
        metavar="ID,…|FILE",
        envvar="BULKEDIT_IMAGE_SETS",
        help="Undo the run in these image sets; a file has one id a line.",
        rich_help_panel=_UNDOING,
        show_default=False,
    ),
]
WholeImageSets = Annotated[
    bool,
    typer.Option(
        "--whole-image-sets",
        envvar="BULKEDIT_WHOLE_IMAGE_SETS",
        help="With --rows, also undo the other rows that changed the same image sets.",
        rich_help_panel=_UNDOING,
    ),
]
Conflict = Annotated[
    str,
    typer.Option(
        "--on-conflict",
        metavar="|".join(reversal.OnConflict),
        envvar="BULKEDIT_REVERT_ON_CONFLICT",
        help="Where another writer has been since the run: leave the image set, plan nothing, or undo that too.",
        rich_help_panel=_UNDOING,
    ),
]


def revert(
    run: o.RunFolder,
    out_: o.Out = None,
    rows: Rows = None,
    image_sets: ImageSets = None,
    whole_image_sets: WholeImageSets = False,
    on_conflict: Conflict = "skip",
    region: o.Region = None,
    profile: o.AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    allow_http: o.AllowHttp = False,
    client_cert: o.ClientCert = None,
    client_key: o.ClientKey = None,
    read_rate: o.ReadRate = AUTO,
    as_json: o.AsJson = False,
) -> None:
    """Plan the undoing of a run: each image set back to its version before it. Sends nothing that writes.

    The plan is reviewed and applied like any other. Image sets that somebody else has changed since are left out and
    named, and exit code 1 tells that there are some.

    Example: bulkedit revert runs/20260102-030405-1a2b -o plans/undo
    """
    if on_conflict not in list(reversal.OnConflict):
        raise UsageError(f"--on-conflict is one of {', '.join(reversal.OnConflict)}.")
    options = reversal.RevertOptions(
        rows=reversal.parse_ranges(rows) if rows is not None else None,
        image_sets=_ids(image_sets) if image_sets is not None else None,
        whole_image_sets=whole_image_sets,
        on_conflict=reversal.OnConflict(on_conflict),
        read_rate=read_rate,
    )
    options.check()
    found = runs.load(run)
    where = agreed_where(
        found,
        Where(
            region=region,
            profile=profile,
            endpoint_url=endpoint_url,
            allow_http=allow_http,
            client_cert=client_cert,
            client_key=client_key,
        ),
    )
    work = partial(reversal.revert_run, found, options, folder=out_, where=where)
    try:
        made = anyio.run(attended, work, _words, Latest(WorkProgress()))
    except StoppedError:
        err().print("Interrupted. Nothing was planned.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        _json(run, made)
    elif made.plan.counts["calls"]:
        show_plan(made.plan)
        out().print(f"\nTo apply it:  {command('apply', made.plan.folder)}")
    _warn(made)
    raise typer.Exit(EXIT_NOT_ALL_APPLIED if made.left_out.height else EXIT_OK)


def _words(progress: WorkProgress) -> str:
    return f"{progress.done:,}/{progress.total or 0:,} image sets looked at"


def _ids(text: str) -> list[str]:
    """Image set ids of the option, or of the file that it names."""
    path = Path(text)
    if not re.fullmatch(rf"{IMAGE_SET_ID}(,{IMAGE_SET_ID})*", text) and path.is_file():
        words = path.read_text("utf-8").split()
    else:
        words = [word.strip() for word in text.split(",")]
    for word in words:
        if not re.fullmatch(IMAGE_SET_ID, word):
            raise UsageError(
                "--image-sets is a list of image set ids, or a file with one a line.",
                likely="An image set id is 32 characters of 0-9 a-z.",
            )
    return words


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
            "torn_studies": len(made.torn),
            "other_rows": made.other_rows,
            "unprocessed": made.unprocessed,
        }
    )


def _warn(made: Reversal) -> None:
    """What to know before the plan is applied."""
    console = err()
    if made.left_out.height:
        _name_left_out(made)
    if made.study_wide_calls:
        console.print(
            f"\n{plural(made.study_wide_calls, 'study-wide call')} of the run "
            f"{'is' if made.study_wide_calls == 1 else 'are'} undone set by set: "
            f"{plural(made.study_wide_reverts, 'call')}. Until all are done, the image sets of a study differ."
        )
    if made.torn:
        console.print(
            f"\nWarning: {plural(len(made.torn), 'study', 'studies')} would be torn apart. Patient and study "
            "attributes of primary image sets are to agree, and these stay as the run left them:"
        )
        for others in list(made.torn.values())[:_SHOWN]:
            console.print(f"  {', '.join(others[:3])}{' …' if len(others) > 3 else ''}")
    if made.other_rows:
        console.print(
            f"\nWarning: {plural(len(made.other_rows), 'other row')} undone too: "
            f"{reversal.ranges(made.other_rows[:_SHOWN])}{' …' if len(made.other_rows) > _SHOWN else ''}"
        )
    if made.unprocessed:
        console.print(f"\nThe run has {plural(made.unprocessed, 'edit')} left, which a resume would still apply.")


def _name_left_out(made: Reversal) -> None:
    console = err()
    if not made.plan.counts["calls"]:
        console.print("Nothing can be brought back: all image sets are left out.")
    console.print(f"\n{plural(made.left_out.height, 'image set')} left out:")
    for row in made.left_out.head(_SHOWN).iter_rows(named=True):
        console.print(f"  {row['image_set_id']} {row['problem']}")
    if (more := made.left_out.height - _SHOWN) > 0:
        console.print(f"  … and {more:,} more; --json lists all.")
    for hint in made.left_out.get_column("hint").drop_nulls().unique(maintain_order=True):
        console.print(f"  {hint}")
