"""`bulkedit deid`: writes an edit list that de-identifies image sets."""

from __future__ import annotations

import io
import shlex
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import polars as pl
import typer

from bulkedit import _received as received
from bulkedit import deidentification
from bulkedit._printable import printable
from bulkedit._progress import WorkProgress
from bulkedit._words import duration, plural
from bulkedit.cli._bad_rows import problems_in_full
from bulkedit.cli._console import as_flags, confirmed, err, interactive, json_line, out, print_rows
from bulkedit.cli._parameters import DeidCommand
from bulkedit.cli._working import Latest, with_progress
from bulkedit.cli.audit import audited
from bulkedit.cli.plan import PlanningMessages, apply_command, plan_line, show_plan
from bulkedit.deidentification.job import MOVES, Deidentified, deidentify
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_NOT_ALL_APPLIED, StoppedError, UsageError
from bulkedit.options.audit import AuditOptions
from bulkedit.options.deid import DeidOptions
from bulkedit.options.listing import ListOptions
from bulkedit.options.where import Where
from bulkedit.plans import from_list
from bulkedit.plans.from_list import plan_list


def deid(options: DeidCommand, context: typer.Context) -> None:
    """Run `bulkedit deid`."""
    deriving, where, datastore, as_json = options.deriving, options.where, options.datastore_id, options.as_json
    if options.new_key is not None:
        _make_key(context, options.new_key, as_json=as_json)
        return
    if options.check is not None:
        auditing = AuditOptions(
            deid_profile=deriving.deid_profile,
            read_rate=deriving.read_rate,
            read_archived=deriving.read_archived,
        )
        audited(options.check, auditing, where, as_json=as_json)
    if deriving.deid_profile is None:
        _require_aws_profile(where.profile)
    elif options.explain:
        _explain(deidentification.load_profile(deriving.deid_profile), as_json=as_json)
        return
    listing = ListOptions(
        service_version=deriving.service_version,
        payload_limit=deriving.payload_limit,
        inventory=deriving.inventory,
        via_copy=deriving.via_copy,
        delete_originals=options.delete_originals,
        read_rate=deriving.read_rate,
    )
    from_list.check(listing)
    if options.plan is not None and not datastore:
        raise UsageError("--plan needs a data store.", hint="Give it: `datastore_id=ID`")
    deriving.check_for(options.out, datastore)
    work = partial(
        deidentify,
        options.out,
        deriving,
        datastore,
        where=where,
        standard_input=_standard_input(deriving),
        agree=partial(_may_read_archived, deriving, yes=options.yes),
    )
    began = time.monotonic()
    latest = Latest(WorkProgress())
    try:
        made = anyio.run(with_progress, work, _progress_line, latest)
    except StoppedError:
        err().print(f"Interrupted, with {plural(latest.progress.done, 'image set')} kept. The same command continues.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _close(made, time.monotonic() - began, as_json=as_json)
    if options.plan is not None and made.edits:
        _plan(made, datastore, listing, options.plan, where, as_json=as_json)
    if made.unreachable:
        raise typer.Exit(EXIT_NOT_ALL_APPLIED)


def _standard_input(options: DeidOptions) -> io.BytesIO:
    """Standard input, if a selection needs it. Read before the work starts, so that Ctrl-C can end the read."""
    wanted = any(one.endswith("=@-") for one in options.select)
    return io.BytesIO(sys.stdin.buffer.read() if wanted else b"")


def _progress_line(progress: WorkProgress) -> str:
    of = f" of {progress.total:,}" if progress.total is not None else ""
    parts = [f"{progress.done:,}{of} image sets", plural(progress.found, "edit")]
    return " · ".join([*parts, f"{progress.throttled:,} throttled"])


def _may_read_archived(deriving: DeidOptions, count: int, *, yes: bool) -> bool:
    """Whether archived image sets may be read. Asks the user, unless ``yes``."""
    asks = interactive() and not yes
    if not (deriving.read_archived or asks):
        return False
    err().print(f"{plural(count, 'image set')} {MOVES}.")
    return deriving.read_archived or confirmed("Continue?", abort=True)


def _require_aws_profile(profile: str | None) -> None:
    """Raises UsageError if `--profile` names a de-identification profile, as it did in older versions."""
    if profile is not None and (profile in deidentification.SHIPPED or profile.endswith(".toml")):
        raise UsageError(
            "--profile is the AWS profile.",
            likely="You mean a de-identification profile.",
            hint=f"Use: --deid-profile {profile}",
        )


def _plan(
    made: Deidentified, datastore: str | None, listing: ListOptions, folder: Path, where: Where, *, as_json: bool
) -> None:
    """Plan the edit list, and print the plan."""
    if listing.inventory is None and made.inventory is not None:  # it has the studies, so calls can be study-wide
        received.require_file(made.inventory)
        listing = replace(listing, inventory=made.inventory)
    with problems_in_full(folder, as_json=as_json):
        saved = plan_list(str(made.file), datastore, listing, folder=folder, where=where, listener=PlanningMessages())
    if as_json:
        json_line(plan_line(saved))
        return
    show_plan(saved)
    out().print(f"\nTo apply it:  {apply_command(saved)}")


def _make_key(context: typer.Context, file: Path, *, as_json: bool) -> None:
    """Make a key, and print how to use it. Raises UsageError if other options are given."""
    others = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in {"new_key", "as_json"} and _is_typed(context, parameter.name)
    ]
    if others:
        raise UsageError("--new-key makes a key and does nothing else.", hint=f"Leave out: {', '.join(others)}.")
    deidentification.make_key(file)
    if as_json:
        json_line({"type": "deid-key", "file": str(file)})
        return
    console = out()
    console.print(f"{file}: a new key. Only you can read it.")
    console.print("Keep it: with another key, the same patient gets another pseudonym.")
    console.print("Never store it with the released data: with the key, pseudonyms can be traced back to patients.")
    console.print(f"To use it:  bulkedit deid … --key {shlex.quote(str(file))}")


def _is_typed(context: typer.Context, name: str | None) -> bool:
    """Whether an option is given on the command line, not in the environment."""
    source = context.get_parameter_source(name) if name else None
    return source is not None and source.name == "COMMANDLINE"


# -- output --------------------------------------------------------------------------------------------------------


def _close(made: Deidentified, seconds: float, *, as_json: bool) -> None:
    counts = {name: getattr(made, name) for name in ("image_sets", "changed", "marked", "edits", "unreachable")}
    lines = _finding_lines(made.findings)
    if as_json:
        for line in lines:
            json_line({"type": "deid-finding", **line})
        json_line(
            {
                "type": "deid",
                "file": str(made.file),
                "record": str(made.record),
                "profile": made.profile,
                "edition": made.edition,
                "key": made.key,
                **counts,
                "seconds": round(seconds, 3),
            }
        )
        return
    console = out()
    console.print(f"{printable(made.file)}: {plural(made.edits, 'edit')}. {duration(seconds)}.")
    shown = [
        ("profile", f"{made.profile}, PS3.15 Annex E {made.edition}"),
        ("key", f"fingerprint {made.key}"),
        ("image sets", f"{made.image_sets:,}, of which {made.changed:,} need edits"),
        ("unreachable", f"{made.unreachable:,}"),
    ]
    print_rows(shown)
    for line in lines:
        kind = deidentification.KINDS[line["kind"]]
        head = "Unreachable" if kind.unreachable else "Note"
        count, where = plural(line["times"], "time"), plural(line["image_sets"], "image set")
        console.print(f"{head}: {line['level']} {line['attribute']} ({count}, {where}): {as_flags(kind.text)}")
    console.print("The list and its record contain health data: only you can read them.")
    console.print("Older versions of an image set still contain what edits have removed. Pixels are not examined.")


def _finding_lines(findings: pl.DataFrame) -> list[dict[str, Any]]:
    grouped = findings.group_by("kind", "level", "attribute").agg(
        times=pl.col("times").sum(), image_sets=pl.col("image_set_id").n_unique()
    )
    return grouped.sort("kind", "level", "attribute").to_dicts()


def _explain(profile: deidentification.DeidProfile, *, as_json: bool) -> None:
    """Print the rule of a profile for every attribute that it or Annex E lists."""
    made = deidentification.ProfileRules(profile)
    lines = []
    for known in filter(None, map(dicom.attribute, dicom.keywords())):
        rule = made.places[known.level][known.name]
        if rule.because != "unlisted":
            lines.append(
                {
                    "attribute": known.name,
                    "level": str(known.level),
                    "action": str(rule.action),
                    "because": rule.because,
                }
            )
    if as_json:
        for line in lines:
            json_line({"type": "deid-rule", **line})
        return
    console = out()
    console.print(f"{profile.name}: {profile.description}")
    options = ", ".join(name for name in deidentification.OPTIONS if name in profile.options)
    console.print(f"PS3.15 Annex E {profile.edition}; options: {options or 'none'}")
    console.print("\nPrecedence of rules, highest first:")
    for number, text in enumerate(deidentification.PRECEDENCE, 1):
        console.print(f"  {number:>2}  {text}")
    console.print()
    for line in lines:
        console.print(f"  {line['level']:<8}  {line['attribute']:<48}  {line['action']:<9}  {line['because']}")
