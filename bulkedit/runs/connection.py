"""The connection to the data store of a run."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from bulkedit.client.connect import Connection
from bulkedit.client.destination import OPTION, RUN_FILE, require_consent
from bulkedit.options.where import Where
from bulkedit.runs.settings import settings_of

if TYPE_CHECKING:
    from bulkedit.runs.folder import Run


def connection_of(run: Run, where: Where | None = None) -> Connection:
    """The run's present connection settings, overridden by those in ``where``.

    Raises ReceivedError, LedgerError, and UsageError if the run's endpoint is neither AWS nor this machine, and
    ``where`` names no endpoint.
    """
    where = where or Where()
    kept = settings_of(run).where
    given = {name: value for name, value in where.as_settings().items() if value is not None}
    if where.endpoint_url is None:
        require_consent(kept.endpoint_url, str(run.folder))
    reached = replace(kept, **given, allow_http=where.allow_http)
    return Connection(
        datastore_id=run.plan.datastore_id,
        endpoint_from=RUN_FILE if where.endpoint_url is None else OPTION,
        **asdict(reached),
    )
