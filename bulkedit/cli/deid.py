"""`bulkedit deid`: an edit list that de-identifies image sets."""

from __future__ import annotations

import io
import shlex
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import polars as pl
import typer

from bulkedit import _received as received
from bulkedit import deids
from bulkedit._printable import printable
from bulkedit._progress import WorkProgress
from bulkedit._words import duration, plural
from bulkedit.audits.job import AuditOptions
from bulkedit.cli import _options as o
from bulkedit.cli._console import confirmed, err, interactive, json_line, out, print_rows
from bulkedit.cli._working import Latest, attended
from bulkedit.cli.audit import audited
from bulkedit.cli.plan import Talk, apply_command, plan_line, show_plan
from bulkedit.client.pacing import DOCUMENTED, Operation, parse_rate
from bulkedit.client.where import Where
from bulkedit.deids.job import DEFAULT_RATE, MOVES, Deidentified, DeidOptions, deidentify
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import SELECTORS
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_NOT_ALL_APPLIED, StoppedError, UsageError
from bulkedit.plans.from_list import ListOptions, plan_list

_PROFILE = "Profile and key"
_WHICH = "Which image sets"

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE.toml",
        envvar="BULKEDIT_DEID_PROFILE",
        help=f"The de-identification profile: {', '.join(deids.SHIPPED)}, or a file of your own.",
        rich_help_panel=_PROFILE,
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        envvar="BULKEDIT_DEID_KEY_FILE",
        help=f"The file with the secret key of the pseudonyms; without it the key is in {deids.ENVIRONMENT}.",
        rich_help_panel=_PROFILE,
        show_default=False,
    ),
]
NewKey = Annotated[
    Path | None,
    typer.Option(
        "--new-key",
        metavar="FILE",
        envvar="BULKEDIT_DEID_NEW_KEY",
        help="Write a new random key to a new file that only you can read, and do nothing else.",
        rich_help_panel=_PROFILE,
        show_default=False,
    ),
]
Mapping = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        envvar="BULKEDIT_DEID_MAPPING",
        help="A CSV file with the columns patient_id and pseudonym, for pseudonyms of your own.",
        rich_help_panel=_PROFILE,
        show_default=False,
    ),
]
MapFile = Annotated[
    Path | None,
    typer.Option(
        "--reidentification-map",
        metavar="FILE",
        envvar="BULKEDIT_DEID_MAP",
        help="Write which original stands behind each pseudonym, encrypted with --map-key.",
        rich_help_panel=_PROFILE,
        show_default=False,
    ),
]
MapKey = Annotated[
    Path | None,
    typer.Option(
        "--map-key",
        metavar="FILE",
        envvar="BULKEDIT_DEID_MAP_KEY",
        help="The file with the Fernet key that encrypts the re-identification map.",
        rich_help_panel=_PROFILE,
        show_default=False,
    ),
]
Everything = Annotated[
    bool,
    typer.Option("--all", envvar="BULKEDIT_DEID_ALL", help="All of the data store.", rich_help_panel=_WHICH),
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="SELECTOR=VALUE",
        envvar="BULKEDIT_DEID_SELECT",
        help=f"Those that a selector names: {', '.join(SELECTORS)}. May be given several times. SELECTOR=@FILE takes "
        "the lines of a file, SELECTOR=@- those of standard input: `ps` shows what is typed, and shells keep it.",
        rich_help_panel=_WHICH,
    ),
]
SelectFile = Annotated[
    Path | None,
    typer.Option(
        "--select-file",
        metavar="FILE",
        envvar="BULKEDIT_DEID_SELECT_FILE",
        help="A CSV file with one column, named by a selector: the image sets that its cells name.",
        rich_help_panel=_WHICH,
        show_default=False,
    ),
]
Snapshot = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        metavar="FILE",
        envvar="BULKEDIT_INVENTORY",
        help="A snapshot from `bulkedit inventory`: all of it, or what is selected, is looked up there.",
        rich_help_panel=_WHICH,
        show_default=False,
    ),
]
From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="PATH",
        envvar="BULKEDIT_DEID_FROM",
        help="Metadata documents from files or folders (JSON, also gzipped) instead of a data store.",
        rich_help_panel=_WHICH,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        envvar="BULKEDIT_DEID_OUT",
        help="The edit list to write: Parquet or CSV, as its suffix says. Its record is the folder FILE.deid.",
    ),
]
ForceNeeded = Annotated[
    bool,
    typer.Option(
        "--force-needed-only",
        envvar="BULKEDIT_DEID_FORCE_NEEDED_ONLY",
        help="Give force to the edits alone that need it. It takes more calls: forced and unforced ones are apart.",
    ),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="DIR",
        envvar="BULKEDIT_DEID_PLAN",
        help="Plan the calls too, into this folder.",
        show_default=False,
    ),
]
Explain = Annotated[
    bool,
    typer.Option("--explain", envvar="BULKEDIT_DEID_EXPLAIN", help="Print what the profile does, and read nothing."),
]
ReadRate = Annotated[
    str,
    typer.Option(
        "--read-rate",
        metavar="N/s|N/m|N/h",
        envvar="BULKEDIT_READ_RATE",
        help=f"Reads of metadata to send (GetImageSetMetadata); the default quota is {DEFAULT_RATE}.",
    ),
]
AwsProfile = Annotated[
    str | None,
    typer.Option("--aws-profile", envvar="BULKEDIT_AWS_PROFILE", help="Profile of ~/.aws/config.", show_default=False),
]
CheckOption = Annotated[
    Path | None,
    typer.Option(
        "--check",
        metavar="RUN",
        envvar="BULKEDIT_DEID_CHECK",
        help="Derive nothing: look for what still identifies patients after this run. --profile says what was to stay.",
        show_default=False,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", envvar="BULKEDIT_FRESH", help="Begin anew, and replace an edit list that is there."),
]


def deid(
    context: typer.Context,
    profile: Profile = None,
    file: Out = Path("deid.parquet"),
    key: KeyFile = None,
    new_key: NewKey = None,
    mapping: Mapping = None,
    reidentification_map: MapFile = None,
    map_key: MapKey = None,
    everything: Everything = False,
    select: Select = None,
    select_file: SelectFile = None,
    inventory: Snapshot = None,
    source: From = None,
    plan: PlanOption = None,
    via_copy: o.ViaCopy = False,
    delete_originals: o.DeleteOriginals = False,
    payload_limit: o.PayloadLimit = None,
    force_needed_only: ForceNeeded = False,
    rules: o.Rules = "2026",
    datastore: o.DatastoreId = None,
    region: o.Region = None,
    aws_profile: AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    allow_http: o.AllowHttp = False,
    client_cert: o.ClientCert = None,
    client_key: o.ClientKey = None,
    read_rate: ReadRate = DEFAULT_RATE,
    fresh: Fresh = False,
    explain: Explain = False,
    check: CheckOption = None,
    yes: o.Yes = False,
    as_json: o.AsJson = False,
) -> None:
    """Derive the edits that de-identify image sets, as an edit list to review, plan and apply like any other.

    Reads metadata, writes nothing to the data store. UIDs, identifiers and dates come from the key: the same in every
    run. Ctrl-C, and the same command goes on where it stopped. Older versions of an image set keep what is removed.

    Once the run is applied, `bulkedit audit RUN` looks for what is left; --check RUN is the same.

    Example: bulkedit deid -d 0123456789abcdef0123456789abcdef --all --profile basic --key deid.key -o deid.parquet
    """
    if new_key is not None:
        _make_key(context, new_key, as_json=as_json)
        return
    where = Where(
        region=region,
        profile=aws_profile,
        endpoint_url=endpoint_url,
        allow_http=allow_http,
        client_cert=client_cert,
        client_key=client_key,
    )
    if check is not None:
        audited(
            check, AuditOptions(profile=profile, read_rate=_looks(read_rate), read_archived=yes), where, as_json=as_json
        )
    if profile is None:
        raise UsageError("no profile is named.", hint=f"Give it: --profile {deids.SHIPPED[0]}, or a file of your own.")
    if explain:
        _explain(deids.load_profile(profile), as_json=as_json)
        return
    listing = ListOptions(
        rules=rules,
        payload_limit=payload_limit,
        inventory=inventory,
        via_copy=via_copy,
        delete_originals=delete_originals,
    )
    listing.check()
    if plan is not None and not datastore:
        raise UsageError("a plan is for a data store.", hint="Give it: --datastore ID (or -d ID)")
    options = DeidOptions(
        profile=profile,
        key=key,
        mapping=mapping,
        reidentification_map=reidentification_map,
        map_key=map_key,
        everything=everything,
        select=tuple(select or ()),
        select_file=select_file,
        inventory=inventory,
        source=tuple(source or ()),
        via_copy=via_copy,
        payload_limit=payload_limit,
        force_needed_only=force_needed_only,
        rules=rules,
        read_rate=read_rate,
        read_archived=yes,
        fresh=fresh,
    )
    options.check(file, datastore)
    work = partial(
        deidentify,
        file,
        options,
        datastore,
        where=where,
        standard_input=_standard_input(options),
        agree=partial(_agreed, yes=yes),
    )
    began = time.monotonic()
    latest = Latest(WorkProgress())
    try:
        made = anyio.run(attended, work, _words, latest)
    except StoppedError:
        err().print(f"Interrupted, with {plural(latest.progress.done, 'image set')} kept. The same command goes on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _close(made, time.monotonic() - began, as_json=as_json)
    if plan is not None and made.edits:
        _plan(made, datastore, listing, plan, where, as_json=as_json)
    if made.unreachable:
        raise typer.Exit(EXIT_NOT_ALL_APPLIED)


def _standard_input(options: DeidOptions) -> io.BytesIO:
    """Standard input, if a selection means it: read before the work begins, so that Ctrl-C can end the reading."""
    wanted = any(one.endswith("=@-") for one in options.select)
    return io.BytesIO(sys.stdin.buffer.read() if wanted else b"")


def _words(progress: WorkProgress) -> str:
    of = f" of {progress.total:,}" if progress.total is not None else ""
    parts = [f"{progress.done:,}{of} image sets", f"{progress.found:,} edits"]
    return " · ".join([*parts, f"{progress.throttled:,} throttled"])


def _agreed(count: int, *, yes: bool) -> bool:
    """Whether archived image sets may be read; asks a person."""
    if not (yes or interactive()):
        return False
    err().print(f"{plural(count, 'image set')} {MOVES}.")
    return yes or confirmed("Go on?", abort=True)


def _plan(
    made: Deidentified, datastore: str | None, listing: ListOptions, folder: Path, where: Where, *, as_json: bool
) -> None:
    """Plan the edit list and say how it came out."""
    if listing.inventory is None and made.inventory is not None:  # it knows the studies, so calls can be theirs
        received.require_file(made.inventory)
        listing = replace(listing, inventory=made.inventory)
    saved = plan_list(str(made.file), datastore, listing, folder=folder, where=where, listener=Talk())
    if as_json:
        json_line(plan_line(saved))
        return
    show_plan(saved)
    out().print(f"\nTo apply it:  {apply_command(saved)}")


def _make_key(context: typer.Context, file: Path, *, as_json: bool) -> None:
    """Make a key and say what it is for. Raises UsageError if anything else is asked for too."""
    others = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in {"new_key", "as_json"} and _is_typed(context, parameter.name)
    ]
    if others:
        raise UsageError("--new-key makes a key and does nothing else.", hint=f"Leave out: {', '.join(others)}.")
    deids.make_key(file)
    if as_json:
        json_line({"type": "deid-key", "file": str(file)})
        return
    console = out()
    console.print(f"{file}: a new key. Only you can read it.")
    console.print("Keep it: without it, the same patient gets another pseudonym next time.")
    console.print("Never store it with the released data: it leads from each pseudonym back to the patient.")
    console.print(f"To use it:  bulkedit deid … --key {shlex.quote(str(file))}")


def _is_typed(context: typer.Context, name: str | None) -> bool:
    """Whether an option is on the command line itself, not in the environment."""
    source = context.get_parameter_source(name) if name else None
    return source is not None and source.name == "COMMANDLINE"


def _looks(read_rate: str) -> str:
    """The rate of GetImageSet where so much metadata is read: two documents for each look."""
    factor = parse_rate(read_rate).per_second / DOCUMENTED[Operation.METADATA].per_second
    return f"{factor * DOCUMENTED[Operation.GET].per_second:g}/s"


# -- what is said --------------------------------------------------------------------------------------------------


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
        ("image sets", f"{made.image_sets:,}, of which {made.changed:,} have something to change"),
        ("unreachable", f"{made.unreachable:,}"),
    ]
    print_rows(shown)
    for line in lines:
        kind = deids.KINDS[line["kind"]]
        head = "Unreachable" if kind.unreachable else "Note"
        count, where = plural(line["times"], "time"), plural(line["image_sets"], "image set")
        console.print(f"{head}: {line['level']} {line['attribute']} ({count}, {where}): {kind.text}")
    console.print("The list holds health data, as its record does: only you can read them.")
    console.print(
        "Editing purges nothing: older versions of an image set keep what is removed. Pixels are not looked at."
    )


def _finding_lines(findings: pl.DataFrame) -> list[dict[str, Any]]:
    grouped = findings.group_by("kind", "level", "attribute").agg(
        times=pl.col("times").sum(), image_sets=pl.col("image_set_id").n_unique()
    )
    return grouped.sort("kind", "level", "attribute").to_dicts()


def _explain(profile: deids.Profile, *, as_json: bool) -> None:
    """What a profile does to every attribute that it or Annex E names."""
    made = deids.Rules(profile)
    lines = []
    for name in dicom.keywords():
        known = dicom.attribute(name)
        if known is None:
            continue
        rule = made.places[known.level][name]
        if rule.because != "unlisted":
            lines.append(
                {"attribute": name, "level": str(known.level), "action": str(rule.action), "because": rule.because}
            )
    if as_json:
        for line in lines:
            json_line({"type": "deid-rule", **line})
        return
    console = out()
    console.print(f"{profile.name}: {profile.description}")
    options = ", ".join(name for name in deids.OPTIONS if name in profile.options)
    console.print(f"PS3.15 Annex E {profile.edition}; options: {options or 'none'}")
    console.print("\nWhat decides, first to last:")
    for number, text in enumerate(deids.PRECEDENCE, 1):
        console.print(f"  {number:>2}  {text}")
    console.print()
    for line in lines:
        console.print(f"  {line['level']:<8}  {line['attribute']:<48}  {line['action']:<9}  {line['because']}")
