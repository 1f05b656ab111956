"""Converts cells to edits, and checks them against the rules of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from bulkedit.dicom.faults import EMPTY, NEVER_EMPTY, Weight
from bulkedit.edits.attributes import PRIVATE, Known
from bulkedit.edits.columns import suggestions
from bulkedit.edits.common_columns import is_version
from bulkedit.edits.edit import ACTION, EDITS, LEVEL, STORED_VALUE, Action
from bulkedit.edits.identifiers import Guard, looks_wrong, may_look_wrong, reported, texts_inside
from bulkedit.edits.problems import ADVICE, HINT_OF_VR, SET_ASIDE, RowCheck, constant, found, report
from bulkedit.edits.unchecked import Leniency, is_left_out
from bulkedit.edits.value_kinds import look_of
from bulkedit.edits.values import FAULTS, as_strings, is_plain, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.dicom import dictionary as dicom

_SUGGESTED_NAMES = 50  # distinct unknown names per batch that get a suggestion

_FORMED = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")  # VRs whose form says more than their length

_action = pl.col("action")
_named_action = _action.str.to_lowercase().cast(ACTION, strict=False)  # null if the action is unknown
_OTHER_WORDS = {
    **dict.fromkeys(("update", "modify", "edit", "change", "replace", "add", "insert", "write", "upsert"), Action.SET),
    **dict.fromkeys(("delete", "del", "clear", "unset", "erase", "drop", "blank"), Action.REMOVE),
    **dict.fromkeys(("removeinstance", "deleteinstance"), Action.REMOVE_INSTANCE),
    **dict.fromkeys(("removeseries", "deleteseries"), Action.REMOVE_SERIES),
    **dict.fromkeys(("undo", "rollback", "restore", "reverttoversionid"), Action.REVERT),
}  # words of other tools -> the action that they probably mean; suggested, never assumed
_REMOVALS = [Action.REMOVE_INSTANCE, Action.REMOVE_SERIES]
_editable = ~pl.col("known_never").fill_null(value=False) | pl.col("known_private").fill_null(value=False)
_on_attribute = _action.is_in([Action.SET, Action.REMOVE])


@dataclass(frozen=True, slots=True)
class Cells:
    """The result of a batch: edits, problems as SET_ASIDE frames, and what may not be meant."""

    edits: pl.DataFrame
    problems: list[pl.DataFrame]
    odd: list[pl.DataFrame] = field(default_factory=list)  # frames `odd_values.ODD_VALUES`, also of rows with a problem


def edits_of(cells: pl.DataFrame, *, rules: dicom.ServiceRules, wide: bool) -> Cells:
    """Check and type cells.

    ``cells``: the columns of `common_columns.common`, ``study_wide`` Boolean, and String columns ``action``,
    ``attribute``, ``value``, ``level`` and ``vr`` as in the file, null if empty; in the wide form ``attribute`` is the
    name of the column. Values in ``json`` or ``value_json`` are typed and checked already. Rows with a problem still
    make edits here; the caller drops them.
    """
    problems = found(cells, [_action_check()])
    named_action = pl.coalesce(_named_action, _meant_action()) if problems else _named_action
    cells = cells.with_columns(
        pl.when(_action.is_null()).then(pl.lit(str(Action.SET), ACTION)).otherwise(named_action).alias("action"),
        pl.col("vr").str.to_uppercase(),
    )
    known = Known(cells["attribute"])
    cells = cells.hstack(known.facts().select(pl.all().name.prefix("known_")))
    problems += found(cells, _checks(rules, exact="value_json" in cells.columns, wide=wide))
    problems += _unknown_attributes(cells)
    if "json" in cells.columns:
        guarded = _guarded(cells, _text_of_json(pl.col("json")), column=constant("value"))
        typed_ = _Values(cells["json"], guarded.problems, guarded.unfit)
    else:
        typed_ = _type(cells, known, wide=wide)
    values, unfit = typed_.json, pl.lit(typed_.unfit)
    if "value_json" in cells.columns:
        guarded = _guarded(cells, _text_of_json(pl.col("value_json")), column=constant("value_json"))
        problems, unfit = problems + guarded.problems, unfit | pl.lit(guarded.unfit)
        values = cells.select(pl.coalesce("value_json", pl.lit(values))).to_series()
    inside = _guarded_inside(cells, values, wide=wide)
    problems, unfit = problems + inside.problems, unfit | pl.lit(inside.unfit)
    if "unfit" in cells.columns:
        unfit |= pl.col("unfit").fill_null(value=False)
    return Cells(_edits(cells, values, unfit), [*problems, *typed_.problems], typed_.odd)


def _action_check() -> RowCheck:
    unknown = _named_action.is_null() & _action.is_not_null()
    likely = pl.format("Did you mean {}?", _meant_action().cast(pl.String))
    return RowCheck("action", unknown, constant("action is unknown."), "action", likely=likely)


def _meant_action() -> pl.Expr:
    """Return the action that an unknown word probably means, so that the other cells of the row are checked too."""
    plain = _action.str.to_lowercase().str.replace_all(r"[^a-z]", "")
    return plain.replace_strict(_OTHER_WORDS, default=None, return_dtype=ACTION)


def _checks(rules: dicom.ServiceRules, *, exact: bool, wide: bool) -> list[RowCheck]:
    return [*_shape_checks(exact=exact), *_attribute_checks(wide=wide), *_place_checks(), *_force_checks(rules)]


def _shape_checks(*, exact: bool) -> list[RowCheck]:
    """Check which cells are filled for each action."""
    revert, instance, series = (
        _action == str(a) for a in (Action.REVERT, Action.REMOVE_INSTANCE, Action.REMOVE_SERIES)
    )
    version = _target_version()
    bad_version = revert & ~is_version(version).fill_null(value=False)
    superfluous = {
        "attribute": ~_on_attribute,
        "level": revert,
        "vr": ~_on_attribute,
        "value": instance | series,
        **({"value_json": ~_on_attribute} if exact else {}),
        "series_uid": revert,
        "instance_uid": revert | series,
    }
    return [
        RowCheck(
            "no-attribute", _on_attribute & pl.col("attribute").is_null(), constant("attribute is empty."), "attribute"
        ),
        RowCheck("revert-version", bad_version, constant("value is not the version to revert to."), "value"),
        RowCheck(
            "no-series-uid",
            series & pl.col("series_uid").is_null(),
            constant("remove-series needs a series_uid."),
            "series_uid",
        ),
        RowCheck(
            "no-instance-uid",
            instance & (pl.col("series_uid").is_null() | pl.col("instance_uid").is_null()),
            constant("remove-instance needs a series_uid and an instance_uid."),
            "instance_uid",
        ),
        *(
            RowCheck(
                "extra-cell",
                when & pl.col(name).is_not_null(),
                pl.format("{} is filled, but {} does not use it.", constant(name), _action.cast(pl.String)),
                name,
            )
            for name, when in superfluous.items()
        ),
    ]


def _target_version() -> pl.Expr:
    """Return the target version of a revert, as in the cell."""
    return pl.when(_action == str(Action.REVERT)).then("value").str.strip_chars()


def _attribute_checks(*, wide: bool) -> list[RowCheck]:
    named = pl.col("attribute") if wide else "attribute"  # the column that names the attribute
    label = pl.col("known_label")
    given = pl.col("level").str.to_titlecase().cast(LEVEL, strict=False)
    home = (
        pl.when(_action == str(Action.REMOVE_INSTANCE))
        .then(pl.lit("Instance", LEVEL))
        .when(_action == str(Action.REMOVE_SERIES))
        .then(pl.lit("Series", LEVEL))
        .when(_on_attribute)
        .then("known_level")
    )
    what = pl.when(_on_attribute).then(label).otherwise(_action.cast(pl.String))
    private = pl.col("known_private")
    # what no data set may have can be removed, if one has it all the same
    never = pl.col("known_never") & ~((_action == str(Action.REMOVE)) & private.fill_null(value=False))
    return [
        RowCheck("never-editable", never, pl.format("{} cannot be edited.", label), named),
        RowCheck(
            "level-name",
            pl.col("level").is_not_null() & given.is_null(),
            constant("level is not a DICOM level."),
            "level",
            likely=pl.when(pl.col("level").str.to_lowercase().is_in(["image", "sop", "object", "frame"])).then(
                constant("Did you mean Instance?")
            ),
        ),
        RowCheck("level", given != home, pl.format("{} is at {} level.", what, home), "level"),
        RowCheck("vr", private & ~pl.col("vr").is_in(list(PRIVATE)), constant("vr is not a VR of DICOM."), "vr"),
        RowCheck(
            "vr-differs",
            ~private
            & pl.col("vr").is_not_null()
            & ~pl.col("known_standard_vr").str.contains(pl.col("vr"), literal=True),
            pl.format("vr is not the VR of {}.", label),
            "vr",
        ),
    ]


def _place_checks() -> list[RowCheck]:
    """Check the UIDs that an attribute of the Series or Instance level needs."""
    level, label = pl.col("known_level"), pl.col("known_label")
    editable = _on_attribute & _editable
    on_instance = editable & (level == "Instance")
    no_series, no_instance = pl.col("series_uid").is_null(), pl.col("instance_uid").is_null()
    return [
        RowCheck(
            "no-series-uid",
            editable & (level == "Series") & no_series,
            pl.format("{} is at Series level, and series_uid is empty.", label),
            "series_uid",
        ),
        RowCheck(
            "no-instance-uid",
            on_instance & (no_series | no_instance),
            pl.format(
                "{} is at Instance level, and {} empty.",
                label,
                pl.when(no_series & no_instance)
                .then(constant("series_uid and instance_uid are"))
                .when(no_series)
                .then(constant("series_uid is"))
                .otherwise(constant("instance_uid is")),
            ),
            "instance_uid",
        ),
    ]


def _force_checks(rules: dicom.ServiceRules) -> list[RowCheck]:
    unforced = ~pl.col("force")
    checks = [
        RowCheck(
            "needs-force",
            unforced & _on_attribute & pl.col("known_reason").is_not_null() & ~pl.col("known_never"),
            pl.format("{} needs force: {}.", pl.col("known_label"), pl.col("known_reason")),
            "force",
        )
    ]
    if rules.instance_removal_forced:
        removal = _action == str(Action.REMOVE_INSTANCE)
        checks.append(RowCheck("needs-force", unforced & removal, constant("remove-instance needs force."), "force"))
    below = pl.col("known_level").is_in(["Series", "Instance"]) | _action.is_in(_REMOVALS)
    checks += [
        RowCheck(
            "study-wide",
            pl.col("study_wide") & below if rules.study_wide else pl.col("study_wide"),
            constant(
                "include_study_image_sets is for the Patient and Study level only."
                if rules.study_wide
                else f"the service of {rules.version} does not have include_study_image_sets."
            ),
            "include_study_image_sets",
        )
    ]
    if not rules.series_removal:
        series = _action == str(Action.REMOVE_SERIES)
        checks.append(RowCheck("series-removal", series, constant("a whole series cannot be removed."), "action"))
    return checks


def _unknown_attributes(cells: pl.DataFrame) -> list[pl.DataFrame]:
    """Report unknown attributes, with similar names."""
    unknown = cells.filter(_on_attribute & pl.col("attribute").is_not_null() & pl.col("known_attribute").is_null())
    if unknown.is_empty():
        return []
    names = unknown["attribute"].unique(maintain_order=True).head(_SUGGESTED_NAMES)
    near = {name: f"Did you mean {close[0]}?" for name in names if (close := suggestions(name, columns=False))}
    likely = pl.col("attribute").replace_strict(near, default=None, return_dtype=pl.String) if near else None
    text = constant("attribute is neither a DICOM keyword nor the eight hex digits of a private element.")
    return [report(unknown, RowCheck("attribute", pl.lit(value=True), text, "attribute", likely=likely))]


# -- values -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Values:
    """The JSON text of each cell, and what is wrong with cells."""

    json: pl.Series
    problems: list[pl.DataFrame] = field(default_factory=list)  # frames `SET_ASIDE`
    unfit: pl.Series | bool = False  # Boolean: the value breaks a rule, and its check is left out
    odd: list[pl.DataFrame] = field(default_factory=list)  # frames `ODD_VALUES`


def _type(cells: pl.DataFrame, known: Known, *, wide: bool) -> _Values:
    """Type each cell."""
    guarded = _guarded(cells, _single_texts(known), column=_column(wide=wide))
    problems = guarded.problems
    private_spec = pl.col("vr").replace_strict(
        {name: 1 + i for i, name in enumerate(PRIVATE)}, default=0, return_dtype=pl.UInt16
    )
    columns = cells.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("i"),
        "value",
        pl.when(_on_attribute & _editable & pl.col("value").is_not_null() & ~pl.lit(guarded.refused))
        .then(pl.when(pl.col("known_private")).then(private_spec).otherwise(pl.col("known_spec")))
        .alias("spec"),
        plain=is_plain("value", free=pl.col("known_free"), longest=pl.col("known_longest")),
    ).with_columns(pl.col("plain") & pl.col("spec").is_not_null())
    if columns["plain"].all():
        return _Values(as_strings(columns["value"]), problems, guarded.unfit)
    plain = columns.filter("plain")
    pieces, oddities = [plain.select("i", json=as_strings(plain["value"]))], []
    faults = _empty(cells) if columns["value"].has_nulls() else []
    for (code,), part in columns.filter(~pl.col("plain")).partition_by("spec", as_dict=True, include_key=False).items():
        if code is None:
            pieces.append(part.select("i", json=pl.lit(None, pl.String)))
            continue
        spec = known.specs[code]
        done = typed(part, spec)
        pieces.append(part.select("i", json=done.json))
        faults += [_of_vr(fault, spec.vr) for fault in done.faults]
        oddities += done.oddities
    json = pl.concat(pieces).sort("i")["json"]
    faulty = pl.concat(faults) if faults else _of_vr(pl.DataFrame(schema=FAULTS), None)
    odd = [_odd(cells, pl.concat(oddities), faulty["i"])] if oddities else []
    if faulty.is_empty():
        return _Values(json, problems, guarded.unfit, odd)
    refused, left_out = _divided(faulty, cells)
    unfit = pl.int_range(cells.height, dtype=pl.UInt32, eager=True).is_in(left_out.implode())
    return _Values(json, [*problems, *_faulty(cells, refused, wide=wide)], unfit | guarded.unfit, odd)


def _empty(cells: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the empty cells that empty a UID which is never empty."""
    filled = pl.col("value_json").is_not_null() if "value_json" in cells.columns else pl.lit(value=False)
    never = pl.col("known_attribute").is_in(list(NEVER_EMPTY))
    empty = pl.col("value").is_null() & (_action == str(Action.SET)) & ~filled & never
    places = cells.select(pl.arg_where(empty).cast(pl.UInt32).alias("i"))
    why = constant(f"{EMPTY.removeprefix('it ')}.")
    each = places.with_columns(code=constant("value-empty"), why=why, weight=pl.lit(Weight.RULE, pl.UInt8))
    return [_of_vr(each.select(*FAULTS), "UI")] if each.height else []


def _odd(cells: pl.DataFrame, oddities: pl.DataFrame, faulty: pl.Series) -> pl.DataFrame:
    """Return cells that may not be meant (`ODD_VALUES`). Not of removals, and not of cells with a fault."""
    named = cells.select("row", "known_label", _action)[oddities["i"]]
    odd = oddities.hstack(named).filter(_action == str(Action.SET), ~pl.col("i").is_in(faulty.implode()))
    return odd.select("row", "code", "text", column="known_label")


def _divided(faults: pl.DataFrame, cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Return the faults that are problems, and the positions of the cells whose check is left out.

    Not those of removals: a stored value may break any rule, and must be named as it is.
    """
    left_out = pl.when(is_left_out(cells, "known_attribute")).then(int(Leniency.UNCHECKED)).otherwise(0)
    leniency = pl.when(_action == str(Action.REMOVE)).then(int(Leniency.STORED)).otherwise(left_out).cast(pl.UInt8)
    faults = faults.with_columns(cells.select(leniency=leniency)["leniency"][faults["i"]])
    refused = pl.col("weight") >= pl.col("leniency")
    accepted = faults.filter(~refused, pl.col("leniency") == int(Leniency.UNCHECKED))
    return faults.filter(refused).drop("leniency"), accepted["i"]


def _of_vr(fault: pl.DataFrame, vr: str | None) -> pl.DataFrame:
    return fault.with_columns(hint=pl.lit(HINT_OF_VR.get(vr or ""), pl.String), vr=pl.lit(vr, pl.String))


def _column(*, wide: bool) -> pl.Expr:
    """Return the column of a value."""
    return pl.col("attribute") if wide else constant("value")


@dataclass(frozen=True, slots=True)
class _Guarded:
    """What the guard of identifiers and names says of each cell."""

    refused: pl.Series  # Boolean
    unfit: pl.Series  # Boolean: the value looks wrong, and its check is left out
    problems: list[pl.DataFrame]  # frames `SET_ASIDE`


def _guarded(cells: pl.DataFrame, text: pl.Expr, *, column: pl.Expr) -> _Guarded:
    """Find values of sets that a program or a spreadsheet has written in the place of what was meant."""
    suspects = cells.select(may_look_wrong(text).fill_null(value=False)).to_series()
    if not suspects.any():
        return _Guarded(suspects, suspects, [])
    setting = cells.with_row_index("i").filter(suspects).filter(_action == str(Action.SET))
    subject, problems = pl.format("the value of {}", "known_label"), []
    found_: dict[bool, list[pl.Series]] = {True: [], False: []}  # left out or not -> positions
    for (guard,), same in setting.drop_nulls("known_guard").partition_by("known_guard", as_dict=True).items():
        wrong = same.filter(looks_wrong(text, Guard(guard))).with_columns(left_out=is_left_out(same, "known_attribute"))
        for left_out, places in found_.items():
            places.append(wrong.filter(pl.col("left_out") == left_out)["i"])
        problems.append(reported(wrong.filter(~pl.col("left_out")), text, Guard(guard), subject=subject, column=column))
    refused, unfit = (_at(cells.height, found_[left_out]) for left_out in (False, True))
    return _Guarded(refused, unfit, [problem for problem in problems if problem.height])


def _guarded_inside(cells: pl.DataFrame, values: pl.Series, *, wide: bool) -> _Guarded:
    """As `_guarded`, for the texts in sequences. ``values``: the JSON of each cell."""
    sequences = values.str.starts_with("[{").fill_null(value=False)
    if not sequences.any():
        return _Guarded(sequences, sequences, [])
    setting = cells.with_row_index("i").with_columns(json=values)
    setting = setting.filter(sequences).filter(_action == str(Action.SET))
    texts = texts_inside(setting.select("i", "json"))
    refused, unfit, problems = [], [], []
    for (guard,), same in texts.partition_by("guard", as_dict=True).items():
        wrong = setting.join(same.filter(looks_wrong(pl.col("text"), Guard(guard))), on="i", maintain_order="left")
        wrong = wrong.with_columns(left_out=is_left_out(wrong, "known_attribute"))
        unfit.append(wrong.filter("left_out")["i"])
        wrong = wrong.filter(~pl.col("left_out"))
        refused.append(wrong["i"])
        subject = pl.format("{} in the value of {}", "name", "known_label")
        problems.append(reported(wrong, pl.col("text"), Guard(guard), subject=subject, column=_column(wide=wide)))
    height = cells.height
    return _Guarded(_at(height, refused), _at(height, unfit), [problem for problem in problems if problem.height])


def _at(height: int, places: Sequence[pl.Series]) -> pl.Series:
    """Return a Boolean for each position: whether it is among these."""
    wanted = pl.concat([pl.Series(dtype=pl.UInt32), *places])
    return pl.int_range(height, dtype=pl.UInt32, eager=True).is_in(wanted.implode())


def _single_texts(known: Known) -> pl.Expr:
    """Return values with backslashes between several; an attribute of several values may have them as a JSON array."""
    value = pl.col("value")
    several = [i for i, spec in enumerate(known.specs) if spec.multi]
    if not several:
        return value
    is_array = pl.col("known_spec").is_in(several) & value.str.starts_with("[")
    return pl.when(is_array).then(_text_of_json(value)).otherwise(value)


def _text_of_json(json: pl.Expr) -> pl.Expr:
    """Return the text of a JSON string, or texts of a JSON array separated by backslashes; null for other values."""
    inner = json.str.strip_prefix("[").str.strip_suffix("]").str.replace_all('" *, *"', "\\")
    text = inner.str.strip_prefix('"').str.strip_suffix('"').str.replace_all('\\"', '"', literal=True)
    return pl.when(json.str.starts_with('"') | json.str.starts_with('["')).then(text)


def _faulty(cells: pl.DataFrame, faults: pl.DataFrame, *, wide: bool) -> list[pl.DataFrame]:
    """Return the faults of `values.typed` as problems."""
    if faults.is_empty():
        return []
    each = _each_once(faults).sort("i", maintain_order=True)
    rows = cells.select("row", "known_label", "value", column=_column(wide=wide))[each["i"]].hstack(each)
    hints = {code: advice.hint for code, advice in ADVICE.items()}
    general = pl.col("code").replace_strict(hints, return_dtype=pl.String)
    return [
        rows.select(
            "row",
            "column",
            "code",
            pl.format("the value of {} {}", "known_label", "why").alias("problem"),
            pl.when(pl.col("code") == "value-form").then(look_of(pl.col("value"), pl.col("vr"))).alias("likely"),
            pl.when(pl.col("code") == "value-form").then("hint").otherwise(general).alias("hint"),
        ).select(*SET_ASIDE)
    ]


def _each_once(faults: pl.DataFrame) -> pl.DataFrame:
    """Return each fault once per cell. A value without the form of its VR is not told of its length too."""
    each = faults.unique(["i", "code"], keep="first", maintain_order=True)
    formless = each.filter((pl.col("code") == "value-form") & pl.col("vr").is_in(_FORMED).fill_null(value=False))
    if formless.is_empty():
        return each
    return each.filter((pl.col("code") != "value-length") | ~pl.col("i").is_in(formless["i"].implode()))


# -- the edits' frame ---------------------------------------------------------------------------------------------


def _edits(cells: pl.DataFrame, values: pl.Series, unfit: pl.Expr) -> pl.DataFrame:
    setting, removing = (_action == str(a) for a in (Action.SET, Action.REMOVE))
    level = (
        pl.when(_action == str(Action.REMOVE_INSTANCE))
        .then(pl.lit("Instance", LEVEL))
        .when(_action == str(Action.REMOVE_SERIES))
        .then(pl.lit("Series", LEVEL))
        .otherwise(pl.col("known_level"))
    )
    in_series = level.is_in(["Series", "Instance"])
    empty = pl.when(setting).then(constant("null")).when(removing).then(constant(STORED_VALUE))
    return cells.select(
        pl.col("row"),
        pl.col("edit_id"),
        pl.col("selector"),
        pl.col("key"),
        _action,
        level.alias("level"),
        pl.when(in_series).then("series_uid").alias("series_uid"),
        pl.when(level == "Instance").then("instance_uid").alias("instance_uid"),
        pl.col("known_attribute").alias("attribute"),
        pl.coalesce(pl.lit(values), empty).alias("value"),
        pl.when(setting & pl.col("known_private")).then("vr").alias("vr"),
        _target_version().cast(pl.UInt32, strict=False).alias("revert_to"),
        pl.col("force"),
        unfit.alias("unchecked"),
        pl.col("order"),
        pl.col("version"),
        pl.col("study_wide"),
    ).select(*EDITS)
