"""The requests that a run has sent, as frames, each with the image set of its call."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._files import draft_file
from bulkedit.edits.frame_files import writing
from bulkedit.edits.result_files import guarded
from bulkedit.plans import CopyStep
from bulkedit.runs.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit.runs.folder import Run

# one row per request, in the order of the answers
REQUESTS: Final = pl.Schema(
    {
        "at": pl.Float64(),  # epoch seconds of the answer, or of the request's loss
        "call": pl.UInt32(),
        "image_set_id": pl.String(),  # of the call; a read or a deletion may be of another one of its lane
        "operation": pl.String(),
        "request_id": pl.String(),  # null without an answer
        "result": pl.String(),  # accepted, answered, the error code, or `lost: CAUSE`
    }
)
_ROW: Final = pl.Schema({name: kind for name, kind in REQUESTS.items() if name != "image_set_id"})
_AT_ONCE: Final = 50_000  # rows


def requests_of(run: Run) -> Iterator[pl.DataFrame]:
    """The requests of a run, in frames with the columns `REQUESTS`. Raises LedgerError."""
    if not run.ledger.exists():
        return
    with Ledger.read(run.ledger) as ledger:
        of_calls = image_sets_of_calls(run, ledger)
        found = ledger.requests(tolerant=ledger.damage is not None)
        rows = ((one.at, one.call, one.operation, one.request_id, one.result) for one in found)
        while batch := list(islice(rows, _AT_ONCE)):
            frame = pl.DataFrame(batch, schema=_ROW, orient="row")
            yield frame.join(of_calls, on="call", how="left", maintain_order="left").select(REQUESTS.names())


def image_sets_of_calls(run: Run, ledger: Ledger) -> pl.DataFrame:
    """The image set of each call and part: call UInt32, image_set_id String. An edit of a copy has the copy's."""
    columns = ["call", "image_set_id", "lane", "copy_step"]
    calls = run.plan.calls().select(columns).with_columns(pl.col("copy_step").cast(pl.String)).collect()
    parts = pl.DataFrame(
        [(part.call, part.parent) for part in ledger.parts()],
        schema={"part": pl.UInt32, "call": pl.UInt32},
        orient="row",
    )
    while parts.height:  # a part can be split again
        found = parts.join(calls, on="call", how="inner")
        if not found.height:
            break
        parts = parts.join(found, on="part", how="anti")
        calls = pl.concat([calls, found.drop("call").rename({"part": "call"}).select(columns)])
    if calls.get_column("copy_step").null_count() < calls.height:
        calls = _with_copies(calls, ledger)
    return calls.select("call", "image_set_id")


def _with_copies(calls: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Replace the image set of calls that edit, promote or delete a copy."""
    made = {one.call: one.image_set_id for one in ledger.made() if one.ours}
    copies = calls.filter(pl.col("copy_step") == str(CopyStep.COPY)).select(
        "lane", copy=pl.col("call").replace_strict(made, default=None, return_dtype=pl.String)
    )
    joined = calls.join(copies, on="lane", how="left", maintain_order="left")
    inside = pl.col("copy_step").is_not_null() & ~pl.col("copy_step").is_in(
        [str(CopyStep.COPY), str(CopyStep.DELETE_ORIGINAL)]
    )
    return joined.with_columns(
        image_set_id=pl.when(inside & pl.col("copy").is_not_null()).then("copy").otherwise("image_set_id")
    )


def write_requests(run: Run, path: Path) -> int:
    """Write the requests of a run to a new private CSV file (0600). Returns the number of rows. Raises UsageError."""
    count = 0
    with writing("the requests", path), draft_file(path) as file:
        pl.DataFrame(schema=_shown(pl.DataFrame(schema=REQUESTS)).schema).write_csv(file)
        for frame in requests_of(run):
            guarded(_shown(frame).lazy()).collect().write_csv(file, include_header=False)
            count += frame.height
    return count


def _shown(requests: pl.DataFrame) -> pl.DataFrame:
    """With the time as text."""
    return requests.with_columns(time_text("at"))


def time_text(column: str) -> pl.Expr:
    """A column of epoch seconds as text: in UTC, with milliseconds."""
    return (pl.col(column) * 1000).cast(pl.Int64).cast(pl.Datetime("ms", "UTC")).dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ")
