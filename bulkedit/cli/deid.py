"""`bulkedit deid`: an edit list that de-identifies image sets."""

from __future__ import annotations

import hashlib
import random
import shlex
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
import polars as pl
import typer

from bulkedit import _received as received
from bulkedit import deids, inventories
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.cli import _options as o
from bulkedit.cli import audit as checking
from bulkedit.cli._console import confirmed, err, interactive, json_line, out, print_rows
from bulkedit.cli._working import worked
from bulkedit.cli.plan import Talk, apply_command, plan_line, show_plan
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import DOCUMENTED, Operation, Rate, parse_rate
from bulkedit.client.reader import Reader, Reads
from bulkedit.client.responses import ARCHIVED
from bulkedit.client.where import Where
from bulkedit.deids.documents import files_of, read_files
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import SELECTORS
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_NOT_ALL_APPLIED, BulkeditError, UsageError
from bulkedit.plans.from_list import ListOptions, plan_list

if TYPE_CHECKING:
    from bulkedit.client.contract import Client

_METADATA: Final = DOCUMENTED[Operation.METADATA]
DEFAULT_RATE: Final = f"{_METADATA.per_second:g}/s"
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

    With --check RUN, once the run is applied: an independent scan for what is left. Exit code 7 tells that there is
    something.

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
        kept = deids.load_profile(profile) if profile else None
        checking.check(checking.Asked(check, kept, _looks(read_rate), where, archived=yes), as_json=as_json)
    if profile is None:
        raise UsageError("no profile is named.", hint=f"Give it: --profile {deids.SHIPPED[0]}, or a file of your own.")
    found = deids.load_profile(profile)
    if explain:
        _explain(found, as_json=as_json)
        return
    if file.suffix not in {".csv", ".parquet"}:
        raise UsageError("the edit list is a Parquet or CSV file.", where=str(file), hint="Name it FILE.parquet.")
    if (reidentification_map is None) != (map_key is None):
        raise UsageError("--reidentification-map and --map-key go together.")
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
    recipe = deids.Recipe(
        profile=found,
        key=deids.load_key(key),
        payload_limit=payload_limit or dicom.RULES[rules].payload_limit,
        together=not force_needed_only,
        mapping=deids.load_mapping(mapping) if mapping else None,
    )
    _warn_of_exposed(key, map_key)
    keys = deids.selected(select or [], select_file, sys.stdin.buffer)
    work = _Work(
        file=file,
        recipe=recipe,
        keys=keys,
        inventory=inventory,
        files=files_of(source) if source else [],
        connection=Connection(datastore_id=datastore, **asdict(where)) if datastore else None,
        rate=parse_rate(read_rate),
        yes=yes,
        via_copy=via_copy,
    )
    _check_source(work, everything=everything, offline=bool(source))
    began = time.monotonic()
    record, counts = _made(work, reidentification_map, map_key, fresh=fresh)
    _close(record, counts, recipe, time.monotonic() - began, as_json=as_json)
    if plan is not None and counts["edits"]:
        _plan(record, datastore, listing, plan, where, as_json=as_json)
    if counts["unreachable"]:
        raise typer.Exit(EXIT_NOT_ALL_APPLIED)


def _plan(
    record: deids.Record, datastore: str | None, listing: ListOptions, folder: Path, where: Where, *, as_json: bool
) -> None:
    """Plan the edit list and say how it came out."""
    snapshot = record.folder / "inventory.parquet"  # taken for --all: it knows the studies, so calls can be theirs
    if listing.inventory is None and received.there(snapshot):
        received.require_file(snapshot)
        listing = replace(listing, inventory=snapshot)
    saved = plan_list(str(record.target), datastore, listing, folder=folder, where=where, listener=Talk())
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


def _warn_of_exposed(*files: Path | None) -> None:
    """As ssh does for its keys."""
    for file in filter(None, files):
        if mode := deids.exposed_key(file):
            err().print(f"warning: {file}: other users of this machine can read or change this key (mode {mode}).")
            err().print(f"To keep it to yourself:  {shlex.join(['chmod', '600', str(file)])}")


def _looks(read_rate: str) -> str:
    """The rate of GetImageSet where so much metadata is read: two documents for each look."""
    factor = parse_rate(read_rate).per_second / _METADATA.per_second
    return f"{factor * DOCUMENTED[Operation.GET].per_second:g}/s"


@dataclass(slots=True)
class _Work:
    """What one run of the command has to do."""

    file: Path
    recipe: deids.Recipe
    keys: pl.DataFrame  # selector String, key String; no rows: all
    inventory: Path | None
    files: list[Path]
    connection: Connection | None
    rate: Rate
    yes: bool
    via_copy: bool = False  # the edits of a primary image set are those of a copy of it
    total: int = 0
    reads: Reads = field(default_factory=Reads)

    def asked(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        of = self.keys.write_csv() + "".join(map(str, self.files)) + str(self.inventory)
        return {
            "profile": self.recipe.profile.digest,
            "key": self.recipe.key.fingerprint,
            "datastore": self.connection.datastore_id if self.connection else None,
            "selection": hashlib.sha256(of.encode()).hexdigest(),
            "payload limit": self.recipe.payload_limit,
            "force": "together" if self.recipe.together else "needed",
            **({"primary image sets": "via copy"} if self.via_copy else {}),
        }


def _check_source(work: _Work, *, everything: bool, offline: bool) -> None:
    ways = [everything, bool(work.keys.height) or (work.inventory is not None and not everything), offline]
    if sum(ways) != 1:
        raise UsageError(
            "say which image sets: --all, --select or --select-file, --inventory, or --from; one of them.",
            hint="A selection may be looked up in an inventory: --select patient_id=… --inventory FILE",
        )
    if not offline and work.connection is None:
        raise UsageError("no data store is named.", hint="Give it: --datastore ID (or -d ID)")


# -- the run ----------------------------------------------------------------------------------------------------------


def _made(
    work: _Work, map_file: Path | None, map_key: Path | None, *, fresh: bool
) -> tuple[deids.Record, dict[str, Any]]:
    former = {"key": work.recipe.key.former_fingerprint}
    with deids.Record.open(work.file, work.asked(), former=former, fresh=fresh) as record:
        making = deids.Making(work.recipe, record, map_file=map_file, map_key=map_key)
        try:
            if work.files:
                for image_set_id, document in read_files(work.files):
                    making.take(image_set_id, document)
            elif not anyio.run(_read, work, record, making):
                making.checkpoint()
                err().print(
                    f"Interrupted, with {plural(making.documents, 'image set')} kept. The same command goes on."
                )
                raise typer.Exit(EXIT_INTERRUPTED)
        except (BulkeditError, KeyboardInterrupt):
            making.checkpoint()  # what was read is kept, whatever stopped the rest
            raise
        return record, making.finish()


async def _read(work: _Work, record: deids.Record, making: deids.Making) -> bool:
    """Read from the data store; False where a signal stopped it."""
    ended = False

    def numbers() -> str:
        parts = [f"{making.documents:,} of {work.total:,} image sets", f"{making.edits:,} edits"]
        return " · ".join([*parts, f"{work.reads.throttled:,} throttled"])

    async def read() -> None:
        nonlocal ended
        await _read_documents(work, record, making)
        ended = True

    await worked(read, numbers)
    return ended


async def _read_documents(work: _Work, record: deids.Record, making: deids.Making) -> None:
    assert work.connection is not None  # noqa: S101 - `_check_source` has seen to it
    async with connect(work.connection) as client:
        reader = _reader(client, work.rate)
        work.reads = reader.reads
        selection = record.selection()
        if selection is None:
            selection = await _selected(reader, work, record)
            record.select(selection)
        left = selection.filter(~pl.col("image_set_id").is_in(list(record.done)))
        _warn_of_archive(left, yes=work.yes)
        primary = selection.filter(pl.col("primary").fill_null(value=False)).get_column("image_set_id")
        making.expect(frozenset() if work.via_copy else frozenset(primary))
        work.total = left.height
        ids = left.get_column("image_set_id").to_list()
        await deids.read_all(reader, ids, making.take)


def _reader(client: Client, rate: Rate) -> Reader:
    """``rate``: of GetImageSetMetadata; the selection is read at the documented quotas."""
    burst = max(1.0, _METADATA.burst / _METADATA.per_second * rate.per_second)
    rates = {operation: DOCUMENTED[operation] for operation in (Operation.SEARCH, Operation.GET)}
    rates[Operation.METADATA] = Rate(rate.per_second, burst)
    return Reader(client, rates, random.SystemRandom(), profile_option="--aws-profile")


async def _selected(reader: Reader, work: _Work, record: deids.Record) -> pl.DataFrame:
    """The image sets to read, with what is known of them: columns of `SELECTION` and more."""
    assert work.connection is not None  # noqa: S101
    datastore_id = work.connection.datastore_id
    if not work.keys.height:
        path = work.inventory or record.folder / "inventory.parquet"
        if work.inventory is None and received.there(path):
            received.require_file(path)
        snapshot = (
            inventories.load(path, datastore_id)
            if path.exists()
            else await inventories.take(reader, path, datastore_id=datastore_id)
        )
        return snapshot.scan().collect()
    ids = work.keys.filter(pl.col("selector") == "image_set_id").get_column("key").to_list()
    found = await inventories.lookup(reader, work.keys, datastore_id=datastore_id, inventory_path=work.inventory)
    named = _named(found.inventory, work.keys)
    known = set(named.get_column("image_set_id"))
    unknown = [one for one in ids if one not in known]
    by_id = await deids.selected_by_id(reader, unknown)
    return pl.concat([named.select(deids.SELECTION.names()), by_id])


def _named(inventory: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The image sets that keys name. Raises UsageError where one names none."""
    kept = pl.lit(value=False)
    missing: Counter[str] = Counter()
    for (selector,), same in keys.group_by(["selector"]):
        name = str(selector)
        wanted = same.get_column("key").str.strip_chars_end(" \0")
        column = pl.col(name).str.strip_chars_end(" \0")
        kept |= column.is_in(wanted.to_list()).fill_null(value=False)
        if name != "image_set_id":
            there = set(inventory.select(column).to_series())
            missing[name] += sum(key not in there for key in wanted)
    for name, count in missing.items():
        if count:
            raise UsageError(
                f"{plural(count, 'key')} of {name} {'names' if count == 1 else 'name'} no image set of the data store.",
                likely="It is mistyped, of another data store, or newer than the inventory.",
            )
    return inventory.filter(kept)


def _warn_of_archive(selection: pl.DataFrame, *, yes: bool) -> None:
    """Reading metadata counts as access (reference: cost-optimization)."""
    count = selection.filter(pl.col("storage_tier") == ARCHIVED).height
    if not count:
        return
    text = f"{plural(count, 'image set')} will move from the archive tier to frequent access for 30 days by being read."
    err().print(text)
    if yes:
        return
    if not interactive():
        raise UsageError("reading archived image sets has its price, so it is asked for.", hint="To agree: --yes")
    confirmed("Go on?", abort=True)


# -- what is said --------------------------------------------------------------------------------------------------


def _close(
    record: deids.Record, counts: dict[str, Any], recipe: deids.Recipe, seconds: float, *, as_json: bool
) -> None:
    findings = record.findings()
    if as_json:
        for line in _finding_lines(findings):
            json_line({"type": "deid-finding", **line})
        json_line(
            {
                "type": "deid",
                "file": str(record.target),
                "record": str(record.folder),
                "profile": recipe.profile.name,
                "edition": recipe.profile.edition,
                "key": recipe.key.fingerprint,
                **counts,
                "seconds": round(seconds, 3),
            }
        )
        return
    console = out()
    console.print(f"{printable(record.target)}: {plural(counts['edits'], 'edit')}. {duration(seconds)}.")
    shown = [
        ("profile", f"{recipe.profile.name}, PS3.15 Annex E {recipe.profile.edition}"),
        ("key", f"fingerprint {recipe.key.fingerprint}"),
        ("image sets", f"{counts['image_sets']:,}, of which {counts['changed']:,} have something to change"),
        ("unreachable", f"{counts['unreachable']:,}"),
    ]
    print_rows(shown)
    for line in _finding_lines(findings):
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
