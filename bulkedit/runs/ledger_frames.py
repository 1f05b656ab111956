"""What a ledger holds, as frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.runs.ledger import LAST_ROW

if TYPE_CHECKING:
    from collections.abc import Collection

    from bulkedit.runs.ledger import Ledger

# One row a call: its last event.
STANDINGS: Final = pl.Schema(
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
# One row a call: its first event.
BEGUN: Final = pl.Schema({"call": pl.UInt32(), "begun": pl.Float64()})  # epoch seconds
PACES: Final = pl.Schema({"bin": pl.UInt32(), "quota": pl.Float64()})
ACTIVITY: Final = pl.Schema({"bin": pl.UInt32(), "state": pl.String(), "events": pl.UInt32(), "throttles": pl.UInt32()})


def states(ledger: Ledger, wanted: Collection[str] = LAST_ROW) -> pl.DataFrame:
    """Where every call stands that was ever begun: call and the wanted columns of `STANDINGS`, sorted by call."""
    schema = pl.Schema({name: kind for name, kind in STANDINGS.items() if name in {"call", *wanted}})
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in ledger.last_rows(tuple(schema))]
    return pl.concat([pl.DataFrame(schema=schema), *frames]).sort("call")


def beginnings(ledger: Ledger) -> pl.DataFrame:
    """When every call was begun: columns `BEGUN`, sorted by call."""
    return _frame(ledger, "SELECT call, min(at) FROM event GROUP BY call ORDER BY call", BEGUN)


def last_standings(ledger: Ledger) -> pl.DataFrame:
    """Where every call stands that was ever begun, and nothing more: call UInt32, state String; any order."""
    last = ledger.last_codes()
    names = last.names
    frame = pl.DataFrame({"code": pl.Series(list(last.of_call), dtype=pl.UInt8)}).with_row_index("call")
    return frame.filter(pl.col("code") > 0).select(
        pl.col("call").cast(pl.UInt32),
        state=pl.col("code").replace_strict(names, return_dtype=pl.String) if names else pl.lit("", pl.String),
    )


def activity(ledger: Ledger, bins: int) -> pl.DataFrame:
    """What happened when: the run's time from first to last event in so many bins of equal width.

    Columns bin UInt32, state String, events UInt32 (that lead to it) and throttles UInt32 (refused for the
    quota since the call's event before), sorted; bins without events are left out.
    """
    query = """
        WITH span AS (SELECT min(at) AS first, max(max(at) - min(at), 1e-9) AS length FROM event),
        step AS (SELECT at, state, throttles - lag(throttles, 1, 0) OVER (PARTITION BY call ORDER BY seq) AS new
                 FROM event)
        SELECT min(CAST((at - first) / length * :bins AS INTEGER), :bins - 1), state, count(*), sum(max(new, 0))
        FROM step, span GROUP BY 1, 2 ORDER BY 1, 2
    """
    return _frame(ledger, query.replace(":bins", str(int(bins))), ACTIVITY)


def paces(ledger: Ledger, bins: int) -> pl.DataFrame:
    """The quota of updates as the run took it to be, in the bins of `activity`: columns `PACES`, sorted by bin.

    The last word of each bin; bins without one are left out.
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
    """Seconds from each applied call's acceptance to the look that found it applied: Float64."""
    query = """
        SELECT max(CASE state WHEN 'applied' THEN at END) - max(CASE state WHEN 'accepted' THEN at END) AS s
        FROM event WHERE state IN ('accepted', 'applied') GROUP BY call HAVING s IS NOT NULL
    """
    return _frame(ledger, query, pl.Schema({"seconds": pl.Float64()})).to_series()


def _frame(ledger: Ledger, query: str, schema: pl.Schema) -> pl.DataFrame:
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in ledger.batches(query)]
    return pl.concat([pl.DataFrame(schema=schema), *frames])
