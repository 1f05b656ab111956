"""How to reach a data store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bulkedit.connection import Connection

if TYPE_CHECKING:
    from bulkedit.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How to reach AWS; None leaves a choice to its own configuration chain."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    client_cert: str | None = None  # path; see `bulkedit.client.Connection`
    client_key: str | None = None


def connection_of(run: Run, where: Where | None = None) -> Connection:
    """How to reach the run's data store: as the run did, but for what is given."""
    given = {name: value for name, value in asdict(where or Where()).items() if value is not None}
    return Connection(datastore_id=run.plan.datastore_id, **{**run.settings["connection"], **given})
