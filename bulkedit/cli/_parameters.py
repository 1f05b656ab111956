"""What each command takes: a dataclass a command, whose docstring is its help."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

from bulkedit.client.responses import Outcome
from bulkedit.options import shared
from bulkedit.options.audit import AuditOptions
from bulkedit.options.declaring import Argument, Config, Declared, Group, Option, all_declared
from bulkedit.options.deid import DeidOptions
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.listing import ListOptions
from bulkedit.options.logs import LogOptions
from bulkedit.options.revert import RevertOptions
from bulkedit.options.running import RunOptions, Strategy
from bulkedit.options.verify import VerifyOptions
from bulkedit.options.where import Where

EMULATOR_PORT: Final = 8104  # 104 is DICOM's port
ResultFormat = Literal["csv", "parquet", "jsonl"]
_EDITS = "CSV, CSV.gz, Parquet, JSON lines or Excel file; - is standard input."

PlanFolder = Annotated[
    Path | None,
    Option("The plan's folder; plans/<id> if not given.", "DIR", ("--out", "-o"), common=True, config=Config.NEVER),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommand:
    """Check an edit list and plan its calls. Sends nothing that writes.

    Example: bulkedit plan edits.csv -d 0123456789abcdef0123456789abcdef
    """

    edits: Annotated[str, Argument(_EDITS, "EDITS", edit_list=True)]
    datastore_id: shared.Datastore = None
    out: PlanFolder = None
    where: Where
    listing: ListOptions
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCommand:
    """Apply a plan, or an edit list at once. Asks first on a terminal.

    Example: bulkedit apply plans/20260102-030405-1a2b --max-rate 5/s
    """

    source: Annotated[
        str, Argument("A plan folder, or an edit list, which is planned first.", "PLAN|EDITS", edit_list=True)
    ]
    datastore_id: shared.Datastore = None
    run: Annotated[
        Path | None,
        Option("The run's folder; runs/<id> where not given.", "DIR", common=True, config=Config.NEVER),
    ] = None
    yes: shared.Yes = False
    dry_run: shared.DryRun = False
    digest: Annotated[
        str | None,
        Option(
            "Apply the plan only if it has this digest. `bulkedit plan` prints it; give all 64 digits, or at least the "
            "first 16.",
            "HEX",
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    where: Where
    running: RunOptions
    listing: ListOptions
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeCommand:
    """Go on with a run that was stopped: first what is in doubt, then what is left.

    Example: bulkedit resume runs/20260102-030405-1a2b
    """

    run: shared.RunFolder
    strategy: Annotated[
        Strategy,
        Option(
            "What to take up after the calls in doubt, which always come first: new: calls that have no outcome yet "
            "(safe: no edit with an outcome is touched); failed: calls that were rejected, conflicted or failed (safe: "
            "nothing of them was made, and what a later edit has changed since is left alone); all: both. Applied "
            "calls are never sent again.",
            common=True,
            config=Config.NEVER,
        ),
    ] = Strategy.NEW
    assume_unknown: Annotated[
        bool,
        Option(
            "Go on although the ledger is missing, behind, damaged or a copy: each call of which it holds no outcome "
            "is taken for one whose answer was lost, and compared with its image set before anything is sent. The "
            "former ledger is kept under another name.",
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    where: Annotated[Where, Config.NEVER]
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCommand:
    """Watch an edit list become applied edits and a ledger: no account, no network, under a minute.

    Example: bulkedit demo
    """

    run: Annotated[
        Path | None,
        Option("The run's folder; runs/demo-<id> where not given.", "DIR", common=True, config=Config.NEVER),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCommand:
    """Where a run stands, also while it is running.

    Example: bulkedit status runs/20260102-030405-1a2b --watch
    """

    run: shared.RunFolder
    watch: Annotated[
        bool,
        Option(
            "Look again until the run ends; Ctrl-C leaves.", None, ("--watch", "-w"), common=True, config=Config.NEVER
        ),
    ] = False
    every: Annotated[float, Option("Pause between looks.", "SECONDS", common=True, least=0.1)] = 2
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCommand:
    """What became of every edit: the numbers, and the edits that were not applied with the reason.

    Example: bulkedit report runs/20260102-030405-1a2b --only rejected
    """

    run: shared.RunFolder
    only: Annotated[Outcome | None, Option("Show the edits of one outcome.", common=True, config=Config.NEVER)] = None
    results: Annotated[
        Path | None,
        Option(
            "Write what became of every row to a new folder: succeeded, failed, conflicted, unprocessed.",
            "DIR",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    format: Annotated[
        ResultFormat,
        Option("Format of these files.", variables=("RESULTS_FORMAT",), group=Group.FILES, common=True),
    ] = "csv"
    include_values: Annotated[
        bool,
        Option(
            "Write the values of the edits into them, which are health data; only so can they be planned again.",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    html: Annotated[
        Path | None,
        Option(
            "Write a page that opens offline, without any value; needs the extra `report`.",
            "FILE",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCommand:
    """Read back what a run has changed, hold every applied edit against the store, and name each difference.

    A difference is the run's own, or that of a later writer. Exit code 7 tells that there is one. Ctrl-C, and the
    same command goes on where it stopped.

    Example: bulkedit verify runs/20260102-030405-1a2b --sample 1% --history
    """

    run: shared.RunFolder
    reading: VerifyOptions
    yes: shared.Yes = False
    where: Annotated[Where, Config.NEVER]  # a file that says something else than the run does not overrule it
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertCommand:
    """Plan the undoing of a run: each image set back to its version before it. Sends nothing that writes.

    The plan is reviewed and applied like any other. Image sets that somebody else has changed since are left out and
    named, and exit code 1 tells that there are some.

    Example: bulkedit revert runs/20260102-030405-1a2b -o plans/undo
    """

    run: shared.RunFolder
    out: PlanFolder = None
    undoing: RevertOptions
    where: Annotated[Where, Config.NEVER]  # a file that says something else than the run does not overrule it
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryCommand:
    """Take a snapshot of a data store: every image set with its study, patient and accession number.

    Reads through SearchImageSets only, which leaves archived image sets where they are. An edit list that names its
    image sets by study, series, accession number, patient or study id is looked up in it. Ctrl-C, and the same
    command goes on where it stopped.

    Example: bulkedit inventory -d 0123456789abcdef0123456789abcdef -o inventory.parquet
    """

    out: Annotated[
        Path,
        Option(
            "The Parquet file to write.",
            "FILE",
            ("--out", "-o"),
            ("INVENTORY_OUT",),
            common=True,
            config=Config.NEVER,
        ),
    ]
    datastore_id: shared.Datastore = None
    where: Where
    taking: InventoryOptions
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidCommand:
    """Derive the edits that de-identify image sets, as an edit list to review, plan and apply like any other.

    Reads metadata, writes nothing to the data store. UIDs, identifiers and dates come from the key: the same in every
    run. Ctrl-C, and the same command goes on where it stopped. Older versions of an image set keep what is removed.

    Once the run is applied, `bulkedit audit RUN` looks for what is left; --check RUN is the same.

    Example: bulkedit deid -d 0123456789abcdef0123456789abcdef --all --deid-profile basic --key deid.key -o deid.parquet
    """

    deriving: DeidOptions
    out: Annotated[
        Path,
        Option(
            "The edit list to write: Parquet or CSV, as its suffix says. Its record is the folder FILE.deid.",
            "FILE",
            ("--out", "-o"),
            ("DEID_OUT",),
            common=True,
            config=Config.NEVER,
        ),
    ] = Path("deid.parquet")
    new_key: Annotated[
        Path | None,
        Option(
            "Write a new random key to this new file, and do nothing else. Only you can read it.",
            "FILE",
            prefix="DEID_",
            group=Group.DEID,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    plan: Annotated[
        Path | None,
        Option("Plan the calls too, into this folder.", "DIR", prefix="DEID_", common=True, config=Config.NEVER),
    ] = None
    delete_originals: shared.DeleteOriginals = False
    datastore_id: shared.Datastore = None
    where: Where
    explain: Annotated[
        bool,
        Option("Print what the profile does, and read nothing.", prefix="DEID_", config=Config.NEVER),
    ] = False
    check: Annotated[
        Path | None,
        Option(
            "Derive nothing, and do what `bulkedit audit RUN` does.",
            "RUN",
            prefix="DEID_",
            config=Config.NEVER,
        ),
    ] = None
    yes: shared.Yes = False
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCommand:
    """Look for what still identifies patients after a de-identification run was applied.

    An independent scan: each image set is compared with what it was before the run, by rules of its own. Exit code 7
    tells that something is left. Pixels are not looked at.

    Example: bulkedit audit runs/20260102-030405-1a2b --deid-profile basic
    """

    run: shared.RunFolder
    auditing: AuditOptions
    where: Annotated[Where, Config.NEVER]  # a file that says something else than the run does not overrule it
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCommand:
    """Remove drafts that a kill or a power cut has left. They hold values of edits or metadata.

    A draft is named .NAME.1a2b3c4d.bulkedit-draft. One that a running process works on is left alone, as are
    finished plans, runs, lists and inventories, and whatever an interrupted command goes on with.

    Example: bulkedit clean --dry-run
    """

    folder: Annotated[Path, Argument("Where to look, with all folders within.", "[FOLDER]")] = Path()
    dry_run: Annotated[bool, Option("List the drafts; remove nothing.", common=True, config=Config.NEVER)] = False
    as_json: shared.AsJson = False


_emulated = partial(Option, prefix="EMULATE_")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulateCommand:
    """Run a local HealthImaging for any AWS SDK or the AWS CLI, until Ctrl-C.

    The first line on standard output is its URL, written when it is ready.

    Example: bulkedit emulate --import dicom/
    """

    imports: Annotated[
        list[Path] | None,
        _emulated("Import the DICOM files of this folder at the start; repeatable.", "DIR", ("--import",), common=True),
    ] = None
    demo: Annotated[bool, _emulated("Import the DICOM files of `bulkedit demo`.", common=True)] = False
    port: Annotated[int, _emulated("Port to listen on; 0 takes a free one.", "N", common=True, least=0, most=65535)] = (
        EMULATOR_PORT
    )
    state: Annotated[
        Path | None,
        _emulated("Keep everything in this SQLite file; it survives a kill. Without it, memory.", "FILE", common=True),
    ] = None
    service_version: Annotated[
        shared.ServiceVersion,
        _emulated("Version of the service's documentation to keep to.", group=Group.RULES, common=True),
    ] = shared.SERVICE
    switch: Annotated[
        list[str] | None,
        _emulated(
            "Decide what the documentation leaves open; repeatable. A wrong name lists them all.",
            "NAME=CHOICE",
            group=Group.RULES,
        ),
    ] = None
    scale: Annotated[
        float,
        _emulated(
            "What the documented request rates are multiplied by; inf is no throttling.",
            "N",
            group=Group.TIME,
            common=True,
        ),
    ] = 1.0
    completion_time: Annotated[
        float, _emulated("How long an update, copy or deletion takes.", "SECONDS", group=Group.TIME, least=0)
    ] = 0.5
    completion_sigma: Annotated[
        float, _emulated("Spread that time lognormally by this much; 0 is fixed.", "N", group=Group.TIME, least=0)
    ] = 0.0
    completion_per_mb: Annotated[
        float, _emulated("Add so much for each MB of metadata.", "SECONDS", group=Group.TIME, least=0)
    ] = 0.0
    fault: Annotated[
        list[str] | None,
        _emulated(
            "Let something go wrong, such as drop-after:rate=0.05; repeatable. A wrong kind lists them all.",
            "KIND[:NAME=VALUE,…]",
            group=Group.TIME,
            common=True,
        ),
    ] = None
    seed: Annotated[int, _emulated("Of ids, times and faults: the same seed, the same run.", "N", group=Group.TIME)] = 0
    host: Annotated[
        str,
        _emulated(
            "Address to listen on. Anything but loopback lets others in.", "ADDRESS", group=Group.ACCESS, common=True
        ),
    ] = "127.0.0.1"
    allow_host: Annotated[
        list[str] | None,
        _emulated(
            "Answer requests to this host name too, beside localhost and the machine's addresses; repeatable.",
            "NAME",
            group=Group.ACCESS,
        ),
    ] = None
    access_key: Annotated[
        str | None,
        _emulated("Take only requests signed with this key (SigV4), and --secret-key.", "KEY", group=Group.ACCESS),
    ] = None
    secret_key: Annotated[
        str | None,
        _emulated(
            "The secret of --access-key. Set the variable, because others can see the command line.",
            "KEY",
            group=Group.ACCESS,
            config=Config.NEVER,
        ),
    ] = None
    import_root: Annotated[
        list[Path] | None,
        _emulated(
            "Let import jobs read and write below this folder, not below those of --import; repeatable.",
            "DIR",
            group=Group.ACCESS,
            config=Config.OWN,
        ),
    ] = None
    log: LogOptions
    as_json: Annotated[
        bool,
        Option("Say where it listens as one line of JSON.", None, ("--json",), common=True),
    ] = False


TAKEN: Final[dict[str, type]] = {
    "demo": DemoCommand,
    "plan": PlanCommand,
    "apply": ApplyCommand,
    "resume": ResumeCommand,
    "status": StatusCommand,
    "report": ReportCommand,
    "verify": VerifyCommand,
    "revert": RevertCommand,
    "inventory": InventoryCommand,
    "deid": DeidCommand,
    "audit": AuditCommand,
    "clean": CleanCommand,
    "emulate": EmulateCommand,
}


def known() -> dict[str, list[Declared]]:
    """The options of all commands by their name in `config.toml`."""
    found: dict[str, list[Declared]] = {}
    for kind in TAKEN.values():
        for one in all_declared(kind).values():
            if isinstance(one.said, Option):
                found.setdefault(one.key, []).append(one)
    return found
