"""How to reach a data store, as a user says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How to reach AWS; None leaves a choice to its own configuration chain."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    allow_http: bool = False  # requests may go to another machine without TLS
    client_cert: str | None = None  # path; see `bulkedit.client.contract.Connection`
    client_key: str | None = None

    def as_settings(self) -> dict[str, str | None]:
        """What a run keeps of it. To send without TLS is agreed to again each time."""
        return {name: value for name, value in asdict(self).items() if name != "allow_http"}
