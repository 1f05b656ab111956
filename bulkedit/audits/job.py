"""Audit a de-identification run: read its image sets, check them, and save the findings under the run.

The audit reads the options of the de-identification profile, to know what is kept on purpose. All rules are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bulkedit._concurrency import run_blocking
from bulkedit._files import new_id
from bulkedit._progress import Phase, WorkProgress, ended_by
from bulkedit.audits.originals import OriginalKind
from bulkedit.audits.run import check, finish
from bulkedit.client.connect import connect
from bulkedit.client.reader import read_paces
from bulkedit.deidentification.profile import load as load_profile
from bulkedit.options.audit import AuditOptions
from bulkedit.runs.connection import connection_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from bulkedit._progress import StopSignal
    from bulkedit.audits.run import AuditProgress, CheckSummary
    from bulkedit.options.where import Where
    from bulkedit.runs.folder import Run

# profile option -> the kind that it keeps on purpose
_KEPT: Final = {
    "retain-uids": OriginalKind.UID,
    "retain-full-dates": OriginalKind.DATE,
    "retain-device-identity": OriginalKind.DEVICE,
    "retain-institution-identity": OriginalKind.INSTITUTION,
}
_FAULTS: Final = ("findings", "undone", "set_aside", "uids_parted", "uids_joined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The result of an audit. The frames have no values; of the files only `texts` has."""

    folder: Path
    summary: CheckSummary
    findings: pl.DataFrame  # `bulkedit.audits.FINDINGS`
    risks: pl.DataFrame  # `bulkedit.audits.RISKS`: image sets whose pixels or documents a person should review
    undone: pl.DataFrame  # `bulkedit.audits.run.UNDONE`: image sets with edits that were not applied
    archived: tuple[str, ...]  # archived image sets that were not read
    unread: dict[str, int]  # number of image sets that could not be read, by reason
    requests: int
    throttled: int

    @property
    def clean(self) -> bool:
        """Whether the image sets that were read have no finding; see `complete`."""
        return not any(self.summary[name] for name in _FAULTS)

    @property
    def complete(self) -> bool:
        """Whether every image set of the run was read."""
        return not (self.archived or self.unread)


def kept_by(deid_profile: str | None) -> frozenset[OriginalKind]:
    """The kinds that a profile keeps on purpose. Blocks. Raises ProfileError."""
    options = load_profile(deid_profile).options if deid_profile is not None else ()
    return frozenset(kind for option, kind in _KEPT.items() if option in options)


async def audit_run(
    run: Run,
    options: AuditOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Audit:
    """Search a run's image sets for values that still identify patients. Sends reads only; writes `RUN/checks/`.

    ``options``: profile, rate and so on. ``where``: connection settings that differ from the run's. ``progress``:
    called on the caller's task after every image set; it must not block. ``stop``: ends the work. Raises ProfileError,
    UsageError if the run has no edits, StoppedError after ``stop`` (nothing is written then), and what `connect` and
    `Reader` raise.
    """
    options = options or AuditOptions()
    rates = read_paces(options.read_rate)
    kept = await run_blocking(kept_by, options.deid_profile)
    connection = connection_of(run, where)

    def watch(seen: AuditProgress) -> None:
        if progress is not None:
            progress(_moment(seen))

    async with ended_by(stop, kept="Nothing was written; the same call starts over."), connect(connection) as client:
        seen = await check(run, client, rates=rates, kept=kept, archived=options.read_archived, watch=watch)
    done = await run_blocking(finish, run, seen, new_id(datetime.now(UTC)), kept)
    return Audit(
        folder=done.folder,
        summary=done.summary,
        findings=done.findings,
        risks=done.risks,
        undone=done.undone,
        archived=tuple(seen.archived),
        unread=dict(seen.unread),
        requests=seen.requests,
        throttled=seen.throttled,
    )


def _moment(seen: AuditProgress) -> WorkProgress:
    return WorkProgress(
        phase=Phase.READING,
        done=seen.read,
        total=seen.total,
        found=seen.check.by_kind.total(),
        throttled=seen.throttled,
    )
