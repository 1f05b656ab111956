"""How to reach a data store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from bulkedit import received
from bulkedit.connection import Connection
from bulkedit.destination import OPTION, RUN_FILE, require_consent

if TYPE_CHECKING:
    from bulkedit.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How to reach AWS; None leaves a choice to its own configuration chain."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    allow_http: bool = False  # requests may go to another machine without TLS
    client_cert: str | None = None  # path; see `bulkedit.client.Connection`
    client_key: str | None = None

    def as_settings(self) -> dict[str, str | None]:
        """What a run keeps of it. To send without TLS is agreed to again each time."""
        return {name: value for name, value in asdict(self).items() if name != "allow_http"}


def connection_of(run: Run, where: Where | None = None) -> Connection:
    """How to reach the run's data store: as the run did, but for what is given.

    Raises ReceivedError, and UsageError if the run names an endpoint that is neither AWS's nor this machine's, and
    ``where`` does not.
    """
    where = where or Where()
    kept = received.record(Where, run.settings["connection"], str(run.folder / "run.json"))
    given = {name: value for name, value in where.as_settings().items() if value is not None}
    if where.endpoint_url is None:
        require_consent(kept.endpoint_url, str(run.folder))
    reached = replace(kept, **given, allow_http=where.allow_http)
    return Connection(
        datastore_id=run.plan.datastore_id,
        endpoint_from=RUN_FILE if where.endpoint_url is None else OPTION,
        **asdict(reached),
    )
