"""Finds identifiers that one row gives and another row changes, and follows them if that is asked for.

If a row changes patient A to B, and another one B to C, the list does not say whether the image sets of A end as B or
as C. Two merges mean C; rows that each mean the image sets as they are now mean B. If the last identifier of such a
*chain* is the first one, it is a *cycle*: a swap, or a mistake.

`Chains.FOLLOW` makes the list what its rows are one after another: image sets that get an identifier are also changed
by the rows that name it. These rows come later, whatever their place in the list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from bulkedit.dicom.dictionary import Level
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import IN_ORDER, Action
from bulkedit.edits.notices import NOTICES, noticed
from bulkedit.inventories import trimmed_key
from bulkedit.options.listing import Chains
from bulkedit.options.shared import SAME_ATTRIBUTE
from bulkedit.plans.conflicts import rows_set_aside

LONGEST: Final = 16  # identifiers of a chain that is followed; no series of merges has as many

_NAMES: Final = {attribute: selector for selector, attribute in SAME_ATTRIBUTE.items()}
_NODE: Final = ["selector", "key"]
_ABOUT: Final = ["of", "was", "attribute"]
_CHANGE: Final = ["action", "level", "attribute", "value", "vr", "force", "unchecked"]


@dataclass(frozen=True, slots=True)
class Followed:
    """The edits of a list, and what is to be said of its chains."""

    edits: pl.DataFrame  # the columns of the input; with `Chains.FOLLOW`, with the values of later rows
    set_aside: pl.DataFrame = field(default_factory=SET_ASIDE.to_frame)  # rows that cannot be planned
    notices: pl.DataFrame = field(default_factory=NOTICES.to_frame)


def followed(edits: pl.DataFrame, chains: Chains) -> Followed:
    """Find the chains of a list, and do with them as ``chains`` says.

    ``edits``: schema `bulkedit.edits.edit.EDITS`, in list order. Rows that are set aside are still among the edits.
    """
    given = _given(edits)
    if given.height:
        given = given.join(_named(edits, given), on=_NODE, how="semi", maintain_order="left")
        given = given.filter((pl.col("of") != pl.col("selector")) | (pl.col("was") != pl.col("key")))
    if not given.height:
        return Followed(edits)
    named = edits.with_columns(pl.col("selector").cast(pl.String), key=trimmed_key()).drop_nulls("key")
    changes = _changes(named)
    links = _measured(changes.unique(_NODE, keep="last", maintain_order=True))
    met = given.join(links, on=_NODE, how="left", maintain_order="left")
    if chains is Chains.FOLLOW:
        followable = _is_followable().fill_null(value=True)
        edits, notices = _with_later_values(edits, met.filter(followable), links.filter(followable), named)
        return Followed(edits, _questions(met.filter(~followable), changes), notices)
    if chains is Chains.FAIL and met.get_column("hops").count():
        return Followed(edits, _questions(met, changes))
    return Followed(edits, notices=_differences(met, named))


def _is_followable() -> pl.Expr:
    """Whether an identifier leads to a last one: not in a cycle, and not of a series, which no row renames twice."""
    return (pl.col("hops") <= LONGEST) & (pl.col("selector") != "series_instance_uid")


def _named(edits: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """Return what rows name by the kinds of identifiers that are given: selector, key String."""
    row = pl.col("row")  # the edits of a row are adjacent
    firsts = edits.filter(
        (row != row.shift()).fill_null(value=True),
        pl.col("selector").is_in(given.get_column("selector").unique().to_list()),
    )
    return firsts.select(pl.col("selector").cast(pl.String), key=trimmed_key())


def _given(edits: pl.DataFrame) -> pl.DataFrame:
    """Return the identifiers that rows give: row, of and was (selector and key of the row), selector and key String.

    ``selector`` and ``key`` are of a row that would name the image sets afterwards.
    """
    if (edits.get_column("selector") == "image_set_id").all():
        return edits.head(0)
    attribute = pl.col("attribute")
    text = pl.col("value").str.strip_prefix('"').str.strip_suffix('"')
    given = (
        edits.filter(attribute.is_in([*_NAMES]), pl.col("action") == Action.SET, pl.col("value").str.starts_with('"'))
        .select(
            *IN_ORDER,
            "value",
            of=pl.col("selector").cast(pl.String),
            was=trimmed_key(),
            selector=attribute.replace(_NAMES),
        )
        .with_columns(key=text)
    )
    escaped = pl.col("value").str.contains("\\", literal=True)
    if given.select(escaped.any()).item():
        decoded = given.filter(escaped).with_columns(key=pl.col("value").str.json_decode(pl.String))
        given = pl.concat([given.filter(~escaped), decoded]).sort("row", maintain_order=True)
    return given.with_columns(key=trimmed_key()).drop_nulls("key").drop("value")


def _changes(named: pl.DataFrame) -> pl.DataFrame:
    """Return the identifiers that rows change: selector, key, next String (or null), by UInt32 (the row), in order."""
    changes = named.filter(pl.col("attribute") == pl.col("selector").replace(SAME_ATTRIBUTE))
    other = _given(changes).filter(pl.col("was") != pl.col("key")).select(*IN_ORDER, "selector", key="was", next="key")
    removed = (pl.col("action") == Action.REMOVE) | (
        (pl.col("action") == Action.SET) & pl.col("value").is_in(["null", '""'])
    )
    none = changes.filter(removed).select(*IN_ORDER, "selector", "key", next=pl.lit(None, pl.String))
    both = pl.concat([other, none]).sort(_order(), maintain_order=True)
    return both.select("selector", "key", "next", by="row")


def _order() -> list[pl.Expr]:
    """Return the order in which rows are applied (`bulkedit.edits.edit.in_order`) as sort keys."""
    return [pl.col(name).fill_null(pl.lit(2**32)) for name in IN_ORDER]


def _measured(links: pl.DataFrame) -> pl.DataFrame:
    """Add ``hops`` UInt32: how often image sets with an identifier change it, more than there are links in a cycle.

    Each turn doubles the way that is known.
    """
    most = max(LONGEST, links.height)
    ways, onward = links.select(*_NODE, end="next", hops=pl.lit(1, pl.UInt32)), True
    while onward:
        more = ways.select("selector", end="key", then="end", more="hops")
        longer = ways.join(more, on=["selector", "end"], how="left", maintain_order="left")
        ways = longer.select(*_NODE, end=pl.coalesce("then", "end"), hops=pl.col("hops") + pl.col("more").fill_null(0))
        onward = ways.join(more, on=["selector", "end"], how="semi").filter(pl.col("hops") <= most).height > 0
    return links.join(ways.select(*_NODE, "hops"), on=_NODE, how="left", maintain_order="left")


def _questions(met: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that give an identifier of a chain, and those that change it: schema SET_ASIDE."""
    met = met.drop_nulls("hops")
    givers = met.select("row", "selector", "hops", other="by", gives=pl.lit(value=True))
    first = met.group_by(_NODE).agg(pl.col("hops").first(), other=pl.col("row").min())
    changers = changes.join(first, on=_NODE).select("selector", "hops", "other", row="by", gives=pl.lit(value=False))
    rows = pl.concat([givers, changers.select(givers.columns)]).sort("row", "gives", descending=[False, True])
    rows = rows.unique("row", keep="first", maintain_order=True).with_columns(column="selector")
    circle, followable = pl.col("hops") > max(LONGEST, changes.height), _is_followable()
    gives = pl.format("gives image sets the {} that row {} changes", "selector", "other")
    text = pl.when("gives").then(gives).otherwise(pl.format("changes the {} that row {} gives", "selector", "other"))
    found = [
        rows_set_aside(rows.filter(when), code, pl.format("{}" + end, text), likely, hint, column=pl.col("column"))
        for when, code, end, likely, hint in (
            (followable, "chain", ".", _CHAIN, _FOLLOW),
            (~followable & ~circle, "chain", ".", _CHAIN, _NOW),
            (circle, "cycle", ", and so on in a circle.", _CYCLE, _NOW),
        )
    ]
    return pl.concat(found).sort("row", maintain_order=True)


_CHAIN: Final = "The list does not say which of the two identifiers the image sets end with."
_CYCLE: Final = "Identifiers are exchanged, or a row has the old and the new one the wrong way round."
_NOW: Final = "If each row means the image sets that have its identifier now: `chains=as-written`"
_FOLLOW: Final = f"If they are merges, one after another, so that the last one counts: `chains=follow`. {_NOW}"


# what rows say of the image sets that get their identifier


def _later(met: pl.DataFrame, links: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Return what later rows say of the image sets of earlier ones, once for each attribute.

    of, was (selector and key of the earlier rows), by UInt32 (the later row), and `_CHANGE`.
    """
    said = named.filter(_is_shared()).sort(_order(), maintain_order=True).select(*_NODE, *_CHANGE, by="row")
    said = said.unique([*_NODE, "attribute"], keep="last", maintain_order=True)
    here = met.select(*_NODE, start="key").unique()
    found = here.head(0).join(said, on=_NODE)
    while here.height:
        more = pl.concat([found, here.join(said, on=_NODE).select(found.columns)])
        found = more.unique(["selector", "start", "attribute"], keep="last", maintain_order=True)
        here = here.join(links.select(*_NODE, "next"), on=_NODE).select("selector", "start", key="next")
    givers = met.sort(_order(), maintain_order=True).unique(["of", "was", "selector"], keep="last", maintain_order=True)
    told = givers.select("of", "was", "selector", start="key").join(found.drop("key"), on=["selector", "start"])
    return told.unique(_ABOUT, keep="last", maintain_order=True).select("of", "was", "by", *_CHANGE)


def _is_shared() -> pl.Expr:
    """Whether an edit is of an attribute that all image sets of a patient or a study may have."""
    return pl.col("attribute").is_not_null() & pl.col("level").is_in([str(Level.PATIENT), str(Level.STUDY)])


def _beside(edits: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Add to edits of the earlier rows what later ones say of the same attribute: `_CHANGE` as ``…_new``, and by."""
    told = later.rename({name: f"{name}_new" for name in _CHANGE if name != "attribute"})
    keyed = edits.with_columns(of=pl.col("selector").cast(pl.String), was=trimmed_key())
    return keyed.join(told, on=_ABOUT, how="left", maintain_order="left")


def _with_later_values(
    edits: pl.DataFrame, met: pl.DataFrame, links: pl.DataFrame, named: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the edits with the values of later rows, and a notice (`NOTICES`) that counts the rows that get them."""
    later = _later(met, links, named)
    own = _beside(edits, later)
    told = pl.col("by").is_not_null() & _is_shared()
    news = [pl.when(told).then(f"{name}_new").otherwise(name).alias(name) for name in _CHANGE if name != "attribute"]
    absent = later.join(own.filter(told), on=_ABOUT, how="anti")
    givers = met.group_by("of", "was").agg(pl.col("row").min())
    first = own.join(givers, on=["of", "was", "row"], how="semi").unique(["of", "was"], keep="first")
    nowhere = [pl.lit(None, pl.String).alias(name) for name in ("series_uid", "instance_uid")]
    more = absent.join(first.drop(*_CHANGE, "by"), on=["of", "was"]).with_columns(nowhere)
    changed = pl.concat([own.with_columns(news).select(edits.columns), more.select(edits.columns)])
    rows = pl.concat([own.filter(told & _differs()).select("row"), more.select("row")]).unique()
    return changed.sort("row", maintain_order=True), noticed(rows, "chains-followed", pl.lit(value=True), _FOLLOWED)


def _differs() -> pl.Expr:
    return pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in ("action", "value"))


_FOLLOWED: Final = (
    "The image sets of these rows get values of other rows too: of those that name the identifier which they get."
)


def _differences(met: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Return the notice (`NOTICES`) of rows that change image sets of a patient, but not those that become the same."""
    later = _later(met, pl.DataFrame(schema={**dict.fromkeys(_NODE, pl.String), "next": pl.String}), named)
    later = later.filter(pl.col("level") == Level.PATIENT, pl.col("attribute") != "PatientID")
    same = _beside(named, later).filter(pl.col("by").is_not_null() & ~_differs())
    rows = later.join(same, on=_ABOUT, how="anti").select(row="by")
    return noticed(rows.unique(), "identifier-shared", pl.lit(value=True), _SHARED, hint=_ALSO)


_SHARED: Final = (
    "Other rows give image sets the identifier that these rows name. These rows do not change those image sets, so the "
    "Patient attributes of one identifier will differ."
)
_ALSO: Final = "To change them too: `chains=follow`"
