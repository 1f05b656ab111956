"""The samples are edit lists, the documentation knows every code and name, and the demo's image sets exist."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from bulkedit.edits import EditList, ReadOptions, read
from bulkedit.edits.columns import NAMES, REPORTED
from bulkedit.edits.files import _SUFFIXES, FORMATS
from bulkedit.edits.problems import ADVICE
from tests.edits.lists import edits

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path for path in (ROOT / "samples").iterdir() if path.suffix not in {".py", ".md"} and path.is_file())
DOCS = (ROOT / "docs/edit-lists.md").read_text("utf-8")


def sample(name: str) -> EditList:
    return read(ROOT / "samples" / name, ReadOptions())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_reads_without_a_problem_and_is_in_the_table(path: Path) -> None:
    done = read(path, ReadOptions())
    assert done.set_aside.height == 0
    assert done.edits["row"].n_unique() == done.rows
    assert f"`{path.name}`" in (ROOT / "samples/README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "others"), [("tidy.csv", ["tidy.jsonl", "tidy.parquet"]), ("wide.csv", ["wide.csv.gz", "wide.xlsx"])]
)
def test_samples_of_one_form_are_the_same_edits(name: str, others: list[str]) -> None:
    expected = sample(name).edits.drop("row")
    assert [sample(other).edits.drop("row").equals(expected) for other in others] == [True] * len(others)


def test_the_seven_examples_of_aws_are_seven_rows() -> None:
    done = sample("aws-cli-examples.csv")
    assert edits(done, "action", "attribute", "force") == [
        ("set", "PatientName", False),
        ("remove", "StudyDescription", False),
        ("remove-instance", None, True),
        ("revert", None, False),
        ("set", "001910F9", True),
        ("set", "00091001", True),
        ("set", "SeriesInstanceUID", True),
    ]


def test_the_samples_name_image_sets_of_the_demo_data_store() -> None:
    from bulkedit.emulator import DEFAULT_DATASTORE_ID, serve
    from bulkedit.emulator.dicom_import.importer import read_folder

    with resources.as_file(resources.files("pydicom").joinpath("data/test_files")) as folder, serve() as emulator:
        there = {emulator.add(image_set.document) for image_set in read_folder(folder).image_sets}
    lists = [read(path, ReadOptions()) for path in SAMPLES]
    named = [done.edits.filter(selector="image_set_id") for done in lists]
    assert {key for edits_ in named for key in edits_["key"]} == there
    assert {done.datastore_id for done in lists} == {None, DEFAULT_DATASTORE_ID}


@pytest.mark.parametrize("word", sorted({*ADVICE, *NAMES, *REPORTED, *FORMATS, *_SUFFIXES}))
def test_the_documentation_has_every_name_and_code(word: str) -> None:
    assert f"`{word}`" in DOCS


def test_every_code_in_the_documentation_exists() -> None:
    table = DOCS.split("| code | the row |")[1].split("\n\n")[0]
    named = {word.strip(" `") for line in table.splitlines()[2:] for word in line.split("|")[1].split(",")}
    assert named == set(ADVICE)
