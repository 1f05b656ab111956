"""The options that commands share: each has one name, one meaning and one environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SOURCE = "Edit list"
_WHERE = "Where"
_SELECT = "Image sets by study, series, accession number, patient or study id"
_ESTIMATE = "Estimate"
_RUN = "Running"
_FILES = "Files"


def _absolute(path: str | None) -> str | None:
    """A run keeps the path, and may be resumed from another folder."""
    return str(Path(path).absolute()) if path else None


Edits = Annotated[
    str, typer.Argument(metavar="EDITS", help="CSV, CSV.gz, Parquet, JSON lines or Excel file; - is standard input.")
]
Source = Annotated[
    str,
    typer.Argument(metavar="PLAN|EDITS", help="A plan folder, or an edit list, which is planned first."),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/20260102-030405-1a2b.")
]

DatastoreId = Annotated[
    str | None,
    typer.Option(
        "--datastore", "-d", metavar="ID", envvar="BULKEDIT_DATASTORE", help="The data store.", rich_help_panel=_WHERE
    ),
]
Region = Annotated[
    str | None, typer.Option(envvar="BULKEDIT_REGION", help="AWS region.", rich_help_panel=_WHERE, show_default=False)
]
AwsProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="BULKEDIT_PROFILE",
        help="Profile of ~/.aws/config.",
        rich_help_panel=_WHERE,
        show_default=False,
    ),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        envvar="BULKEDIT_ENDPOINT_URL",
        help="Another address than AWS, such as a local emulator.",
        rich_help_panel=_WHERE,
        show_default=False,
    ),
]
AllowHttp = Annotated[
    bool,
    typer.Option(
        "--allow-http",
        envvar="BULKEDIT_ALLOW_HTTP",
        help="Send to another machine without TLS, where everyone on the network between can read it.",
        rich_help_panel=_WHERE,
    ),
]
ClientCert = Annotated[
    str | None,
    typer.Option(
        "--client-cert",
        metavar="FILE",
        envvar="BULKEDIT_CLIENT_CERT",
        help="Client certificate (PEM), for a server or proxy that requires one.",
        rich_help_panel=_WHERE,
        show_default=False,
        callback=_absolute,
    ),
]
ClientKey = Annotated[
    str | None,
    typer.Option(
        "--client-key",
        metavar="FILE",
        envvar="BULKEDIT_CLIENT_KEY",
        help="Private key of --client-cert, if it is in another file.",
        rich_help_panel=_WHERE,
        show_default=False,
        callback=_absolute,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", envvar="BULKEDIT_JSON", help="End with one line of JSON on standard output.")
]

Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=COLUMN",
        envvar="BULKEDIT_MAP",
        help="A column of the file that goes by another name.",
        rich_help_panel=_SOURCE,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore-column",
        metavar="COLUMN",
        envvar="BULKEDIT_IGNORE_COLUMN",
        help="A column of the file to leave out.",
        rich_help_panel=_SOURCE,
    ),
]
Empty = Annotated[
    str,
    typer.Option(
        metavar="keep|null|remove",
        envvar="BULKEDIT_EMPTY",
        help="What an empty cell of a wide list means.",
        rich_help_panel=_SOURCE,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        envvar="BULKEDIT_FORCE",
        help="Send edits that the service makes only with force; it switches its checks off.",
        rich_help_panel=_SOURCE,
    ),
]
Rules = Annotated[
    str,
    typer.Option(
        "--rules",
        metavar="2025|2026",
        envvar="BULKEDIT_RULES",
        help="The age of the service's documentation to check edits against.",
        rich_help_panel=_SOURCE,
    ),
]
BadRows = Annotated[
    Path | None,
    typer.Option(
        "--bad-rows",
        metavar="FILE",
        envvar="BULKEDIT_BAD_ROWS",
        help="Go on without the rows that cannot be understood, and write them to this CSV file.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="csv|parquet|jsonl|xlsx",
        envvar="BULKEDIT_FORMAT",
        help="The file's format, where its suffix does not tell.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
PayloadLimit = Annotated[
    int | None,
    typer.Option(
        "--payload-limit",
        metavar="BYTES",
        envvar="BULKEDIT_PAYLOAD_LIMIT",
        min=100,
        max=30_000,
        help="Largest attributes document of a call; 10000 unless AWS has raised the quota.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
NoMerge = Annotated[
    bool,
    typer.Option("--no-merge", envvar="BULKEDIT_NO_MERGE", help="One call per row.", rich_help_panel=_SOURCE),
]
OnContradiction = Annotated[
    str,
    typer.Option(
        "--on-contradiction",
        metavar="fail|last",
        envvar="BULKEDIT_ON_CONTRADICTION",
        help="Where two rows want different things of one attribute: refuse them, or let the later row win.",
        rich_help_panel=_SOURCE,
    ),
]
Inventory = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        metavar="FILE",
        envvar="BULKEDIT_INVENTORY",
        help="A snapshot from `bulkedit inventory` to look selectors up in; without it the data store is searched.",
        rich_help_panel=_SELECT,
        show_default=False,
    ),
]
OnMissing = Annotated[
    str,
    typer.Option(
        "--on-missing",
        metavar="fail|skip",
        envvar="BULKEDIT_ON_MISSING",
        help="What to do with a row that names nothing in the data store.",
        rich_help_panel=_SELECT,
    ),
]
OnMany = Annotated[
    str,
    typer.Option(
        "--on-many",
        metavar="fail|all",
        envvar="BULKEDIT_ON_MANY",
        help="What to do with a row that names more than one image set.",
        rich_help_panel=_SELECT,
    ),
]
PrimaryOnly = Annotated[
    bool,
    typer.Option(
        "--primary-only",
        envvar="BULKEDIT_PRIMARY_ONLY",
        help="Let rows mean primary image sets only.",
        rich_help_panel=_SELECT,
    ),
]
ViaCopy = Annotated[
    bool,
    typer.Option(
        "--via-copy",
        envvar="BULKEDIT_VIA_COPY",
        help="Primary image sets whose StudyInstanceUID changes: copy each, edit the copy, promote it to a new primary "
        "image set. Without this such rows are refused.",
        rich_help_panel=_SELECT,
    ),
]
Digest = Annotated[
    str | None,
    typer.Option(
        "--digest",
        metavar="HEX",
        envvar="BULKEDIT_DIGEST",
        help="Apply the plan only if this is its digest, as `bulkedit plan` prints it: all 64 digits, or at least the "
        "first 16.",
        show_default=False,
    ),
]
DeleteOriginals = Annotated[
    bool,
    typer.Option(
        "--delete-originals",
        envvar="BULKEDIT_DELETE_ORIGINALS",
        help="With --via-copy: delete each original for good, once its copy is promoted and read back.",
        rich_help_panel=_SELECT,
    ),
]
SkipSatisfied = Annotated[
    bool,
    typer.Option(
        "--skip-satisfied",
        envvar="BULKEDIT_SKIP_SATISFIED",
        help="Read the metadata of the image sets first, and leave out edits that hold already. It takes one "
        "GetImageSet and one GetImageSetMetadata an image set; archived ones are not read.",
        rich_help_panel=_SELECT,
    ),
]
Quota = Annotated[
    str,
    typer.Option(
        "--quota",
        metavar="N/s|N/m|N/h",
        envvar="BULKEDIT_QUOTA",
        help="The account's quota of UpdateImageSetMetadata, to estimate with.",
        rich_help_panel=_ESTIMATE,
    ),
]
RaisedQuota = Annotated[
    str,
    typer.Option(
        "--raised-quota",
        metavar="N/s|N/m|N/h",
        envvar="BULKEDIT_RAISED_QUOTA",
        help="A quota to compare with, and to word a request to AWS for.",
        rich_help_panel=_ESTIMATE,
    ),
]
StudyWide = Annotated[
    str,
    typer.Option(
        "--study-wide",
        metavar="auto|on|off",
        envvar="BULKEDIT_STUDY_WIDE",
        help="One call for all primary image sets of a study: where the list asks the same of all of them (auto), "
        "whatever it asks of one of them (on), or only where a row says so (off).",
        rich_help_panel=_SELECT,
    ),
]
Rate = Annotated[
    str,
    typer.Option(
        "--rate",
        metavar="auto|N/s|N/m|N/h",
        envvar="BULKEDIT_RATE",
        help="Calls to send: auto finds the account's quota and follows it; or a rate, which is kept.",
        rich_help_panel=_RUN,
    ),
]
MaxRate = Annotated[
    str | None,
    typer.Option(
        "--max-rate",
        metavar="N/s|N/m|N/h",
        envvar="BULKEDIT_MAX_RATE",
        help="The most that --rate auto sends, to leave some of the quota to others.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]
Burst = Annotated[
    float | None,
    typer.Option(
        "--burst",
        envvar="BULKEDIT_BURST",
        min=1,
        help="The most calls to send at once after a lull; 1 with a rate, and with auto what the quota allows.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]
ReadRate = Annotated[
    str,
    typer.Option(
        "--read-rate",
        metavar="auto|N/s|N/m|N/h",
        envvar="BULKEDIT_READ_RATE",
        help="Reads to send (SearchImageSets, GetImageSet, GetImageSetMetadata): auto finds the quotas; or a rate.",
        rich_help_panel=_RUN,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", envvar="BULKEDIT_WORKERS", min=1, max=1000, help="Requests at once.", rich_help_panel=_RUN
    ),
]
MaxInFlight = Annotated[
    int,
    typer.Option(
        "--max-in-flight",
        envvar="BULKEDIT_MAX_IN_FLIGHT",
        min=1,
        help="Image sets with an update under way at once; the quota of a data store is 100.",
        rich_help_panel=_RUN,
    ),
]
OnConflict = Annotated[
    str,
    typer.Option(
        "--on-conflict",
        metavar="rebase|stop",
        envvar="BULKEDIT_ON_CONFLICT",
        help="Where another writer was first: take its version and go on, or leave the image set.",
        rich_help_panel=_RUN,
    ),
]
UnlockTimeout = Annotated[
    float,
    typer.Option(
        "--unlock-timeout",
        metavar="SECONDS",
        envvar="BULKEDIT_UNLOCK_TIMEOUT",
        min=1,
        help="Leave an image set alone that stays locked for longer.",
        rich_help_panel=_RUN,
    ),
]
MaxErrors = Annotated[
    str | None,
    typer.Option(
        "--max-errors",
        metavar="N|P%",
        envvar="BULKEDIT_MAX_ERRORS",
        help="Stop once more edits are rejected or fail. Throttles, faults and conflicts do not count.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]
MinSample = Annotated[
    int,
    typer.Option(
        "--min-sample",
        envvar="BULKEDIT_MIN_SAMPLE",
        min=1,
        help="Edits settled before a share given as --max-errors counts.",
        rich_help_panel=_RUN,
    ),
]
Halt = Annotated[
    str,
    typer.Option(
        "--halt",
        metavar="soon|now",
        envvar="BULKEDIT_HALT",
        help="How --max-errors stops: after waiting for what is under way, or at once.",
        rich_help_panel=_RUN,
    ),
]
MaxAttempts = Annotated[
    int,
    typer.Option(
        "--max-attempts",
        envvar="BULKEDIT_MAX_ATTEMPTS",
        min=1,
        help="Requests of one call that may meet faults before it is given up; throttles do not count.",
        rich_help_panel=_RUN,
    ),
]
RetryFor = Annotated[
    float,
    typer.Option(
        "--retry-for",
        metavar="SECONDS",
        envvar="BULKEDIT_RETRY_FOR",
        min=0,
        help="How long faults of one call, or silence of the service, are met with repeats.",
        rich_help_panel=_RUN,
    ),
]
ResumeStrategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="new|failed|all",
        envvar="BULKEDIT_STRATEGY",
        help="What to take up after the calls in doubt, which always come first: new: calls that have no outcome yet "
        "(safe: no edit with an outcome is touched); failed: calls that were rejected, conflicted or failed (safe: "
        "nothing of them was made, and what a later edit has changed since is left alone); all: both. Applied calls "
        "are never sent again.",
    ),
]
AssumeUnknown = Annotated[
    bool,
    typer.Option(
        "--assume-unknown",
        envvar="BULKEDIT_ASSUME_UNKNOWN",
        help="Go on although the ledger is missing, behind, damaged or a copy: each call of which it holds no "
        "outcome is taken for one whose answer was lost, and compared with its image set before anything is sent. The "
        "former ledger is kept under another name.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", envvar="BULKEDIT_YES", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", envvar="BULKEDIT_DRY_RUN", help="Plan and check; send nothing.")]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        envvar="BULKEDIT_RUN",
        help="The run's folder; runs/<id> where not given.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        envvar="BULKEDIT_OUT",
        help="The plan's folder; plans/<id> where not given.",
        show_default=False,
    ),
]

ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        envvar="BULKEDIT_RESULTS",
        help="Write what became of every row to a new folder: succeeded, failed, conflicted, unprocessed.",
        rich_help_panel=_FILES,
        show_default=False,
    ),
]
ResultsFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="csv|parquet|jsonl",
        envvar="BULKEDIT_RESULTS_FORMAT",
        help="Format of these files.",
        rich_help_panel=_FILES,
    ),
]
IncludeValues = Annotated[
    bool,
    typer.Option(
        "--include-values",
        envvar="BULKEDIT_INCLUDE_VALUES",
        help="Write the values of the edits into them, which are health data; only so can they be planned again.",
        rich_help_panel=_FILES,
    ),
]
KeepMessages = Annotated[
    bool,
    typer.Option(
        "--include-values",
        envvar="BULKEDIT_INCLUDE_VALUES",
        help="Also keep the service's full messages, which can quote values, in RUN/plan/messages.jsonl.",
        rich_help_panel=_RUN,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        envvar="BULKEDIT_HTML",
        help="Write a page that opens offline, without any value; needs the extra `report`.",
        rich_help_panel=_FILES,
        show_default=False,
    ),
]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", envvar="BULKEDIT_WATCH", help="Look again until the run ends; Ctrl-C leaves.")
]
Every = Annotated[
    float,
    typer.Option("--every", metavar="SECONDS", envvar="BULKEDIT_EVERY", min=0.1, help="Pause between looks."),
]
