"""Compare a run with CloudTrail: read the files, write `trail.csv` and `trail.json` into the run's folder."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._concurrency import run_blocking
from bulkedit._files import draft_file, scratch_folder, write_private_json
from bulkedit._log import utc
from bulkedit._printable import shell_word
from bulkedit._progress import Phase
from bulkedit.after.requests import image_sets_of_calls, requests_of, time_text
from bulkedit.after.trail.compare import (
    BY_INFERENCE,
    EVENTS,
    FINDINGS,
    Comparison,
    Finding,
    SentByRun,
    compared,
)
from bulkedit.after.trail.events import EventCounts, events_of, files_of
from bulkedit.after.trail.json_stream import UnreadableLogError
from bulkedit.client.sent import WRITES
from bulkedit.edits.frame_files import writing
from bulkedit.edits.result_files import guarded
from bulkedit.errors import StoppedError, UsageError
from bulkedit.plans import CopyStep
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bulkedit._progress import StopSignal
    from bulkedit.after.trail.events import TrailEvent
    from bulkedit.runs.folder import Run

CSV: Final = "trail.csv"
SUMMARY: Final = "trail.json"
FORMAT: Final = 1
_AT_ONCE: Final = 20_000  # events
_NAMED: Final = 1_000  # files that could not be read, which are named
TIMES: Final = ("answered_at", "event_at")  # columns of `TRAIL`
_INTENTS: Final = pl.Schema({"call": pl.UInt32(), "begun": pl.Float64(), "expected_version": pl.UInt32()})
_OPERATIONS: Final = {
    str(CopyStep.COPY): "CopyImageSet",
    str(CopyStep.PROMOTE): "CopyImageSet",
    str(CopyStep.EDIT): "UpdateImageSetMetadata",
}
_DELETION: Final = "DeleteImageSet"


@dataclass(frozen=True, slots=True)
class Trail:
    """A run compared with CloudTrail.

    ``rows``: one row per write request of the run, and per write of others to its image sets
    (`bulkedit.after.trail.TRAIL`), without values. ``readers``: the reads of others, counted.
    """

    folder: Path  # of the run
    rows: pl.DataFrame
    readers: pl.DataFrame
    counts: dict[str, int]  # rows by finding
    by_inference: int  # rows that were found without a request id
    accepted_by_others: int
    hidden: int  # writes during the run whose events do not name an image set
    files: int
    unread: list[tuple[str, str]] = field(repr=False)  # files that could not be read to their end, and why
    events: int  # of HealthImaging
    of_all_services: int
    strange: int  # values in the files that are no events
    regions: list[str]
    covered: tuple[float, float] | None  # epoch seconds of the first and the last event in the files
    span: tuple[float, float] | None  # epoch seconds of the first and the last request of the run

    @property
    def even(self) -> bool:
        """Whether there is nothing to look into: `trail` then ends with 0."""
        return not self.unread and bool(self.rows.get_column("even").all())

    @property
    def differences(self) -> pl.DataFrame:
        """The rows to look into."""
        return self.rows.filter(~pl.col("even"))

    def as_json(self) -> dict[str, object]:
        """The JSON line of type ``trail``, and the content of `trail.json`."""
        return {
            "type": "trail",
            "run": str(self.folder),
            "even": self.even,
            **{_key(finding): self.counts[finding] for finding in FINDINGS},
            "by_inference": self.by_inference,
            "accepted_by_others": self.accepted_by_others,
            "hidden": self.hidden,
            "files": self.files,
            "unread": [{"file": file, "problem": why} for file, why in self.unread[:_NAMED]],
            "events": self.events,
            "events_of_all_services": self.of_all_services,
            "strange": self.strange,
            "regions": self.regions,
            "covered": _times(self.covered),
            "span": _times(self.span),
            "readers": self.readers.to_dicts(),
        }


def _key(finding: str) -> str:
    return finding.replace(",", "").replace(" ", "_")


def _times(span: tuple[float, float] | None) -> list[str] | None:
    return None if span is None else [utc(at, milliseconds=True) for at in span]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailProgress:
    """The progress of a comparison with CloudTrail."""

    phase: Phase = Phase.PREPARING
    done: int = 0  # files that were read
    total: int | None = None  # files; None: not known
    events: int = 0  # of HealthImaging


async def trail_run(
    run: Run,
    files: Iterable[Path],
    *,
    progress: Callable[[TrailProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Trail:
    """`trail_of` on another thread. ``progress`` is called on the caller's event loop."""
    loop = asyncio.get_running_loop()

    def report(now: TrailProgress) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, now)

    return await run_blocking(lambda: trail_of(run, files, progress=report, stop=stop))


def trail_of(
    run: Run,
    files: Iterable[Path],
    *,
    progress: Callable[[TrailProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Trail:
    """Compare a run with CloudTrail, and write `trail.csv` and `trail.json` into its folder (0600). Sends nothing.

    ``files``: log files of CloudTrail, plain or gzipped, or folders of them. ``progress``: called before each file.
    ``stop``: ends the work early. Memory has the write requests of the run, and some megabytes of a file; events wait
    on the disk, in a private folder that is removed. Blocks.

    Raises UsageError if nothing was sent, or a file is missing, StoppedError after ``stop`` (nothing is written), and
    LedgerError.
    """
    found, sent = files_of(files), _sent(run)
    if sent.span is None:
        raise UsageError(
            "this run has sent nothing that CloudTrail could show.",
            where=str(run.folder),
            hint=f"To see its state: bulkedit status {shell_word(run.folder)}",
        )
    with writing("the comparison", run.folder), scratch_folder(run.folder / CSV) as scratch:
        reading = _TrailReading(run.plan.datastore_id, scratch, stop)
        for file in found:
            if progress is not None:
                counts = reading.counts
                now = TrailProgress(phase=Phase.READING, done=counts.files, total=len(found), events=counts.ours)
                progress(now)
            reading.read(file)
        comparison = compared(sent, reading.frame())
        trail = _made(run, sent, reading, comparison)
        _write(trail)
    return trail


class _TrailReading:
    """Reads files, and keeps the events of one data store in Parquet files."""

    def __init__(self, datastore_id: str, scratch: Path, stop: StopSignal | None) -> None:
        self._stop = stop
        self._datastore_id = datastore_id
        self._scratch = scratch
        self._waiting: list[TrailEvent] = []
        self._chunks: list[Path] = []
        self.counts = EventCounts()
        self.unread: list[tuple[str, str]] = []
        self.regions: set[str] = set()

    def read(self, file: Path) -> None:
        """Read one file. If it cannot be read to its end, that is noted. Raises StoppedError."""
        self._check_stop()
        try:
            for event in events_of(file, self.counts, self._check_stop):
                if event.datastore_id in {None, self._datastore_id}:
                    self._add(event)
        except UnreadableLogError as error:
            self.unread.append((str(file), str(error)))

    def _check_stop(self) -> None:
        if self._stop is not None and self._stop.sent:
            raise StoppedError("stopped before the end.", likely="Nothing was written.")

    def _add(self, event: TrailEvent) -> None:
        if len(self.regions) < _NAMED:
            self.regions.add(event.region)
        self._waiting.append(event)
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        path = self._scratch / f"{len(self._chunks)}.parquet"
        rows = [tuple(getattr(event, name) for name in EVENTS) for event in self._waiting]
        pl.DataFrame(rows, schema=EVENTS, orient="row").write_parquet(path, compression="lz4")
        self._chunks.append(path)
        self._waiting = []

    def frame(self) -> pl.LazyFrame:
        """The events that were kept."""
        self._flush()
        return pl.concat([pl.scan_parquet(chunk, glob=False) for chunk in self._chunks])


def _sent(run: Run) -> SentByRun:
    """What the run has sent. Raises LedgerError."""
    frames = list(_writes_and_reads(run))
    empty = pl.DataFrame(schema={"request_id": pl.String})
    writes = pl.concat([frame for frame, _ in frames]) if frames else _no_writes()
    reads = pl.concat([empty, *(ids for _, ids in frames)])
    if not run.ledger.exists():
        return SentByRun(writes.with_row_index("number"), reads, _no_intents(), _no_states(), empty)
    with Ledger.read(run.ledger) as ledger:
        of_calls = image_sets_of_calls(run, ledger)
        query = "SELECT call, at, expected_version FROM event WHERE state = 'intended' ORDER BY seq"
        rows = [pl.DataFrame(batch, schema=_INTENTS, orient="row") for batch in ledger.batches(query)]
        states = ledger_frames.states(ledger, ("state", "version"))
        made = pl.Series("image_set_id", [one.image_set_id for one in ledger.made() if one.ours], dtype=pl.String)
    intents = pl.concat([pl.DataFrame(schema=_INTENTS), *rows]).join(of_calls, on="call", how="left")
    return SentByRun(
        writes.with_row_index("number"),
        reads,
        intents.join(_operations(run), on="call", how="left"),
        states,
        _image_sets(run, made),
    )


def _no_writes() -> pl.DataFrame:
    return pl.DataFrame(schema={"at": pl.Float64, "call": pl.UInt32, **dict.fromkeys(_TEXTS, pl.String)})


_TEXTS: Final = ("image_set_id", "operation", "request_id", "result")


def _no_intents() -> pl.DataFrame:
    return pl.DataFrame(schema={**_INTENTS, "image_set_id": pl.String, "operation": pl.String})


def _no_states() -> pl.DataFrame:
    return pl.DataFrame(schema={"call": pl.UInt32, "state": pl.String, "version": pl.UInt32})


def _writes_and_reads(run: Run) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    for frame in requests_of(run):
        written = pl.col("operation").is_in(WRITES)
        reads = frame.filter(~written & pl.col("request_id").is_not_null())
        yield frame.filter(written), reads.select("request_id")


def _operations(run: Run) -> pl.DataFrame:
    """The operation of each call; null for parts of split calls, which are updates."""
    steps = run.plan.calls().select("call", step=pl.col("copy_step").cast(pl.String)).collect()
    named = pl.col("step").replace_strict(_OPERATIONS, default=_DELETION, return_dtype=pl.String)
    update = pl.lit("UpdateImageSetMetadata")
    return steps.select("call", operation=pl.when(pl.col("step").is_null()).then(update).otherwise(named))


def _image_sets(run: Run, made: pl.Series) -> pl.DataFrame:
    named = [run.plan.calls().select("image_set_id"), run.plan.edits().select("image_set_id")]
    found = pl.concat([one.with_columns(pl.col("image_set_id").cast(pl.String)) for one in named]).unique().collect()
    return pl.concat([found, made.to_frame()]).unique()


def _made(run: Run, sent: SentByRun, reading: _TrailReading, comparison: Comparison) -> Trail:
    rows, counts = comparison.rows, reading.counts
    found = dict(rows.group_by("finding").len().iter_rows())
    others = rows.filter((pl.col("finding") == str(Finding.OTHER)) & ~pl.col("even"))
    return Trail(
        folder=run.folder,
        rows=rows,
        readers=comparison.readers,
        counts={finding: found.get(finding, 0) for finding in FINDINGS},
        by_inference=rows.filter(pl.col("found_by") == BY_INFERENCE).height,
        accepted_by_others=others.height,
        hidden=comparison.hidden,
        files=counts.files,
        unread=reading.unread,
        events=counts.ours,
        of_all_services=counts.events,
        strange=counts.strange,
        regions=sorted(reading.regions),
        covered=None if counts.first is None or counts.last is None else (counts.first, counts.last),
        span=sent.span,
    )


def _write(trail: Trail) -> None:
    shown = trail.rows.with_columns(map(time_text, TIMES))
    with draft_file(trail.folder / CSV, replace=True) as file:
        guarded(shown.lazy()).collect().write_csv(file)
    about = {"format": FORMAT, "compared": datetime.now(UTC).isoformat(timespec="seconds")}
    write_private_json(trail.folder / SUMMARY, {**about, **trail.as_json()})
