"""The options for reaching AWS."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from bulkedit.options.declaring import Config, Group, Option

_KEPT: Final = ("client_cert", "client_key")
_ENDPOINT: Final = Option(
    "URL of another endpoint, such as a local emulator. Default: AWS.", "URL", group=Group.AWS, config=Config.OWN
)
AllowHttp = Annotated[
    bool,
    Option(
        "Allow an http endpoint on another machine. Anyone on the network path can read the requests.",
        group=Group.AWS,
        config=Config.NEVER,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The options for reaching AWS. If an option is None, the AWS configuration chain decides."""

    region: Annotated[
        str | None, Option("AWS region. Default: as for the AWS CLI.", "NAME", group=Group.AWS, common=True)
    ] = None
    profile: Annotated[
        str | None,
        Option(
            "Profile in ~/.aws/config. Default: as for the AWS CLI.",
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
        Option(
            "Private key of --client-cert (PEM), if it is in another file.", "FILE", group=Group.AWS, config=Config.OWN
        ),
    ] = None

    def as_settings(self) -> dict[str, str | None]:
        """The options for run.json, without ``allow_http``, which must be confirmed each time.

        Paths are made absolute, because a run may be resumed from another folder.
        """
        kept = {name: value for name, value in asdict(self).items() if name != "allow_http"}
        return kept | {name: str(Path(kept[name]).absolute()) for name in _KEPT if kept[name]}
