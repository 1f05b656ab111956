"""Makes lanes of calls from edits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._concurrency import concurrently
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import STORED_VALUE, Action, in_order
from bulkedit.options.listing import Contradictions, StudyWide
from bulkedit.plans import conflicts as checks
from bulkedit.plans import merge, rename_problems, renames, via_copy
from bulkedit.plans import study_wide as studies
from bulkedit.plans.batches import by_image_set, numbers
from bulkedit.plans.documents import documents, in_order_of
from bulkedit.plans.packing import Piece, Unit, pack
from bulkedit.plans.schema import CALLS, PLANNED_EDITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.dicom.dictionary import ServiceRules

_STAGE: Final = ["image_set_id", "segment", "stage"]
_CALL: Final = [*_STAGE, "bin"]
# Bytes reserved for a stored value that is read just before the call: two bytes per character of its VR's maximum
# length, at most `_ALLOWANCE`. If the stored values are longer, the engine splits the call.
_BYTES_PER_CHARACTER: Final = 2
_ALLOWANCE: Final = 256
_RENAMES: Final = {"SOPInstanceUID": 1, "SeriesInstanceUID": 2, "StudyInstanceUID": 3}  # see `Unit.renames`


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningSettings:
    """Settings of the planner."""

    rules: ServiceRules
    payload_limit: int  # bytes of each attributes document
    merge: bool = True  # False: one call per row
    whole_rows: bool = False  # the edits of a row are never split over calls: the call form
    contradictions: Contradictions = Contradictions.FAIL
    study_wide: StudyWide = StudyWide.AUTO
    via_copy: via_copy.ViaCopy | None = None  # None: set rows aside that a primary image set cannot take in place


@dataclass(frozen=True, slots=True)
class Plan:
    """Calls (`CALLS`), their edits (`PLANNED_EDITS`) and the rows that the planner set aside (`SET_ASIDE`)."""

    calls: pl.DataFrame
    edits: pl.DataFrame
    set_aside: pl.DataFrame
    already_satisfied: pl.DataFrame | None = None  # `PLANNED_EDITS` that were left out; call is null


def make(edits: pl.DataFrame, settings: PlanningSettings, known: pl.DataFrame | None = None) -> Plan:
    """Plan the calls for edits. Pure: reads and sends nothing.

    ``edits``: schema `EDITS` and image_set_id String, in the order of the list or of `in_order`. ``known``: study and
    primary flag of the image sets (`bulkedit.plans.study_wide.KNOWN`), None if unknown.

    Once the study-wide edits are found, each image set is planned from its own edits, so planning runs in batches. If
    no call can carry a part of a row, the whole row is set aside.
    """
    edits = in_order(edits)
    given = known
    chosen = via_copy.originals(edits, known if settings.via_copy else None)
    known = via_copy.as_copies(known, chosen)
    whole_rows = settings.whole_rows or not settings.merge
    found = list(concurrently(lambda batch: _problems(batch, settings), by_image_set(edits)))
    found.append(via_copy.restrictions(edits, chosen))
    found.append(studies.restrictions(edits, known, settings.rules))
    once = pl.concat(found).unique(["row", "code"], keep="first", maintain_order=True)
    problems = once.sort("row", maintain_order=True)
    good = renames.last(_without(edits, problems), whole_rows=whole_rows)
    numbered = good.with_row_index("edit").with_columns(unit=pl.col("row") if whole_rows else _units())
    numbered = numbered if whole_rows else renames.as_units(numbered)
    shared = studies.shared(
        numbered,
        known,
        mode=settings.study_wide if settings.rules.study_wide else StudyWide.OFF,
        contradictions=settings.contradictions,
        whole_rows=settings.whole_rows,
    )
    bad = shared.problems
    if not bad.height:
        done = list(concurrently(lambda batch: _planned(batch, shared.covered, settings), by_image_set(shared.edits)))
        bad = pl.concat([batch.large for batch in done]).unique("row").sort("row")
    if bad.height:
        # without these rows, other edits may no longer cover a whole study
        again = make(_without(good, bad), settings, given)
        return Plan(again.calls, again.edits, pl.concat([problems, bad, again.set_aside]).sort("row"))
    plan = _joined(good, done, shared.places, problems)
    if settings.via_copy is None:
        return plan
    calls, chained = via_copy.chained(plan.calls, plan.edits, chosen, settings.via_copy)
    return Plan(calls, chained, problems)


def _problems(edits: pl.DataFrame, settings: PlanningSettings) -> pl.DataFrame:
    """Rows that contradict other rows: schema `SET_ASIDE`."""
    in_doubt = settings.contradictions is Contradictions.FAIL
    whole_rows = settings.whole_rows or not settings.merge
    return pl.concat(
        [
            checks.problems(edits, settings.contradictions),
            rename_problems.problems(edits, whole_rows=whole_rows, in_doubt=in_doubt),
        ]
    )


def _units() -> pl.Expr:
    """Each edit is a unit, but the edits of a row that names a version are one: only one write can expect a version."""
    together = pl.col("edit").min().over("row", "image_set_id")
    return pl.when(pl.col("version").is_null()).then("edit").otherwise(together)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The plan of some image sets."""

    calls: pl.DataFrame  # keys `_CALL`, call UInt32 (0, 1, … in the batch), and the columns made from edits
    carried: pl.DataFrame  # columns `_CARRIED`: one row per edit
    large: pl.DataFrame  # SET_ASIDE: rows that no call can carry


_CARRIED: Final = ["edit", "unit", "call", "sent", "same_as", "study_wide"]  # columns that planning adds to an edit


def _planned(edits: pl.DataFrame, covered: pl.DataFrame, settings: PlanningSettings) -> _Batch:
    staged = merge.stages(edits) if settings.merge else merge.each_alone(edits)
    calls, staged = _packed(_with_covered(staged, covered), settings.payload_limit)
    large = _too_large(calls, staged, settings.payload_limit)
    return _Batch(calls, staged.select(_CARRIED), large)


def _with_covered(staged: pl.DataFrame, covered: pl.DataFrame) -> pl.DataFrame:
    """Put each covered edit into the stage of the edit that covers it."""
    if not covered.height:
        return staged
    of_theirs = staged.select("segment", "stage", same_as="edit")
    follow = covered.join(of_theirs, on="same_as").with_columns(sent=pl.lit(value=False))
    return pl.concat([staged, follow], how="diagonal")


def _without(edits: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
    return edits.join(bad.select("row"), on="row", how="anti", maintain_order="left") if bad.height else edits


def _packed(staged: pl.DataFrame, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return calls with their documents, and the edits with ``call`` UInt32 and ``bin`` UInt32 (call of the stage).

    Calls: keys `_CALL`, ``call`` UInt32 (0, 1, …), and the columns of `CALLS` that are made from edits.
    """
    staged = _numbered(staged.with_columns(bin=pl.lit(0, pl.UInt32)))
    calls = written(staged)
    over = calls.filter(pl.col("bytes") > limit)
    if not over.height:
        return calls, staged
    tight = _numbered(_binned(staged.join(over, on="call", how="semi").drop("call"), limit))
    tight = tight.with_columns(pl.col("call") + calls.height)
    staged = pl.concat([staged.join(over, on="call", how="anti"), tight], how="diagonal")
    calls = pl.concat([calls.join(over, on="call", how="anti"), written(tight)])
    return _renumbered(calls, staged)


def _numbered(staged: pl.DataFrame) -> pl.DataFrame:
    """Add call UInt32, the same for edits of one call (`_CALL`), and sort by it."""
    # mostly all three are 0 (one call per image set), so the image set alone is compared
    parted = [name for name in _CALL[1:] if staged.get_column(name).max() != 0]
    numbered = staged.with_columns(call=numbers(staged.select("image_set_id", *parted)))
    # by edit, so that `bulkedit.plans.agreement` makes the same payload again from a saved plan
    return in_order_of("call", numbered if _rising(numbered.get_column("edit")) else numbered.sort("edit"))


def _renumbered(calls: pl.DataFrame, staged: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number the calls without gaps."""
    new = calls.select("call").with_row_index("number")
    return (
        calls.drop("call").with_row_index("call"),
        staged.join(new, on="call").drop("call").rename({"number": "call"}),
    )


def written(staged: pl.DataFrame, keys: Sequence[str] = _CALL) -> pl.DataFrame:
    """Return one row per call, by number, with documents and their size, including bytes for values still to be read.

    ``staged`` has ``call`` UInt32 and is sorted by call, then edit. ``keys``: columns to keep unchanged.
    """
    alone = staged.select((pl.col("unit") == pl.col("edit")).all()).item()
    heads = staged.group_by("call", maintain_order=True).agg(
        pl.col(*keys, "version", "revert_to").first(),
        pl.col("study_wide").any(),
        # a superseded edit is not sent, so its force does not count
        force=(pl.col("force") & pl.col("sent")).any(),
        first=pl.col("row").min(),
        edits=pl.len(),
        units=pl.len() if alone else pl.col("unit").n_unique(),
    )
    sent = staged if staged["sent"].all() else staged.filter("sent")
    sizes = heads.join(documents(sent), on="call", how="left", maintain_order="left")
    sizes = sizes.join(_allowance(sent), on="call", how="left", maintain_order="left")
    removable = pl.col("removable").str.len_bytes() + pl.col("allowance").fill_null(0)
    return sizes.with_columns(
        pl.col("lookup").fill_null(value=False),
        bytes=pl.max_horizontal(pl.col("updatable").str.len_bytes(), removable).fill_null(0),
    ).drop("allowance")


def _allowance(sent: pl.DataFrame) -> pl.DataFrame:
    """Bytes to reserve in each call for stored values that are read just before it: call, allowance UInt32."""
    lookups = sent.lazy().filter((pl.col("action") == Action.REMOVE) & (pl.col("value") == STORED_VALUE))
    lengths = dicom.dictionary().lazy().select("attribute", "max_length")
    return (
        lookups.join(lengths, on="attribute", how="left")
        .group_by("call")
        .agg(allowance=pl.min_horizontal(pl.col("max_length") * _BYTES_PER_CHARACTER, pl.lit(_ALLOWANCE)).sum())
        .collect()
    )


def _binned(staged: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Distribute the edits of stages over the payload limit to bins."""
    lengths = {row[0]: row[1] for row in dicom.dictionary().select("attribute", "max_length").iter_rows()}
    parts = []
    for _, stage in staged.group_by(_STAGE, maintain_order=True):
        units: dict[int, Unit] = {}
        for edit in stage.filter("sent").iter_rows(named=True):
            unit = units.setdefault(edit["unit"], Unit(edit["unit"], [], [], row=edit["row"]))
            unit.renames = max(unit.renames, _RENAMES.get(edit["attribute"], 0))
            pieces = unit.updates if edit["action"] == Action.SET else unit.removals
            pieces += _pieces(edit, lengths)
        bins = {unit: number for number, call in enumerate(pack(list(units.values()), limit)) for unit in call}
        parts.append(_follow(stage.with_columns(bin=pl.col("unit").replace_strict(bins, default=None))))
    return pl.concat(parts).with_columns(pl.col("bin").cast(pl.UInt32))


def _follow(stage: pl.DataFrame) -> pl.DataFrame:
    """Put each superseded edit into the bin of the edit that superseded it."""
    sent = stage.filter("sent").select(*merge.ATTRIBUTE, taken=pl.col("bin"))
    followed = stage.join(sent.unique(merge.ATTRIBUTE, keep="last"), on=merge.ATTRIBUTE, how="left", nulls_equal=True)
    return followed.with_columns(bin=pl.coalesce("bin", "taken", pl.lit(0))).drop("taken")


def _pieces(edit: dict[str, object], lengths: dict[str, int | None]) -> list[Piece]:
    """Return an edit as members of a document."""
    series, instance, name = edit["series_uid"], edit["instance_uid"], edit["attribute"]
    path: tuple[str, ...] = ("Patient",) if edit["level"] == dicom.Level.PATIENT else ("Study",)
    if series is not None:
        path = (*path, "Series", str(series))
    if instance is not None:
        path = (*path, "Instances", str(instance))
    if name is None:
        return [Piece(path[:-1], path[-1], 2)]
    size = len(str(edit["value"]).encode())
    if edit["action"] == Action.REMOVE and edit["value"] == STORED_VALUE:
        size += min((lengths.get(str(name)) or _ALLOWANCE) * _BYTES_PER_CHARACTER, _ALLOWANCE)
    pieces = [Piece((*path, "DICOM"), str(name), size)]
    if edit["action"] == Action.SET and edit["vr"] is not None:
        pieces.append(Piece((*path, "DICOMVRs"), str(name), len(str(edit["vr"])) + 2))
    return pieces


def _too_large(calls: pl.DataFrame, staged: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Rows whose call is over the payload limit, although it contains nothing else."""
    asked = staged.filter(pl.col("sent") | pl.col("same_as").is_not_null())
    over = calls.filter(pl.col("bytes") > limit).select("call", "bytes").join(asked, on="call")
    return (
        over.unique("row")
        .sort("row")
        .select(
            "row",
            column=pl.lit(None, pl.String),
            code=pl.lit("payload-too-large"),
            problem=pl.format("needs a call of {} bytes; the service accepts at most {}.", "bytes", pl.lit(limit)),
            likely=pl.lit("The quota on the payload of UpdateImageSetMetadata is 10 KB unless AWS has raised it."),
            hint=pl.lit("Split the row, or set the raised quota with `payload_limit`."),
        )
        .cast(SET_ASIDE)
    )


def _laned(calls: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Add the sort keys lane_of String, phase and kind, and lead String, the image set that the request names.

    Until the calls are numbered, ``image_set_id`` may be a place (`bulkedit.plans.study_wide.Shared`).
    """
    if not places.height:
        first = pl.lit(0, pl.UInt32)
        return calls.with_columns(lane_of="image_set_id", phase=first, kind=first, lead="image_set_id")
    placed = calls.join(places, left_on="image_set_id", right_on="place", how="left", maintain_order="left")
    return placed.with_columns(
        pl.col("phase", "kind").fill_null(0),
        lane_of=pl.coalesce("lane", "image_set_id"),
        lead=pl.coalesce("lead", "image_set_id"),
    ).drop("lane")


def _joined(good: pl.DataFrame, done: list[_Batch], places: pl.DataFrame, problems: pl.DataFrame) -> Plan:
    """Number lanes and calls. Longer lanes come first, so that a run does not end with one long lane.

    ``good``: the edits by number.
    """
    before = itertools.accumulate((batch.calls.height for batch in done), initial=0)
    carried = pl.concat(
        [batch.carried.with_columns(pl.col("call") + n) for batch, n in zip(done, before, strict=False)], rechunk=True
    )
    calls = pl.concat([batch.calls for batch in done], rechunk=True).drop("call").with_row_index("found")
    ordered = _ordered(_laned(calls, places)).with_row_index("call")
    number = ordered.sort("found").get_column("call")
    carried = carried.with_columns(call=number.gather(carried.get_column("call")))
    listed = good.drop("selector", "key", "study_wide")
    in_place = carried.height == listed.height and _rising(carried.get_column("edit"))
    if not (in_place and carried.get_column("call").is_sorted()):
        carried = carried.sort("call", "edit")
        listed = _gathered(listed, carried.get_column("edit"))
    edits = listed.hstack(carried)
    return Plan(
        ordered.with_columns(image_set_id="lead", copy_step=pl.lit(None, pl.String)).select(CALLS.names()).cast(CALLS),
        edits.select(PLANNED_EDITS.names()).cast(PLANNED_EDITS),
        problems,
    )


def _ordered(calls: pl.DataFrame) -> pl.DataFrame:
    """Sort calls into the order in which they are sent, and add lane UInt32."""
    if _rising(calls.get_column("first")) and calls.get_column("lane_of").n_unique() == calls.height:
        # one call per lane, already in list order
        return calls.with_columns(lane=pl.int_range(pl.len(), dtype=pl.UInt32))
    order = ["lane_of", "phase", "kind", *_CALL]
    sizes = calls.with_columns(length=pl.len().over("lane_of"), lane_first=pl.col("first").min().over("lane_of"))
    sorted_ = sizes.sort("length", "lane_first", *order, descending=[True, *[False] * 8])
    return sorted_.with_columns(lane=pl.col("lane_of").rle_id())


def _rising(numbers: pl.Series) -> bool:
    """Whether each number is larger than the one before it."""
    return numbers.is_sorted() and bool((numbers != numbers.shift()).all())


def _gathered(frame: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Gather rows by position. All-null columns are created instead: gathering them costs memory, creating does not."""
    empty = [column.name for column in frame if column.null_count() == frame.height]
    filled = frame.select(pl.exclude(empty).gather(places))
    return filled.with_columns(pl.lit(None, frame.schema[name]).alias(name) for name in empty)
