"""Verify a run: read back what it has changed, and name every difference."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from bulkedit._concurrency import for_each
from bulkedit.after.verify.folder import Progress
from bulkedit.after.verify.image_set import Checked, Checker, LeftOut
from bulkedit.after.verify.options import VerifyOptions
from bulkedit.client.reader import Reader
from bulkedit.errors import UsageError
from bulkedit.runs.changes import Changes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from bulkedit.after.verify.folder import Counts, Verification
    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Auto, Operation, Rate
    from bulkedit.client.reader import Clock
    from bulkedit.runs.folder import Run


@dataclass(slots=True)
class Seen:
    """Where a verification stands."""

    total: int  # image sets to read
    of: int  # image sets that the run has changed
    folder: Path  # of the verification
    seed: int
    counts: Counts
    archived: list[str] = field(default_factory=list)  # image sets left out, which reading would move
    unread: dict[str, int] = field(default_factory=dict)  # image sets that could not be read, by reason
    requests: int = 0
    throttled: int = 0
    faults: int = 0
    verification: Verification | None = None  # once nothing is left to read

    @property
    def left(self) -> int:
        """Image sets that were to be read and were not."""
        return len(self.archived) + sum(self.unread.values())


async def verify(
    run: Run,
    client: Client,
    options: VerifyOptions | None = None,
    *,
    rates: Mapping[Operation, Rate | Auto],
    name: str,
    archived: bool = False,
    skip_archived: bool = False,
    fresh: bool = False,
    clock: Clock | None = None,
    watch: Callable[[Seen], None] | None = None,
) -> Seen:
    """Read back what a run has changed and hold every applied edit against it.

    ``client`` is bound to the run's data store, ``rates`` has a rate of every read. An archived image set is read only
    with ``archived``, because that moves it to the frequent tier for 30 days; it is left for another time, or for good
    with ``skip_archived``. What has been read is kept under the run as it comes in, so whatever ends a verification,
    the next one with the same options reads only what is left; ``fresh`` begins anew. ``name`` is that of the folder
    of a new one. Memory holds the image sets' ids and the changes of a few thousand calls, never all findings.

    ``watch`` is called on the caller's task after every image set and must not block. Raises UsageError where nothing
    was applied or nothing can be written, and what `Reader` raises.
    """
    options = options or VerifyOptions()
    changes = await to_thread.run_sync(Changes, run)
    image_sets = await to_thread.run_sync(changes.image_sets)
    if not image_sets:
        raise UsageError(
            "this run has applied nothing that could be read back.",
            where=str(run.folder),
            hint="Where it stands: bulkedit status RUN",
        )
    progress = Progress.open(run, name, options, changes.events, fresh=fresh)
    chosen = options.sample.of(image_sets, progress.seed) if options.sample else set(image_sets)
    reader = Reader(client, rates, random.Random(), clock)  # noqa: S311 - of waits
    undecided = (await to_thread.run_sync(changes.undecided)).get_column("image_set_id")
    checker = Checker(
        changes,
        reader,
        options,
        named=frozenset(image_sets),
        chosen=chosen,
        undecided=frozenset(undecided.to_list()),
        archived=archived,
    )
    seen = Seen(len(chosen), len(image_sets), progress.folder, progress.seed, progress.counts)
    work = _Work(checker, progress, seen, reader, watch or (lambda _: None))
    began = time.time()
    try:
        await work.all(changes, chosen - progress.done, options.workers)
    finally:
        progress.close()
    if seen.unread or (seen.archived and not skip_archived):
        return seen
    about = {
        "run": str(run.folder),
        "plan_digest": run.plan.digest,
        "datastore_id": run.plan.datastore_id,
        "read_at": began,
        "of_image_sets": len(image_sets),
        "sample": str(options.sample) if options.sample else None,
        "archived": len(seen.archived),
    }
    seen.verification = await to_thread.run_sync(lambda: progress.finish(about, history=options.history))
    return seen


class _Work:
    """Checks image sets, and keeps what is found."""

    def __init__(
        self, checker: Checker, progress: Progress, seen: Seen, reader: Reader, watch: Callable[[Seen], None]
    ) -> None:
        self._checker = checker
        self._progress = progress
        self._seen = seen
        self._reader = reader
        self._watch = watch

    async def all(self, changes: Changes, chosen: set[str], workers: int) -> None:
        """Check the chosen image sets."""
        await for_each(self._check, _changed(changes, chosen), at_once=workers)

    async def _check(self, changed: tuple[str, list[dict[str, Any]], set[str]]) -> None:
        self._keep(changed[0], await self._checker.check(*changed))

    def _keep(self, image_set_id: str, found: Checked | LeftOut) -> None:
        seen = self._seen
        if isinstance(found, Checked):
            self._progress.add(found.line(image_set_id))
        elif found.archived:
            seen.archived.append(image_set_id)
        else:
            seen.unread[found.reason] = seen.unread.get(found.reason, 0) + 1
        reads = self._reader.reads
        seen.requests, seen.throttled, seen.faults = reads.requests, reads.throttled, reads.faults
        self._watch(seen)


async def _changed(changes: Changes, chosen: set[str]) -> AsyncGenerator[tuple[str, list[dict[str, Any]], set[str]]]:
    """Each chosen image set, with its changes and the image sets of its lane."""
    batches = changes.by_image_set()
    while (batch := await to_thread.run_sync(next, batches, None)) is not None:
        members = _members(batch)
        for image_set_id, found in batch:
            if image_set_id in chosen:
                yield image_set_id, found, members.get(found[0]["lane"], set())


def _members(batch: list[tuple[str, list[dict[str, Any]]]]) -> dict[int, set[str]]:
    """The image sets of each lane with study-wide calls."""
    members: dict[int, set[str]] = {}
    for image_set_id, changes in batch:
        for change in changes:
            if change["study_wide"]:
                members.setdefault(change["lane"], set()).add(image_set_id)
    return members
