"""The parameters of each command: one dataclass per command, whose docstring is its help text."""

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
from bulkedit.options.running import RunChanges, RunOptions, Strategy
from bulkedit.options.verify import VerifyOptions
from bulkedit.options.where import Where

EMULATOR_PORT: Final = 8104  # 104 is DICOM's port
ResultFormat = Literal["csv", "parquet", "jsonl"]
_EDITS = (
    "The edit list: a CSV, CSV.gz, Parquet, JSON lines or Excel file, a script of the AWS CLI, or HL7 messages; "
    "- is stdin."
)

PrunedState = Literal["done", "stopped", "crashed", "not started"]
Folders = Annotated[
    list[Path] | None,
    Argument("Folders to search, with their subfolders. Default: the present one, runs and plans.", "[DIR]"),
]
PlanFolder = Annotated[
    Path | None,
    Option("New folder for the plan. Default: plans/<id>.", "DIR", ("--out", "-o"), common=True, config=Config.NEVER),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommand:
    """Check an edit list and plan its calls. Changes nothing in the data store.

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
    """Apply a plan or an edit list. On a terminal, asks for confirmation first.

    Example: bulkedit apply plans/20260102-030405-1a2b --max-rate 5/s
    """

    source: Annotated[
        str, Argument("A plan's folder, or an edit list, which is planned first.", "PLAN|EDITS", edit_list=True)
    ]
    datastore_id: shared.Datastore = None
    run: Annotated[
        Path | None,
        Option("New folder for the run. Default: runs/<id>.", "DIR", common=True, config=Config.NEVER),
    ] = None
    resume_or_start: Annotated[
        bool,
        Option(
            "Start the run, or continue it. If it is done, send nothing. For schedulers: the same "
            "command can be repeated until it ends with 0 or 1. Needs --run.",
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    yes: shared.Yes = False
    dry_run: shared.DryRun = False
    digest: Annotated[
        str | None,
        Option(
            "Apply only a plan with this digest. `bulkedit plan` prints it; give at least its first 16 digits.",
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
    """Continue a stopped run: first calls with an unknown outcome, then the rest.

    Settings of the run can be changed, from then on: rates, limits, and how to reach AWS. The ledger records it.

    Example: bulkedit resume runs/20260102-030405-1a2b
    """

    run: shared.RunFolder
    strategy: Annotated[
        Strategy,
        Option(
            "Which calls to send, after those with an unknown outcome: new, failed or all. new: calls without an "
            "outcome (safe: edits with an outcome are not touched). failed: calls that were rejected, conflicted or "
            "failed (safe: they changed nothing, and attributes that a later edit has changed since are skipped). "
            "all: both. Applied calls are never sent again.",
            common=True,
            config=Config.NEVER,
        ),
    ] = Strategy.NEW
    assume_unknown: Annotated[
        bool,
        Option(
            "Continue although the ledger is missing, behind, damaged or a copy. Every call without a recorded outcome "
            "is first compared with its image set. The old ledger is kept under another name.",
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    changes: RunChanges
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
        Option("New folder for the run. Default: runs/demo-<id>.", "DIR", common=True, config=Config.NEVER),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCommand:
    """Show the progress of a run, also while it is running.

    Example: bulkedit status runs/20260102-030405-1a2b --watch
    """

    run: shared.RunFolder
    watch: Annotated[
        bool,
        Option("Repeat until the run ends or Ctrl-C.", None, ("--watch", "-w"), common=True, config=Config.NEVER),
    ] = False
    every: Annotated[float, Option("With --watch: time between updates.", "SECONDS", common=True, least=0.1)] = 2
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsCommand:
    """List runs and plans, with their state, size and age.

    The newest come first. Without a folder, lists what is in the present folder, in runs and in plans.

    Example: bulkedit runs
    """

    folders: Folders = None
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPruneCommand:
    """Delete runs that are done, and plans that no run applies. Asks for confirmation first.

    What a deleted run has sent can no longer be reported, verified or reverted. A run that a process works on is never
    deleted, nor is a folder with a file that bulkedit has not written. `bulkedit clean` removes what a kill has left.

    Example: bulkedit runs prune --older-than 90d --dry-run
    """

    folders: Folders = None
    older_than: Annotated[
        str,
        Option(
            "Only what nothing has happened to for this long, such as 30d, 12h or 2w.",
            "AGE",
            prefix="PRUNE_",
            common=True,
        ),
    ] = "30d"
    state: Annotated[
        PrunedState,
        Option(
            "Which runs: done, or others, which can then no longer be continued.",
            prefix="PRUNE_",
            common=True,
            config=Config.NEVER,
        ),
    ] = "done"
    dry_run: Annotated[bool, Option("List them; delete nothing.", common=True, config=Config.NEVER)] = False
    yes: shared.Yes = False
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCommand:
    """Show the outcome of a run: counts, and each edit that was not applied, with the reason.

    Example: bulkedit report runs/20260102-030405-1a2b --only rejected
    """

    run: shared.RunFolder
    only: Annotated[Outcome | None, Option("Show only edits with this outcome.", common=True, config=Config.NEVER)] = (
        None
    )
    results: Annotated[
        Path | None,
        Option(
            "Write the outcome of every row to files in this new folder: succeeded, failed, conflicted, unprocessed. "
            "Unchanged result files of the same run are replaced.",
            "DIR",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    format: Annotated[
        ResultFormat,
        Option("Format of the files of --results.", variables=("RESULTS_FORMAT",), group=Group.FILES, common=True),
    ] = "csv"
    include_values: Annotated[
        bool,
        Option(
            "Also write the values of the edits, which are health data, so that failed rows can be planned again.",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    html: Annotated[
        Path | None,
        Option(
            "Write an HTML page, without values, that works offline. Needs the extra `report`.",
            "FILE",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    inventory: Annotated[
        Path | None,
        Option(
            "Also count by patient and study, by this file of `bulkedit inventory`, without their ids.",
            "FILE",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    request_ids: Annotated[
        bool,
        Option(
            "List every request with AWS's request id, for AWS Support. With --results, in the file request-ids.csv.",
            group=Group.FILES,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCommand:
    """Read the image sets that a run has changed, compare every applied edit, and list the differences.

    Each difference was caused by the run itself or by a later writer. Exit code 7: there are differences. After Ctrl-C,
    the same command continues.

    Example: bulkedit verify runs/20260102-030405-1a2b --sample 1% --history
    """

    run: shared.RunFolder
    reading: VerifyOptions
    yes: shared.Yes = False
    where: Annotated[Where, Config.NEVER]  # config.toml does not override the run's settings
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailCommand:
    """Compare a run with CloudTrail: what AWS has recorded of it, and who else wrote to its image sets.

    Sends nothing. Writes trail.csv and trail.json into the run's folder. Exit code 7: there is a difference.

    Example: bulkedit trail runs/20260102-030405-1a2b --cloudtrail logs/
    """

    run: shared.RunFolder
    files: Annotated[list[Path] | None, Argument("More files, such as logs/*.json.gz.", "[FILE]...")] = None
    cloudtrail: Annotated[
        list[Path] | None,
        Option(
            "A log file of CloudTrail (JSON, JSON lines, also gzipped), or a folder of them. Repeatable.",
            "FILE|DIR",
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertCommand:
    """Plan to undo a run: set each image set back to its version before the run. Changes nothing yet.

    Review and apply the plan like any other. Image sets that another writer has changed since are left out and listed;
    exit code 1: there are some.

    Example: bulkedit revert runs/20260102-030405-1a2b -o plans/undo
    """

    run: shared.RunFolder
    out: PlanFolder = None
    undoing: RevertOptions
    where: Annotated[Where, Config.NEVER]  # config.toml does not override the run's settings
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryCommand:
    """Write an inventory of a data store: every image set with its study, patient and accession number.

    `bulkedit plan --inventory` then finds image sets by study, series, accession number, patient or study id without a
    search. Uses SearchImageSets only, so archived image sets stay archived. After Ctrl-C, the same command continues.

    With --from and --where, writes a list of the image sets of an inventory that meet a condition; sends nothing.

    Example: bulkedit inventory -d 0123456789abcdef0123456789abcdef -o inventory.parquet
    """

    out: Annotated[
        Path,
        Option(
            "The Parquet file to write. With --from: the list, .csv or .parquet.",
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
    """Write an edit list that de-identifies image sets, to review, plan and apply like any other list.

    Changes nothing in the data store. Pseudonyms, new UIDs and date shifts are derived from the key, so every run has
    the same ones. After Ctrl-C, the same command continues. Older versions of an image set keep the removed values.

    After the run, `bulkedit audit RUN`, or --check RUN, searches for data that still identifies patients.

    Example: bulkedit deid -d 0123456789abcdef0123456789abcdef --all --deid-profile basic --key deid.key -o deid.parquet
    """

    deriving: DeidOptions
    out: Annotated[
        Path,
        Option(
            "The edit list to write, .parquet or .csv. Its record is the folder FILE.deid.",
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
            "Write a new random key to this new file. Only you can read it. Nothing else is done.",
            "FILE",
            prefix="DEID_",
            group=Group.DEID,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    plan: Annotated[
        Path | None,
        Option("Also plan the calls, into this new folder.", "DIR", prefix="DEID_", common=True, config=Config.NEVER),
    ] = None
    delete_originals: shared.DeleteOriginals = False
    datastore_id: shared.Datastore = None
    where: Where
    explain: Annotated[
        bool,
        Option("Print the rules of the profile, and do nothing else.", prefix="DEID_", config=Config.NEVER),
    ] = False
    check: Annotated[
        Path | None,
        Option(
            "Audit this run instead, like `bulkedit audit RUN`.",
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
    """Search for data that still identifies patients after a de-identification run.

    Compares each image set with its version before the run, with rules that are independent of `bulkedit deid`. Exit
    code 7: something was found. Does not examine pixels.

    Example: bulkedit audit runs/20260102-030405-1a2b --deid-profile basic
    """

    run: shared.RunFolder
    auditing: AuditOptions
    where: Annotated[Where, Config.NEVER]  # config.toml does not override the run's settings
    log: LogOptions
    as_json: shared.AsJson = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCommand:
    """Remove drafts that a kill or a power cut has left. They contain values of edits or metadata.

    A draft is named .NAME.1a2b3c4d.bulkedit-draft. Drafts of running processes are kept, as are plans, runs, lists,
    inventories, and files with which an interrupted command can continue.

    Example: bulkedit clean --dry-run
    """

    folder: Annotated[
        Path, Argument("Folder to search, with its subfolders. Default: the present one.", "[FOLDER]")
    ] = Path()
    dry_run: Annotated[bool, Option("List the drafts; remove nothing.", common=True, config=Config.NEVER)] = False
    as_json: shared.AsJson = False


_emulated = partial(Option, prefix="EMULATE_")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulateCommand:
    """Run a local HealthImaging for any AWS SDK or the AWS CLI. Ctrl-C stops it.

    The first line on stdout is its URL, printed once it is ready.

    Example: bulkedit emulate --import dicom/
    """

    imports: Annotated[
        list[Path] | None,
        _emulated("Import the DICOM files of this folder at the start. Repeatable.", "DIR", ("--import",), common=True),
    ] = None
    demo: Annotated[bool, _emulated("Import the DICOM files of `bulkedit demo`.", common=True)] = False
    port: Annotated[int, _emulated("Port to listen on; 0: any free port.", "N", common=True, least=0, most=65535)] = (
        EMULATOR_PORT
    )
    state: Annotated[
        Path | None,
        _emulated(
            "Keep all state in this SQLite file, which survives a kill. Default: in memory.", "FILE", common=True
        ),
    ] = None
    service_version: Annotated[
        shared.ServiceVersion,
        _emulated("Behave as this version of the service's documentation says.", group=Group.RULES, common=True),
    ] = shared.SERVICE
    switch: Annotated[
        list[str] | None,
        _emulated(
            "Choose a behaviour that the documentation does not specify. Repeatable. A wrong name lists all.",
            "NAME=CHOICE",
            group=Group.RULES,
        ),
    ] = None
    scale: Annotated[
        float,
        _emulated(
            "Factor for the documented request quotas; inf: no throttling.",
            "N",
            group=Group.TIME,
            common=True,
        ),
    ] = 1.0
    completion_time: Annotated[
        float, _emulated("Time that an update, copy or deletion takes.", "SECONDS", group=Group.TIME, least=0)
    ] = 0.5
    completion_sigma: Annotated[
        float, _emulated("Sigma of the lognormal spread of that time; 0: fixed.", "N", group=Group.TIME, least=0)
    ] = 0.0
    completion_per_mb: Annotated[
        float, _emulated("Additional time per MB of metadata.", "SECONDS", group=Group.TIME, least=0)
    ] = 0.0
    fault: Annotated[
        list[str] | None,
        _emulated(
            "Inject a fault, such as drop-after:rate=0.05. Repeatable. A wrong kind lists all.",
            "KIND[:NAME=VALUE,…]",
            group=Group.TIME,
            common=True,
        ),
    ] = None
    seed: Annotated[int, _emulated("Seed of random ids, times and faults.", "N", group=Group.TIME)] = 0
    host: Annotated[
        str,
        _emulated(
            "Address to listen on. Other machines can reach any but a loopback address.",
            "ADDRESS",
            group=Group.ACCESS,
            common=True,
        ),
    ] = "127.0.0.1"
    allow_host: Annotated[
        list[str] | None,
        _emulated(
            "Also accept requests to this host name, beside localhost and the machine's addresses. Repeatable.",
            "NAME",
            group=Group.ACCESS,
        ),
    ] = None
    access_key: Annotated[
        str | None,
        _emulated(
            "Accept only requests signed (SigV4) with this key and --secret-key. Default: all.",
            "KEY",
            group=Group.ACCESS,
        ),
    ] = None
    secret_key: Annotated[
        str | None,
        _emulated(
            "The secret key for --access-key. Set the variable instead: other users can see the command line.",
            "KEY",
            group=Group.ACCESS,
            config=Config.NEVER,
        ),
    ] = None
    import_root: Annotated[
        list[Path] | None,
        _emulated(
            "Let import jobs read and write in this folder, instead of those of --import. Repeatable.",
            "DIR",
            group=Group.ACCESS,
            config=Config.OWN,
        ),
    ] = None
    log: LogOptions
    as_json: Annotated[
        bool,
        Option("Print the URL and settings as one JSON line.", None, ("--json",), common=True),
    ] = False


TAKEN: Final[dict[str, type]] = {
    "demo": DemoCommand,
    "plan": PlanCommand,
    "apply": ApplyCommand,
    "resume": ResumeCommand,
    "status": StatusCommand,
    "runs": RunsCommand,
    "runs prune": RunsPruneCommand,
    "report": ReportCommand,
    "verify": VerifyCommand,
    "trail": TrailCommand,
    "revert": RevertCommand,
    "inventory": InventoryCommand,
    "deid": DeidCommand,
    "audit": AuditCommand,
    "clean": CleanCommand,
    "emulate": EmulateCommand,
}


def known() -> dict[str, list[Declared]]:
    """The options of all commands, by their name in `config.toml`."""
    found: dict[str, list[Declared]] = {}
    for kind in TAKEN.values():
        for one in all_declared(kind).values():
            if isinstance(one.declaration, Option):
                found.setdefault(one.key, []).append(one)
    return found
