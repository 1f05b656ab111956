"""The settings of a run: those that it was begun with, and what resumes have changed since.

`run.json` has the former. The ledger's table ``setting`` has the latter, with time and user. A change also holds for
the later processes of the run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bulkedit import _received as received
from bulkedit.client.pacing.rates import AUTO
from bulkedit.options.running import RunChanges, RunOptions
from bulkedit.options.where import Where
from bulkedit.runs.ledger import Ledger, SettingRecord, user_name
from bulkedit.runs.options import EngineOptions

if TYPE_CHECKING:
    from bulkedit._json import Json
    from bulkedit.runs.folder import Run


@dataclass(frozen=True, slots=True)
class PresentSettings:
    """The present settings of a run. ``allow_http`` of ``where`` is never kept."""

    where: Where
    options: RunOptions


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that a resume changes, with its values as in `run.json`."""

    name: str  # a field of `Where` or `RunOptions`
    before: Json
    after: Json


def settings_of(run: Run) -> PresentSettings:
    """The present settings of a run; options that are newer than the run have their defaults.

    Raises ReceivedError for invalid settings, and LedgerError.
    """
    connection, options = dict(run.settings["connection"]), dict(run.settings["options"])
    for record in Ledger.settings_in(run.ledger):
        value = received.json_value(record.after, str(run.ledger))
        (connection if record.name in asdict(Where()) else options)[record.name] = value
    where = str(run.folder)
    return PresentSettings(received.record(Where, connection, where), received.record(RunOptions, options, where))


def changed(settings: PresentSettings, where: Where, changes: RunChanges) -> PresentSettings:
    """The settings of a run after a resume with these options, of which None leaves a setting as it is.

    A fixed rate takes the limit of ``rate=auto`` away. Raises UsageError for an invalid rate or limit.
    """
    given = {name: value for name, value in where.as_settings().items() if value is not None}
    wanted: dict[str, Any] = changes.as_settings()
    if wanted.get("rate", AUTO) != AUTO:
        wanted.setdefault("max_rate", None)
    options = replace(settings.options, **wanted)
    EngineOptions.of(options)
    return PresentSettings(replace(settings.where, **given, allow_http=where.allow_http), options)


def changes_between(before: PresentSettings, after: PresentSettings) -> list[Change]:
    """What differs, in the order of the options."""
    old = {**before.where.as_settings(), **before.options.as_settings()}
    new = {**after.where.as_settings(), **after.options.as_settings()}
    return [Change(name, old[name], value) for name, value in new.items() if value != old[name]]


def records_of(changes: list[Change], at: float) -> list[SettingRecord]:
    """The changes as rows of the ledger. ``at``: epoch seconds."""
    return [
        SettingRecord(
            at=at, name=one.name, before=json.dumps(one.before), after=json.dumps(one.after), user=user_name()
        )
        for one in changes
    ]
