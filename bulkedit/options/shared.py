"""Options that several commands have: one name, one meaning, one variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from bulkedit.client.pacing.rates import AUTO
from bulkedit.options.declaring import Argument, Config, Group, Option

RATE_UNIT: Final = "RATE"
SERVICE: Final = "2026"  # the newest version of the service's documentation

SELECTORS: Final = (
    "image_set_id",
    "study_instance_uid",
    "series_instance_uid",
    "accession_number",
    "patient_id",
    "study_id",
)

ServiceVersion = Literal["2025", "2026"]
Datastore = Annotated[str | None, Option("The data store.", "ID", ("--datastore", "-d"), common=True)]
ReadRate = Annotated[
    str,
    Option(
        "Reads to send (SearchImageSets, GetImageSet, GetImageSetMetadata): auto finds the quotas. A rate, such as "
        "25/s, is kept.",
        f"{AUTO}|{RATE_UNIT}",
        group=Group.PACE,
    ),
]
Inventory = Annotated[
    Path | None,
    Option(
        "Look selectors up in this snapshot of `bulkedit inventory`. Without it the data store is searched.",
        "FILE",
        group=Group.SELECT,
        common=True,
    ),
]
DocumentedService = Annotated[
    ServiceVersion, Option("The version of the service's documentation to check edits against.", group=Group.LIST)
]
PayloadLimit = Annotated[
    int | None,
    Option(
        "Largest attributes document of a call; 10000 unless AWS has raised the quota.",
        "BYTES",
        group=Group.LIST,
        least=100,
        most=30_000,
    ),
]
ViaCopy = Annotated[
    bool,
    Option(
        "Primary image sets whose StudyInstanceUID changes: copy each, edit the copy, promote it to a new primary "
        "image set. Without this such rows are refused.",
        group=Group.SELECT,
    ),
]
DeleteOriginals = Annotated[
    bool,
    Option(
        "With --via-copy: delete each original for good, once its copy is promoted and read back.",
        group=Group.SELECT,
        config=Config.NEVER,
    ),
]

ReadArchived = Annotated[
    bool,
    Option(
        "Read archived image sets too, which moves them to the frequent tier for 30 days.",
        common=True,
        config=Config.NEVER,
    ),
]

# of the command line

RunFolder = Annotated[Path, Argument("The folder of a run, such as runs/20260102-030405-1a2b.", "RUN")]
AsJson = Annotated[bool, Option("End with one line of JSON on standard output.", flags=("--json",), common=True)]
Yes = Annotated[bool, Option("Do not ask.", flags=("--yes", "-y"), common=True, config=Config.NEVER)]
DryRun = Annotated[bool, Option("Plan and check; send nothing.", common=True, config=Config.NEVER)]
