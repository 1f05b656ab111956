"""The options that commands share: each has one name, one meaning and one environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulkedit.options.shared import ServiceAge

_SOURCE = "Edit list"
_WHERE = "Where"
_SELECT = "Image sets by study, series, accession number, patient or study id"
_ESTIMATE = "Estimate"
_RUN = "Running"
_FILES = "Files"


def _absolute(path: str | None) -> str | None:
    """A run keeps the path, and may be resumed from another folder."""
    return str(Path(path).absolute()) if path else None


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
        "--aws-profile",
        "--profile",
        envvar=["BULKEDIT_AWS_PROFILE", "BULKEDIT_PROFILE"],
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

Rules = Annotated[
    ServiceAge,
    typer.Option(
        "--rules",
        metavar="2025|2026",
        envvar="BULKEDIT_RULES",
        help="The age of the service's documentation to check edits against.",
        rich_help_panel=_SOURCE,
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
DeleteOriginals = Annotated[
    bool,
    typer.Option(
        "--delete-originals",
        envvar="BULKEDIT_DELETE_ORIGINALS",
        help="With --via-copy: delete each original for good, once its copy is promoted and read back.",
        rich_help_panel=_SELECT,
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
Yes = Annotated[bool, typer.Option("--yes", "-y", envvar="BULKEDIT_YES", help="Do not ask.")]
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
