"""What an inventory or the service tells about the image sets that a list names."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import polars as pl

from bulkedit import inventories, plans
from bulkedit._concurrency import for_each
from bulkedit._words import plural
from bulkedit.client.connect import Connection, connect
from bulkedit.client.reader import Reader, read_paces
from bulkedit.client.responses import Lost, Refused
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.notices import NOTICES, of_file
from bulkedit.errors import BulkeditError, UsageError
from bulkedit.options.listing import LookUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.client.contract import Client
    from bulkedit.options.listing import ListOptions
    from bulkedit.options.where import Where
    from bulkedit.plans.listener import Listener

_WORKERS: Final = 16  # concurrent GetImageSet requests: enough for 25/s if an answer takes half a second


def _selecting(listing: ListOptions) -> inventories.ResolveOptions:
    """Return the options for resolving selectors to image sets."""
    return inventories.ResolveOptions(
        on_missing=listing.on_missing,
        on_many=listing.on_many,
        on_many_patients=listing.on_many_patients,
        primary_only=listing.primary_only,
    )


def selected(
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


def unresolved(edits: pl.DataFrame, datastore_id: str, listing: ListOptions) -> pl.DataFrame:
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


def narrowing(narrowed: inventories.Narrowed | None) -> list[pl.DataFrame]:
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


def unknown_studies(found: inventories.Lookup) -> pl.DataFrame:
    """Return the notice (`NOTICES`) that image sets were not looked up."""
    if found.missed is None:
        return NOTICES.to_frame()
    text = f"The studies of image sets that rows name by image_set_id could not be looked up: {found.missed}"
    return of_file("studies-unknown", text, column="image_set_id", hint="To plan without them: `look_up=never`")


def studies_of(inventory: pl.DataFrame) -> pl.DataFrame | None:
    """Return studies and primary flags from an inventory (`bulkedit.plans.KNOWN`), None if it is empty."""
    study = inventories.trimmed("study_instance_uid")
    return inventory.select("image_set_id", "primary", study=study) if inventory.height else None


def series_of(inventory: pl.DataFrame) -> pl.DataFrame:
    """Return the series of each image set of an inventory: image_set_id, series String without padding."""
    return inventory.select("image_set_id", series=inventories.trimmed("series_instance_uid"))


def with_primaries(
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
