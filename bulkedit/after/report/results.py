"""Result files: the outcome of every row of the edit list, as lists that can be planned again.

| file | rows |
|---|---|
| succeeded | all edits are applied, or were already satisfied when the plan was made |
| unprocessed | the worst edit is not completed; also rows without an edit in the plan |
| conflicted | the worst edit is conflicted: another writer was first |
| failed | the worst edit was rejected or has failed |

A file has one line per edit of a row and image set, each with its outcome. All lines of a row are in the file of its
worst edit. So every row is in one file, no edit is missing, and applied edits are not planned again with the file
(`bulkedit.edits.result_files`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_folder, open_private, sha256_of, write_private_json
from bulkedit._json import object_in
from bulkedit._version import __version__
from bulkedit.after.report.outcomes import CallOutcomes
from bulkedit.after.requests import write_requests
from bulkedit.client.responses import Outcome
from bulkedit.edits import result_files as cells
from bulkedit.edits.frame_files import writing
from bulkedit.errors import ReceivedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit.runs.folder import Run

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
REQUEST_IDS: Final = "request-ids.csv"

# file -> outcomes of the worst edit of its rows; from the best file to the worst
FILES: Final[dict[str, tuple[Outcome, ...]]] = {
    "succeeded": (Outcome.APPLIED,),
    "unprocessed": (Outcome.UNPROCESSED,),
    "conflicted": (Outcome.CONFLICTED,),
    "failed": (Outcome.FAILED, Outcome.REJECTED),
}
_RANKS: Final = {
    cells.SATISFIED: 0,
    **{str(outcome): rank for rank, outcomes in enumerate(FILES.values()) for outcome in outcomes},
}

# One line per edit of a row and image set, in the order of the list. A row without an edit in the plan has one line.
# Columns that only result files have: `bulkedit.edits.result_files.COLUMNS`.
RESULTS: Final = pl.Schema(
    {
        "row": pl.UInt32(),
        "edit_id": pl.String(),
        "image_set_id": pl.String(),
        "action": pl.String(),
        "level": pl.String(),
        "series_uid": pl.String(),
        "instance_uid": pl.String(),
        "attribute": pl.String(),
        "value": pl.String(),  # this and `value_json` only with values
        "value_json": pl.String(),
        "vr": pl.String(),
        "force": pl.Boolean(),
        "unchecked": pl.Boolean(),  # the value breaks a rule, and was planned unchecked
        "version": pl.UInt32(),  # the version that the row names
        "order": pl.UInt32(),  # of the row; a plan of the file keeps this order
        "include_study_image_sets": pl.Boolean(),
        "outcome": pl.String(),
        "reason": pl.String(),  # error code, why the edit has this outcome, or the code of a row without an edit
        "message": pl.String(),  # the service's message without values, or why the row has no edit
        "call": pl.UInt32(),
        "made_image_set_id": pl.String(),  # for edits of a copy: the promoted image set, or the copy
        "version_before": pl.UInt32(),
        "version_after": pl.UInt32(),
        "attempts": pl.UInt32(),
        "conflicts": pl.UInt32(),
        "request_id": pl.String(),  # AWS's id of the request that decided: the last one that was sent for the call
        "superseded": pl.Boolean(),  # replaced by a later edit of the same call
        "started_at": pl.Datetime("ms", "UTC"),  # first event of the call
        "ended_at": pl.Datetime("ms", "UTC"),  # last event of the call
        "row_edits": pl.UInt32(),  # lines of the row
        "row_applied": pl.UInt32(),  # of these, applied
    }
)
_TIMES: Final = ("started_at", "ended_at")
_CHUNK: Final = 1_000_000  # edits in memory at once, approximately


class _Text:
    """Lines appended to a text file."""

    def __init__(self, path: Path) -> None:
        self._file = open_private(path)
        self._first = True

    def add(self, lines: pl.DataFrame) -> None:
        lines = lines.with_columns(pl.col(_TIMES).dt.to_string("iso:strict"))
        self._append(lines, header=self._first)
        self._first = False

    def _append(self, lines: pl.DataFrame, *, header: bool) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._file.close()


class _Csv(_Text):
    def _append(self, lines: pl.DataFrame, *, header: bool) -> None:
        safe = cells.guarded(lines.lazy(), but=cells.VALUES).collect()  # `cells.values` has made values safe
        safe.write_csv(self._file, include_header=header)


class _JsonLines(_Text):
    def _append(self, lines: pl.DataFrame, *, header: bool) -> None:
        del header
        lines.write_ndjson(self._file)


class _Parquet:
    """Chunks in files of their own, joined at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chunks: list[Path] = []

    def add(self, lines: pl.DataFrame) -> None:
        chunk = self._path.with_name(f".{self._path.name}.{len(self._chunks)}")
        with open_private(chunk) as file:
            lines.write_parquet(file, compression="lz4")
        self._chunks.append(chunk)

    def close(self) -> None:
        open_private(self._path).close()
        pl.concat([pl.scan_parquet(chunk, glob=False) for chunk in self._chunks]).sink_parquet(self._path)
        for chunk in self._chunks:
            chunk.unlink()


FORMATS: Final[dict[str, type[_Csv | _JsonLines | _Parquet]]] = {
    "csv": _Csv,
    "parquet": _Parquet,
    "jsonl": _JsonLines,
}


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One written result file."""

    name: str
    rows: int  # of the edit list
    lines: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Results:
    """The written result files of a run, by name (`FILES`)."""

    folder: Path
    format: str
    values: bool
    files: dict[str, ResultFile]
    requests: ResultFile | None = None  # `REQUEST_IDS`

    def as_json(self) -> dict[str, object]:
        """The JSON line of type ``results``."""
        files = {file.name: {"rows": file.rows, **_described_as_json(file)} for file in self.files.values()}
        return {
            "type": "results",
            "folder": str(self.folder),
            "format": self.format,
            "values": self.values,
            "rows": sum(file.rows for file in self.files.values()),
            "files": files,
            "request_ids": None if self.requests is None else _described_as_json(self.requests),
        }


def _described_as_json(file: ResultFile) -> dict[str, object]:
    return {"lines": file.lines, "bytes": file.bytes, "sha256": file.sha256}


def write(
    run: Run,
    folder: Path,
    *,
    format_: str = "csv",
    values: bool = False,
    request_ids: bool = False,
    call_outcomes: CallOutcomes | None = None,
) -> Results:
    """Write the four result files and their manifest to a new private folder (0700, files 0600).

    ``format_``: one of `FORMATS`. ``values``: include the values, so that the files can be planned again; they contain
    health data then. ``request_ids``: also write `REQUEST_IDS`, every request that was sent. The folder gets its name
    when it is complete. Unchanged result files of the same run are replaced. Raises UsageError if the folder has
    something else or its path cannot be used, StorageError if the disk is full or faulty.
    """
    if (is_there := folder.exists()) and not _are_of(run, folder):
        raise UsageError("this folder exists already.", where=str(folder), hint="Give another folder.")
    with writing("the result files", folder), draft_folder(folder, replace=is_there) as draft:
        files = _write(run, call_outcomes or CallOutcomes.of(run), draft, format_, values=values)
        requests = _requests(run, draft / REQUEST_IDS) if request_ids else None
        done = Results(folder, format_, values, files, requests)
        write_private_json(draft / MANIFEST, _manifest(run, done))
    return done


def _are_of(run: Run, folder: Path) -> bool:
    """Whether a folder has the result files of this run and nothing else, as they were written."""
    try:
        found = received.read_json(folder / MANIFEST)
        files = {**object_in(found, "files")}
        if requests := object_in(found, "request_ids"):
            files[REQUEST_IDS] = requests
        names = {path.name for path in folder.iterdir()}
        return (
            (found.get("run"), found.get("plan_digest")) == (run.id, run.plan.digest)
            and names == {*files, MANIFEST}
            and all(sha256_of(folder / name) == object_in(about).get("sha256") for name, about in files.items())
        )
    except (OSError, ReceivedError):
        return False


def _manifest(run: Run, done: Results) -> dict[str, object]:
    line = done.as_json()
    return {
        "format": FORMAT,
        "tool": f"bulkedit {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": run.id,
        "plan_digest": run.plan.digest,
        "list_sha256": run.plan.manifest["list"]["sha256"],
        **{name: line[name] for name in ("values", "rows", "files", "request_ids")},
    }


def _write(run: Run, call_outcomes: CallOutcomes, draft: Path, format_: str, *, values: bool) -> dict[str, ResultFile]:
    """Write the files in chunks of whole rows, in the order of the list."""
    writers = {name: FORMATS[format_](draft / f"{name}.{format_}") for name in FILES}
    rows, lines = dict.fromkeys(FILES, 0), dict.fromkeys(FILES, 0)
    for chunk in _chunks(run, call_outcomes, values=values, spreadsheet=format_ == "csv"):
        for (name, writer), rank in zip(writers.items(), range(len(FILES)), strict=True):
            part = chunk.filter(pl.col("rank") == rank).drop("rank")
            writer.add(part)
            rows[name] += part.get_column("row").n_unique()
            lines[name] += part.height
    for writer in writers.values():
        writer.close()
    return {name: _described(draft / f"{name}.{format_}", rows[name], lines[name]) for name in FILES}


def _requests(run: Run, path: Path) -> ResultFile:
    return _described(path, 0, write_requests(run, path))


def _described(path: Path, rows: int, lines: int) -> ResultFile:
    return ResultFile(path.name, rows, lines, path.stat().st_size, sha256_of(path))


def _chunks(run: Run, call_outcomes: CallOutcomes, *, values: bool, spreadsheet: bool) -> Iterator[pl.DataFrame]:
    """Lines (`RESULTS`) of ranges of rows, with ``rank`` UInt8: the position of their file in `FILES`."""
    unplanned = _unplanned(run).collect()
    edits = run.plan.edits()
    satisfied = _satisfied(run)
    first, last = _span(edits, pl.concat([unplanned.select("row"), satisfied.select("row")]))
    step = max(1, (last + 1 - first) * _CHUNK // max(1, run.plan.counts["edits"]))
    schema = RESULTS if values else {name: dtype for name, dtype in RESULTS.items() if name not in cells.VALUES}
    for start in range(first, last + 1, step):
        within = pl.col("row").is_between(start, start + step - 1)
        completed = call_outcomes.of_edits(edits.filter(within).sort("edit"))
        if satisfied.height:
            completed = pl.concat([completed, satisfied.lazy().filter(within)], how="diagonal")
        if values:
            completed = cells.values(completed, spreadsheet=spreadsheet)
        planned = _lines(completed).select([*schema, "rank"])
        both = pl.concat([planned, unplanned.lazy().filter(within)], how="diagonal_relaxed")
        yield both.select([*schema, "rank"]).sort("row", maintain_order=True).collect()


def _lines(completed: pl.LazyFrame) -> pl.LazyFrame:
    """Edits with their outcomes, as lines of result files."""
    rank = pl.col("outcome").replace_strict(_RANKS, return_dtype=pl.UInt8)
    return completed.with_columns(
        rank.max().over("row").alias("rank"),
        pl.len().over("row").alias("row_edits"),
        (pl.col("outcome") == str(Outcome.APPLIED)).sum().over("row").alias("row_applied"),
        pl.col("action", "level").cast(pl.String),
        (~pl.col("sent") & pl.col("same_as").is_null()).alias("superseded"),
        pl.col("study_wide").alias("include_study_image_sets"),
        _time("begun").alias("started_at"),
        _time("at").alias("ended_at"),
    )


def _time(name: str) -> pl.Expr:
    return (pl.col(name) * 1000).cast(pl.Int64).cast(pl.Datetime("ms", "UTC"))


def _unplanned(run: Run) -> pl.LazyFrame:
    """The rows without an edit in the plan, one line each."""
    return (
        run.plan.set_aside()
        .group_by("row", maintain_order=True)
        .agg(reason=pl.col("code").unique(maintain_order=True).str.join(", "), message=pl.col("problem").str.join(" "))
        .with_columns(
            outcome=pl.lit(str(Outcome.UNPROCESSED)),
            row_edits=pl.lit(0, pl.UInt32),
            row_applied=pl.lit(0, pl.UInt32),
            rank=pl.lit(_RANKS[Outcome.UNPROCESSED], pl.UInt8),
        )
    )


def _satisfied(run: Run) -> pl.DataFrame:
    """The edits that were already satisfied, with the columns of `CallOutcomes.of_edits`."""
    nothing = pl.lit(0, pl.UInt32)
    # `same_as` is set, so that they do not count as superseded
    return (
        run.plan.already_satisfied()
        .collect()
        .with_columns(outcome=pl.lit(cells.SATISFIED), attempts=nothing, conflicts=nothing, same_as=pl.col("edit"))
    )


def _span(edits: pl.LazyFrame, unplanned: pl.DataFrame) -> tuple[int, int]:
    """The first and the last row of the list."""
    row = pl.col("row")
    ends = pl.concat(
        [edits.select("row").select(row.min(), high=row.max()), unplanned.lazy().select(row.min(), high=row.max())]
    )
    low, high = ends.select(row.min(), pl.col("high").max()).collect().row(0)
    return int(low), int(high)
