"""Which Patient- and Study-level edits are made of a whole study by one call (includeStudyImageSets).

The primary image sets of a study hold the same Patient and Study attributes. Since 2026 the service changes them in
all of these at once (update-image-set-metadata), and on an image set of several only so. So where a list asks the same
of all primary image sets of a study, one edit is sent and the others are its *covered*: they share its call, its unit
and its outcome. What a list asks of a part of them, or of some otherwise than of others, is set aside.

All calls of such a study are one lane. Its edits of single image sets and those of the study commute but for
*barriers*: reverts, rows that name their version, and Patient- or Study-level edits of one image set. Each barrier
begins a new *stretch* of its image set, and a lane has *phases*: in each come first the stretches of single image
sets, then the calls of the study. A phase is the earliest that every image set allows; where two image sets want it
the other way round, there is none.
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
from bulkedit.plans.inconsistent_studies import SHOWN, is_top, listed, torn
from bulkedit.plans.merge import is_explicit

if TYPE_CHECKING:
    from bulkedit.dicom.dictionary import ServiceRules

# What is known of image sets. Of each study with a Patient- or Study-level edit of a primary image set, all primary
# image sets are there; an image set that is not there is one of which nothing is known.
KNOWN: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "study": pl.String(),  # StudyInstanceUID without padding, null where it is not told
        "primary": pl.Boolean(),  # null where it is not told
    }
)

_ID: Final = "image_set_id"
_LANE: Final = ["study", "own"]
_ASKED: Final = ("action", "value", "vr", "force")


@dataclass(frozen=True, slots=True)
class Shared:
    """Edits parted into those that are planned and those that another stands for.

    ``edits`` and ``covered`` have the columns of the edits given, and ``same_as`` UInt32, the edit that stands for it
    (null in ``edits``). Where an edit is of a lane of several image sets, image_set_id is a name in ``places``.
    """

    edits: pl.DataFrame
    covered: pl.DataFrame
    places: pl.DataFrame  # place String, lane String, phase UInt32, kind UInt8, lead String: order and target of calls
    problems: pl.DataFrame  # SET_ASIDE: rows that cannot be planned; where there are any, the rest is empty


def edits_of_unknown_study(edits: pl.DataFrame, known: pl.DataFrame | None) -> int:
    """How many Patient- and Study-level edits are of image sets whose study, or place in it, is not known."""
    single = edits.filter(is_top() & ~pl.col("study_wide"))
    if known is None:
        return single.height
    told = known.filter(~pl.col("primary") | (pl.col("primary") & pl.col("study").is_not_null())).select(_ID)
    return single.join(told, on=_ID, how="anti").height


def inconsistent_studies_of(edits: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
    """The rows of a plan (`PLANNED_EDITS`) that make studies inconsistent: schema `inconsistent_studies.TORN`."""
    return torn(edits, several_primaries(known))


def restrictions(edits: pl.DataFrame, known: pl.DataFrame | None, rules: ServiceRules) -> pl.DataFrame:
    """Rows that the service does not do to an image set that is known to be primary: schema `SET_ASIDE`.

    update-image-set-metadata: `force` for the three UIDs is for other image sets; so were, until 2026, edits of some
    levels (`bulkedit.dicom.dictionary.ServiceRules.primary_refused`).
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
                pl.format("changes {} of a primary image set, which not even force does.", "attribute"),
                None,
                "By way of a copy, if its StudyInstanceUID is changed too: `via_copy=True`",
            ),
            rows_set_aside(
                primary.filter(~uid),
                "primary-level",
                pl.format("changes {}, which is at {} level, of a primary image set.", "attribute", "level"),
                f"The service of {rules.version} does not do that.",
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
    """Find the edits that are made of whole studies.

    ``edits``: columns of `PLANNED_EDITS` but call, sent and same_as, by ``edit``; ``known``: `KNOWN`.
    ``whole_rows``: a row is one unit, so what it asks of a study is not parted from what it asks of an image set.
    """
    members = several_primaries(known)
    wanted = _wanted(edits, members, mode)
    if not wanted.height:
        nothing = pl.lit(None, pl.UInt32)
        return Shared(edits.with_columns(same_as=nothing), _none(edits), _places([]), pl.DataFrame(schema=SET_ASIDE))
    alone = wanted.filter(pl.col("member").is_null()).select(_ID, "study").unique()
    lanes = pl.concat([members.select(_ID, "study").join(wanted, on="study", how="semi"), alone])
    rest = edits.join(wanted.select("edit"), on="edit", how="anti", maintain_order="left")
    beside = rest.join(lanes, on=_ID, maintain_order="left").with_columns(barrier=_is_barrier())
    wanted = _apart(wanted, beside.filter("barrier"), mode)
    wanted = _ranked(wanted, beside.filter("barrier").select("study").unique())
    problems = [_versioned(wanted), _uneven(wanted, members, mode, contradictions)]
    if whole_rows:
        problems.append(_mixed(wanted, beside))
    if any(found.height for found in problems):
        return Shared(_none(edits), _none(edits), _places([]), pl.concat(problems).sort("row", maintain_order=True))
    if mode is StudyWide.ON:
        wanted = _in_one_order(wanted)
    wanted = _stood_for(wanted, whole_rows=whole_rows)
    wanted, beside, problems_ = _phased(wanted, beside)
    if not problems_.height and mode is not StudyWide.OFF and contradictions is Contradictions.FAIL:
        problems_ = _tearing(wanted, beside, members)
    if problems_.height:
        return Shared(_none(edits), _none(edits), _places([]), problems_)
    return _parted(edits, rest, wanted, beside)


def _none(edits: pl.DataFrame) -> pl.DataFrame:
    return edits.clear().with_columns(same_as=pl.lit(None, pl.UInt32))


def several_primaries(known: pl.DataFrame | None) -> pl.DataFrame:
    """The primary image sets of studies that have several: image_set_id, study String, size UInt32, member UInt32."""
    if known is None:
        known = pl.DataFrame(schema=KNOWN)
    primary = known.filter(pl.col("primary") & pl.col("study").is_not_null()).unique(_ID, maintain_order=True)
    return (
        primary.select(_ID, "study", size=pl.len().over("study").cast(pl.UInt32))
        .filter(pl.col("size") > 1)
        .with_row_index("member")
    )


def _wanted(edits: pl.DataFrame, members: pl.DataFrame, mode: StudyWide) -> pl.DataFrame:
    """The edits that are to be made of whole studies, in their order.

    Adds study String, size UInt32, member UInt32, and own String: the image set of a row that names a version, because
    that is the version of this image set. Where a row itself asks for the study and nothing is known of it, the study
    is called by the image set, and member is null. Edits of one attribute of a study are a chain (chain UInt32), and
    chains of one study are of one lane (lane UInt32).
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


def _apart(wanted: pl.DataFrame, barriers: pl.DataFrame, mode: StudyWide) -> pl.DataFrame:
    """Ends a chain at a barrier of any image set of its study, if every row of the chain means the whole study.

    Such a row means also the image set that a row before it has named, and that was reverted since: it is not the same
    edit. Rows that name a version come first, so they are no barrier between others.
    """
    between = barriers.filter(pl.col("version").is_null()).sort("edit")
    if not between.height:
        return wanted
    between = between.select("study", "edit", ended=pl.int_range(1, pl.len() + 1).over("study"))
    whole = pl.lit(mode is StudyWide.ON) | pl.col("study_wide").all().over("chain")
    ended = pl.when(whole & pl.col("own").is_null()).then(pl.col("ended")).fill_null(0)
    wanted = wanted.sort("edit").join_asof(between, on="edit", by="study").with_columns(ended=ended)
    chains = wanted.select("chain", "ended").unique().with_row_index("of_stretch")
    return wanted.join(chains, on=["chain", "ended"]).with_columns(chain="of_stretch").drop("ended", "of_stretch")


def _ranked(wanted: pl.DataFrame, guarded: pl.DataFrame) -> pl.DataFrame:
    """Adds rank, the place of an edit in what its image set has of the chain, and opens: it is the first of its rank.

    An edit that only repeats the one before it has that one's rank, unless a barrier may stand between them.
    """
    wanted = wanted.join(guarded.with_columns(guarded=True), on="study", how="left")
    wanted = wanted.sort("chain", "member", "edit").with_columns(begins=_turns("chain", "member"))
    opens = pl.col("begins") | _is_new() | pl.col("guarded").fill_null(value=False)
    return (
        wanted.with_columns(opens=opens)
        .with_columns(count=pl.col("opens").cum_sum())
        .with_columns(rank=pl.col("count") - pl.when("begins").then("count").forward_fill())
        .drop("begins", "count", "guarded")
    )


def _turns(*columns: str) -> pl.Expr:
    """Where one of the columns is another than in the row before."""
    return pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in columns) | _is_first()


def _is_first() -> pl.Expr:
    return pl.int_range(pl.len()) == 0


def _is_new() -> pl.Expr:
    """Whether an edit asks for something else than the one before it. A removal by value is never the same again."""
    return _turns(*_ASKED) | is_explicit()


# what cannot be made of a whole study


def _versioned(wanted: pl.DataFrame) -> pl.DataFrame:
    """Rows with a version: it is that of one image set, so it cannot be asked of a study, unless the row says so."""
    return rows_set_aside(
        wanted.filter(pl.col("version").is_not_null() & ~pl.col("study_wide")),
        "study-version",
        pl.format(
            "names a version and changes {} in one of the {} primary image sets of its study.", "attribute", "size"
        ),
        _ALIKE,
        "Leave the version empty and edit the whole study, or send the row as it stands: `study_wide=off`",
    )


_ALIKE: Final = "HealthImaging changes Patient and Study attributes in all primary image sets of a study, or in none."


def _uneven(
    wanted: pl.DataFrame, members: pl.DataFrame, mode: StudyWide, contradictions: Contradictions
) -> pl.DataFrame:
    """Rows that ask something of a part of a study, or of its parts something different."""
    wanted = wanted.filter(pl.col("version").is_null())
    by_rank = wanted.sort("chain", "rank").with_columns(odd=~_turns("chain", "rank") & _turns(*_ASKED))
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
    return pl.concat([_differing(wanted, differs, mode), _partial(wanted, partial, members)])


def _differing(wanted: pl.DataFrame, chains: pl.DataFrame, mode: StudyWide) -> pl.DataFrame:
    if not chains.height:
        return pl.DataFrame(schema=SET_ASIDE)
    wanted = wanted.join(chains, on="chain", how="semi")
    rows = wanted.select("chain", "row").unique().sort("row").group_by("chain")
    said = rows.agg(first=pl.col("row").cast(pl.String).head(SHOWN), more=pl.len())
    said = said.select("chain", said=listed("first", pl.col("more")))
    resort = "or let the later row win: `on_contradiction=last`" if mode is StudyWide.ON else "or: `study_wide=off`"
    return rows_set_aside(
        wanted.join(said, on="chain").sort("edit"),
        "study-differs",
        pl.format("does not ask the same of {} as other rows do in its study (rows {}).", "attribute", "said"),
        _ALIKE,
        f"Let the rows of a study agree, {resort}",
    )


def _partial(wanted: pl.DataFrame, chains: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    if not chains.height:
        return pl.DataFrame(schema=SET_ASIDE)
    absent = (
        chains.select("chain", "study")
        .join(members, on="study")
        .join(wanted.select("chain", "member").unique(), on=["chain", "member"], how="anti")
        .sort(_ID)
        .group_by("chain")
        .agg(missing=pl.col(_ID).head(SHOWN), more=pl.len())
    )
    said = chains.join(absent, on="chain").select("chain", "there", said=listed("missing", pl.col("more")))
    return rows_set_aside(
        wanted.join(said, on="chain").sort("edit"),
        "study-partial",
        pl.format(
            "changes {} in {} of the {} primary image sets of its study; not named: {}.",
            *("attribute", "there", "size", "said"),
        ),
        _ALIKE,
        "Name the study (study_instance_uid, with `on_many=all`), or let such rows mean the whole study: "
        "`study_wide=on`. To send them as they are: `study_wide=off`",
    )


def _mixed(wanted: pl.DataFrame, beside: pl.DataFrame) -> pl.DataFrame:
    """Rows that are one call, and ask for what a study has together and for what an image set has alone."""
    return rows_set_aside(
        wanted.join(beside.select("row").unique(), on="row", how="semi", maintain_order="left"),
        "study-mixed",
        pl.format("changes {} of a study together with what is of one image set.", "attribute"),
        "The study has several primary image sets, and a call for all of them takes Patient and Study level only.",
        "Make two rows of it, or send it as it stands: `study_wide=off`",
        column="updates",
    )


def _tearing(wanted: pl.DataFrame, beside: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Reverts that take back in some image sets of a study what other rows change in all of them."""
    columns = ["edit", "row", _ID, "action", "level", "attribute", "value", "vr", "version", "same_as", "study_wide"]
    whole = wanted.with_columns(study_wide=pl.lit(value=True))
    alone = beside.with_columns(same_as=pl.lit(None, pl.UInt32))
    found = torn(pl.concat([whole.select(columns), alone.select(columns)]), members)
    return rows_set_aside(
        found.drop_nulls("attribute"),
        "study-inconsistent",
        pl.format(
            "takes {} of row {} back in {} of the {} primary image sets of its study; not reverted: {}.",
            *("attribute", "after", "there", "size", listed("missing", pl.col("size") - pl.col("there"))),
        ),
        _ALIKE,
        "Revert all of them or none, or put the reverts into a list of their own and apply it first. To plan it as the "
        "rows stand: `on_contradiction=last`",
        column="revert_to",
    )


# which edit stands for which, and when


def _in_one_order(wanted: pl.DataFrame) -> pl.DataFrame:
    """Ranks anew, in the order of the list, where image sets of a study are asked for different things."""
    wanted = wanted.sort("chain", "rank").with_columns(odd=~_turns("chain", "rank") & _turns(*_ASKED))
    there = wanted.group_by("chain", "rank").agg(there=pl.col("opens").sum())
    lengths = there.group_by("chain").agg(differ=pl.col("there").n_unique() > 1)
    odd = wanted.group_by("chain").agg(pl.col("odd").any()).join(lengths, on="chain")
    uneven = odd.filter(pl.col("odd") | pl.col("differ")).select("chain", uneven=True)
    wanted = wanted.drop("odd").join(uneven, on="chain", how="left").sort("chain", "edit")
    return wanted.with_columns(
        rank=pl.when("uneven").then((_turns("chain") | _is_new()).cum_sum()).otherwise("rank")
    ).drop("uneven")


def _stood_for(wanted: pl.DataFrame, *, whole_rows: bool) -> pl.DataFrame:
    """Adds lead String, the image set that a study is called by, and same_as; gives covered the unit of theirs."""
    first = wanted.group_by("lane").agg(pl.col("edit").min())
    leads = first.join(wanted.select("edit", lead=_ID), on="edit").drop("edit")
    # an edit of the lead where there is one, so that what is sent is in the lead's order
    wanted = wanted.join(leads, on="lane").with_columns(other=pl.col(_ID) != pl.col("lead"))
    wanted = wanted.sort("chain", "rank", "other", "edit").with_columns(begins=_turns("chain", "rank"))
    wanted = wanted.with_columns(node=pl.when("begins").then("edit").forward_fill())
    if whole_rows:
        wanted = _together(wanted)
    else:
        wanted = wanted.with_columns(unit=pl.when("begins").then("unit").forward_fill())
    return wanted.with_columns(same_as=pl.when(pl.col("node") != pl.col("edit")).then("node"))


def _together(wanted: pl.DataFrame) -> pl.DataFrame:
    """Rows that share a call anywhere are one unit: each is to be made whole, or not at all."""
    wanted = wanted.with_columns(of_row="unit")
    while True:
        joined = wanted.with_columns(pl.col("unit").min().over("node")).with_columns(
            pl.col("unit").min().over("of_row")
        )
        if joined.get_column("unit").equals(wanted.get_column("unit")):
            return wanted.drop("of_row")
        wanted = joined


def _phased(wanted: pl.DataFrame, beside: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Adds phase UInt32 to both; beside them the rows for which there is no order."""
    nobody = pl.DataFrame(schema=SET_ASIDE)
    zero = pl.lit(0, pl.UInt32)
    fenced = beside.filter("barrier").select("study", _ID).unique()
    if not fenced.height:
        return wanted.with_columns(phase=zero), beside.with_columns(phase=zero), nobody
    stretches = _stretches(wanted, beside, fenced)
    nodes, begins, twisted = _phases(stretches)
    if twisted.len():
        rows = wanted.filter(pl.col("study").is_in(twisted.implode()))
        problem = rows_set_aside(
            rows,
            "study-order",
            pl.format(
                "changes {} of a study between rows that no one order of calls can follow for all of its image sets.",
                "attribute",
            ),
            "The image sets of the study are reverted, or edited by version, at different places of the list.",
            "Make two lists of it, and apply one after the other.",
        )
        return wanted, beside, problem
    begins = stretches.join(begins, on=[_ID, "stretch"]).filter(pl.col("node").is_null()).select("edit", "phase")
    return (
        wanted.join(nodes, on="node", how="left", maintain_order="left").with_columns(pl.col("phase").fill_null(0)),
        beside.join(begins, on="edit", how="left", maintain_order="left").with_columns(pl.col("phase").fill_null(0)),
        nobody,
    )


def _stretches(wanted: pl.DataFrame, beside: pl.DataFrame, fenced: pl.DataFrame) -> pl.DataFrame:
    """What happens to the image sets that have barriers: study, image_set_id, edit, node (null beside), stretch.

    What is asked of the study without naming the image set happens to it where the list has it.
    """
    columns = ["study", _ID, "version", "edit", "barrier", "node"]
    alone = beside.join(fenced, on=["study", _ID], how="semi").with_columns(node=pl.lit(None, pl.UInt32))
    named = wanted.with_columns(barrier=pl.lit(value=False)).join(fenced, on=["study", _ID], how="semi")
    meant = (
        wanted.filter(pl.col("edit") == pl.col("node"))
        .drop(_ID)
        .join(fenced, on="study")
        .join(named.select(_ID, "node").unique(), on=[_ID, "node"], how="anti")
        .with_columns(barrier=pl.lit(value=False), version=pl.lit(None, pl.UInt32))
    )
    events = pl.concat([frame.select(columns) for frame in (alone, named, meant)])
    # a version that is of another image set puts nothing before the rows that name a version of this one
    return events.sort(_ID, pl.col("version").is_null(), "edit").with_columns(
        stretch=pl.col("barrier").cast(pl.UInt32).cum_sum().over(_ID)
    )


def _phases(stretches: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """The earliest phase of each node (node, phase) and stretch (image_set_id, stretch, phase), and studies without.

    A node is not before its stretch has begun in any image set, and a stretch begins once the nodes of those before
    it are done: phases are raised until that is so. In a study of n nodes none is above n, unless two of them wait
    for one another.
    """
    place = [_ID, "stretch"]
    nodes = stretches.drop_nulls("node").select("study", *place, "node").unique()
    count = nodes.group_by("study").agg(count=pl.col("node").n_unique())
    begins = stretches.select("study", *place).unique().with_columns(phase=pl.lit(0, pl.UInt32)).sort(place)
    twisted = pl.Series("study", [], dtype=pl.String)
    while True:
        at = nodes.join(begins.select(*place, "phase"), on=place).with_columns(pl.col("phase").max().over("node"))
        after = at.group_by(_ID, stretch=pl.col("stretch") + 1).agg(after=pl.col("phase").max() + 1)
        raised = begins.join(after, on=place, how="left", maintain_order="left").with_columns(
            phase=pl.max_horizontal("phase", "after").cum_max().over(_ID)
        )
        if raised.get_column("phase").equals(begins.get_column("phase")):
            return at.select("node", "phase").unique(), begins.select(*place, "phase"), twisted
        over = raised.join(count, on="study").filter(pl.col("phase") > pl.col("count")).get_column("study").unique()
        twisted = pl.concat([twisted, over])
        stays = ~pl.col("study").is_in(over.implode())
        begins, nodes = raised.drop("after").filter(stays), nodes.filter(stays)


def _parted(edits: pl.DataFrame, rest: pl.DataFrame, wanted: pl.DataFrame, beside: pl.DataFrame) -> Shared:
    columns = [*edits.columns, "same_as"]
    own = pl.col("own").fill_null("")
    wanted = wanted.with_columns(
        study_wide=pl.lit(value=True),
        place=pl.format("{} {} {}", "study", "phase", own),
        kind=pl.when(pl.col("own").is_not_null()).then(1).otherwise(2).cast(pl.UInt8),
    )
    beside = beside.with_columns(
        place=pl.format("{} {}", _ID, "phase"), kind=pl.lit(0, pl.UInt8), lead=_ID, same_as=pl.lit(None, pl.UInt32)
    )
    places = _places([wanted, beside])
    wanted, beside = (frame.with_columns(pl.col("place").alias(_ID)).select(columns) for frame in (wanted, beside))
    apart = rest.join(beside.select("edit"), on="edit", how="anti", maintain_order="left")
    apart = apart.with_columns(same_as=pl.lit(None, pl.UInt32))
    sent = pl.concat([apart, beside, wanted.filter(pl.col("same_as").is_null())]).sort("edit")
    return Shared(sent, wanted.drop_nulls("same_as"), places, pl.DataFrame(schema=SET_ASIDE))


def _places(frames: list[pl.DataFrame]) -> pl.DataFrame:
    schema = {"place": pl.String, "lane": pl.String, "phase": pl.UInt32, "kind": pl.UInt8, "lead": pl.String}
    found = [frame.select("place", "study", "phase", "kind", "lead").rename({"study": "lane"}) for frame in frames]
    return pl.concat([pl.DataFrame(schema=schema), *found]).unique("place")
