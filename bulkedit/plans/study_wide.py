"""Finds the Patient- and Study-level edits that one call applies to a whole study (includeStudyImageSets).

The primary image sets of a study have equal Patient and Study attributes. Since 2026 the service changes them in all
primary image sets at once, and if there are several, only so (update-image-set-metadata). If a list makes the same
change in all primary image sets of a study, one edit is sent. It *covers* the others: they share its call, its unit and
its outcome. If a list changes only some of them, or changes them differently, the rows are set aside.

All calls of such a study are one lane. Edits of single image sets commute with study-wide edits, except at *barriers*:
reverts, rows that name a version, and Patient- or Study-level edits of one image set. Each barrier begins a new
*stretch* of its image set. A lane has *phases*: in each phase, the stretches of single image sets come first, then the
study-wide calls. An edit gets the earliest phase that all image sets allow; if two image sets need opposite orders,
there is no valid phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom.dictionary import FORCED_UIDS
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import Action
from bulkedit.options.listing import Contradictions, StudyWide
from bulkedit.plans.conflicts import rows_set_aside
from bulkedit.plans.inconsistent_studies import SHOWN, inconsistent_rows, is_top, listed
from bulkedit.plans.merge import is_explicit

if TYPE_CHECKING:
    from bulkedit.dicom.dictionary import ServiceRules

# Study and primary flag of image sets. If a Patient- or Study-level edit is of a primary image set, all primary image
# sets of its study are in the frame. Nothing is known about an image set that is not in the frame.
KNOWN: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "study": pl.String(),  # StudyInstanceUID without padding, null if unknown
        "primary": pl.Boolean(),  # null if unknown
    }
)

_ID: Final = "image_set_id"
_LANE: Final = ["study", "own"]
_ASKED: Final = ("action", "value", "vr", "force")


@dataclass(frozen=True, slots=True)
class Shared:
    """Edits, divided into those to plan and those that another edit covers.

    ``edits`` and ``covered`` have the columns of the input, and ``same_as`` UInt32, the covering edit (null in
    ``edits``). If an edit is in a lane of several image sets, its image_set_id is a key of ``places``.
    """

    edits: pl.DataFrame
    covered: pl.DataFrame
    places: pl.DataFrame  # place String, lane String, phase UInt32, kind UInt8, lead String: order and target of calls
    problems: pl.DataFrame  # SET_ASIDE: rows that cannot be planned; if there are any, the other frames are empty


def edits_of_unknown_study(edits: pl.DataFrame, known: pl.DataFrame | None) -> int:
    """Count the Patient- and Study-level edits of image sets whose study or primary flag is unknown."""
    single = edits.filter(is_top() & ~pl.col("study_wide"))
    if known is None:
        return single.height
    placed = known.filter(~pl.col("primary") | (pl.col("primary") & pl.col("study").is_not_null())).select(_ID)
    return single.join(placed, on=_ID, how="anti").height


def inconsistent_studies_of(edits: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
    """Return the rows of a plan (`PLANNED_EDITS`) that make studies inconsistent: schema `INCONSISTENT_ROWS`."""
    return inconsistent_rows(edits, several_primaries(known))


def restrictions(edits: pl.DataFrame, known: pl.DataFrame | None, rules: ServiceRules) -> pl.DataFrame:
    """Return rows that the service refuses because their image set is primary: schema `SET_ASIDE`.

    update-image-set-metadata: a primary image set refuses changes of the three UIDs, also with `force`. Until 2026 it
    refused edits of some levels too (`bulkedit.dicom.dictionary.ServiceRules.primary_refused`).
    """
    if known is None:
        return pl.DataFrame(schema=SET_ASIDE)
    refused = pl.col("level").is_in([str(level) for level in rules.primary_refused])
    suspects = edits.filter(pl.col("attribute").is_not_null() & (refused | pl.col("attribute").is_in([*FORCED_UIDS])))
    primary = suspects.join(known.filter("primary").select(_ID).unique(), on=_ID, how="semi", maintain_order="left")
    uid = pl.col("attribute").is_in([*FORCED_UIDS])
    return pl.concat(
        [
            rows_set_aside(
                primary.filter(uid),
                "primary-uid",
                pl.format("changes {} of a primary image set, which is refused even with force.", "attribute"),
                None,
                "If the list changes its StudyInstanceUID too, change it via a copy: `via_copy=True`",
            ),
            rows_set_aside(
                primary.filter(~uid),
                "primary-level",
                pl.format("changes {}, which is at {} level, of a primary image set.", "attribute", "level"),
                f"The service of {rules.version} refuses that.",
                "Copy the image set, edit the copy and promote it; or, if the service is newer: `service_version=2026`",
            ),
        ]
    )


def shared(
    edits: pl.DataFrame,
    known: pl.DataFrame | None,
    *,
    mode: StudyWide,
    contradictions: Contradictions = Contradictions.FAIL,
    whole_rows: bool = False,
) -> Shared:
    """Find the edits that apply to whole studies.

    ``edits``: columns of `PLANNED_EDITS` except call, sent and same_as, sorted by ``edit``; ``known``: `KNOWN`.
    ``whole_rows``: a row is one unit, so its study-wide edits are not separated from its other edits.
    """
    members = several_primaries(known)
    wide = _wide_edits(edits, members, mode)
    if not wide.height:
        nothing = pl.lit(None, pl.UInt32)
        return Shared(edits.with_columns(same_as=nothing), _none(edits), _places([]), pl.DataFrame(schema=SET_ASIDE))
    alone = wide.filter(pl.col("member").is_null()).select(_ID, "study").unique()
    lanes = pl.concat([members.select(_ID, "study").join(wide, on="study", how="semi"), alone])
    rest = edits.join(wide.select("edit"), on="edit", how="anti", maintain_order="left")
    single = rest.join(lanes, on=_ID, maintain_order="left").with_columns(barrier=_is_barrier())
    wide = _split_at_barriers(wide, single.filter("barrier"), mode)
    wide = _ranked(wide, single.filter("barrier").select("study").unique())
    problems = [_versioned(wide), _uneven(wide, members, mode, contradictions)]
    if whole_rows:
        problems.append(_mixed(wide, single))
    if any(found.height for found in problems):
        return Shared(_none(edits), _none(edits), _places([]), pl.concat(problems).sort("row", maintain_order=True))
    if mode is StudyWide.ON:
        wide = _in_one_order(wide)
    wide = _with_same_as(wide, whole_rows=whole_rows)
    wide, single, problems_ = _phased(wide, single)
    if not problems_.height and mode is not StudyWide.OFF and contradictions is Contradictions.FAIL:
        problems_ = _inconsistent(wide, single, members)
    if problems_.height:
        return Shared(_none(edits), _none(edits), _places([]), problems_)
    return _parted(edits, rest, wide, single)


def _none(edits: pl.DataFrame) -> pl.DataFrame:
    return edits.clear().with_columns(same_as=pl.lit(None, pl.UInt32))


def several_primaries(known: pl.DataFrame | None) -> pl.DataFrame:
    """Return primary image sets of studies with several: image_set_id, study String, size UInt32, member UInt32."""
    if known is None:
        known = pl.DataFrame(schema=KNOWN)
    primary = known.filter(pl.col("primary") & pl.col("study").is_not_null()).unique(_ID, maintain_order=True)
    return (
        primary.select(_ID, "study", size=pl.len().over("study").cast(pl.UInt32))
        .filter(pl.col("size") > 1)
        .with_row_index("member")
    )


def _wide_edits(edits: pl.DataFrame, members: pl.DataFrame, mode: StudyWide) -> pl.DataFrame:
    """Return the edits that apply to whole studies, in order.

    Adds study String, size UInt32, member UInt32, and own String: the image set of a row that names a version. If a row
    includes the study by itself and its study is unknown, study is made from the image set id and member is null. Edits
    of one attribute of a study are a chain (chain UInt32), and chains of one study have one lane (lane UInt32).
    """
    chosen = is_top() & (pl.col("study_wide") if mode is StudyWide.OFF or not members.height else pl.lit(value=True))
    found = edits.filter(chosen).join(members, on=_ID, how="left", maintain_order="left")
    found = found.filter(pl.col("study_wide") | pl.col("study").is_not_null()).with_columns(
        pl.coalesce("study", pl.format("of {}", _ID)).alias("study"),
        pl.col("size").fill_null(1),
        own=pl.when(pl.col("version").is_not_null()).then(_ID),
    )
    lanes = found.select(_LANE).unique().with_row_index("lane")
    found = found.join(lanes, on=_LANE, nulls_equal=True, maintain_order="left")
    chain = ["lane", "level", "attribute"]
    chains = found.select(chain).unique().with_row_index("chain")
    return found.join(chains, on=chain, maintain_order="left")


def _is_barrier() -> pl.Expr:
    return pl.col("version").is_not_null() | (pl.col("action") == Action.REVERT) | is_top()


def _split_at_barriers(wide: pl.DataFrame, barriers: pl.DataFrame, mode: StudyWide) -> pl.DataFrame:
    """Split chains at barriers of any image set of the study, if every row of the chain is for the whole study.

    Such a row also applies to an image set that was reverted after an earlier row, so it does not repeat that row. Rows
    that name a version come first, so they are not barriers between others.
    """
    between = barriers.filter(pl.col("version").is_null()).sort("edit")
    if not between.height:
        return wide
    between = between.select("study", "edit", ended=pl.int_range(1, pl.len() + 1).over("study"))
    whole = pl.lit(mode is StudyWide.ON) | pl.col("study_wide").all().over("chain")
    ended = pl.when(whole & pl.col("own").is_null()).then(pl.col("ended")).fill_null(0)
    # both are sorted, which polars cannot check by group: it would warn on stderr
    wide = wide.sort("edit").join_asof(between, on="edit", by="study", check_sortedness=False).with_columns(ended=ended)
    chains = wide.select("chain", "ended").unique().with_row_index("of_stretch")
    return wide.join(chains, on=["chain", "ended"]).with_columns(chain="of_stretch").drop("ended", "of_stretch")


def _ranked(wide: pl.DataFrame, guarded: pl.DataFrame) -> pl.DataFrame:
    """Add rank (position among the edits of the chain in its image set) and opens (first of its rank).

    An edit that repeats the one before it has the same rank, unless a barrier may be between them.
    """
    wide = wide.join(guarded.with_columns(guarded=True), on="study", how="left")
    wide = wide.sort("chain", "member", "edit").with_columns(begins=_turns("chain", "member"))
    opens = pl.col("begins") | _is_new() | pl.col("guarded").fill_null(value=False)
    return (
        wide.with_columns(opens=opens)
        .with_columns(count=pl.col("opens").cum_sum())
        .with_columns(rank=pl.col("count") - pl.when("begins").then("count").forward_fill())
        .drop("begins", "count", "guarded")
    )


def _turns(*columns: str) -> pl.Expr:
    """Whether any of the columns differs from the row before."""
    return pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in columns) | _is_first()


def _is_first() -> pl.Expr:
    return pl.int_range(pl.len()) == 0


def _is_new() -> pl.Expr:
    """Whether an edit differs from the one before it. A removal by value never counts as a repetition."""
    return _turns(*_ASKED) | is_explicit()


# rows that cannot apply to a whole study


def _versioned(wide: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a version, which is that of one image set, unless the row itself includes the study."""
    return rows_set_aside(
        wide.filter(pl.col("version").is_not_null() & ~pl.col("study_wide")),
        "study-version",
        pl.format(
            "names a version and changes {} in one of the {} primary image sets of its study.", "attribute", "size"
        ),
        _ALIKE,
        "Clear the version and edit the whole study, or send the row unchanged: `study_wide=off`",
    )


_ALIKE: Final = "HealthImaging changes Patient and Study attributes in all primary image sets of a study, or in none."


def _uneven(wide: pl.DataFrame, members: pl.DataFrame, mode: StudyWide, contradictions: Contradictions) -> pl.DataFrame:
    """Return rows that change only a part of a study, or parts of it differently."""
    wide = wide.filter(pl.col("version").is_null())
    by_rank = wide.sort("chain", "rank").with_columns(odd=~_turns("chain", "rank") & _turns(*_ASKED))
    there = by_rank.group_by("chain", "rank").agg(there=pl.col("opens").sum())
    there = there.group_by("chain").agg(pl.col("there").max(), same=pl.col("there").min() == pl.col("there").max())
    chains = (
        by_rank.group_by("chain")
        .agg(pl.col("study", "size").first(), pl.col("odd").any(), asked=pl.col("study_wide").any())
        .join(there, on="chain")
        .with_columns(even=pl.col("same") & ~pl.col("odd"))
    )
    tolerant = mode is StudyWide.ON and contradictions is Contradictions.LAST
    differs = chains.filter(~pl.col("even") & pl.lit(not tolerant))
    whole = pl.col("asked") | pl.lit(mode is StudyWide.ON) | (pl.col("there") == pl.col("size"))
    partial = chains.filter("even" if mode is not StudyWide.ON else pl.lit(value=False)).filter(~whole)
    return pl.concat([_differing(wide, differs, mode), _partial(wide, partial, members)])


def _differing(wide: pl.DataFrame, chains: pl.DataFrame, mode: StudyWide) -> pl.DataFrame:
    if not chains.height:
        return pl.DataFrame(schema=SET_ASIDE)
    wide = wide.join(chains, on="chain", how="semi")
    rows = wide.select("chain", "row").unique().sort("row").group_by("chain")
    names = rows.agg(first=pl.col("row").cast(pl.String).head(SHOWN), more=pl.len())
    names = names.select("chain", "more", names=listed("first", pl.col("more")))
    resort = (
        "or let the later row win: `on_contradiction=last`"
        if mode is StudyWide.ON
        else "or send them unchanged: `study_wide=off`"
    )
    return rows_set_aside(
        wide.join(names, on="chain").sort("edit"),
        "study-differs",
        pl.when(pl.col("more") == 1)
        .then(pl.format("asks for different things of {} of its study, in its own cells.", "attribute"))
        .otherwise(pl.format("is one of the rows that change {} of a study differently: {}.", "attribute", "names")),
        _ALIKE,
        f"Make the same change in all rows of the study, {resort}",
    )


def _partial(wide: pl.DataFrame, chains: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    if not chains.height:
        return pl.DataFrame(schema=SET_ASIDE)
    absent = (
        chains.select("chain", "study")
        .join(members, on="study")
        .join(wide.select("chain", "member").unique(), on=["chain", "member"], how="anti")
        .sort(_ID)
        .group_by("chain")
        .agg(missing=pl.col(_ID).head(SHOWN), more=pl.len())
    )
    names = chains.join(absent, on="chain").select("chain", "there", names=listed("missing", pl.col("more")))
    return rows_set_aside(
        wide.join(names, on="chain").sort("edit"),
        "study-partial",
        pl.format(
            "changes {} in {} of the {} primary image sets of its study; not named: {}.",
            *("attribute", "there", "size", "names"),
        ),
        _ALIKE,
        "Name the study (study_instance_uid, with `on_many=all`), or apply these rows to the whole study: "
        "`study_wide=on`. To send them unchanged: `study_wide=off`",
    )


def _mixed(wide: pl.DataFrame, single: pl.DataFrame) -> pl.DataFrame:
    """Return rows of the call form with edits both for the whole study and for one image set."""
    return rows_set_aside(
        wide.join(single.select("row").unique(), on="row", how="semi", maintain_order="left"),
        "study-mixed",
        pl.format("changes {} of a study together with attributes of one image set.", "attribute"),
        "The study has several primary image sets, and a call for all of them accepts Patient and Study level only.",
        "Split it into two rows, or send it unchanged: `study_wide=off`",
        column="updates",
    )


def _inconsistent(wide: pl.DataFrame, single: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return reverts of some image sets of a study that undo changes of other rows in all of them."""
    columns = ["edit", "row", _ID, "action", "level", "attribute", "value", "vr", "version", "same_as", "study_wide"]
    whole = wide.with_columns(study_wide=pl.lit(value=True))
    alone = single.with_columns(same_as=pl.lit(None, pl.UInt32))
    found = inconsistent_rows(pl.concat([whole.select(columns), alone.select(columns)]), members)
    return rows_set_aside(
        found.drop_nulls("attribute"),
        "study-inconsistent",
        pl.format(
            "undoes {} of row {} in {} of the {} primary image sets of its study; not reverted: {}.",
            *("attribute", "after", "there", "size", listed("missing", pl.col("size") - pl.col("there"))),
        ),
        _ALIKE,
        "Revert all of them or none, or put the reverts into a list of their own and apply it first. To plan the rows "
        "unchanged: `on_contradiction=last`",
        column="revert_to",
    )


# which edit covers which, and in which phase


def _in_one_order(wide: pl.DataFrame) -> pl.DataFrame:
    """Rank again, in list order, the chains whose image sets of a study are changed differently."""
    wide = wide.sort("chain", "rank").with_columns(odd=~_turns("chain", "rank") & _turns(*_ASKED))
    there = wide.group_by("chain", "rank").agg(there=pl.col("opens").sum())
    lengths = there.group_by("chain").agg(differ=pl.col("there").n_unique() > 1)
    odd = wide.group_by("chain").agg(pl.col("odd").any()).join(lengths, on="chain")
    uneven = odd.filter(pl.col("odd") | pl.col("differ")).select("chain", uneven=True)
    wide = wide.drop("odd").join(uneven, on="chain", how="left").sort("chain", "edit")
    return wide.with_columns(
        rank=pl.when("uneven").then((_turns("chain") | _is_new()).cum_sum()).otherwise("rank")
    ).drop("uneven")


def _with_same_as(wide: pl.DataFrame, *, whole_rows: bool) -> pl.DataFrame:
    """Add lead String, the image set that the study's calls name, and same_as; covered edits get the covering unit."""
    first = wide.group_by("lane").agg(pl.col("edit").min())
    leads = first.join(wide.select("edit", lead=_ID), on="edit").drop("edit")
    # prefer edits of the lead, so that the edits that are sent are in the lead's order
    wide = wide.join(leads, on="lane").with_columns(other=pl.col(_ID) != pl.col("lead"))
    wide = wide.sort("chain", "rank", "other", "edit").with_columns(begins=_turns("chain", "rank"))
    wide = wide.with_columns(node=pl.when("begins").then("edit").forward_fill())
    wide = _together(wide) if whole_rows else wide.with_columns(unit=pl.when("begins").then("unit").forward_fill())
    return wide.with_columns(same_as=pl.when(pl.col("node") != pl.col("edit")).then("node"))


def _together(wide: pl.DataFrame) -> pl.DataFrame:
    """Make one unit of rows that share a call, because each row is applied whole or not at all."""
    wide = wide.with_columns(of_row="unit")
    while True:
        joined = wide.with_columns(pl.col("unit").min().over("node")).with_columns(pl.col("unit").min().over("of_row"))
        if joined.get_column("unit").equals(wide.get_column("unit")):
            return wide.drop("of_row")
        wide = joined


def _phased(wide: pl.DataFrame, single: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Add phase UInt32 to both; the third frame has the rows without a valid order (`SET_ASIDE`)."""
    no_problems = pl.DataFrame(schema=SET_ASIDE)
    zero = pl.lit(0, pl.UInt32)
    fenced = single.filter("barrier").select("study", _ID).unique()
    if not fenced.height:
        return wide.with_columns(phase=zero), single.with_columns(phase=zero), no_problems
    stretches = _stretches(wide, single, fenced)
    nodes, begins, cyclic = _phases(stretches)
    if cyclic.len():
        rows = wide.filter(pl.col("study").is_in(cyclic.implode()))
        problem = rows_set_aside(
            rows,
            "study-order",
            pl.format(
                "changes {} of a study between other rows, and no order of calls suits all of its image sets.",
                "attribute",
            ),
            "The image sets of the study are reverted, or edited by version, at different positions in the list.",
            "Split the list in two, and apply one after the other.",
        )
        return wide, single, problem
    begins = stretches.join(begins, on=[_ID, "stretch"]).filter(pl.col("node").is_null()).select("edit", "phase")
    return (
        wide.join(nodes, on="node", how="left", maintain_order="left").with_columns(pl.col("phase").fill_null(0)),
        single.join(begins, on="edit", how="left", maintain_order="left").with_columns(pl.col("phase").fill_null(0)),
        no_problems,
    )


def _stretches(wide: pl.DataFrame, single: pl.DataFrame, fenced: pl.DataFrame) -> pl.DataFrame:
    """Return all edits of image sets with barriers: study, image_set_id, edit, node (null if not study-wide), stretch.

    A study-wide edit that does not name the image set applies to it at its position in the list.
    """
    columns = ["study", _ID, "version", "edit", "barrier", "node"]
    alone = single.join(fenced, on=["study", _ID], how="semi").with_columns(node=pl.lit(None, pl.UInt32))
    named = wide.with_columns(barrier=pl.lit(value=False)).join(fenced, on=["study", _ID], how="semi")
    meant = (
        wide.filter(pl.col("edit") == pl.col("node"))
        .drop(_ID)
        .join(fenced, on="study")
        .join(named.select(_ID, "node").unique(), on=[_ID, "node"], how="anti")
        .with_columns(barrier=pl.lit(value=False), version=pl.lit(None, pl.UInt32))
    )
    events = pl.concat([frame.select(columns) for frame in (alone, named, meant)])
    # a row that names a version of another image set has no version here
    return events.sort(_ID, pl.col("version").is_null(), "edit").with_columns(
        stretch=pl.col("barrier").cast(pl.UInt32).cum_sum().over(_ID)
    )


def _phases(stretches: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """Return the earliest phase of each node (node, phase) and stretch (image_set_id, stretch, phase).

    The third result has the studies without a valid order. A node comes after the begin of its stretch in every image
    set, and a stretch begins after the nodes of earlier stretches. Phases are raised until both are true. With n nodes
    in a study no phase is above n, unless two nodes wait for each other.
    """
    place = [_ID, "stretch"]
    nodes = stretches.drop_nulls("node").select("study", *place, "node").unique()
    count = nodes.group_by("study").agg(count=pl.col("node").n_unique())
    begins = stretches.select("study", *place).unique().with_columns(phase=pl.lit(0, pl.UInt32)).sort(place)
    cyclic = pl.Series("study", [], dtype=pl.String)
    while True:
        at = nodes.join(begins.select(*place, "phase"), on=place).with_columns(pl.col("phase").max().over("node"))
        after = at.group_by(_ID, stretch=pl.col("stretch") + 1).agg(after=pl.col("phase").max() + 1)
        raised = begins.join(after, on=place, how="left", maintain_order="left").with_columns(
            phase=pl.max_horizontal("phase", "after").cum_max().over(_ID)
        )
        if raised.get_column("phase").equals(begins.get_column("phase")):
            return at.select("node", "phase").unique(), begins.select(*place, "phase"), cyclic
        over = raised.join(count, on="study").filter(pl.col("phase") > pl.col("count")).get_column("study").unique()
        cyclic = pl.concat([cyclic, over])
        stays = ~pl.col("study").is_in(over.implode())
        begins, nodes = raised.drop("after").filter(stays), nodes.filter(stays)


def _parted(edits: pl.DataFrame, rest: pl.DataFrame, wide: pl.DataFrame, single: pl.DataFrame) -> Shared:
    columns = [*edits.columns, "same_as"]
    own = pl.col("own").fill_null("")
    wide = wide.with_columns(
        study_wide=pl.lit(value=True),
        place=pl.format("{} {} {}", "study", "phase", own),
        kind=pl.when(pl.col("own").is_not_null()).then(1).otherwise(2).cast(pl.UInt8),
    )
    single = single.with_columns(
        place=pl.format("{} {}", _ID, "phase"), kind=pl.lit(0, pl.UInt8), lead=_ID, same_as=pl.lit(None, pl.UInt32)
    )
    places = _places([wide, single])
    wide, single = (frame.with_columns(pl.col("place").alias(_ID)).select(columns) for frame in (wide, single))
    apart = rest.join(single.select("edit"), on="edit", how="anti", maintain_order="left")
    apart = apart.with_columns(same_as=pl.lit(None, pl.UInt32))
    sent = pl.concat([apart, single, wide.filter(pl.col("same_as").is_null())]).sort("edit")
    return Shared(sent, wide.drop_nulls("same_as"), places, pl.DataFrame(schema=SET_ASIDE))


def _places(frames: list[pl.DataFrame]) -> pl.DataFrame:
    schema = {"place": pl.String, "lane": pl.String, "phase": pl.UInt32, "kind": pl.UInt8, "lead": pl.String}
    found = [frame.select("place", "study", "phase", "kind", "lead").rename({"study": "lane"}) for frame in frames]
    return pl.concat([pl.DataFrame(schema=schema), *found]).unique("place")
