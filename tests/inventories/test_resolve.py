"""What rows mean: a truth table, a plain reference for Hypothesis, and the same for many rows."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import EDITS, SELECTOR
from bulkedit.inventories import COUNTS, INVENTORY, RESOLVED, ResolveOptions, RowState, patients, resolve
from bulkedit.inventories.frame import row_of
from bulkedit.options.listing import OnMany, OnManyPatients, OnMissing
from bulkedit.options.shared import SELECTORS
from tests.examples import examples
from tests.inventories.memory_client import item

FIELDS = [name for name in SELECTORS if name != "image_set_id"]
Rows = list[dict[str, Any]]


def edits(rows: Rows) -> pl.DataFrame:
    """Rows numbered as a spreadsheet numbers them, unless they say otherwise."""
    return pl.DataFrame([{"row": n, "action": "set", **one} for n, one in enumerate(rows, 2)], schema=EDITS)


def inventory(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(
        [{"image_set_id": f"{n:032x}", "primary": True, **one} for n, one in enumerate(rows)], INVENTORY
    )


# Image set 0 is alone in everything; 1 to 3 share everything but the series, 3 is not primary; 4 is alone and not
# primary; 5 has empty identifiers; 6 has none.
STORE = inventory(
    [
        {name: f"{name}/one" for name in FIELDS},
        *(
            {name: f"{name}/many" for name in FIELDS} | {"study_instance_uid": study, "primary": primary}
            for study, primary in (("study/a", True), ("study/b", True), ("study/b", False))
        ),
        {name: f"{name}/other" for name in FIELDS} | {"primary": False},
        dict.fromkeys(FIELDS, ""),
        {},
    ]
)
MANY = {"study_instance_uid": "study/b", **{n: f"{n}/many" for n in FIELDS if n != "study_instance_uid"}}
OPTIONS = [
    ResolveOptions(on_missing=missing, on_many=many, primary_only=primary)
    for missing, many, primary in itertools.product(OnMissing, OnMany, [False, True])
]

CONFIRMED = [
    ResolveOptions(on_missing=one, on_many=OnMany.ALL, on_many_patients=OnManyPatients.ALL) for one in OnMissing
]


def one_row(options: ResolveOptions, **fields: Any) -> tuple[list[int], str | None, tuple[int, int], str]:
    """The image sets that one row comes to, the code of its problem, (matches, studies), and its state."""
    found = resolve(edits([fields]), STORE, options)
    said = pl.concat([found.set_aside, found.skipped])
    assert said.height <= 1
    (count,) = found.counts.rows(named=True)
    ids = [int(one, 16) for one in found.edits["image_set_id"]]
    assert bool(ids) == (count["state"] == RowState.RESOLVED)
    return ids, (said["code"].to_list() or [None])[0], (count["matches"], count["studies"]), count["state"]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o.on_missing}-{o.on_many}-{o.primary_only}")
@pytest.mark.parametrize("selector", FIELDS)
class TestTruthTable:
    """Each selector with no, one and many matches, under all options."""

    def test_none(self, selector: str, options: ResolveOptions) -> None:
        state = RowState.SKIPPED if options.on_missing is OnMissing.SKIP else RowState.SET_ASIDE
        before = (f" {selector}/one",) if selector.endswith("_uid") else ()
        for key in ("nothing", "", " ", f"{selector}/ONE", f"\t{selector}/one", *before):
            assert one_row(options, selector=selector, key=key) == ([], "no-match", (0, 0), state)

    def test_one(self, selector: str, options: ResolveOptions) -> None:
        before = () if selector.endswith("_uid") else (f" {selector}/one", f"  {selector}/one ")
        for key in (f"{selector}/one", f"{selector}/one ", f"{selector}/one\0", *before):
            found = one_row(options, selector=selector, key=key)
            assert found == ([0], None, (1, 1), RowState.RESOLVED)
            assert one_row(options, selector=selector, key=key, version=3) == found

    def test_one_that_is_not_primary(self, selector: str, options: ResolveOptions) -> None:
        found = one_row(options, selector=selector, key=f"{selector}/other")
        state = RowState.SKIPPED if options.on_missing is OnMissing.SKIP else RowState.SET_ASIDE
        if options.primary_only:
            assert found == ([], "no-primary-match", (0, 0), state)
        else:
            assert found == ([4], None, (1, 1), RowState.RESOLVED)

    def test_many(self, selector: str, options: ResolveOptions) -> None:
        found = one_row(options, selector=selector, key=MANY[selector])
        study = selector == "study_instance_uid"
        all_ids, primary_ids = ([2, 3], [2]) if study else ([1, 2, 3], [1, 2])
        ids = primary_ids if options.primary_only else all_ids
        size = (len(ids), 1 if study else 2)
        if len(ids) == 1 or options.on_many is OnMany.ALL:
            assert found == (ids, None, size, RowState.RESOLVED)
        else:
            assert found == ([], "many-matches", size, RowState.SET_ASIDE)

    def test_many_with_a_version(self, selector: str, options: ResolveOptions) -> None:
        found = one_row(options, selector=selector, key=MANY[selector], version=3)
        study = selector == "study_instance_uid"
        if study and options.primary_only:
            assert found == ([2], None, (1, 1), RowState.RESOLVED)
        else:
            size = (2 if study or options.primary_only else 3, 1 if study else 2)
            assert found == ([], "version-of-many", size, RowState.SET_ASIDE)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o.on_missing}-{o.on_many}-{o.primary_only}")
def test_an_image_set_id_passes_whatever_the_inventory_says(options: ResolveOptions) -> None:
    for key in ("f" * 32, f"{4:032x}"):
        found = resolve(edits([{"selector": "image_set_id", "key": key, "series_uid": "1.2"}]), STORE, options)
        assert found.edits["image_set_id"].to_list() == [key]
        assert found.counts.rows() == [(2, "image_set_id", 1, None, None, RowState.RESOLVED)]


# a series within what is named

SERIES = inventory(
    [
        {"study_instance_uid": "A", "patient_id": "P", "series_instance_uid": "A.1"},
        {"study_instance_uid": "A", "patient_id": "P", "series_instance_uid": "A.2"},
        {"study_instance_uid": "B", "patient_id": "P", "series_instance_uid": "B.1"},
        {"study_instance_uid": "B", "patient_id": "P", "series_instance_uid": "B.1", "primary": False},
        {"study_instance_uid": "C", "patient_id": "Q", "series_instance_uid": "C.1"},
    ]
)


def of_row(*series: str | None, selector: str = "patient_id", key: str = "P", **fields: Any) -> Rows:
    """One row with an edit for each series."""
    return [{"row": 7, "selector": selector, "key": key, "series_uid": one, **fields} for one in series]


@pytest.mark.parametrize(
    ("rows", "pairs", "size"),
    [
        (of_row("A.2"), [(0, 1)], (1, 1)),
        (of_row("A.2 "), [(0, 1)], (1, 1)),
        (of_row("B.1"), [(0, 2), (0, 3)], (2, 1)),
        (of_row("A.1", "A.2"), [(0, 0), (1, 1)], (2, 1)),
        (of_row("A.1", "B.1"), [(0, 0), (1, 2), (1, 3)], (3, 2)),
        (of_row("A.1", "A.1"), [(0, 0), (1, 0)], (1, 1)),
        (of_row(None, "A.2"), [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1)], (4, 2)),
        (of_row("C.1", selector="study_instance_uid", key="C"), [(0, 4)], (1, 1)),
        (of_row("C.1", selector="series_instance_uid", key="C.1"), [(0, 4)], (1, 1)),
    ],
)
def test_an_edit_with_a_series_means_that_series_within_what_is_named(
    rows: Rows, pairs: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    numbered = [one | {"attribute": str(n)} for n, one in enumerate(rows)]
    found = resolve(edits(numbered), SERIES, ResolveOptions(on_many=OnMany.ALL))
    assert [(int(a), int(i, 16)) for a, i in found.edits.select("attribute", "image_set_id").rows()] == pairs
    assert found.counts.select("matches", "studies").rows() == [size]


@pytest.mark.parametrize(
    "rows",
    [of_row("C.1"), of_row("A.1", "C.1"), of_row(None, "C.1"), of_row("X"), of_row("A.1", key="Q")],
    ids=["of another patient", "one of two", "beside all", "of nobody", "the other way round"],
)
def test_a_row_stands_or_falls_whole(rows: Rows) -> None:
    found = resolve(edits(rows), SERIES, ResolveOptions(on_many=OnMany.ALL))
    assert found.edits.height == 0
    assert found.set_aside["code"].to_list() == ["no-match-in-series"]
    skipping = ResolveOptions(on_many=OnMany.ALL, on_missing=OnMissing.SKIP)
    assert resolve(edits(rows), SERIES, skipping).skipped["row"].to_list() == [7]


def test_a_version_is_of_the_one_series_that_the_row_means() -> None:
    found = resolve(edits(of_row("A.2", version=4)), SERIES)
    assert found.edits.select("image_set_id", "version").rows() == [(f"{1:032x}", 4)]


# several patients

PEOPLE = inventory(
    [
        {"accession_number": "one", "patient_id": "P"},
        {"accession_number": "one", "patient_id": " P "},
        {"accession_number": "two", "patient_id": "P"},
        {"accession_number": "two", "patient_id": "Q"},
        {"accession_number": "unknown", "patient_id": "P"},
        {"accession_number": "unknown"},
        {"accession_number": "born", "patient_id": "B", "birth_date_check": 1},
        {"accession_number": "born", "patient_id": "B", "birth_date_check": 2},
        {"accession_number": "born", "patient_id": "B"},
        {"accession_number": "named", "patient_id": "N", "family_name_check": 1, "given_name_check": 1},
        {"accession_number": "named", "patient_id": "N", "family_name_check": 2, "given_name_check": 2},
        {"accession_number": "married", "patient_id": "M", "family_name_check": 1, "given_name_check": 1},
        {"accession_number": "married", "patient_id": "M", "family_name_check": 2, "given_name_check": 1},
    ]
)
ALL = ResolveOptions(on_many=OnMany.ALL)


@pytest.mark.parametrize(
    ("key", "number"), [("one", 1), ("two", 2), ("unknown", 2), ("born", 2), ("named", 2), ("married", 1)]
)
def test_image_sets_of_several_patients_need_a_word_of_their_own(key: str, number: int) -> None:
    rows = edits([{"selector": "accession_number", "key": key, "attribute": "PatientName"}])
    found = resolve(rows, PEOPLE, ALL)
    assert found.counts["patients"].to_list() == [number]
    assert found.set_aside["code"].to_list() == ["many-patients"] * (number > 1)
    assert resolve(rows, PEOPLE, CONFIRMED[0]).edits.height >= 2
    one_by_one = replace(CONFIRMED[0], on_many=OnMany.FAIL)
    assert resolve(rows, PEOPLE, one_by_one).set_aside["code"].to_list() == ["many-matches"]


def test_a_row_of_several_series_counts_each_patient_once() -> None:
    store = inventory(
        [{"study_id": "S", "series_instance_uid": f"1.{n}", "patient_id": "PQ"[n // 2]} for n in range(4)]
    )
    found = resolve(edits(of_row("1.0", "1.1", selector="study_id", key="S")), store, ALL)
    assert found.counts["patients"].to_list() == [1]
    found = resolve(edits(of_row("1.0", "1.1", "1.2", selector="study_id", key="S")), store, ALL)
    assert found.set_aside["problem"].to_list() == ["matches 3 image sets in 1 study of 2 patients."]


def test_different_names_of_one_patient_are_a_notice() -> None:
    keys = ("one", "married", "two", "named")
    rows = edits([{"selector": "accession_number", "key": key} for key in keys])
    (notice,) = resolve(rows, PEOPLE, CONFIRMED[0]).notices.rows(named=True)
    assert (notice["code"], notice["column"], notice["rows"]) == ("patient-names", "accession_number", 1)
    assert notice["first"] == 3
    assert resolve(rows, PEOPLE).notices.is_empty()


def test_a_patient_of_a_data_store_is_counted_once() -> None:
    assert patients(PEOPLE) == 8  # P, Q, unknown, B twice, N twice, M


@pytest.mark.parametrize(
    ("name", "same"),
    [("DOE^JANE", True), ("Doe^Jane^Ann", True), ("doe, jane", True), ("DOE^JANE=X^Y", True), ("ROE^JANE", False)],
)
def test_a_check_tells_whether_a_name_differs(name: str, same: bool) -> None:
    first, second = (
        list(row_of(item(1, DICOMTags={"DICOMPatientId": patient, "DICOMPatientName": one})))[-3:]
        for patient, one in ((" 7 ", "DOE^JANE"), ("7", name))
    )
    assert (first == second) == same
    assert first[0] is None  # no birth date


# order, form, texts


def test_edits_keep_the_order_of_the_list_and_image_sets_that_of_the_inventory() -> None:
    rows = [
        {"row": 2, "selector": "patient_id", "key": "P", "attribute": "a"},
        {"row": 2, "selector": "patient_id", "key": "P", "attribute": "b"},
        {"row": 3, "selector": "image_set_id", "key": "f" * 32, "attribute": "c"},
        {"row": 4, "selector": "study_instance_uid", "key": "A", "attribute": "d"},
        {"row": 5, "selector": "patient_id", "key": "Q", "attribute": "e"},
    ]
    found = resolve(edits(rows), SERIES, ResolveOptions(on_many=OnMany.ALL))
    pairs = [(a, i[-1]) for a, i in found.edits.select("attribute", "image_set_id").rows()]
    assert pairs == [*zip("aaaabbbb", "01230123", strict=True), ("c", "f"), ("d", "0"), ("d", "1"), ("e", "4")]
    assert found.counts["row"].to_list() == [2, 3, 4, 5]


@pytest.mark.parametrize("rows", [[], of_row(None), [{"selector": "image_set_id", "key": "f" * 32}], of_row("none")])
@pytest.mark.parametrize("lazy", [False, True])
def test_frames_have_their_schemas_whatever_is_in_them(rows: Rows, lazy: bool) -> None:
    for options in OPTIONS:
        for store in (SERIES, SERIES.clear()):
            found = resolve(edits(rows), store.lazy() if lazy else store, options)
            assert found.edits.schema == RESOLVED
            assert found.set_aside.schema == found.skipped.schema == SET_ASIDE
            assert found.counts.schema == COUNTS


def test_a_primary_flag_that_search_did_not_tell_counts_as_none() -> None:
    store = inventory([{"patient_id": "P", "primary": None}])
    row = edits([{"selector": "patient_id", "key": "P"}])
    assert resolve(row, store, ResolveOptions(primary_only=True)).set_aside["code"].to_list() == ["no-primary-match"]
    assert resolve(row, store).edits.height == 1


@pytest.mark.parametrize(
    ("rows", "options", "text"),
    [
        (of_row(None, key="CANARY"), {}, "patient_id matches no image set of the data store."),
        (of_row(None), {}, "matches 4 image sets in 2 studies."),
        (of_row("B.1"), {}, "matches 2 image sets in 1 study."),
        (of_row(None, version=1), {}, "has a version, but matches 4 image sets in 2 studies."),
        (of_row("CANARY"), {}, "series_uid is in none of the 4 image sets that patient_id matches."),
        (of_row("CANARY", key="Q"), {}, "series_uid is in none of the 1 image set that patient_id matches."),
    ],
)
def test_a_problem_says_how_many_and_what_to_type(rows: Rows, options: dict[str, Any], text: str) -> None:
    (problem,) = resolve(edits(rows), SERIES, ResolveOptions(**options)).set_aside.rows(named=True)
    assert (problem["row"], problem["column"], problem["problem"]) == (7, "patient_id", text)
    assert problem["likely"]
    assert problem["hint"]


def test_the_words_to_type_stand_in_the_problem() -> None:
    hints = {
        code: hint
        for rows in (of_row(None), of_row(None, key="CANARY"), of_row("CANARY"), of_row(None, version=1))
        for code, hint in resolve(edits(rows), SERIES).set_aside.select("code", "hint").rows()
    }
    assert "`on_many=all`" in hints["many-matches"]
    assert "`on_missing=skip`" in hints["no-match"]
    assert "`on_missing=skip`" in hints["no-match-in-series"]
    assert "image_set_id" in hints["version-of-many"]


def test_no_text_holds_an_identifier() -> None:
    """Patient ids and accession numbers are health data; UIDs lead to them."""
    store = inventory(
        [{name: f"CANARY{name}" for name in FIELDS} | {"series_instance_uid": f"CANARY{n}"} for n in range(3)]
    )
    rows: Rows = []
    for selector, series, version in itertools.product(FIELDS, [None, "CANARY0", "CANARYNONE"], [None, 2]):
        for key in (f"CANARY{selector}", "CANARYNONE"):
            rows.append({"selector": selector, "key": key, "series_uid": series, "version": version})
    for options in OPTIONS:
        found = resolve(edits(rows), store, options)
        for frame in (found.set_aside, found.skipped, found.counts):
            assert "CANARY" not in frame.write_csv()
        assert found.set_aside.height + found.skipped.height > 0


# the reference


@dataclass(frozen=True)
class Meaning:
    """What the reference says of a list."""

    pairs: list[tuple[int, str]]  # place of the edit, image set
    states: dict[int, RowState]
    sizes: dict[int, tuple[int, int | None, int | None]]


def bare(text: str | None, name: str = "study_instance_uid") -> str | None:
    text = (text or "").rstrip(" \0")
    return (text if name.endswith("_uid") else text.lstrip(" ")) or None


def people(found: Rows) -> int:
    """How many patients image sets are of."""
    patients = {bare(one["patient_id"], "patient_id") for one in found}
    return sum(
        max(many("birth_date_check", same), min(many("family_name_check", same), many("given_name_check", same)))
        for patient in patients
        for same in [[one for one in found if bare(one["patient_id"], "patient_id") == patient]]
    )


def many(name: str, found: Rows) -> int:
    return len({one[name] for one in found} - {None}) or 1


def meaning(rows: Rows, store: Rows, options: ResolveOptions) -> Meaning:
    """The rule in plain Python, a row and an edit at a time."""
    pairs: list[tuple[int, str]] = []
    states, sizes = {}, {}
    for number, group in itertools.groupby(enumerate(rows), key=lambda pair: pair[1]["row"]):
        row = list(group)
        selects = {place: selected(edit, store, options) for place, edit in row}
        union = {one["image_set_id"]: one for found in selects.values() for one in found}
        given_id = row[0][1]["selector"] == "image_set_id"
        studies = None if given_id else len({bare(o["study_instance_uid"]) for o in union.values()})
        patients = None if given_id else people([*union.values()])
        states[number] = state(row[0][1], selects, len(union), patients or 1, options)
        sizes[number] = (len(union), studies, patients)
        if states[number] is RowState.RESOLVED:
            pairs += [(place, one["image_set_id"]) for place, _ in row for one in selects[place]]
    return Meaning(pairs, states, sizes)


def selected(edit: dict[str, Any], store: Rows, options: ResolveOptions) -> Rows:
    if edit["selector"] == "image_set_id":
        return [{"image_set_id": edit["key"], "study_instance_uid": None}]
    key, series = bare(edit["key"], edit["selector"]), bare(edit["series_uid"])
    return [
        one
        for one in store
        if key is not None
        and bare(one[edit["selector"]], edit["selector"]) == key
        and (series is None or bare(one["series_instance_uid"]) == series)
        and (not options.primary_only or one["primary"] is True)
    ]


def state(
    first: dict[str, Any], selects: dict[int, Rows], size: int, patients: int, options: ResolveOptions
) -> RowState:
    if not all(selects.values()):
        return RowState.SKIPPED if options.on_missing is OnMissing.SKIP else RowState.SET_ASIDE
    if size > 1 and (first["version"] is not None or options.on_many is OnMany.FAIL):
        return RowState.SET_ASIDE
    if patients > 1 and options.on_many_patients is OnManyPatients.FAIL:
        return RowState.SET_ASIDE
    return RowState.RESOLVED


TEXT = st.sampled_from(["A", "A ", " A", "B", "B\0", "C", "", " ", None])
CHECKS = ("birth_date_check", "family_name_check", "given_name_check")
STORED = st.lists(
    st.fixed_dictionaries(
        dict.fromkeys(FIELDS, TEXT)
        | {"primary": st.sampled_from([True, False, None])}
        | dict.fromkeys(CHECKS, st.sampled_from([1, 1, 2, None]))
    ),
    max_size=9,
)
ASKED = st.sampled_from(["A", "A ", " A", "B", "C", "D", " "])


@st.composite
def lists(draw: st.DrawFn) -> Rows:
    rows: Rows = []
    for number in range(2, 2 + draw(st.integers(0, 6))):
        selector = draw(st.sampled_from(SELECTORS))
        key = draw(ASKED) if selector != "image_set_id" else "f" * 32
        version = draw(st.sampled_from([None, None, 3]))
        for _ in range(draw(st.integers(1, 4))):
            series = draw(st.sampled_from([None, None, "A", "B", "D"]))
            rows.append({"row": number, "selector": selector, "key": key, "version": version, "series_uid": series})
    return rows


@examples(50)
@given(rows=lists(), stored=STORED, options=st.sampled_from([*OPTIONS, *CONFIRMED]))
def test_resolving_is_what_the_plain_rule_says(rows: Rows, stored: Rows, options: ResolveOptions) -> None:
    store = [{"image_set_id": f"{n:032x}", **one} for n, one in enumerate(stored)]
    placed = [one | {"attribute": str(place)} for place, one in enumerate(rows)]
    found = resolve(edits(placed), inventory(store), options)
    expected = meaning(rows, store, options)
    assert [(int(a), i) for a, i in found.edits.select("attribute", "image_set_id").rows()] == expected.pairs
    counts = {row: (state, tuple(sizes)) for row, _, *sizes, state in found.counts.rows()}
    assert counts == {row: (said, expected.sizes[row]) for row, said in expected.states.items()}
    assert found.set_aside["row"].to_list() == [r for r, s in expected.states.items() if s is RowState.SET_ASIDE]
    assert found.skipped["row"].to_list() == [r for r, s in expected.states.items() if s is RowState.SKIPPED]


# the same for many rows


@pytest.mark.parametrize("rows", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("key", "series"), [("series_instance_uid", False), ("accession_number", True)])
def test_many_edits_take_no_more_than_a_few_plain_joins(key: str, series: bool, rows: int) -> None:
    """Without an object per row: a loop over the rows would take a hundred joins."""
    image_sets = rows // 5
    numbers = pl.select(n=pl.int_range(image_sets, eager=False)).lazy()
    store = (
        numbers.with_columns(study=pl.format("1.2.840.{}", pl.col("n") // 4))
        .select(
            image_set_id=pl.format("{}", pl.col("n").cast(pl.String).str.zfill(32)),
            primary=True,
            study_instance_uid="study",
            series_instance_uid=pl.format("{}.{}", "study", "n"),
            accession_number=pl.format("A{} ", (pl.col("n") // 4).cast(pl.String).str.zfill(8)),
        )
        .collect()
    )
    store = pl.concat([pl.DataFrame(schema=INVENTORY), store], how="diagonal")
    picked = store[pl.Series(random.Random(3).choices(range(image_sets), k=rows))]
    asked = picked.select(
        row=pl.int_range(2, rows + 2, dtype=pl.UInt32),
        selector=pl.lit(key, SELECTOR),
        key=pl.col(key).str.strip_chars_end(" "),
        series_uid=pl.col("series_instance_uid") if series else pl.lit(None, pl.String),
        attribute=pl.lit("PatientComments"),
    )
    asked = pl.concat([pl.DataFrame(schema=EDITS), asked], how="diagonal")
    resolve(asked.head(10), store)  # what is done once a process is not timed
    joins, resolves = [], []
    for _ in range(3):
        began = time.perf_counter()
        trimmed = store.select("image_set_id", "series_instance_uid", key=pl.col(key).str.strip_chars_end(" "))
        joined = asked.join(trimmed, on="key", maintain_order="left_right")
        joins.append(time.perf_counter() - began)
        began = time.perf_counter()
        found = resolve(asked, store)
        resolves.append(time.perf_counter() - began)
    print(f"{key}: join {min(joins):.2f} s, resolve {min(resolves):.2f} s, {min(resolves) / min(joins):.1f} joins")
    assert joined.height == (4 * rows if series else rows)
    assert found.edits["image_set_id"].equals(picked["image_set_id"])
    assert found.set_aside.height == 0
    assert min(resolves) < 25 * min(joins)
