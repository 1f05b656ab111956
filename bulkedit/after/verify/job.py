"""Verify a run: connection, progress and result of a whole verification."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bulkedit._concurrency import for_each, run_blocking
from bulkedit._files import new_id
from bulkedit._printable import shell_word
from bulkedit._progress import Phase, WorkProgress, ended_by
from bulkedit.after.verify.folder import VerifyFolder
from bulkedit.after.verify.image_set import Checked, Checker, NotVerified
from bulkedit.client.connect import connect
from bulkedit.client.reader import Reader, read_paces
from bulkedit.errors import StoppedError, UsageError
from bulkedit.options.verify import VerifyOptions
from bulkedit.runs.changes import Changes
from bulkedit.runs.connection import connection_of
from bulkedit.runs.other_runs import OtherRuns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from bulkedit._progress import StopSignal
    from bulkedit.after.verify.folder import Counts, Verification, VerificationAbout
    from bulkedit.options.where import Where
    from bulkedit.runs.changes import ChangeRow
    from bulkedit.runs.folder import Run


@dataclass(slots=True)
class VerifyProgress:
    """The progress and result of a verification."""

    total: int  # image sets to read
    of: int  # image sets that the run has changed
    folder: Path  # of the verification
    seed: int
    counts: Counts
    archived: list[str] = field(default_factory=list)  # archived image sets that were not read
    unread: dict[str, int] = field(default_factory=dict)  # number of image sets that could not be read, by reason
    requests: int = 0
    throttled: int = 0
    faults: int = 0
    stopped: bool = False  # ended by a `StopSignal`
    verification: Verification | None = None  # set once nothing is left to read

    @property
    def left(self) -> int:
        """Number of image sets that were not read."""
        return len(self.archived) + sum(self.unread.values())


async def verify(
    run: Run,
    options: VerifyOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> VerifyProgress:
    """Read the image sets of a run and compare every applied edit with them. Sends reads only.

    ``options``: sample, values, history, rates and so on. ``where``: connection settings that differ from the run's.
    ``progress``: called on the caller's task after every image set; it must not block. ``stop``: ends the work early.

    Archived image sets are read only with `read_archived`, because reading moves them to the frequent tier for 30 days;
    `skip_archived` leaves them out for good. Results are saved under the run at once. So if a verification ends early,
    the next one with the same options reads only the rest. Memory has the image sets' ids and the changes of a few
    thousand calls.

    Returns the progress, also after ``stop``; its `verification` is None while image sets are left to read. Raises
    UsageError if nothing was applied or nothing can be written, StoppedError if ``stop`` was sent before anything was
    read, and what `connect` and `Reader` raise.

    Example: ``done = await verify(run, VerifyOptions(read_rate="10/s"))``; then
    ``done.verification.differences().collect()``.
    """
    options = options or VerifyOptions()
    rates = read_paces(options.read_rate)
    connection = connection_of(run, where)
    changes = await run_blocking(Changes, run)
    image_sets = await run_blocking(changes.image_sets)
    if not image_sets:
        raise UsageError(
            "this run has applied nothing that could be verified.",
            where=str(run.folder),
            hint=f"To see its state: bulkedit status {shell_word(run.folder)}",
        )
    undecided = (await run_blocking(changes.undecided)).get_column("image_set_id")
    began = time.time()
    seen: VerifyProgress | None = None
    try:
        async with ended_by(stop, kept="Nothing was read."), connect(connection) as client:
            kept = VerifyFolder.open(run, new_id(datetime.now(UTC)), options, changes.events)
            chosen = options.sample.of(image_sets, kept.seed) if options.sample else set(image_sets)
            seen = VerifyProgress(len(chosen), len(image_sets), kept.folder, kept.seed, kept.counts)
            reader = Reader(client, rates, random.Random())  # noqa: S311 - of waits
            checker = Checker(
                changes,
                reader,
                options,
                named=frozenset(image_sets),
                chosen=chosen,
                undecided=frozenset(undecided.to_list()),
                archived=options.read_archived,
                others=OtherRuns(run, image_sets),
            )
            work = _VerifyWorker(checker, kept, seen, reader, progress or (lambda _: None))
            try:
                await work.all(changes, chosen - kept.done, options.workers)
            finally:
                kept.close()
    except StoppedError:
        if seen is None:
            raise
        seen.stopped = True
        return seen
    if seen.unread or (seen.archived and not options.skip_archived):
        return seen
    about: VerificationAbout = {
        "run": str(run.folder),
        "plan_digest": run.plan.digest,
        "datastore_id": run.plan.datastore_id,
        "read_at": began,
        "of_image_sets": len(image_sets),
        "sample": str(options.sample) if options.sample else None,
        "archived": len(seen.archived),
    }
    seen.verification = await run_blocking(lambda: kept.finish(about, history=options.history))
    return seen


class _VerifyWorker:
    """Checks image sets and saves the findings."""

    def __init__(
        self,
        checker: Checker,
        kept: VerifyFolder,
        seen: VerifyProgress,
        reader: Reader,
        progress: Callable[[WorkProgress], None],
    ) -> None:
        self._checker = checker
        self._kept = kept
        self._seen = seen
        self._reader = reader
        self._progress = progress

    async def all(self, changes: Changes, chosen: set[str], workers: int) -> None:
        """Check the chosen image sets."""
        await for_each(self._check, _changed(changes, chosen), at_once=workers)

    async def _check(self, changed: tuple[str, list[ChangeRow], set[str]]) -> None:
        self._keep(changed[0], await self._checker.check(*changed))

    def _keep(self, image_set_id: str, found: Checked | NotVerified) -> None:
        seen = self._seen
        if isinstance(found, Checked):
            self._kept.add(found.line(image_set_id))
        elif found.archived:
            seen.archived.append(image_set_id)
        else:
            seen.unread[found.reason] = seen.unread.get(found.reason, 0) + 1
        reads = self._reader.reads
        seen.requests, seen.throttled, seen.faults = reads.requests, reads.throttled, reads.faults
        self._progress(_moment(seen))


def _moment(seen: VerifyProgress) -> WorkProgress:
    return WorkProgress(
        phase=Phase.READING,
        done=seen.counts.image_sets,
        total=seen.total,
        found=seen.counts.differences,
        throttled=seen.throttled,
    )


async def _changed(changes: Changes, chosen: set[str]) -> AsyncGenerator[tuple[str, list[ChangeRow], set[str]]]:
    """Each chosen image set, with its changes and the image sets of its lane."""
    batches = changes.by_image_set()
    while (batch := await run_blocking(next, batches, None)) is not None:
        members = _members(batch)
        for image_set_id, found in batch:
            if image_set_id in chosen:
                yield image_set_id, found, members.get(found[0]["lane"], set())


def _members(batch: list[tuple[str, list[ChangeRow]]]) -> dict[int, set[str]]:
    """The image sets of each lane with study-wide calls."""
    members: dict[int, set[str]] = {}
    for image_set_id, changes in batch:
        for change in changes:
            if change["study_wide"]:
                members.setdefault(change["lane"], set()).add(image_set_id)
    return members
