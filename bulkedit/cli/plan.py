"""`bulkedit plan`, and the printing of plans."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import anyio

from bulkedit import plans
from bulkedit._files import target_of
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.cli._bad_rows import problems_in_full
from bulkedit.cli._console import as_flags, command, err, json_line, out, print_rows
from bulkedit.cli._progress import showing
from bulkedit.client.connect import Connection, destination_of
from bulkedit.client.pacing import DOCUMENTED, Operation, Rate
from bulkedit.errors import BulkeditError
from bulkedit.options.where import Where
from bulkedit.plans.bad_rows import problems_text
from bulkedit.plans.counts import saved_calls
from bulkedit.plans.from_list import plan_list
from bulkedit.plans.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import polars as pl
    import typer
    from rich.console import Console

    from bulkedit.cli._parameters import PlanCommand
    from bulkedit.client.destination import Destination
    from bulkedit.inventories import SearchCounters
    from bulkedit.plans import SavedPlan
    from bulkedit.plans.counts import NoticeRecord, PlanCounts
    from bulkedit.plans.read_first import ReadCounters

_SHOWN_ROWS: Final = 5  # per warning
_LONG_S: Final = 3600.0  # for longer plans, a higher quota is suggested


def plan(options: PlanCommand, _: typer.Context) -> None:
    """Run `bulkedit plan`."""
    where = options.where
    with problems_in_full(options.out, as_json=options.as_json):
        saved = plan_list(
            options.edits,
            options.datastore_id,
            options.listing,
            folder=options.out,
            where=where,
            listener=PlanningMessages(),
        )
    destination = _destination(saved, where)
    if options.as_json:
        json_line({**plan_line(saved), "destination": destination and destination.as_json()})
        return
    show_plan(saved)
    if destination is not None:
        out().print(f"\nIts calls would go to {destination}.")
    if saved.counts["calls"]:
        out().print(f"\nTo apply it:  {apply_command(saved)}")


def _destination(saved: SavedPlan, where: Where) -> Destination | None:
    """The destination of the calls. None, with a message, if it is not known: a plan needs no AWS account."""
    try:
        return anyio.run(destination_of, Connection(datastore_id=saved.datastore_id, **asdict(where)))
    except BulkeditError as error:
        err().print(f"Destination not known: {as_flags(error.what)}")
        return None


class PlanningMessages(Listener):
    """Prints messages and progress while a list is planned."""

    def left_out(self, applied: int, planless: int) -> None:
        """Print how many lines of a result file are not planned again."""
        if applied:
            again = "To plan them too: --ignore-column outcome"
            err().print(f"{plural(applied, 'line')} left out: already applied. {again}")
        if planless:
            err().print(
                f"{plural(planless, 'line')} left out: set aside when first planned; correct them in your list."
            )

    def set_aside(self, bad: pl.DataFrame, file: Path) -> None:
        """Print the problems of rows that are set aside, and the file that they are written to."""
        err().print(f"{as_flags(problems_text(bad))}\n")
        count = plural(bad.get_column("row").n_unique(), "row")
        err().print(f"{count} set aside, written to {file}, with all problems of each.")

    def looking_up(self, counters: Callable[[], SearchCounters]) -> AbstractAsyncContextManager[None]:
        """Show the progress of searches."""

        def numbers() -> str:
            now = counters()
            return (
                f"searching image sets: {now.reads.requests:,} searches · {now.image_sets:,} image sets · "
                f"{now.reads.throttled:,} throttled"
            )

        return showing(numbers)

    def will_read(self, counters: ReadCounters) -> None:
        """Print how many requests the reading needs."""
        count = counters.total
        err().print(
            f"Reading {plural(count, 'image set')} first, to leave out satisfied edits: {count:,} GetImageSet and "
            f"{count:,} GetImageSetMetadata, at least {duration(counters.seconds())} at the default quotas."
        )

    def reading(self, counters: Callable[[], ReadCounters]) -> AbstractAsyncContextManager[None]:
        """Show the progress of reading."""

        def numbers() -> str:
            now = counters()
            done = now.read + now.archived + now.unread
            return f"reading: {done:,}/{now.total:,} image sets · {now.throttled:,} throttled"

        return showing(numbers)


def plan_line(saved: SavedPlan) -> dict[str, object]:
    """The JSON line of type ``plan``."""
    return {
        "type": "plan",
        "plan": str(target_of(saved.folder)),
        "digest": saved.digest,
        "datastore_id": saved.datastore_id,
        **saved.counts,
        "unchecked": saved.unchecked,
        "warnings": [{**one, "hint": as_flags(one["hint"])} for one in saved.warnings],
        "notices": [{**one, "hint": one["hint"] and as_flags(one["hint"])} for one in saved.notices],
        "quota_request": plans.quota_request(saved.counts, saved.datastore_id),
    }


def apply_command(saved: SavedPlan) -> str:
    """The command that applies a plan."""
    confirmations = ("--delete-originals",) if saved.counts.get("originals_deleted") else ()
    return command("apply", saved.folder, *confirmations)


def _via_copy_text(counts: PlanCounts) -> str:
    text = (
        f"{plural(counts['via_copy'], 'image set')}: {counts['copies']:,} CopyImageSet, {counts['deletions']:,} "
        f"DeleteImageSet; storage of the copies at least ${counts['copy_dollars_at_least']:,.2f}. "
    )
    if deleted := counts["originals_deleted"]:
        return text + f"{plural(deleted, 'original')} permanently deleted (--delete-originals): cannot be undone"
    return text + "Originals are kept"


def show_plan(saved: SavedPlan) -> None:
    """Print what a plan will do, how long it takes and what it costs."""
    counts, listed = saved.counts, saved.manifest["list"]
    aside = plural(counts["set_aside"], "row")
    if counts["skipped"]:
        aside += f", and {plural(counts['skipped'], 'row')} skipped: not in the data store"
    if counts["empty"]:
        aside += f", and {plural(counts['empty'], 'row')} without an edit"
    console = out()
    console.print(f"Plan {printable(target_of(saved.folder))} for data store {printable(saved.datastore_id)}")
    print_rows(
        [
            ("edits", f"{counts['edits']:,} from {plural(listed['rows'], 'row')} ({listed['form']})"),
            ("image sets", f"{counts['image_sets']:,}" + _studies_text(counts)),
            ("calls", _calls_text(counts)),
            *([("via copy", _via_copy_text(counts))] if counts.get("via_copy") else []),
            ("set aside", aside),
            *([("narrowed", _narrowed_text(counts))] if saved.manifest["settings"].get("narrowed") else []),
            *([("already satisfied", _satisfied_text(counts))] if _skips(saved) else []),
            ("time", _time_text(counts)),
            ("API cost", f"${counts['api_dollars']:,.4f}"),
            ("storage cost", _tier_text(saved)),
            ("digest", saved.digest),
        ]
    )
    show_warnings(saved, console)
    show_notices(saved, console)
    if not counts["calls"]:
        console.print("\nNothing to do: all edits of the list are already satisfied.")
        return
    # the plan of a revert has no such edits
    beyond = counts.get("edits_of_unknown_study", 0)
    if beyond and saved.manifest["settings"].get("study_wide") == plans.StudyWide.AUTO:
        edits = plural(beyond, "Patient- or Study-level edit")
        console.print(f"\n{edits} of image sets whose studies are not known. For one call per study: --inventory FILE")
    if counts["seconds"] > _LONG_S and counts["raised_seconds"] < counts["seconds"]:
        console.print("\nText to ask AWS for a higher quota (Service Quotas, or a support case):\n")
        console.print(textwrap.indent(textwrap.fill(plans.quota_request(counts, saved.datastore_id), 100), "  "))


def show_warnings(saved: SavedPlan, console: Console) -> None:
    """Print the warnings of a plan: what it does that is rarely intended."""
    for warning in saved.warnings:
        rows = warning["rows"]
        shown = ", ".join(printable(row) for row in rows[:_SHOWN_ROWS])
        more = len(rows) + warning["more"] - len(rows[:_SHOWN_ROWS])
        where = f"{'row' if len(rows) == 1 and not more else 'rows'} {shown}" + (f" and {more:,} more" if more else "")
        console.print(f"\nWarning ({where}): {printable(warning['problem'])}")
        console.print(f"  {as_flags(printable(warning['likely']))}")
        console.print(f"  {as_flags(printable(warning['hint']))}")


def show_notices(saved: SavedPlan, console: Console) -> None:
    """Print the notices of a plan: what its list does that may not be meant."""
    for notice in saved.notices:
        column = f"{printable(notice['column'])}: " if notice["column"] else ""
        console.print(f"\nNotice{_rows_of(notice)}: {column}{as_flags(printable(notice['text']))}")
        if notice["hint"]:
            console.print(f"  {as_flags(printable(notice['hint']))}")


def _rows_of(notice: NoticeRecord) -> str:
    """The rows of a notice in brackets; nothing if it is of the whole list."""
    rows, first = notice["rows"], notice["first"]
    if not rows:
        return ""
    if first is None:
        return f" ({plural(rows, 'row')})"
    return f" (row {first:,})" if rows == 1 else f" ({plural(rows, 'row')}, first row {first:,})"


def _skips(saved: SavedPlan) -> bool:
    return bool(saved.manifest["settings"].get("skip_satisfied"))


def _satisfied_text(counts: PlanCounts) -> str:
    text = f"{plural(counts['already_satisfied'], 'edit')} left out"
    if not_read := counts["image_sets_not_read"]:
        return f"{text}; {plural(not_read, 'image set')} not read (archived, locked or not found): all edits kept"
    return text


def _narrowed_text(counts: PlanCounts) -> str:
    rows, image_sets = counts.get("narrowed_rows", 0), counts.get("narrowed_image_sets", 0)
    return f"{plural(image_sets, 'image set')} not meeting --where; {plural(rows, 'row')} left out"


def _calls_text(counts: PlanCounts) -> str:
    saved = ", ".join(f"{count:,} {kind}" for kind, count in saved_calls(counts).items())
    text = f"{counts['calls']:,}, at most {counts['longest_lane']:,} one after another"
    return f"{text}; saved: {saved}" if saved else text


def _studies_text(counts: PlanCounts) -> str:
    studies, patients = counts["studies"], counts.get("patients")
    text = "" if studies is None else f" of {plural(studies, 'study', 'studies')}"
    return text if patients is None else f"{text} of {plural(patients, 'patient')}"


def _time_text(counts: PlanCounts) -> str:
    current = Rate(counts["rate_per_second"])
    which = "the default quota" if current == DOCUMENTED[Operation.UPDATE] else "the quota"
    return (
        f"{duration(counts['seconds'])} at {current} ({which}), "
        f"{duration(counts['raised_seconds'])} at {Rate(counts['raised_rate_per_second'])}"
    )


def _tier_text(saved: SavedPlan) -> str:
    """The storage cost of updates, which move archived image sets to the frequent tier."""
    counts = saved.counts
    archived, unknown = counts["archived_image_sets"], counts["unknown_tier_image_sets"]
    if archived is None and saved.manifest["list"]["form"] == "revert":
        # the run moved them to the frequent tier, but perhaps more than 30 days ago
        return f"not known; to see storage tiers: {command('inventory', '-d', saved.datastore_id, '-o', 'FILE')}"
    if archived is None:
        return "not known: an inventory (--inventory) shows which image sets are archived"
    text = "none: no image set is archived"
    if archived:
        text = (
            f"at least ${counts['tier_dollars_at_least']:,.2f} (${counts['tier_dollars_per_gb']:.3f}/GB): "
            f"{archived:,} archived, moved to the frequent tier for 30 days"
        )
    return f"{text}; the tier of {unknown:,} is not known" if unknown else text
