"""Merges edits into the fewest calls that leave each image set as if its edits had been applied one by one.

The edits of one image set, in the order of `bulkedit.edits.edit.in_order`, are divided into *segments* by barriers:

*   a row that names a version;
*   a revert;
*   an edit that names a series or instance by a UID that the segment gives it, and an edit that gives a UID which the
    segment names (`bulkedit.plans.renames.waiting`). The barrier is before the row of the edit if possible;
*   the removal of an instance or series in which another edit removes an attribute by value.

Inside a segment, edits of different attributes commute. Edits of one attribute are a *chain*. In a chain, a later edit
supersedes an earlier one, so only the last is sent. Two kinds of neighbours are not merged, so the later one begins a
new *block*:

*   a removal that names its value, and any edit next to it: only the service can check that the value is stored, so
    the removal is sent, and the next edit must be applied to its result;
*   a forced edit next to an unforced one: `force` switches off the service's checks, so each must be checked in its own
    mode. If the two alternate, each is sent once, the last edit last.

The *stages* of a segment are the shortest sequence of forced and unforced calls in which every chain finds its blocks
in order (a shortest common supersequence). A change of UID is in the last stage that has an edit inside its series or
instance, which a forced letter at the end of their chains allows. A stage is one call, or several if its documents
exceed the payload limit (`bulkedit.plans.packing`).
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.edit import STORED_VALUE, Action
from bulkedit.plans.batches import numbers
from bulkedit.plans.renames import INSIDE, of_uid, renames, waiting

if TYPE_CHECKING:
    from collections.abc import Collection

WHOLE: Final = [str(Action.REMOVE_INSTANCE), str(Action.REMOVE_SERIES)]
ATTRIBUTE: Final = ["image_set_id", "level", "series_uid", "instance_uid", "attribute"]
_SEGMENT: Final = ["image_set_id", "segment"]
_CHAIN: Final = ["segment", *ATTRIBUTE]
_CHOICES: Final = 64  # orders of equal blocks to try, at most
_EXACT_STATES: Final = 20_000  # limit of the search for the shortest common supersequence, then a greedy one is used


def stages(edits: pl.DataFrame) -> pl.DataFrame:
    """Assign each edit to a stage, which becomes one call or more.

    ``edits``: columns of `PLANNED_EDITS` except call, with ``unit`` UInt32 (a unit is never split), sorted by ``edit``.
    Adds segment UInt32, stage UInt32 (calls of an image set are sent by segment, then stage) and sent Boolean (False
    for a superseded edit). The rows are returned in any order.
    """
    later = waiting(edits)
    hard_ones = _hard(edits, later)
    if not hard_ones.height:
        return _at_once(edits)
    easy = edits.join(hard_ones, on="image_set_id", how="anti")
    hard = edits.join(hard_ones, on="image_set_id", how="semi")
    return pl.concat([_at_once(easy), _staged(hard, later)], how="diagonal")


def _at_once(edits: pl.DataFrame) -> pl.DataFrame:
    """Assign edits of image sets that need one call each, or more only for the payload limit."""
    return edits.with_columns(segment=pl.lit(0, pl.UInt32), stage=pl.lit(0, pl.UInt32), sent=_last_of_attribute(edits))


def none_named_twice(edits: pl.DataFrame) -> bool:
    """Whether all edits are of different attributes (`ATTRIBUTE`). May be False by a collision of hashes."""
    return edits.select(ATTRIBUTE).hash_rows().n_unique() == edits.height


def same_attribute(edits: pl.DataFrame) -> pl.Series:
    """Number edits so that edits of one attribute (`ATTRIBUTE`) have one number: UInt64 or UInt32."""
    if edits.select(pl.col("series_uid", "instance_uid").is_null().all()).row(0) != (True, True):
        return numbers(edits.select(ATTRIBUTE))
    sets = numbers(edits.select("image_set_id")).cast(pl.UInt64)
    names = edits.get_column("attribute").cast(pl.Categorical).to_physical().fill_null(2**32 - 1)
    levels = edits.get_column("level").to_physical().fill_null(2**4 - 1)
    return (sets * 2**36 + names.cast(pl.UInt64) * 2**4 + levels.cast(pl.UInt64)).alias("same")


def _last_of_attribute(edits: pl.DataFrame) -> pl.Series | pl.Expr:
    """Whether an edit is the last of its attribute. In most lists every edit is."""
    if none_named_twice(edits):
        return pl.lit(value=True)
    return edits.select(pl.col("edit") == pl.col("edit").max().over(same_attribute(edits))).to_series()


def each_alone(edits: pl.DataFrame) -> pl.DataFrame:
    """As `stages`, but each unit is a call of its own, in the order of the first edits of the units."""
    first = pl.col("edit").min().over("image_set_id", "unit")
    ordered = edits.sort("image_set_id", first, "edit")
    begins = (pl.col("unit") != pl.col("unit").shift()).fill_null(value=True)
    return ordered.with_columns(
        segment=begins.cum_sum().over("image_set_id").cast(pl.UInt32),
        stage=pl.lit(0, pl.UInt32),
        sent=pl.lit(value=True),
    )


def is_explicit() -> pl.Expr:
    """Whether an edit is a removal that names its value."""
    return (pl.col("action") == Action.REMOVE) & (pl.col("value") != STORED_VALUE)


def _hard(edits: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Return image sets (image_set_id String) whose edits may need more than one stage."""
    hard = (
        pl.col("version").is_not_null()
        | (pl.col("action") == Action.REVERT)
        | pl.col("action").is_in(WHOLE)
        | is_explicit()
        | ((pl.col("unit") == pl.col("unit").shift()) & ~_repeats_uid())
    ).fill_null(value=False)
    some = edits.filter(hard).select("image_set_id")
    forced = edits.filter("force").select("image_set_id")
    mixed = forced.join(edits.filter(~pl.col("force")), on="image_set_id", how="semi")
    waits = edits.join(later, on="edit", how="semi").select("image_set_id")
    return pl.concat([some, mixed, waits]).unique()


def _repeats_uid() -> pl.Expr:
    """Whether an edit is of the same UID as the one before it; such edits are one unit, and share no attribute."""
    return of_uid() & pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in ATTRIBUTE)


def _staged(edits: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    ordered = edits.sort("image_set_id", "edit")
    parted = _with_removed(_segments(ordered, later))
    blocks = _blocks(parted.filter(~pl.col("removed")).drop("removed"))
    several_blocks = (pl.col("block") > 0).any().over(_SEGMENT)
    # one block in every chain: unforced first, then forced if there are both
    plain = blocks.filter(~several_blocks).with_columns(
        stage=(pl.col("force") & (~pl.col("force")).any().over(_SEGMENT)).cast(pl.UInt32)
    )
    staged = pl.concat([plain, _interleaved(blocks.filter(several_blocks))]).drop("block")
    removed = parted.filter("removed").drop("removed")
    return pl.concat([staged, _with_their_removal(removed, staged)]) if removed.height else staged


def _with_their_removal(removed: pl.DataFrame, staged: pl.DataFrame) -> pl.DataFrame:
    """Assign edits inside a removed instance or series to the stage of the removal; they are not sent."""
    series = [*_SEGMENT, "series_uid"]
    removals = staged.filter(pl.col("action").is_in(WHOLE) & pl.col("sent"))
    of_series = removals.filter(pl.col("action") == Action.REMOVE_SERIES).select(*series, by_series="stage")
    of_instance = removals.filter(pl.col("action") == Action.REMOVE_INSTANCE).select(
        *series, "instance_uid", by_instance="stage"
    )
    return (
        removed.join(of_series, on=series, how="left")
        .join(of_instance, on=[*series, "instance_uid"], how="left")
        .with_columns(stage=pl.coalesce("by_series", "by_instance"), sent=pl.lit(value=False))
        .drop("by_series", "by_instance")
        .select(staged.columns)
    )


def _segments(edits: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Number the segments between barriers: adds segment UInt32."""
    unit = ["image_set_id", "unit"]
    inside_series = ["image_set_id", "series_uid"]
    inside_instance = [*inside_series, "instance_uid"]
    alone = (
        pl.col("version").is_not_null()
        | (pl.col("action") == Action.REVERT)
        | ((pl.col("action") == Action.REMOVE_INSTANCE) & is_explicit().any().over(inside_instance))
        | ((pl.col("action") == Action.REMOVE_SERIES) & is_explicit().any().over(inside_series))
        # a unit of several edits that shares an attribute with another unit stays whole in a segment of its own
        | ((pl.len().over(unit) > 1) & (pl.col("unit").n_unique().over(ATTRIBUTE) > 1))
    )
    begins = (pl.col("unit") != pl.col("unit").shift().over("image_set_id")).fill_null(value=True)
    # in two steps, because a window inside a window would contain the rows of the outer one only
    flagged = edits.with_columns(alone=alone, begins=begins)
    flagged = flagged.with_columns(pl.col("alone").any().over(unit))
    after_barrier = pl.col("alone").shift().over("image_set_id").fill_null(value=False)
    barrier = (pl.col("begins") & (pl.col("alone") | after_barrier)).alias("barrier")
    flagged = flagged.with_columns(barrier).with_columns(_segment())
    if cuts := _cuts(flagged, later):
        flagged = flagged.with_columns(pl.col("barrier") | pl.col("edit").is_in(cuts)).with_columns(_segment())
    return flagged.drop("alone", "begins", "barrier")


def _segment() -> pl.Expr:
    return pl.col("barrier").cum_sum().over("image_set_id").cast(pl.UInt32).alias("segment")


def _cuts(edits: pl.DataFrame, later: pl.DataFrame) -> list[int]:
    """Return the fewest edits before which a segment must end, so that no edit is in one with the edit it waits for.

    As late as possible, but not inside a row if it can be before it. ``edits``: with segment; ``later``: of `waiting`.
    """
    place = edits.select("edit", "unit", "segment", row_begins=pl.col("edit").min().over("image_set_id", "row"))
    pairs = later.join(place, on="edit").join(place, left_on="after", right_on="edit", suffix="_after")
    pairs = pairs.join(edits.select("edit", "image_set_id"), on="edit")
    same = (pl.col("segment") == pl.col("segment_after")) & (pl.col("unit") != pl.col("unit_after"))
    pairs = pairs.filter(same).sort("image_set_id", "edit")
    found: list[int] = []
    at = None
    for image_set_id, edit, after, row_begins in pairs.select(
        "image_set_id", "edit", "after", "row_begins"
    ).iter_rows():
        if at is None or at[0] != image_set_id or at[1] <= after:
            at = image_set_id, row_begins if row_begins > after else edit
            found.append(at[1])
    return found


def _with_removed(edits: pl.DataFrame) -> pl.DataFrame:
    """Add removed Boolean: the edit is inside an instance or series that its segment removes, so it is not sent."""
    series = [*_SEGMENT, "series_uid"]
    instance_removed = (pl.col("action") == Action.REMOVE_INSTANCE).any().over([*series, "instance_uid"])
    series_removed = (pl.col("action") == Action.REMOVE_SERIES).any().over(series)
    inside_instance = pl.col("instance_uid").is_not_null() & ~pl.col("action").is_in(WHOLE)
    inside_series = pl.col("series_uid").is_not_null() & (pl.col("action") != Action.REMOVE_SERIES)
    return edits.with_columns(removed=(inside_instance & instance_removed) | (inside_series & series_removed))


def _blocks(edits: pl.DataFrame) -> pl.DataFrame:
    """Add block UInt32 (position in the chain of the attribute) and sent Boolean."""
    turns = (is_explicit() | is_explicit().shift()).over(_CHAIN).fill_null(value=False)
    run = [*_CHAIN, "run"]
    in_runs = edits.with_columns(run=turns.cum_sum().over(_CHAIN)).with_columns(
        last_force=pl.col("force") == pl.col("force").last().over(run)
    )
    # a run that mixes forced and unforced is two blocks; the block of the last edit comes last
    width = 1 + (~pl.col("last_force")).any().over(run).cast(pl.UInt32)
    opens = pl.int_range(pl.len()).over(run) == 0
    before = pl.when(opens).then(width).otherwise(0).cum_sum().over(_CHAIN) - width
    placed = in_runs.with_columns(
        block=(before + pl.when(pl.col("last_force")).then(width - 1).otherwise(0)).cast(pl.UInt32)
    )
    last = pl.col("edit") == pl.col("edit").last().over([*_CHAIN, "block"])
    return placed.with_columns(sent=last).drop("run", "last_force")


def _interleaved(edits: pl.DataFrame) -> pl.DataFrame:
    """Add stage UInt32 for segments with chains of several blocks, one at a time; they are rare."""
    if not edits.height:
        return edits.with_columns(stage=pl.lit(0, pl.UInt32))
    return pl.concat(_by_kind(segment) for _, segment in edits.group_by(_SEGMENT, maintain_order=True))


def _by_kind(segment: pl.DataFrame) -> pl.DataFrame:
    """Add stage UInt32 to the edits of one segment."""
    # each block sends one edit; its force is a letter of the chain's word. `again`: equal to the block before it
    sent = segment.filter("sent").sort("block")
    again = (pl.struct("action", "value") == pl.struct("action", "value").shift()) & ~is_explicit()
    chains = sent.group_by(_CHAIN, maintain_order=True).agg(letters="force", again=again.fill_null(value=False))
    renamed = renames(sent.group_by(_CHAIN, maintain_order=True).last().filter("force"))
    chains = _with_closed(chains, renamed)
    kinds = sorted({(tuple(word), tuple(same), closed) for *_, word, same, closed in chains.rows()})
    orders, over = _shortest(kinds)
    found = {kind: embedding(_word(kind, order), over) for kind, order in zip(kinds, orders, strict=True)}
    places = {kind: dict(zip(order, found[kind], strict=False)) for kind, order in zip(kinds, orders, strict=True)}
    staged = segment.join(chains, on=_CHAIN, how="left", nulls_equal=True, maintain_order="left")
    kind_of = [(tuple(word), tuple(same), closed) for word, same, closed in staged.select(_KIND).iter_rows()]
    stage = [places[kind][block] for kind, block in zip(kind_of, staged.get_column("block"), strict=True)]
    ends = [found[kind][-1] for kind in kind_of]
    staged = staged.with_columns(stage=pl.Series(stage, dtype=pl.UInt32), end=pl.Series(ends, dtype=pl.UInt32))
    last_block = pl.col("block") == pl.col("letters").list.len() - 1
    for attribute, place in INSIDE.items():
        of_uid = pl.col("edit").is_in(renamed.filter(attribute=attribute).get_column("edit").implode())
        follows = (pl.col("attribute") == attribute) & of_uid.any().over(_CHAIN) & last_block
        staged = staged.with_columns(stage=pl.when(follows).then(pl.col("end").max().over(place)).otherwise("stage"))
    return staged.drop(*_KIND, "end")


_KIND: Final = ["letters", "again", "closed"]


def _with_closed(chains: pl.DataFrame, renamed: pl.DataFrame) -> pl.DataFrame:
    """Add closed Boolean: the chain is inside a series or instance whose UID the segment changes."""
    closed = pl.lit(value=False)
    for attribute, place in INSIDE.items():
        flags = renamed.filter(attribute=attribute).select(*place, pl.lit(value=True).alias(attribute))
        chains = chains.join(flags.unique(), on=place, how="left", maintain_order="left")
        closed |= pl.col(attribute).fill_null(value=False)
    return chains.with_columns(closed=closed).drop(*INSIDE)


Word = tuple[bool, ...]
# the letters of a chain's blocks, whether each equals the block before it, and whether a forced stage must follow
Kind = tuple[Word, tuple[bool, ...], bool]


def _shortest(kinds: list[Kind]) -> tuple[tuple[tuple[int, ...], ...], Word]:
    """Return an order of blocks for each kind of chain, and the shortest sequence that contains all of them in order.

    Two equal neighbouring blocks can be in either order.
    """
    choices = itertools.islice(itertools.product(*map(_orders, kinds)), _CHOICES)
    found = (
        (orders, supersequence({_word(kind, order) for kind, order in zip(kinds, orders, strict=True)}))
        for orders in choices
    )
    return min(found, key=lambda choice: len(choice[1]))


def _orders(kind: Kind) -> list[tuple[int, ...]]:
    """Return the possible orders of the blocks of a chain, that of the list first."""
    orders = [tuple(range(len(kind[0])))]
    for at, again in enumerate(kind[1]):
        if again:
            orders += [(*order[: at - 1], order[at], order[at - 1], *order[at + 1 :]) for order in orders]
    return orders


def _word(kind: Kind, order: tuple[int, ...]) -> Word:
    word = tuple(kind[0][block] for block in order)
    return (*word, True) if kind[2] and not word[-1] else word


def supersequence(words: Collection[Word]) -> Word:
    """Return the shortest sequence that contains every word in order (A* over the position in each word).

    After `_EXACT_STATES` states, returns a greedy one: it takes the letter that most remaining letters need next.
    """
    todo = sorted(_longest_only(words))
    start = (0,) * len(todo)
    goal = tuple(map(len, todo))
    queue: list[tuple[int, int, tuple[int, ...], Word]] = [(0, 0, start, ())]
    seen = {start}
    for number in itertools.count(1):
        _, _, at, done = heapq.heappop(queue)
        if at == goal:
            return done
        if number > _EXACT_STATES:
            return _greedy(todo)
        for letter in (False, True):
            after = tuple(place + (place < len(w) and w[place] is letter) for w, place in zip(todo, at, strict=True))
            if after == at or after in seen:
                continue
            seen.add(after)
            left = max((len(w) - place for w, place in zip(todo, after, strict=True)), default=0)
            heapq.heappush(queue, (len(done) + 1 + left, number * 2 + letter, after, (*done, letter)))
    raise AssertionError("the search ends at the goal")


def _longest_only(words: Collection[Word]) -> set[Word]:
    """Drop words that are contained in another word."""
    kept: list[Word] = []
    for word in sorted(set(words), key=len, reverse=True):
        if not any(_within(word, other) for other in kept):
            kept.append(word)
    return set(kept)


def _within(word: Word, other: Word) -> bool:
    rest = iter(other)
    return all(letter in rest for letter in word)


def _greedy(words: list[Word]) -> Word:
    left = [list(word) for word in words]
    done: list[bool] = []
    while left := [word for word in left if word]:
        weight = {letter: sum(len(word) for word in left if word[0] is letter) for letter in (False, True)}
        letter = weight[True] > weight[False]
        done.append(letter)
        left = [word[1:] if word[0] is letter else word for word in left]
    return tuple(done)


def embedding(word: Word, over: Word) -> list[int]:
    """Return the first possible position of each letter of a word in its supersequence."""
    places, at = [], -1
    for letter in word:
        at = over.index(letter, at + 1)
        places.append(at)
    return places
