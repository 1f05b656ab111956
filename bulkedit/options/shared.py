"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from bulkedit._words import noun
from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.client.pacing.rates import AUTO
from bulkedit.errors import UsageError
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

# selectors -> the attributes of the same content, which a list may set
SAME_ATTRIBUTE: Final = {
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "accession_number": "AccessionNumber",
    "patient_id": "PatientID",
    "study_id": "StudyID",
}

ServiceVersion = Literal["2025", "2026"]


def parse_datastore_id(text: str) -> str:
    """Check the id of a data store. Raises UsageError, which describes the text and does not quote it."""
    if re.fullmatch(IMAGE_SET_ID, text):
        return text
    raise UsageError(
        "`datastore_id` must be 32 characters of 0-9 a-z.",
        likely=f"The given text {_unlike_an_id(text)}.",
        hint="Copy the id from HealthImaging: aws medical-imaging list-datastores",
    )


def _unlike_an_id(text: str) -> str:
    """What a text has that an id does not have."""
    if text.startswith("arn:"):
        return "is an ARN, of which only the part after datastore/ is the id"
    if text != text.strip():
        return "has a blank at its beginning or end"
    if len(text) != 32:
        return f"has {len(text)} {noun(len(text), 'character')}"
    if re.fullmatch(IMAGE_SET_ID, text.lower()):
        return "has capital letters"
    return "has a character that is not in 0-9 a-z"


Datastore = Annotated[
    str | None,
    Option("The data store's id.", "ID", ("--datastore", "-d"), common=True, parse=parse_datastore_id),
]
READ_RATE: Final = Option(
    "Rate of reads (SearchImageSets, GetImageSet, GetImageSetMetadata): auto finds the quotas; 25/s is a fixed rate.",
    f"{AUTO}|{RATE_UNIT}",
    group=Group.PACE,
)
ReadRate = Annotated[str, READ_RATE]
Inventory = Annotated[
    Path | None,
    Option(
        "Find image sets in this file of `bulkedit inventory`. Default: search the data store.",
        "FILE",
        group=Group.SELECT,
        common=True,
    ),
]
Condition = Annotated[
    str | None,
    Option(
        "Only image sets that meet this condition.",
        "SQL",
        ("--where",),
        group=Group.SELECT,
        common=True,
        config=Config.NEVER,
    ),
]
DocumentedService = Annotated[
    ServiceVersion, Option("Version of the service's documentation to check edits against.", group=Group.LIST)
]
PayloadLimit = Annotated[
    int | None,
    Option(
        "Largest attributes document of a call. Default: 10000, the quota unless AWS has raised it.",
        "BYTES",
        group=Group.LIST,
        least=100,
        most=30_000,
    ),
]
ViaCopy = Annotated[
    bool,
    Option(
        "For primary image sets whose StudyInstanceUID changes: copy each, edit the copy, and promote the copy to a "
        "new primary image set. Without this option, such rows are refused.",
        group=Group.SELECT,
    ),
]
DeleteOriginals = Annotated[
    bool,
    Option(
        "With --via-copy: permanently delete each original once its copy is promoted and verified.",
        group=Group.SELECT,
        config=Config.NEVER,
    ),
]

ReadArchived = Annotated[
    bool,
    Option(
        "Also read archived image sets, which moves them to the frequent tier for 30 days.",
        common=True,
        config=Config.NEVER,
    ),
]

# only for the command line

RunFolder = Annotated[Path, Argument("The run's folder, such as runs/20260102-030405-1a2b.", "RUN")]
AsJson = Annotated[
    bool, Option("Print JSON lines on stdout. The last one is the summary.", flags=("--json",), common=True)
]
Yes = Annotated[bool, Option("Do not ask for confirmation.", flags=("--yes", "-y"), common=True, config=Config.NEVER)]
DryRun = Annotated[bool, Option("Check and plan, but send no call.", common=True, config=Config.NEVER)]
