"""How to reach a data store, as a user says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from bulkedit.options.declaring import Config, Group, Option

_KEPT: Final = ("client_cert", "client_key")
_ENDPOINT: Final = Option(
    "Another address than AWS, such as a local emulator.", "URL", group=Group.AWS, config=Config.OWN
)
AllowHttp = Annotated[
    bool,
    Option(
        "Send to another machine without TLS, where everyone on the network between can read it.",
        group=Group.AWS,
        config=Config.NEVER,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How to reach AWS; None leaves a choice to its own configuration chain."""

    region: Annotated[str | None, Option("AWS region.", "NAME", group=Group.AWS, common=True)] = None
    profile: Annotated[
        str | None,
        Option(
            "Profile of ~/.aws/config.",
            "NAME",
            ("--aws-profile", "--profile"),
            ("AWS_PROFILE", "PROFILE"),
            group=Group.AWS,
            common=True,
        ),
    ] = None
    endpoint_url: Annotated[str | None, _ENDPOINT] = None
    allow_http: AllowHttp = False
    client_cert: Annotated[
        str | None,
        Option(
            "Client certificate (PEM), for a server or proxy that requires one.",
            "FILE",
            group=Group.AWS,
            config=Config.OWN,
        ),
    ] = None
    client_key: Annotated[
        str | None,
        Option("Private key of --client-cert, if it is in another file.", "FILE", group=Group.AWS, config=Config.OWN),
    ] = None

    def as_settings(self) -> dict[str, str | None]:
        """What a run keeps of it. To send without TLS is agreed to again each time.

        Paths are absolute: the run may be resumed from another folder.
        """
        kept = {name: value for name, value in asdict(self).items() if name != "allow_http"}
        return kept | {name: str(Path(kept[name]).absolute()) for name in _KEPT if kept[name]}
