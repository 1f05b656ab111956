"""Audit a de-identification run: read its image sets, look for what is left, and keep what was found under the run.

Of the de-identification only the options of its profile are read, for what was to stay; all rules are the audit's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from anyio import to_thread

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

# what an option of a profile keeps on purpose
_KEPT: Final = {
    "retain-uids": OriginalKind.UID,
    "retain-full-dates": OriginalKind.DATE,
    "retain-device-identity": OriginalKind.DEVICE,
    "retain-institution-identity": OriginalKind.INSTITUTION,
}
_FAULTS: Final = ("findings", "undone", "set_aside", "uids_parted", "uids_joined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit has found. No frame has values; of its files only `texts` has."""

    folder: Path
    summary: CheckSummary
    findings: pl.DataFrame  # `bulkedit.audits.FINDINGS`
    risks: pl.DataFrame  # `bulkedit.audits.RISKS`: image sets whose pixels or documents a person should look at
    undone: pl.DataFrame  # `bulkedit.audits.run.UNDONE`: image sets with edits that were not applied
    archived: tuple[str, ...]  # image sets left out, which reading would move
    unread: dict[str, int]  # image sets that could not be read, by reason
    requests: int
    throttled: int

    @property
    def clean(self) -> bool:
        """Whether nothing is left in all that was read; see `complete`."""
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
    """Look for what still identifies patients after a run; the files go to `checks/` under it.

    ``where`` says what is otherwise than when the run was begun. ``progress`` is called on the caller's task after
    every image set and must not block. Raises ProfileError, UsageError if the run has no edits, StoppedError once
    ``stop`` was sent (nothing is written then), and what `connect` and `Reader` raise.
    """
    options = options or AuditOptions()
    rates = read_paces(options.read_rate)
    kept = await to_thread.run_sync(kept_by, options.deid_profile)
    connection = connection_of(run, where)

    def watch(seen: AuditProgress) -> None:
        if progress is not None:
            progress(_moment(seen))

    async with ended_by(stop, kept="Nothing is written; the same call begins again."), connect(connection) as client:
        seen = await check(run, client, rates=rates, kept=kept, archived=options.read_archived, watch=watch)
    done = await to_thread.run_sync(finish, run, seen, new_id(datetime.now(UTC)), kept)
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
