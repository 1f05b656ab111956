"""Reads the image sets of a de-identification run and compares each with its state before the run.

Sends reads only. *Before* is the expected version of the first applied call that names the image set, else its first
version; if the edits were made in a copy, it is the original. Image sets that the run has not changed are checked and
listed too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypedDict

import polars as pl

from bulkedit import _received as received
from bulkedit._concurrency import for_each, run_blocking
from bulkedit._files import draft_folder, open_private, sha256_of, write_private_json
from bulkedit.audits import FINDINGS, RISKS, SURVIVORS, AuditCounters, OriginalKind
from bulkedit.client.reader import Reader
from bulkedit.client.responses import Refused
from bulkedit.edits.frame_files import writing
from bulkedit.edits.result_files import guarded
from bulkedit.errors import UsageError
from bulkedit.runs.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from bulkedit.audits import Closure
    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Auto, Operation, Rate
    from bulkedit.client.reader import Clock
    from bulkedit.runs.folder import Run

FOLDER: Final = "checks"
WORKERS: Final = 16  # image sets under way at once, each with two documents
_NO_ORIGINAL: Final = "its original is deleted, so there is nothing to compare it with"
# image sets with edits that were not applied
UNDONE: Final = pl.Schema({"image_set_id": pl.String(), "edits": pl.UInt32(), "not_applied": pl.UInt32()})
TARGETS: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "edits": pl.UInt32(),  # of the plan
        "not_applied": pl.UInt32(),  # of these
        "expected_version": pl.UInt32(),  # version before the first call that names it, else null
        "promoted": pl.String(),  # for edits of a copy: the promoted image set
    }
)


@dataclass(slots=True)
class AuditProgress:
    """The progress of an audit."""

    total: int  # image sets to read
    check: AuditCounters
    undone: pl.DataFrame  # `UNDONE`
    set_aside: int  # rows of the list without an edit in the plan
    archived: list[str] = field(default_factory=list)  # archived image sets that were not read
    unread: dict[str, int] = field(default_factory=dict)  # number of image sets that could not be read, by reason
    requests: int = 0
    throttled: int = 0

    @property
    def read(self) -> int:
        """Number of image sets done, including those that could not be read."""
        return self.check.image_sets + len(self.archived) + sum(self.unread.values())


def targets(run: Run) -> pl.DataFrame:
    """The image sets of the run's plan: columns `TARGETS`, in the order of the plan."""
    changes = Changes(run)
    applied = changes.all().select("edit", "image_set_id", "lead", "expected_version")
    own = applied.filter(pl.col("image_set_id") == pl.col("lead"))
    expected_versions = own.group_by("image_set_id").agg(pl.col("expected_version").min())
    copies = {"image_set_id": list(changes.promoted.values()), "promoted": list(changes.promoted)}
    promoted = pl.LazyFrame(copies, schema={"image_set_id": pl.String(), "promoted": pl.String()})
    done = applied.select("edit", done=True)
    planned = run.plan.edits().select("edit", "image_set_id").join(done, on="edit", how="left")
    return (
        planned.group_by("image_set_id", maintain_order=True)
        .agg(edits=pl.len(), not_applied=pl.col("done").is_null().sum())
        .join(expected_versions, on="image_set_id", how="left", maintain_order="left")
        .join(promoted, on="image_set_id", how="left", maintain_order="left")
        .select(TARGETS.names())
        .cast(TARGETS)
        .collect()
    )


async def check(
    run: Run,
    client: Client,
    *,
    rates: Mapping[Operation, Rate | Auto],
    kept: Iterable[OriginalKind] = (),
    archived: bool = False,
    clock: Clock | None = None,
    watch: Callable[[AuditProgress], None] | None = None,
) -> AuditProgress:
    """Read the image sets of a run, and search them for the identifying values from before it.

    ``kept``: kinds that the run keeps on purpose. ``archived``: also read archived image sets, which moves them to the
    frequent tier for 30 days. ``watch``: called on the caller's task after every image set. Memory has the findings and
    `WORKERS` image sets. Raises UsageError if the run has no edits, and what `Reader` raises.
    """
    chosen = await run_blocking(targets, run)
    if not chosen.height:
        raise UsageError("this run has no edits.", where=str(run.folder), hint="Name the folder of a run with edits.")
    undone = chosen.filter(pl.col("not_applied") > 0).select(UNDONE.names())
    set_aside = int(run.plan.set_aside().select(pl.len()).collect().item())
    seen = AuditProgress(chosen.height, AuditCounters(frozenset(kept)), undone, set_aside)
    reader = Reader(client, rates, random.Random(), clock)  # noqa: S311 - of waits

    async def audit_one(target: tuple[str, int | None, str | None]) -> None:
        image_set_id, expected_version, promoted = target
        if promoted is None:
            await _one(reader, seen, image_set_id, expected_version, archived=archived)
        else:
            await _copied(reader, seen, image_set_id, promoted, archived=archived)
        seen.requests, seen.throttled = reader.reads.requests, reader.reads.throttled
        if watch is not None:
            watch(seen)

    await for_each(
        audit_one, chosen.select("image_set_id", "expected_version", "promoted").iter_rows(), at_once=WORKERS
    )
    return seen


async def _one(
    reader: Reader, seen: AuditProgress, image_set_id: str, expected_version: int | None, *, archived: bool
) -> None:
    """Read and check one image set; count it as unread if that fails."""
    now = await reader.completed(image_set_id)
    if isinstance(now, Refused):
        return _unread(seen, now)
    if now.archived and not archived:
        seen.archived.append(image_set_id)
        return None
    versions = await reader.versions(image_set_id)
    if isinstance(versions, Refused):
        return _unread(seen, versions)
    older = [one.version for one in versions if one.version < now.version]
    after = await reader.metadata(image_set_id, now.version)
    if isinstance(after, Refused):
        return _unread(seen, after)
    first = expected_version or min(older, default=now.version)
    before = after if first >= now.version else await reader.metadata(image_set_id, first)
    if isinstance(before, Refused):
        return _unread(seen, before)
    seen.check.add(image_set_id, before, after, older=len(older))
    return None


async def _copied(reader: Reader, seen: AuditProgress, original: str, promoted: str, *, archived: bool) -> None:
    """As `_one`, for edits of a copy: compare the promoted image set with its original."""
    was, now = await reader.completed(original), await reader.completed(promoted)
    if isinstance(was, Refused) or was.state == "DELETED":
        seen.unread[_NO_ORIGINAL] = seen.unread.get(_NO_ORIGINAL, 0) + 1
        return None
    if isinstance(now, Refused):
        return _unread(seen, now)
    if (was.archived or now.archived) and not archived:
        seen.archived.append(promoted)
        return None
    before, after = await reader.metadata(original, was.version), await reader.metadata(promoted, now.version)
    versions = await reader.versions(original)
    if isinstance(before, Refused):
        return _unread(seen, before)
    if isinstance(after, Refused):
        return _unread(seen, after)
    seen.check.add(promoted, before, after, older=0 if isinstance(versions, Refused) else len(versions))
    return None


def _unread(seen: AuditProgress, refused: Refused) -> None:
    reason = refused.code or str(refused.kind)
    seen.unread[reason] = seen.unread.get(reason, 0) + 1


# -- result files -----------------------------------------------------------------------------------------------------


class CheckSummary(TypedDict):
    """`check.json`: numbers, and the SHA-256 of each file."""

    run: str
    datastore_id: str
    kept: list[str]
    image_sets: int
    with_findings: int
    findings: int
    by_kind: dict[str, int]
    undone: int  # image sets
    set_aside: int  # rows
    uids: int
    uids_parted: int
    uids_joined: int
    older_versions: int
    risks: dict[str, int]
    texts: int
    texts_untold: int
    archived: int
    unread: int
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished audit."""

    folder: Path
    summary: CheckSummary
    findings: pl.DataFrame  # `bulkedit.audits.FINDINGS`
    risks: pl.DataFrame  # `bulkedit.audits.RISKS`
    undone: pl.DataFrame  # `UNDONE`


def finish(run: Run, seen: AuditProgress, name: str, kept: Iterable[OriginalKind]) -> Result:
    """Write the private files of an audit under its run, to `checks/NAME/`. Raises UsageError.

    Only `texts` contains values: the unchanged texts, for a person to review.
    """
    found, closure = seen.check, seen.check.closure()
    frames = {
        "findings": (found.findings(), FINDINGS),
        "risks": (found.risks(), RISKS),
        "undone": (seen.undone, UNDONE),
        "texts": (found.texts.frame(), SURVIVORS),
    }
    folder = run.folder / FOLDER / name
    received.require_folder(folder.parent)
    with writing("the check", folder), draft_folder(folder) as draft:
        digests: dict[str, str] = {}
        for kind, (frame, schema) in frames.items():
            digests |= _write(draft, kind, frame.select(schema.names()))
        summary = _summary(run, seen, closure, kept, digests)
        write_private_json(draft / "check.json", summary)
    return Result(folder, summary, frames["findings"][0], frames["risks"][0], seen.undone)


def _summary(
    run: Run, seen: AuditProgress, closure: Closure, kept: Iterable[OriginalKind], digests: dict[str, str]
) -> CheckSummary:
    found = seen.check
    return {
        "run": str(run.folder),
        "datastore_id": run.plan.datastore_id,
        "kept": sorted(map(str, kept)),
        "image_sets": found.image_sets,
        "with_findings": found.with_findings,
        "findings": found.by_kind.total(),
        "by_kind": dict(sorted(found.by_kind.items())),
        "undone": seen.undone.height,
        "set_aside": seen.set_aside,
        "uids": closure.uids,
        "uids_parted": closure.parted,
        "uids_joined": closure.joined,
        "older_versions": found.older_versions,
        "risks": dict(sorted(found.by_risk.items())),
        "texts": found.texts.frame().height,
        "texts_untold": found.texts.omitted,
        "archived": len(seen.archived),
        "unread": sum(seen.unread.values()),
        "files": digests,
    }


def _write(folder: Path, kind: str, frame: pl.DataFrame) -> dict[str, str]:
    digests = {}
    safe = guarded(frame.lazy()).collect()
    for path, write in ((folder / f"{kind}.parquet", frame.write_parquet), (folder / f"{kind}.csv", safe.write_csv)):
        with open_private(path) as file:
            write(file)
        digests[path.name] = sha256_of(path)
    return digests
