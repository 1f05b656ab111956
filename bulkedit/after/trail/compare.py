"""Compares the write requests of a run with events of CloudTrail. Reads and writes nothing but frames.

A request is found by its request id. If its answer was lost, it is inferred: from an event of the same operation, image
set and expected version, at that time, that was sent by bulkedit and by a principal of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.parsing import SERVICE_FAULTS, THROTTLES
from bulkedit.client.responses import CallState
from bulkedit.client.sent import ACCEPTED, LOST, WRITES

if TYPE_CHECKING:
    from collections.abc import Iterable

# clocks of AWS and of the sender differ by five minutes at most, and a signature is valid for five
SKEW_S: Final = 300.0
LIFETIME_S: Final = 600.0
# the service was in trouble, so its error does not show whether the request was carried out
_UNDECIDED: Final = sorted(SERVICE_FAULTS)
_THROTTLED: Final = sorted({*THROTTLES, "ServiceQuotaExceededException"})
BY_ID, BY_INFERENCE = "request id", "inference"

EVENTS: Final = pl.Schema(
    {
        "event_id": pl.String(),
        "request_id": pl.String(),
        "at": pl.Float64(),
        "name": pl.String(),
        "region": pl.String(),
        "principal": pl.String(),
        "by_bulkedit": pl.Boolean(),
        "image_set_id": pl.String(),
        "expected_version": pl.UInt32(),
        "error": pl.String(),
    }
)


class Finding(StrEnum):
    """What CloudTrail shows of a write request of the run, or of another sender's."""

    FOUND = "found"
    NOT_FOUND = "not found"  # the run has its acceptance, or its effect
    MORE_THAN_ONCE = "found more than once"
    CONTRADICTED = "contradicted"  # accepted according to one, refused according to the other
    REFUSED_NOT_FOUND = "refused, not found"  # CloudTrail need not have every refused request
    LOST_ACCEPTED = "lost, accepted"
    LOST_REFUSED = "lost, refused"
    LOST_NOT_FOUND = "lost, not found"  # it never arrived, or the files do not cover it
    OTHER = "another writer"


FINDINGS: Final = tuple(map(str, Finding))
_UNEVEN: Final = [str(one) for one in (Finding.NOT_FOUND, Finding.MORE_THAN_ONCE, Finding.CONTRADICTED)]
# states that deny that the lost request was carried out
_DENYING: Final = [str(CallState.CONFLICTED), str(CallState.FAILED)]

# one row per write request of the run, and per write of others to its image sets; no values
TRAIL: Final = pl.Schema(
    {
        "finding": pl.String(),
        "even": pl.Boolean(),  # nothing to look into
        "found_by": pl.String(),  # request id or inference
        "call": pl.UInt32(),  # null for another writer, like the next four
        "state": pl.String(),  # of the call, at its end
        "sent_result": pl.String(),  # as in the ledger; null if the process ended before an answer
        "answered_at": pl.Float64(),  # epoch seconds
        "request_id": pl.String(),
        "operation": pl.String(),
        "image_set_id": pl.String(),
        "expected_version": pl.UInt32(),
        "event_id": pl.String(),
        "event_at": pl.Float64(),  # epoch seconds
        "event_result": pl.String(),  # accepted, or the error code
        "events": pl.UInt32(),  # number of different events with this request id
        "principal": pl.String(),
        "by_bulkedit": pl.Boolean(),
        "region": pl.String(),
    }
)
# calls of others that only read, by whom
READERS: Final = pl.Schema({"principal": pl.String(), "name": pl.String(), "events": pl.UInt32()})


@dataclass(frozen=True, slots=True)
class SentByRun:
    """What a run has sent, from its plan and ledger."""

    # write requests: number UInt32 (unique), call, image_set_id, operation, request_id, result, at (Float64)
    writes: pl.DataFrame
    read_ids: pl.DataFrame  # request_id String of its reads
    # intents: call, image_set_id, operation (null: any), expected_version, begun (Float64, epoch seconds)
    intents: pl.DataFrame
    states: pl.DataFrame  # call, state, version: of every call that was begun
    image_sets: pl.DataFrame  # image_set_id: all that the run may have changed

    @property
    def span(self) -> tuple[float, float] | None:
        """Epoch seconds of the first and the last that was sent; None if nothing was."""
        times = pl.concat([self.writes.get_column("at"), self.intents.get_column("begun")])
        low, high = times.min(), times.max()
        return None if low is None or high is None else (float(low), float(high))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `compared`."""

    rows: pl.DataFrame  # `TRAIL`
    readers: pl.DataFrame  # `READERS`
    hidden: int  # writes of unknown senders during the run whose events do not name an image set


def compared(sent: SentByRun, events: pl.LazyFrame) -> Comparison:
    """Compare. ``events``: of the run's data store, or of none; columns `EVENTS`, in any order, also repeated."""
    writes = _with_intents(sent)
    known = writes.filter(pl.col("request_id").is_not_null()).select("request_id")
    ids = pl.concat([known, sent.read_ids]).unique().lazy()
    by_id = _collected(events.join(known.unique().lazy(), on="request_id", how="semi"))
    span = sent.span
    low, high = (span[0] - SKEW_S, span[1] + LIFETIME_S) if span else (0.0, 0.0)
    # an event without a request id is never that of the run; an anti join keeps it
    others = events.filter(pl.col("at").is_between(low, high)).join(ids, on="request_id", how="anti")
    written = pl.col("name").is_in(WRITES)
    hidden = _collected(others.filter(written & pl.col("image_set_id").is_null())).height
    strangers = others.join(sent.image_sets.lazy(), on="image_set_id", how="semi")
    unmatched = _collected(strangers.filter(written))
    reads = _collected(strangers.filter(~written).select(*_EVENT_KEY, "principal"))
    readers = reads.group_by("principal", "name").agg(events=pl.len()).sort("principal", "name")
    found = _found_by_id(writes, by_id)
    inferred = _inferred(found, sent, unmatched, _principals(by_id))
    taken = inferred.get_column("event_key") if inferred.height else pl.Series("event_key", [], dtype=pl.UInt32)
    foreign = unmatched.with_row_index("event_key").filter(~pl.col("event_key").is_in(taken.implode()))
    rows = pl.concat([_judged(found, inferred, sent.states), _of_others(foreign)], how="diagonal_relaxed")
    return Comparison(rows.select(TRAIL.names()).cast(TRAIL), readers.cast(READERS), hidden)


_EVENT_KEY: Final = ("event_id", "request_id", "at", "name")


def _collected(events: pl.LazyFrame) -> pl.DataFrame:
    """The events, each once: the same one can be in several files."""
    return events.collect(engine="streaming").unique(_EVENT_KEY, maintain_order=True)


def _with_intents(sent: SentByRun) -> pl.DataFrame:
    """The write requests, each with the last intent before it: expected_version and begun."""
    intents = sent.intents.select("call", "expected_version", "begun").sort("begun")
    return sent.writes.sort("at").join_asof(
        intents, left_on="at", right_on="begun", by="call", strategy="backward", coalesce=False, check_sortedness=False
    )


def _found_by_id(writes: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The write requests with the events that have their request id: one of them, and how many there are."""
    seen = (
        events.sort("at")
        .group_by("request_id", maintain_order=True)
        .agg(
            *(pl.col(name).first().alias(new) for name, new in _SEEN.items()),
            events=pl.col("event_id").n_unique(),
        )
    )
    return writes.join(seen, on="request_id", how="left", maintain_order="left")


_SEEN: Final = {
    "event_id": "event_id",
    "at": "event_at",
    "error": "error",
    "principal": "principal",
    "by_bulkedit": "by_bulkedit",
    "region": "region",
}


def _principals(by_id: pl.DataFrame) -> list[str]:
    return by_id.get_column("principal").unique().to_list()


def _inferred(found: pl.DataFrame, sent: SentByRun, unmatched: pl.DataFrame, principals: Iterable[str]) -> pl.DataFrame:
    """Events of requests whose id is not known: a row per event, with the number of the request, or null for an intent.

    Each event and each request is used once; those that are nearest in time first.
    """
    own = pl.col("by_bulkedit")
    if principals := list(principals):
        own &= pl.col("principal").is_in(principals)
    candidates = unmatched.with_row_index("event_key").filter(own)
    lost = found.filter(pl.col("events").is_null() & (pl.col("request_id").is_null() | _is_lost()))
    slots = pl.concat(
        [
            lost.select("number", *_SLOT, until=pl.col("at") + LIFETIME_S),
            _unanswered(found, sent.intents),
        ],
        how="diagonal_relaxed",
    ).with_row_index("slot")
    pairs = candidates.join(slots, on="image_set_id", suffix="_asked").filter(
        (pl.col("operation").is_null() | (pl.col("operation") == pl.col("name")))
        & (
            pl.col("expected_version").is_null()
            | pl.col("expected_version").eq_missing(pl.col("expected_version_asked"))
        )
        & pl.col("at").is_between(pl.col("begun") - SKEW_S, pl.col("until"))
    )
    nearest = pairs.with_columns(far=(pl.col("at") - pl.col("begun")).abs()).sort("far", "event_key", "slot")
    used_slots: set[int] = set()
    used_events: set[int] = set()
    chosen = []
    for place, (slot, event) in enumerate(nearest.select("slot", "event_key").iter_rows()):
        if slot not in used_slots and event not in used_events:
            used_slots.add(slot)
            used_events.add(event)
            chosen.append(place)
    return nearest[chosen]


_SLOT: Final = ("call", "image_set_id", "operation", "expected_version", "begun")


def _is_lost() -> pl.Expr:
    return pl.col("result").str.starts_with(LOST)


def _unanswered(found: pl.DataFrame, intents: pl.DataFrame) -> pl.DataFrame:
    """Intents whose request has no row, or only throttled ones: the process may have ended before the answer."""
    answered = found.filter(~pl.col("result").is_in(_THROTTLED)).select("call", "begun").unique()
    left = intents.join(answered, on=["call", "begun"], how="anti")
    last = found.group_by("call", "begun").agg(last=pl.col("at").max())
    left = left.join(last, on=["call", "begun"], how="left")
    return left.select(*_SLOT, until=pl.coalesce("last", "begun") + LIFETIME_S)


def _judged(found: pl.DataFrame, inferred: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """The findings of the run's own requests."""
    seen = inferred.select("number", *(pl.col(name).alias(new) for name, new in _SEEN.items()), events=pl.lit(1))
    by_inference = seen.filter(pl.col("number").is_not_null())
    rows = found.join(by_inference, on="number", how="left", suffix="_inferred", maintain_order="left")
    is_inferred = pl.col("events").is_null() & pl.col("events_inferred").is_not_null()
    rows = rows.with_columns(
        *(pl.coalesce(name, f"{name}_inferred").alias(name) for name in _SEEN.values() if name != "error"),
        error=pl.when(is_inferred).then("error_inferred").otherwise("error"),
        events=pl.coalesce("events", "events_inferred").fill_null(0),
        found_by=pl.when(pl.col("events").is_not_null())
        .then(pl.lit(BY_ID))
        .when(is_inferred)
        .then(pl.lit(BY_INFERENCE)),
    )
    # of a process that ended before the answer: the ledger has the intent only
    unanswered = inferred.filter(pl.col("number").is_null()).select(
        *_SLOT[:2],
        *(pl.col(name).alias(new) for name, new in _SEEN.items()),
        "request_id",
        operation="name",
        expected_version="expected_version_asked",
        events=pl.lit(1),
        found_by=pl.lit(BY_INFERENCE),
    )
    rows = pl.concat([rows, unanswered], how="diagonal_relaxed")
    rows = rows.join(states.select("call", "state", "version"), on="call", how="left", maintain_order="left")
    return _with_findings(rows)


def _with_findings(rows: pl.DataFrame) -> pl.DataFrame:
    accepted, lost = pl.col("result") == ACCEPTED, pl.col("result").is_null() | _is_lost()
    found, shown = pl.col("events") > 0, pl.col("error").is_null()
    undecided = pl.col("error").is_in(_UNDECIDED)
    # the run has seen the effect of a lost request, and CloudTrail has none that was accepted
    none_accepted = (found & shown).any().over("call").not_() & ~accepted.any().over("call")
    effect = (pl.col("state") == str(CallState.APPLIED)) & pl.col("version").is_not_null() & none_accepted
    finding = (
        pl.when(pl.col("events") > 1)
        .then(pl.lit(str(Finding.MORE_THAN_ONCE)))
        .when(lost & found & shown)
        .then(pl.lit(str(Finding.LOST_ACCEPTED)))
        .when(lost & found & ~undecided)
        .then(pl.lit(str(Finding.LOST_REFUSED)))
        .when(lost & found)
        .then(pl.lit(str(Finding.FOUND)))
        .when(lost & effect)
        .then(pl.lit(str(Finding.NOT_FOUND)))
        .when(lost)
        .then(pl.lit(str(Finding.LOST_NOT_FOUND)))
        .when(found & (accepted == shown))
        .then(pl.lit(str(Finding.FOUND)))
        .when(found)
        .then(pl.lit(str(Finding.CONTRADICTED)))
        .when(accepted)
        .then(pl.lit(str(Finding.NOT_FOUND)))
        .otherwise(pl.lit(str(Finding.REFUSED_NOT_FOUND)))
    )
    denied = (pl.col("finding") == str(Finding.LOST_ACCEPTED)) & pl.col("state").is_in(_DENYING)
    return rows.with_columns(finding=finding).with_columns(
        even=~(pl.col("finding").is_in(_UNEVEN) | denied.fill_null(value=False)),
        sent_result="result",
        answered_at="at",
        event_result=pl.when(found).then(pl.coalesce("error", pl.lit(ACCEPTED))),
    )


def _of_others(events: pl.DataFrame) -> pl.DataFrame:
    return events.select(
        "request_id",
        "image_set_id",
        "expected_version",
        "event_id",
        "principal",
        "by_bulkedit",
        "region",
        finding=pl.lit(str(Finding.OTHER)),
        even=pl.col("error").is_not_null(),
        operation="name",
        event_at="at",
        event_result=pl.coalesce("error", pl.lit(ACCEPTED)),
        events=pl.lit(1),
    ).sort("event_at")
