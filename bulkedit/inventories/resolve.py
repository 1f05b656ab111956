"""Resolves rows that name studies, patients or accession numbers to edits of image sets. Pure and vectorised.

An edit selects the image sets that its selector names. If it has a series (Series- and Instance-level edits, and
removals), it selects only image sets of that series. A row is resolved as a whole: it is *missing* if any of its edits
selects nothing, and *many* if its edits together select more than one image set.

| the row | on_missing / on_many | result |
|---|---|---|
| has image_set_id | | its edits; the inventory is not consulted |
| missing | fail | a problem |
| missing | skip | skipped: reported, but not a problem |
| many, with a version | either | a problem: a version belongs to one image set |
| many | fail | a problem that gives the number |
| many, of several patients | all | a problem that gives the number, unless on_many_patients is all |
| many | all | each of its edits, once for each image set that it selects |
| one | | its edits |

Identifiers match exactly, except for padding. No text contains an identifier. SearchImageSets does not return the
issuer of a PatientID, so image sets of one PatientID count as those of different patients if their birth dates, or both
their family and given names differ. If only one of these names differs, that is a notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import polars as pl

from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import EDITS, SELECTOR
from bulkedit.edits.notices import NOTICES, noticed
from bulkedit.edits.problems import noun_of
from bulkedit.inventories.frame import trimmed, trimmed_key
from bulkedit.options.listing import OnMany, OnManyPatients, OnMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """Options for resolving rows to image sets."""

    on_missing: OnMissing = OnMissing.FAIL
    on_many: OnMany = OnMany.FAIL
    on_many_patients: OnManyPatients = OnManyPatients.FAIL
    primary_only: bool = False  # only those known to be primary


class RowState(StrEnum):
    """The result for a row."""

    RESOLVED = "resolved"
    SKIPPED = "skipped"
    SET_ASIDE = "set aside"


RESOLVED: Final = pl.Schema({**EDITS, "image_set_id": pl.String()})

# One line per row of the list, in list order.
COUNTS: Final = pl.Schema(
    {
        "row": pl.UInt32(),
        "selector": SELECTOR,
        "matches": pl.UInt32(),  # image sets that its edits select together
        "studies": pl.UInt32(),  # of these image sets; null for an image_set_id
        "patients": pl.UInt32(),  # the same
        "state": pl.Enum([str(s) for s in RowState]),
    }
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A list resolved to image sets. A row is in one of the first three frames only."""

    edits: pl.DataFrame  # RESOLVED: each edit once per image set, in the order of the list, then of the inventory
    set_aside: pl.DataFrame  # SET_ASIDE: one line per row
    skipped: pl.DataFrame  # SET_ASIDE: rows that match nothing, with on_missing skip
    counts: pl.DataFrame  # COUNTS
    notices: pl.DataFrame = field(default_factory=NOTICES.to_frame)  # NOTICES


_ID: Final = "image_set_id"
_EDIT: Final = "_edit"  # position of an edit in the list
_COUNT: Final = pl.UInt32
_PERSON: Final = pl.Schema({"patient": pl.String(), "born": pl.UInt8(), "family": pl.UInt8(), "given": pl.UInt8()})
_INDEX: Final = pl.Schema(
    {
        "group": pl.UInt32(),
        "series": pl.String(),
        "study": pl.String(),
        **_PERSON,
        _ID: pl.String(),
        "eligible": pl.Boolean(),
    }
)


def resolve(
    edits: pl.DataFrame, inventory: pl.DataFrame | pl.LazyFrame, options: ResolveOptions | None = None
) -> Resolved:
    """Find the image sets that each edit selects.

    ``edits``: `bulkedit.edits.edit.EDITS`, in list order; the edits of a row share selector, key and version.
    ``inventory``: `INVENTORY`, each image set once. It must contain all image sets that the selectors name, and may
    contain more. It is trusted, so the caller decides whether it is recent enough. Only the rows that the list names
    are in memory.
    """
    options = options or ResolveOptions()
    if (edits.get_column("selector") == _ID).all():
        return _all_by_id(edits)
    placed = edits.with_row_index(_EDIT).with_columns(name=trimmed_key(), series=trimmed("series_uid"))
    asked, parts = _numbered(placed.filter(pl.col("selector") != _ID))
    given = placed.filter(pl.col("selector") == _ID).with_columns(image_set_id=pl.col("key"))
    index = _index(parts, inventory, options)
    selected = _selected(parts, index.filter("eligible"))
    decided = _decided(_sized(asked, selected), parts, index, options)
    differing = pl.col("differ") & (pl.col("state") == RowState.RESOLVED)
    bad = decided.filter(pl.col("state") != RowState.RESOLVED)
    good = asked.join(bad.select("row"), on="row", how="anti", maintain_order="left") if bad.height else asked
    meant = good.join(selected.select("part", _ID), on="part", maintain_order="left_right")
    return Resolved(
        _in_order([meant, given]),
        _as_problems(bad.filter(pl.col("state") == RowState.SET_ASIDE)),
        _as_problems(bad.filter(pl.col("state") == RowState.SKIPPED)).with_columns(hint=pl.lit(None, pl.String)),
        _counts(decided, given),
        noticed(decided, "patient-names", differing, _NAMES, column=pl.col("selector").cast(pl.String)),
    )


def _all_by_id(edits: pl.DataFrame) -> Resolved:
    """Resolve a list that names every image set by its id: nothing is copied."""
    none = pl.DataFrame(schema=SET_ASIDE)
    resolved = edits.with_columns(image_set_id="key").select(*RESOLVED)
    return Resolved(resolved, none, none, _counts_by_id(edits))


def _numbered(asked: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number the distinct selections (parts), so that later joins are by number: adds ``part`` UInt32 to ``asked``.

    Parts: part UInt32, selector String, name String (null for an empty key), series String (null for all series), group
    UInt32 (equal for the parts of one name; null if the name is null).
    """
    what = ["selector", "name", "series"]
    parts = asked.select(what).unique().with_row_index("part")
    groups = parts.select("selector", "name").unique().drop_nulls().with_row_index("group")
    parts = parts.join(groups, on=["selector", "name"], how="left")
    numbers = parts.select(*what, "part")
    return asked.join(numbers, on=what, how="left", nulls_equal=True, maintain_order="left"), parts


def _index(parts: pl.DataFrame, inventory: pl.DataFrame | pl.LazyFrame, options: ResolveOptions) -> pl.DataFrame:
    """Return the image sets of each group, in the order of the inventory.

    group UInt32, series and study String (trimmed), `_PERSON`, image_set_id String, eligible Boolean.
    """
    eligible = pl.col("primary").fill_null(value=False) if options.primary_only else pl.lit(value=True)
    groups = parts.select("selector", "name", "group").drop_nulls().unique()
    found = [
        inventory.lazy()
        .select(
            _ID,
            name=trimmed(selector),
            series=trimmed("series_instance_uid"),
            study=trimmed("study_instance_uid"),
            **_person(),
            eligible=eligible,
        )
        .join(same.lazy().select("name", "group"), on="name", maintain_order="left")
        .select(*_INDEX)
        for (selector,), same in groups.group_by(["selector"])
    ]
    if found:
        return pl.concat(pl.collect_all(found, engine="streaming"))
    return pl.DataFrame(schema=_INDEX)


def _selected(parts: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Return the image sets of each part, in inventory order: part UInt32, image_set_id, study, `_PERSON`."""
    everything = pl.col("series").is_null()
    whole = parts.filter(everything).join(index.drop("series"), on="group", maintain_order="left_right")
    series = parts.filter(~everything).join(index, on=["group", "series"], maintain_order="left_right")
    return pl.concat([found.select("part", _ID, "study", *_PERSON) for found in (whole, series)])


def _sized(asked: pl.DataFrame, selected: pl.DataFrame) -> pl.DataFrame:
    """Count what each row selects.

    Columns: row, selector, part (its first), missing, versioned, matches, studies, patients, differ (`_patients`).
    """
    sizes = selected.group_by("part").agg(size=pl.len(), size_studies=pl.col("study").n_unique())
    people = selected.select("part", *_PERSON).unique()
    rows = asked.select("row", "selector", "part", "version", everything=pl.col("series").is_null())
    if rows.get_column("row").n_unique() < rows.height:
        rows = rows.unique(["row", "part"], keep="first", maintain_order=True)
    rows = rows.join(sizes, on="part", how="left", maintain_order="left").with_columns(
        pl.col("size", "size_studies").fill_null(0), missing=pl.col("size").is_null()
    )
    several = rows.get_column("row").n_unique() < rows.height
    if several:
        rows = _together(rows, selected)
    if several or people.height > sizes.height:  # else each part has one patient
        places = asked.select("row", "part").unique().join(people, on="part")
        rows = rows.join(_patients(places), on="row", how="left", maintain_order="left")
    else:
        rows = rows.with_columns(patients=pl.lit(None, _COUNT), differ=pl.lit(value=False))
    return rows.select(
        "row",
        "selector",
        "part",
        "missing",
        versioned=pl.col("version").is_not_null(),
        matches="size",
        studies="size_studies",
        patients=pl.coalesce("patients", pl.min_horizontal("size", pl.lit(1, _COUNT))),
        differ=pl.col("differ").fill_null(value=False),
    )


def _person() -> dict[str, pl.Expr]:
    """Return the columns `_PERSON` of an inventory."""
    checks = {"born": "birth_date_check", "family": "family_name_check", "given": "given_name_check"}
    return {"patient": trimmed("patient_id"), **{name: pl.col(column) for name, column in checks.items()}}


def _patients(places: pl.DataFrame) -> pl.DataFrame:
    """Count the patients of each row: row, patients UInt32, differ Boolean (one patient has different names).

    ``places``: row, and `_PERSON` of its image sets. What is unknown differs from nothing.
    """
    known = (pl.col(name).drop_nulls().n_unique().clip(1) for name in ("born", "family", "given"))
    people = places.group_by("row", "patient").agg(known)
    people = people.with_columns(patients=pl.max_horizontal("born", pl.min_horizontal("family", "given")))
    differ = (pl.col("patients") == 1) & (pl.max_horizontal("family", "given") > 1)
    return people.group_by("row").agg(pl.col("patients").sum().cast(_COUNT), differ=differ.any())


def patients(inventory: pl.DataFrame) -> int | None:
    """Count the patients of image sets, as `resolve` does. None if ``inventory`` does not have these columns."""
    if "patient_id" not in inventory.columns:
        return None
    people = inventory.select(pl.lit(0, _COUNT).alias("row"), **_person()).unique()
    several = people.filter(pl.col("patient").is_duplicated())
    return people.height - several.height + int(_patients(several).get_column("patients").sum())


_NAMES: Final = (
    "The image sets of such a row have one PatientID, but different patient names. They may be of different people: "
    "searches do not tell the issuer of a PatientID."
)


def _together(lines: pl.DataFrame, selected: pl.DataFrame) -> pl.DataFrame:
    """Combine the lines of each row, one per part, into one line.

    If a row selects all series of a name, single series add nothing. Different series have no image set in common, but
    may have a study in common, which counts once.
    """
    missing = lines.group_by("row").agg(pl.col("missing").any())
    covering = lines.filter(pl.col("everything") | ~pl.col("everything").any().over("row"))
    rows = (
        covering.group_by("row", maintain_order=True)
        .agg(pl.col("selector", "part", "version").first(), pl.col("size", "size_studies").sum(), several=pl.len() > 1)
        .join(missing, on="row", how="left", maintain_order="left")
    )
    several = covering.join(rows.filter("several").select("row"), on="row", how="semi")
    studies = (
        several.select("row", "part")
        .join(selected.select("part", "study").unique(), on="part")
        .group_by("row")
        .agg(true=pl.col("study").n_unique())
    )
    return rows.join(studies, on="row", how="left", maintain_order="left").with_columns(
        size_studies=pl.coalesce("true", "size_studies")
    )


def _decided(rows: pl.DataFrame, parts: pl.DataFrame, index: pl.DataFrame, options: ResolveOptions) -> pl.DataFrame:
    """Decide the result of each row, and the reason.

    Adds to `_sized`: code String (null for a resolved row), state Enum, named UInt32 (image sets that the selector
    alone names) and eligible UInt32 (those of them that may match). Both counts are 0 for rows that are not missing.
    """
    missing, many = pl.col("missing"), pl.col("matches") > 1
    strangers = (pl.col("patients") > 1) & pl.lit(options.on_many_patients is OnManyPatients.FAIL)
    zero = pl.lit(0, _COUNT)
    counted = rows.with_columns(named=zero, eligible=zero)
    if rows.get_column("missing").any():
        by_group = index.group_by("group").agg(named=pl.len(), eligible=pl.col("eligible").sum())
        by_part = parts.select("part", "group").join(by_group, on="group").drop("group")
        counted = rows.join(by_part, on="part", how="left", maintain_order="left").with_columns(
            pl.col("named", "eligible").fill_null(0)
        )
    code = (
        pl.when(missing & (pl.col("named") == 0))
        .then(pl.lit("no-match"))
        .when(missing & (pl.col("eligible") == 0))
        .then(pl.lit("no-primary-match"))
        .when(missing)
        .then(pl.lit("no-match-in-series"))
        .when(many & pl.col("versioned"))
        .then(pl.lit("version-of-many"))
        .when(strangers)
        .then(pl.lit("many-patients"))
        .when(many & pl.lit(options.on_many is OnMany.FAIL))
        .then(pl.lit("many-matches"))
    )
    state = (
        pl.when(missing & pl.lit(options.on_missing is OnMissing.SKIP))
        .then(pl.lit(str(RowState.SKIPPED)))
        .when(pl.col("code").is_not_null())
        .then(pl.lit(str(RowState.SET_ASIDE)))
        .otherwise(pl.lit(str(RowState.RESOLVED)))
        .cast(COUNTS["state"])
    )
    return counted.with_columns(code=code).with_columns(state=state)


def _in_order(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Sort edits in the order of the list, then of the inventory."""
    parts = [part.select(_EDIT, *RESOLVED) for part in parts if part.height]
    if len(parts) > 1:
        return pl.concat(parts).sort(_EDIT, maintain_order=True).drop(_EDIT)
    return parts[0].drop(_EDIT) if parts else pl.DataFrame(schema=RESOLVED)


def _counts(decided: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    counted = decided.select(COUNTS.names()).cast(COUNTS)
    return pl.concat([counted, _counts_by_id(given)]).sort("row", maintain_order=True)


def _counts_by_id(given: pl.DataFrame) -> pl.DataFrame:
    """Return COUNTS of rows that name their image set by its id; the edits of a row are adjacent."""
    rows = given.select("row", "selector")
    return rows.filter((pl.col("row") != pl.col("row").shift()).fill_null(value=True)).with_columns(
        matches=pl.lit(1, _COUNT),
        studies=pl.lit(None, _COUNT),
        patients=pl.lit(None, _COUNT),
        state=pl.lit(str(RowState.RESOLVED)).cast(COUNTS["state"]),
    )


# code -> likely cause, hint
_ADVICE: Final[dict[str, tuple[str, str]]] = {
    "no-match": (
        "It is mistyped, of another data store, or newer than the inventory.",
        "Correct it, or skip rows without a match: `on_missing=skip`",
    ),
    "no-primary-match": (
        "Only primary image sets are searched: `primary_only`.",
        "Omit `primary_only`, or skip rows without a match: `on_missing=skip`",
    ),
    "no-match-in-series": (
        "The series is of another study, or its series_uid is mistyped.",
        "Correct series_uid, or skip rows without a match: `on_missing=skip`",
    ),
    "many-matches": (
        "A study has at least one image set per series.",
        "To edit all of them: `on_many=all`. To edit one, name it by image_set_id.",
    ),
    "many-patients": (
        "The identifier was given twice, or by different issuers. Another birth date or name is another patient.",
        "Name image sets of one patient. To edit those of all these patients: `on_many=all`, `on_many_patients=all`",
    ),
    "version-of-many": (
        "A version belongs to one image set.",
        "Name the image set by image_set_id, or clear the version.",
    ),
}


def _as_problems(bad: pl.DataFrame) -> pl.DataFrame:
    """Return rows that do not resolve, as SET_ASIDE."""
    name, code = pl.col("selector"), pl.col("code")
    many = pl.format("{} in {}", _plural("matches", "image set", "image sets"), _plural("studies", "study", "studies"))
    strangers = pl.format("{} of {}", many, _plural("patients", "patient", "patients"))
    problem = (
        pl.when(code == "no-match")
        .then(pl.format("{} matches no image set of the data store.", name))
        .when(code == "no-primary-match")
        .then(pl.format("{} matches {}, but no primary one.", name, _plural("named", "image set", "image sets")))
        .when(code == "no-match-in-series")
        .then(
            pl.format(
                "series_uid is in none of the {} that {} matches.", _plural("eligible", "image set", "image sets"), name
            )
        )
        .when(code == "many-patients")
        .then(pl.format("matches {}.", strangers))
        .when(code == "version-of-many")
        .then(pl.format("has a version, but matches {}.", many))
        .otherwise(pl.format("matches {}.", many))
    )
    return bad.select(
        "row",
        column=name.cast(pl.String),
        code=code,
        problem=problem,
        likely=code.replace_strict({key: advice[0] for key, advice in _ADVICE.items()}, return_dtype=pl.String),
        hint=code.replace_strict({key: advice[1] for key, advice in _ADVICE.items()}, return_dtype=pl.String),
    ).cast(SET_ASIDE)


def _plural(count: str, one: str, many: str) -> pl.Expr:
    return pl.format("{} {}", pl.col(count), noun_of(pl.col(count), one, many))
