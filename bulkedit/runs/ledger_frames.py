"""The contents of a ledger as polars frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.sent import WRITES
from bulkedit.runs.ledger import LAST_ROW

if TYPE_CHECKING:
    from collections.abc import Collection

    from bulkedit.runs.ledger import Ledger

# one row per call: its last event
STATES: Final = pl.Schema(
    {
        "call": pl.UInt32(),
        "state": pl.String(),
        "expected_version": pl.UInt32(),
        "version": pl.UInt32(),
        "attempts": pl.UInt32(),
        "throttles": pl.UInt32(),
        "faults": pl.UInt32(),
        "conflicts": pl.UInt32(),
        "reason": pl.String(),
        "message": pl.String(),
        "at": pl.Float64(),
        "expected_version_updated_at": pl.Float64(),
    }
)
# one row per call: its first event
BEGUN: Final = pl.Schema({"call": pl.UInt32(), "begun": pl.Float64()})  # epoch seconds
# one row per call: the id of its last write request, null if no answer came
LAST_REQUESTS: Final = pl.Schema({"call": pl.UInt32(), "request_id": pl.String()})
PACES: Final = pl.Schema({"bin": pl.UInt32(), "quota": pl.Float64()})
ACTIVITY: Final = pl.Schema(
    {
        "bin": pl.UInt32(),
        "state": pl.String(),
        "events": pl.UInt32(),
        "throttles": pl.UInt32(),
        "faults": pl.UInt32(),
    }
)


def states(ledger: Ledger, wanted: Collection[str] = LAST_ROW) -> pl.DataFrame:
    """The state of every call that was begun: call and the wanted columns of `STATES`, sorted by call."""
    schema = pl.Schema({name: kind for name, kind in STATES.items() if name in {"call", *wanted}})
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in ledger.last_rows(tuple(schema))]
    return pl.concat([pl.DataFrame(schema=schema), *frames]).sort("call")


def beginnings(ledger: Ledger) -> pl.DataFrame:
    """When every call was begun: columns `BEGUN`, sorted by call."""
    return _frame(ledger, "SELECT call, min(at) FROM event GROUP BY call ORDER BY call", BEGUN)


def last_requests(ledger: Ledger) -> pl.DataFrame:
    """The last update, copy or deletion that was sent for each call: columns `LAST_REQUESTS`, sorted by call.

    It decided the outcome: nothing is sent after an acceptance, but if the accepted update failed.
    """
    query = f"""
        SELECT call, request_id, max(rowid) FROM request WHERE operation IN {WRITES} GROUP BY call ORDER BY call
    """  # noqa: S608 - names of our own
    return _frame(ledger, query, pl.Schema({**LAST_REQUESTS, "last": pl.UInt64()})).drop("last")


def last_states(ledger: Ledger) -> pl.DataFrame:
    """The state of every call that was begun: columns call UInt32 and state String, in any order."""
    last = ledger.last_codes()
    names = last.names
    frame = pl.DataFrame({"code": pl.Series(list(last.of_call), dtype=pl.UInt8)}).with_row_index("call")
    return frame.filter(pl.col("code") > 0).select(
        pl.col("call").cast(pl.UInt32),
        state=pl.col("code").replace_strict(names, return_dtype=pl.String) if names else pl.lit("", pl.String),
    )


def span(ledger: Ledger) -> tuple[float, float] | None:
    """When the first and the last event were: epoch seconds; None without events."""
    found = [row for rows in ledger.batches("SELECT min(at), max(at) FROM event") for row in rows]
    return found[0] if found and found[0][0] is not None else None


def activity(ledger: Ledger, bins: int) -> pl.DataFrame:
    """Events over time. ``bins``: number of bins of equal width from the first event to the last.

    Columns `ACTIVITY`, sorted: bin, state, events (that led to the state), throttles and faults (since the call's
    previous event). Bins without events are left out.
    """
    query = """
        WITH span AS (SELECT min(at) AS first, max(max(at) - min(at), 1e-9) AS length FROM event),
        step AS (SELECT at, state, throttles - lag(throttles, 1, 0) OVER calls AS throttled,
                        faults - lag(faults, 1, 0) OVER calls AS failed
                 FROM event WINDOW calls AS (PARTITION BY call ORDER BY seq))
        SELECT min(CAST((at - first) / length * :bins AS INTEGER), :bins - 1), state, count(*),
               sum(max(throttled, 0)), sum(max(failed, 0))
        FROM step, span GROUP BY 1, 2 ORDER BY 1, 2
    """
    return _frame(ledger, query.replace(":bins", str(int(bins))), ACTIVITY)


def paces(ledger: Ledger, bins: int) -> pl.DataFrame:
    """The quota of updates that the run assumed, in the bins of `activity`: columns `PACES`, sorted by bin.

    The last value of each bin; bins without a value are left out.
    """
    query = """
        WITH span AS (SELECT min(at) AS first, max(max(at) - min(at), 1e-9) AS length FROM event)
        SELECT max(0, min(CAST((pace.at - first) / length * :bins AS INTEGER), :bins - 1)) AS bin, quota,
               max(pace.rowid)
        FROM pace, span GROUP BY bin ORDER BY bin
    """
    columns = pl.Schema({**PACES, "last": pl.UInt64()})
    return _frame(ledger, query.replace(":bins", str(int(bins))), columns).drop("last")


def completion_times(ledger: Ledger) -> pl.Series:
    """Seconds from each applied call's acceptance to the poll that found it applied: Float64."""
    query = """
        SELECT max(CASE state WHEN 'applied' THEN at END) - max(CASE state WHEN 'accepted' THEN at END) AS s
        FROM event WHERE state IN ('accepted', 'applied') GROUP BY call HAVING s IS NOT NULL
    """
    return _frame(ledger, query, pl.Schema({"seconds": pl.Float64()})).to_series()


def _frame(ledger: Ledger, query: str, schema: pl.Schema) -> pl.DataFrame:
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in ledger.batches(query)]
    return pl.concat([pl.DataFrame(schema=schema), *frames])
