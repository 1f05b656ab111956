"""The endpoint that requests go to, what configured it, and the AWS account and role that sign them.

Edits contain health data, so the destination is printed before anything is sent. Pure; `bulkedit.client.aws` does
the requests.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# HealthImaging's public hosts and VPC endpoints, with the partitions' DNS suffixes (botocore, partitions.json). Other
# hosts below amazonaws.com can belong to any customer: a bucket, an API, a machine.
_HEALTHIMAGING: Final = re.compile(
    r"(?:[a-z0-9-]+\.)*(?:runtime-|dicom-)?medical-imaging(?:-fips)?\.[a-z0-9-]+\.(?:vpce\.)?"
    r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws|api\.amazonwebservices\.com\.cn)"
)
_HOST: Final = re.compile(r"[\w.:%-]+")  # of a URL, without brackets
_LOG: Final = logging.getLogger("bulkedit")
OPTION: Final = "--endpoint-url"
# botocore's order: the variable of one service first; the environment before the profile
_VARIABLES: Final = ("AWS_ENDPOINT_URL_MEDICAL_IMAGING", "AWS_ENDPOINT_URL")
RUN_FILE: Final = "the run's run.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """The AWS account and principal that sign the requests (GetCallerIdentity)."""

    account: str
    principal: str  # such as `role Editor` or `user Ada`


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The endpoint that requests go to, and their sender. None: not known."""

    endpoint_url: str
    region: str | None
    source: str | None = None  # what configured the endpoint; None: the SDK's default
    identity: Identity | None = None

    @property
    def is_aws(self) -> bool:
        """Whether the endpoint is HealthImaging's own."""
        return is_aws(self.endpoint_url)

    def __str__(self) -> str:
        source = f" (from {self.source})" if self.source else ""
        endpoint = f"endpoint {self.endpoint_url}{source}{'' if self.is_aws else ', which is not AWS'}"
        return ", ".join(filter(None, (self._sender, self.region and f"region {self.region}", endpoint)))

    @property
    def _sender(self) -> str | None:
        if self.identity is not None:
            return f"account {self.identity.account} as {self.identity.principal}"
        return "account not known" if self.is_aws else None

    def announce(self) -> None:
        """Log it as a warning. The command line shows each warning on stderr, once per command."""
        _LOG.warning("Destination: %s.", self)

    def as_json(self) -> dict[str, str | bool | None]:
        """The ``destination`` object of JSON lines."""
        return {
            "account": self.identity.account if self.identity else None,
            "principal": self.identity.principal if self.identity else None,
            "region": self.region,
            "endpoint_url": self.endpoint_url,
            "endpoint_from": self.source,
            "is_aws": self.is_aws,
        }


def principal(arn: str) -> str:
    """The role or user in an ARN that GetCallerIdentity returned."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"role {rest.rpartition('/')[0]}"
    return f"{kind} {rest}" if rest else kind


def is_aws(url: str) -> bool:
    """Whether a URL is an HTTPS endpoint of HealthImaging."""
    found = urlsplit(url)
    return found.scheme == "https" and _HEALTHIMAGING.fullmatch(found.hostname or "") is not None


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3


def check_endpoint(url: str, source: str | None, *, allow_http: bool) -> None:
    """Raises UsageError for an endpoint that nothing may be sent to. The error text never quotes a password."""
    where = source or OPTION
    try:
        found = urlsplit(url)
        usable = found.scheme in {"http", "https"} and _HOST.fullmatch(found.hostname or "") is not None
        usable = usable and found.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "the endpoint is not a valid URL.", where=where, hint="Write it as https://host or http://127.0.0.1:8086."
        )
    if found.username is not None or found.password is not None:
        raise UsageError(
            "the endpoint contains a user name or a password.",
            where=where,
            likely="It would be stored in run.json and printed. Requests are signed with AWS credentials instead.",
            hint="Leave both out: https://host",
        )
    if found.scheme == "http" and not allow_http and not is_loopback(url):
        raise UsageError(
            f"the endpoint {found.hostname} is another machine, and http is not encrypted.",
            where=where,
            likely="Anyone on the network path could read and change the requests, patients' names included.",
            hint="Use https. If only you use the network, such as one between containers: `allow_http=True`",
        )


def is_default(url: str, region: str | None) -> bool:
    """Whether an endpoint is a region's public one, which the SDK uses by default."""
    host = urlsplit(url).hostname or ""
    public = re.match(r"(?:runtime-)?medical-imaging(?:-fips)?\.", host) is not None
    return public and is_aws(url) and f".{region}." in host


def source_of(option: str | None, profile: str, environment: Mapping[str, str] = os.environ) -> str:
    """What configured an endpoint that is not the SDK's default.

    ``option``: the option or file of `bulkedit` that set it. None: botocore found it in the environment or the profile.
    """
    variable = next((name for name in _VARIABLES if environment.get(name)), None)
    return option or (f"the environment variable {variable}" if variable else f"profile {profile} of ~/.aws/config")


def require_consent(url: str | None, folder: str) -> None:
    """Raises UsageError if the endpoint in a run's run.json is neither AWS nor this machine.

    A run folder may come from another person, and its endpoint would receive signed requests and edits.
    """
    if url is None or is_aws(url) or is_loopback(url):
        return
    host = urlsplit(url).hostname
    raise UsageError(
        f"the run names an endpoint that is neither AWS nor this machine: {host}.",
        where=folder,
        likely="The run was started with `endpoint_url`, or another person has written its run.json.",
        hint=f"If you trust it, repeat it: `endpoint_url={without_password(url)}`",
    )


def without_password(url: str) -> str:
    """A URL without user name and password."""
    found = urlsplit(url)
    return found._replace(netloc=found.netloc.rpartition("@")[2]).geturl()
