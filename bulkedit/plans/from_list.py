"""Makes a saved plan from an edit list: read, check, look up selectors, merge, estimate, save."""

from __future__ import annotations

import io
import random
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import anyio
import polars as pl

from bulkedit import inventories, plans
from bulkedit._concurrency import for_each
from bulkedit._files import draft_file, new_id
from bulkedit._version import __version__
from bulkedit._words import plural
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import parse_rate, parse_read_pace
from bulkedit.client.reader import Reader, read_paces
from bulkedit.client.responses import Lost, Refused
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import SET_ASIDE, ReadOptions, rows_without_edits
from bulkedit.edits import read as read_list
from bulkedit.edits.edit import in_order
from bulkedit.edits.frame_files import writing
from bulkedit.edits.notices import NOTICES, noticed, of_file, summed
from bulkedit.errors import BadRowsError, BulkeditError, EditListError, UsageError
from bulkedit.options.listing import LookUp, OnManyPatients
from bulkedit.options.shared import parse_datastore_id
from bulkedit.plans import unchecked
from bulkedit.plans.bad_rows import in_columns_of, with_reasons
from bulkedit.plans.bad_rows import refused as refused_list
from bulkedit.plans.chains import followed
from bulkedit.plans.read_first import ReadCounters, compared_with_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from bulkedit.client.contract import Client
    from bulkedit.edits import EditList
    from bulkedit.options.listing import ListOptions
    from bulkedit.options.where import Where
    from bulkedit.plans import SavedPlan
    from bulkedit.plans.counts import NoticeRecord, PlanAbout, PlanCounts

UNNAMED: Final = "the frame"  # name of a list that is neither a file nor standard input
_WORKERS: Final = 16  # concurrent GetImageSet requests: enough for 25/s if an answer takes half a second


class Listener:
    """Callbacks of `plan_list`; override the ones that you need. They must not block."""

    def left_out(self, applied: int, never_planned: int) -> None:
        """Lines of a result file were skipped: ``applied`` already, or ``never_planned`` (counts)."""

    def set_aside(self, bad: pl.DataFrame, file: Path) -> None:
        """Rows with problems (`bulkedit.edits.SET_ASIDE`) were left out of the plan and written to ``file``."""

    def looking_up(self, counters: Callable[[], inventories.SearchCounters]) -> AbstractAsyncContextManager[None]:
        """Return a context that is entered while image sets are looked up; ``counters`` returns the progress."""
        del counters
        return nullcontext()

    def will_read(self, counters: ReadCounters) -> None:
        """``counters.total`` image sets will be read, to find edits that are already satisfied."""

    def reading(self, counters: Callable[[], ReadCounters]) -> AbstractAsyncContextManager[None]:
        """Return a context that is entered while image sets are read; ``counters`` returns the progress."""
        del counters
        return nullcontext()


def reading(listing: ListOptions) -> ReadOptions:
    """Return the options of the list reader. Raises UsageError."""
    return ReadOptions(
        map=_mapping(listing.map or []),
        ignore=listing.ignore or [],
        empty=listing.empty,
        force=listing.force,
        unchecked=listing.unchecked,
        rules=dicom.RULES[listing.service_version],
        format=listing.format,
        numbers_are_text=listing.numbers_are_text,
        sheet=listing.sheet,
        hidden_rows=listing.hidden_rows,
        assigning_authority=listing.assigning_authority,
    )


def _selecting(listing: ListOptions) -> inventories.ResolveOptions:
    """Return the options for resolving selectors to image sets."""
    return inventories.ResolveOptions(
        on_missing=listing.on_missing,
        on_many=listing.on_many,
        on_many_patients=listing.on_many_patients,
        primary_only=listing.primary_only,
    )


def _planning(listing: ListOptions, form: str) -> plans.PlanningSettings:
    """Return the planner's settings for a list of this form. Raises UsageError."""
    if listing.delete_originals and not listing.via_copy:
        raise UsageError("`delete_originals` needs `via_copy`.")
    rules = dicom.RULES[listing.service_version]
    if listing.study_wide is plans.StudyWide.ON and not rules.study_wide:
        raise UsageError(
            f"the service of {rules.version} has no study-wide calls.",
            hint="Omit `study_wide`, or plan for a newer service: `service_version=2026`",
        )
    return plans.PlanningSettings(
        rules=rules,
        payload_limit=listing.payload_limit or rules.payload_limit,
        merge=not listing.no_merge,
        whole_rows=form == "call",
        contradictions=listing.on_contradiction,
        study_wide=listing.study_wide if rules.study_wide else plans.StudyWide.OFF,
        via_copy=plans.ViaCopy(delete_originals=listing.delete_originals) if listing.via_copy else None,
    )


def _quotas(listing: ListOptions) -> plans.Quotas:
    """Return the quotas for the estimate. Raises UsageError."""
    return plans.Quotas(current=parse_rate(listing.quota), raised=parse_rate(listing.raised_quota))


def check(listing: ListOptions) -> None:
    """Raise UsageError for an invalid option, before anything is read."""
    reading(listing), _planning(listing, "tidy"), _quotas(listing), parse_read_pace(listing.read_rate)
    if listing.condition is None:
        return
    inventories.condition_of(listing.condition)
    if listing.inventory is None:
        raise UsageError(
            "`condition` needs an inventory, because HealthImaging cannot search by conditions.",
            hint="Take an inventory (bulkedit inventory -o FILE) and plan with it: `inventory=FILE`",
        )


def _mapping(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError("`map` takes NAME=COLUMN.", hint="For example: `map=accession_number=Acc`")
    return {name.strip(): column for name, column in (pair.split("=", 1) for pair in pairs)}


def plan_list(
    source: str | io.BytesIO,
    datastore_id: str | None,
    listing: ListOptions,
    *,
    folder: Path | None,
    where: Where,
    listener: Listener | None = None,
) -> SavedPlan:
    """Read and check an edit list, look up its selectors, plan it and save the plan. Blocks.

    ``source``: path of a file, ``-`` for standard input, or the bytes of a list without a name. ``datastore_id``: None
    if the list names it. ``folder``: new folder of the plan, ``plans/<id>`` if None. ``listener``: callbacks.

    Raises EditListError if the list cannot be read, BadRowsError if rows cannot be planned and `bad_rows` is not set,
    UsageError for options, PlanError if the folder exists, and the errors of `connect` if the service is called.

    Example: ``plan_list("edits.csv", DATASTORE_ID, ListOptions(), folder=None, where=Where()).counts["calls"]``
    """
    check(listing)
    if datastore_id:
        parse_datastore_id(datastore_id)
    listener = listener or Listener()
    file = io.BytesIO(sys.stdin.buffer.read()) if source == "-" else source
    source = source if isinstance(source, str) else UNNAMED
    found = _read(file, reading(listing), source)
    if found.applied or found.never_planned:
        listener.left_out(found.applied, found.never_planned)
    datastore_id = _datastore(datastore_id, found)
    settings = _planning(listing, found.form)
    chained = followed(found.edits, listing.chains)
    selected, narrowed, looked_up = _selected(
        _without_rows(chained.edits, chained.set_aside),
        datastore_id,
        # a list that is refused anyway is refused without asking the service about the studies of its image sets
        listing if found.set_aside.is_empty() or listing.bad_rows else replace(listing, look_up=LookUp.NEVER),
        settings,
        where=where,
        listener=listener,
    )
    known = _known(looked_up.inventory)
    if settings.via_copy is not None:
        known = _with_primaries(selected.edits, known, datastore_id, listing, where)
    if settings.study_wide is plans.StudyWide.ON and plans.edits_of_unknown_study(selected.edits, known):
        raise UsageError(
            "the list names image sets whose study, or whether they are primary, is unknown.",
            where=source,
            likely="`study_wide=on` needs all image sets of each study.",
            hint="Take an inventory (bulkedit inventory -o FILE) and plan with it: `inventory=FILE`",
        )
    elsewhere = plans.other_series(selected.edits, _series(looked_up.inventory))
    edits = _without_rows(selected.edits, elsewhere)
    also = _unresolved(found.of_bad_rows, datastore_id, listing)
    refused = pl.concat([found.set_aside, also, chained.set_aside, selected.set_aside, elsewhere])

    def completed(edits: pl.DataFrame, refused: pl.DataFrame) -> tuple[plans.Plan, pl.DataFrame]:
        """Return the plan of these edits, and all rows that are set aside."""
        made = plans.make(edits, settings, known)
        bad = in_columns_of(found.form, pl.concat([refused, made.set_aside])).sort("row", maintain_order=True)
        _decide_bad_rows(found, bad, listing, file, source=source, listener=listener)
        if not made.calls.height:
            raise BadRowsError("no row of the list can be planned.", where=source)
        return made, bad

    made, bad = completed(edits, refused)
    counters = ReadCounters(0)
    if listing.skip_satisfied:
        good, counters = _read_store(_without_rows(edits, bad), datastore_id, listing, where=where, listener=listener)
        seen = [plans.no_such_place(good)]
        if listing.on_many_patients is OnManyPatients.FAIL:
            seen.append(plans.of_several_issuers(good))
        misplaced = pl.concat(seen)
        if misplaced.height:
            made, bad = completed(_without_rows(edits, misplaced), pl.concat([refused, misplaced]))
        made = _without_satisfied(made, _without_rows(good, bad), settings, known)
    notices = [
        *_narrowing(narrowed),
        found.notices,
        chained.notices,
        selected.notices,
        _unknown_studies(looked_up),
        unchecked.notice_of(made.edits.lazy()),
    ]
    left_unchecked = unchecked.counted(made.edits.lazy())
    now = datetime.now(UTC)
    inconsistent = plans.inconsistent_studies_of(made.edits, known)
    counts: PlanCounts = {
        **plans.estimate(made, _quotas(listing), inventory=looked_up.inventory, known=known).as_json(),
        "rows": found.rows,
        "set_aside": bad.get_column("row").n_unique(),
        "skipped": selected.skipped.get_column("row").n_unique(),
        "narrowed_rows": 0 if narrowed is None else narrowed.left_out.height,
        "narrowed_image_sets": 0 if narrowed is None else narrowed.image_sets,
        "searches": looked_up.counters.reads.requests,
        "edits_of_unknown_study": plans.edits_of_unknown_study(made.edits, known),
        "empty": found.idle.height,
        "already_satisfied": 0 if made.already_satisfied is None else made.already_satisfied.height,
        "image_sets_read": counters.read,
        "image_sets_not_read": counters.archived + counters.unread,
        "inconsistent_studies": inconsistent.drop_nulls("attribute").get_column("study").n_unique(),
        "unchecked_values": sum(left_unchecked.values()),
    }
    about: PlanAbout = {
        "tool": f"bulkedit {__version__}",
        "created": now.isoformat(timespec="seconds"),
        "datastore_id": datastore_id,
        "list": {"name": source, "sha256": found.digest, "form": found.form, "rows": found.rows},
        "settings": {
            "service_version": settings.rules.version,
            "payload_limit": settings.payload_limit,
            "force": listing.force,
            "unchecked": listing.unchecked,
            "merge": settings.merge,
            "study_wide": str(settings.study_wide),
            "via_copy": listing.via_copy,
            "skip_satisfied": listing.skip_satisfied,
            "narrowed": narrowed is not None,  # not the condition, which may name patients
        },
        "counts": counts,
        "unchecked": left_unchecked,
        "warnings": plans.warnings(inconsistent),
        "notices": cast("list[NoticeRecord]", summed([*notices, _divided_rows(made, counts)]).to_dicts()),
    }
    left_out = [] if narrowed is None else [narrowed.left_out]
    unplanned = pl.concat([bad, selected.skipped, *left_out, rows_without_edits(found.idle)]).sort(
        "row", maintain_order=True
    )
    return plans.save(replace(made, set_aside=unplanned), folder or Path("plans") / new_id(now), about)


def _divided_rows(made: plans.Plan, counts: PlanCounts) -> pl.DataFrame:
    """Return a notice of the rows that are in several calls."""
    if not counts.get("rows_in_several_calls"):
        return NOTICES.to_frame()
    return noticed(
        plans.rows_in_several_calls(made),
        "rows-in-several-calls",
        pl.lit(value=True),
        "Cells of a row are in several calls, so the row can end partly applied.",
        hint="Each cell has its own outcome, so such a row can be in several result files.",
    )


def _read(file: str | io.BytesIO, options: ReadOptions, source: str) -> EditList:
    try:
        return read_list(file, options)
    except EditListError as error:
        if source == UNNAMED:
            error.where = (error.where or "").replace("standard input", UNNAMED)
        raise


def _without_rows(edits: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
    return edits.join(bad.select("row"), on="row", how="anti", maintain_order="left") if bad.height else edits


def _read_store(
    edits: pl.DataFrame, datastore_id: str, listing: ListOptions, *, where: Where, listener: Listener
) -> tuple[pl.DataFrame, ReadCounters]:
    """Return the edits in the order of application, compared with their image sets (`compared_with_store`)."""
    counters = ReadCounters(edits.get_column("image_set_id").n_unique())
    listener.will_read(counters)
    compared = compared_with_store(
        in_order(edits),
        datastore_id=datastore_id,
        read_rate=listing.read_rate,
        where=where,
        counters=counters,
        showing=listener.reading,
    )
    return compared, counters


def _without_satisfied(
    made: plans.Plan, good: pl.DataFrame, settings: plans.PlanningSettings, known: pl.DataFrame | None
) -> plans.Plan:
    """Return the plan without the edits that are already satisfied and can be left out.

    ``made``: the plan with all edits; ``good``: its edits in the order of application, with ``already_satisfied``
    Boolean. `bulkedit.plans.can_leave_out` keeps every other edit plannable; if one is not, nothing is left out.
    """
    omitted = plans.can_leave_out(good, known, settings)
    good = good.drop("already_satisfied", "missing", "issuer")
    rest = plans.make(good.filter(~omitted), settings, known)
    if rest.set_aside.height:
        return made
    left_out = good.with_row_index("edit").filter(omitted)
    absent = {name: dtype for name, dtype in plans.PLANNED_EDITS.items() if name not in left_out.columns}
    left_out = left_out.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name != "sent"
    ).with_columns(sent=pl.lit(value=False))
    satisfied = left_out.select(plans.PLANNED_EDITS.names()).cast(plans.PLANNED_EDITS)
    return replace(rest, already_satisfied=satisfied)


def _selected(
    edits: pl.DataFrame,
    datastore_id: str,
    listing: ListOptions,
    settings: plans.PlanningSettings,
    *,
    where: Where,
    listener: Listener,
) -> tuple[inventories.Resolved, inventories.Narrowed | None, inventories.Lookup]:
    """Return the image sets that the rows name, what a condition leaves out, and what was found about them.

    Calls the service only if there is no inventory file, and rows use a selector other than image_set_id, or need to
    know the study of an image set. Only the former is an error if the service cannot be reached.
    """
    nothing = pl.DataFrame(schema=inventories.INVENTORY)
    found = inventories.Lookup(nothing, "none", inventories.SearchCounters(), whole_studies=False)
    ids, named = _ids_to_look_up(edits, listing, settings), (edits.get_column("selector") != "image_set_id").any()
    if listing.inventory is not None:
        found = inventories.lookup_in_file(listing.inventory, edits, datastore_id)
    elif ids or named:
        asked = partial(_looked_up, edits, ids, datastore_id, listing, settings, where=where, listener=listener)
        try:
            found = anyio.run(asked)
        except BulkeditError as error:
            if named:
                raise
            found = replace(found, missed=error.what)
    if listing.condition is not None:
        return *_narrowed(edits, found.inventory, listing.condition, _selecting(listing)), found
    return inventories.resolve(edits, found.inventory, _selecting(listing)), None, found


def _unresolved(edits: pl.DataFrame, datastore_id: str, listing: ListOptions) -> pl.DataFrame:
    """Return the rows (`SET_ASIDE`) that have other problems and do not resolve either, so that both are reported.

    Only with an inventory, because searches for rows that are refused anyway would take long.
    """
    if listing.inventory is None or edits.is_empty():
        return pl.DataFrame(schema=SET_ASIDE)
    known = inventories.lookup_in_file(listing.inventory, edits, datastore_id).inventory
    return inventories.resolve(edits, known, _selecting(listing)).set_aside


def _narrowed(
    edits: pl.DataFrame, inventory: pl.DataFrame, condition: str, selecting: inventories.ResolveOptions
) -> tuple[inventories.Resolved, inventories.Narrowed]:
    """Return what the rows name and meets the condition. Raises UsageError if nothing does."""
    narrowed = inventories.resolve_narrowed(edits, inventory, inventories.condition_of(condition), selecting)
    if narrowed.left_out.height and narrowed.resolved.edits.is_empty() and narrowed.resolved.set_aside.is_empty():
        raise UsageError(
            "no image set that the list names meets `condition`.",
            likely="It is mistyped, or the inventory is older than the image sets.",
            hint="See what meets it: bulkedit inventory --from INVENTORY --where CONDITION -o FILE",
        )
    return narrowed.resolved, narrowed


def _narrowing(narrowed: inventories.Narrowed | None) -> list[pl.DataFrame]:
    """Return the notice of image sets for which a condition is not decided."""
    if narrowed is None or not narrowed.undecided:
        return []
    lack = plural(narrowed.undecided, "image set lacks", "image sets lack")
    return [of_file("condition-undecided", f"{lack} a value that `condition` compares, so it does not hold for them.")]


def _ids_to_look_up(edits: pl.DataFrame, listing: ListOptions, settings: plans.PlanningSettings) -> list[str]:
    """Return the image sets that rows name by id and whose studies matter; none if there are too many."""
    if settings.study_wide is plans.StudyWide.OFF or listing.look_up is LookUp.NEVER:
        return []
    by_id = edits.lazy().filter(pl.col("selector") == "image_set_id", plans.is_top(), ~pl.col("study_wide"))
    for rows in (by_id.head(2 * inventories.AT_MOST), by_id):  # most lists with too many have them at the beginning
        ids = rows.select(pl.col("key").unique(maintain_order=True)).collect().get_column("key")
        if len(ids) > inventories.AT_MOST:
            return []
    return ids.to_list()


async def _looked_up(
    edits: pl.DataFrame,
    ids: list[str],
    datastore_id: str,
    listing: ListOptions,
    settings: plans.PlanningSettings,
    *,
    where: Where,
    listener: Listener,
) -> inventories.Lookup:
    """Return what the service tells of the image sets that rows name, and of ``ids`` if that is possible."""
    watched = inventories.SearchCounters()

    def watch(counters: inventories.SearchCounters) -> None:
        nonlocal watched
        watched = counters

    connection = Connection(datastore_id=datastore_id, **asdict(where))
    async with connect(connection) as client, listener.looking_up(lambda: watched):
        reader = Reader(client, read_paces(listing.read_rate), random.SystemRandom())
        found = await inventories.lookup(reader, edits, datastore_id=datastore_id, watch=watch)
        if settings.study_wide is plans.StudyWide.OFF:
            return found
        if ids:
            found = await _with_ids(client, reader, found, ids, watch)
        meant = inventories.resolve(edits, found.inventory, _selecting(listing)).edits.filter(plans.is_top())
        return await inventories.complete_studies(reader, found, meant, watch=watch)


async def _with_ids(
    client: Client,
    reader: Reader,
    found: inventories.Lookup,
    ids: list[str],
    watch: Callable[[inventories.SearchCounters], None],
) -> inventories.Lookup:
    """Add the image sets with these ids to those found, or say why not."""
    try:
        # the reader would try for two minutes, but a plan does without
        if found.source == "none" and isinstance(answer := await client.search(limit=1), Lost):
            return replace(found, missed=f"the service does not respond ({answer.cause}).")
        return await inventories.lookup_ids(reader, found, ids, watch=watch)
    except BulkeditError as error:
        return replace(found, missed=error.what)


def _unknown_studies(found: inventories.Lookup) -> pl.DataFrame:
    """Return the notice (`NOTICES`) that image sets were not looked up."""
    if found.missed is None:
        return NOTICES.to_frame()
    text = f"The studies of image sets that rows name by image_set_id could not be looked up: {found.missed}"
    return of_file("studies-unknown", text, column="image_set_id", hint="To plan without them: `look_up=never`")


def _known(inventory: pl.DataFrame) -> pl.DataFrame | None:
    """Return studies and primary flags from an inventory (`bulkedit.plans.KNOWN`), None if it is empty."""
    study = inventories.trimmed("study_instance_uid")
    return inventory.select("image_set_id", "primary", study=study) if inventory.height else None


def _series(inventory: pl.DataFrame) -> pl.DataFrame:
    """Return the series of each image set of an inventory: image_set_id, series String without padding."""
    return inventory.select("image_set_id", series=inventories.trimmed("series_instance_uid"))


def _with_primaries(
    edits: pl.DataFrame, known: pl.DataFrame | None, datastore_id: str, listing: ListOptions, where: Where
) -> pl.DataFrame | None:
    """Add to ``known`` whether the image sets with edits of a UID are primary: one GetImageSet each, if unknown."""
    decided = [] if known is None else known.drop_nulls("primary").get_column("image_set_id").to_list()
    unknown = [one for one in plans.may_need_copy(edits).to_list() if one not in set(decided)]
    if not unknown:
        return known
    asked = anyio.run(_ask_primaries, unknown, datastore_id, listing, where)
    kept = pl.DataFrame(schema=plans.KNOWN) if known is None else known.filter(~pl.col("image_set_id").is_in(unknown))
    return pl.concat([kept.select(plans.KNOWN.names()).cast(plans.KNOWN), asked])


async def _ask_primaries(ids: list[str], datastore_id: str, listing: ListOptions, where: Where) -> pl.DataFrame:
    async with connect(Connection(datastore_id=datastore_id, **asdict(where))) as client:
        return await primaries(Reader(client, read_paces(listing.read_rate), random.SystemRandom()), ids)


async def primaries(reader: Reader, ids: list[str]) -> pl.DataFrame:
    """Read whether image sets are primary: `KNOWN` in the order of ``ids``, null if the service does not return it.

    Sends concurrent GetImageSet requests. Raises the errors of `Reader`.
    """
    found: dict[str, bool | None] = {}

    async def ask(image_set_id: str) -> None:
        answer = await reader.image_set(image_set_id)
        found[image_set_id] = None if isinstance(answer, Refused) else answer.primary

    await for_each(ask, ids, at_once=_WORKERS)
    return pl.DataFrame([(one, None, found[one]) for one in ids], schema=plans.KNOWN, orient="row")


def _datastore(given: str | None, found: EditList) -> str:
    named = found.datastore_id
    if given and named and given != named:
        raise UsageError(
            "the rows of the list name another data store than `datastore_id`.", hint="Omit `datastore_id`."
        )
    if not (datastore_id := given or named):
        raise UsageError("no data store is named.", hint="Name it: `datastore_id=ID`")
    return datastore_id


def _decide_bad_rows(
    found: EditList,
    bad: pl.DataFrame,
    listing: ListOptions,
    file: str | io.BytesIO,
    *,
    source: str,
    listener: Listener,
) -> None:
    """Raise BadRowsError for rows that cannot be planned, or write them to the file of `bad_rows`, if set."""
    if not bad.height:
        return
    rows = bad.get_column("row").unique()
    if listing.bad_rows is None:
        raise refused_list(found, bad, source)
    raw = found.raw
    if raw["row"].n_unique() < len(rows):
        # the reader has not kept rows that only the planner refuses, so they are read again
        if isinstance(file, io.BytesIO):
            file.seek(0)
        raw = read_list(file, replace(reading(listing), keep_rows=rows.to_list())).raw
    with writing("the rows set aside", listing.bad_rows), draft_file(listing.bad_rows) as target:
        with_reasons(raw, bad, set(reading(listing).map.values())).write_csv(target)
    listener.set_aside(bad, listing.bad_rows)
