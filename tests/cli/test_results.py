"""Result files: disjoint, every row of the list once, and edit lists again that plan what is left, and just that."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit import plans as planner
from bulkedit.after.report import CallOutcomes, results
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import ReadOptions
from bulkedit.edits import read as read_list
from bulkedit.edits import result_files as cells
from bulkedit.edits.edit import EDITS
from bulkedit.runs import folder as runs
from bulkedit.runs.history import PlanAndLedger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

FILES = ["succeeded", "unprocessed", "conflicted", "failed"]
# of a wide list: blank cells leave alone; the last row asks for nothing
WIDE = """edit_id,image_set_id,PatientName,StudyDescription,Modality
e-2,{0},SECRET^ANNA,=SECRET+1,
e-3,{1},,SECRET,
e-4,{2},SECRET^BEA,,
e-5,not an image set,SECRET^CARA,,
e-6,{0},,,
"""


@pytest.fixture
def run(shell: Shell) -> list[str]:
    """A run `r` of a wide list: a row applied, one rejected, one conflicted, one set aside and one that is empty."""
    image_sets = shell.image_sets(2)
    text = WIDE.replace(",Modality", ",version").format(image_sets[0], "f" * 32, image_sets[1])
    rows = text.splitlines()
    rows[3] += "9"  # a version that the image set does not have
    edits = shell.write("edits.csv", "\n".join(rows) + "\n")
    result = shell.run("apply", edits, "--yes", "--run", "r", "--bad-rows", "bad.csv")
    assert result.exit_code == 1, result.stderr
    return image_sets


def lines_of(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{name}.csv").read_text("utf-8").splitlines()))


class TestFiles:
    def test_every_row_of_the_list_is_in_one_file(self, shell: Shell, run: list[str]) -> None:
        shell.run("report", "r", "--results", "out")
        rows = {name: {int(line["row"]) for line in lines_of(shell.folder / "out", name)} for name in FILES}
        assert rows == {"succeeded": {2}, "unprocessed": {5, 6}, "conflicted": {4}, "failed": {3}}
        assert run

    def test_a_line_tells_what_became_of_its_edit(self, shell: Shell, run: list[str]) -> None:
        shell.run("report", "r", "--results", "out")
        name, description = lines_of(shell.folder / "out", "succeeded")
        assert (name["edit_id"], name["image_set_id"], name["attribute"]) == ("e-2", run[0], "PatientName")
        assert (name["outcome"], name["version_before"], name["version_after"]) == ("applied", "1", "2")
        assert (name["attempts"], name["row_edits"], name["row_applied"]) == ("1", "2", "2")
        assert name["call"] == description["call"]
        assert name["started_at"] <= name["ended_at"]
        assert name["ended_at"].endswith("Z") or "+00:00" in name["ended_at"]
        (absent,) = lines_of(shell.folder / "out", "failed")
        assert (absent["outcome"], absent["reason"]) == ("rejected", "image set not found")
        aside, empty = lines_of(shell.folder / "out", "unprocessed")
        assert (aside["reason"], empty["reason"]) == ("image-set-id", "no-edit")
        assert (aside["action"], empty["action"]) == ("", "")

    def test_without_being_asked_no_file_holds_a_value(self, shell: Shell, run: list[str]) -> None:
        assert run
        for form in results.FORMATS:
            shell.run("report", "r", "--results", form, "--format", form)
            for path in (shell.folder / form).iterdir():
                assert b"SECRET" not in path.read_bytes(), path

    def test_they_are_for_their_owner_only(self, shell: Shell, run: list[str]) -> None:
        assert run
        shell.run("report", "r", "--results", "out/there", "--include-values", "--format", "parquet")
        folder = shell.folder / "out" / "there"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
            [*(f"{name}.parquet" for name in FILES), "manifest.json"], 0o600
        )

    @pytest.mark.parametrize("form", results.FORMATS)
    def test_the_manifest_has_counts_and_digests(self, shell: Shell, run: list[str], form: str) -> None:
        assert run
        (line, _) = shell.run("report", "r", "--results", "out", "--format", form, "--json").json
        manifest = json.loads((shell.folder / "out" / "manifest.json").read_text())
        assert manifest["files"] == line["files"]
        assert manifest["rows"] == runs.load(shell.folder / "r").plan.counts["rows"] == 5
        for name, about in manifest["files"].items():
            content = (shell.folder / "out" / name).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (about["bytes"], about["sha256"])
        assert {name: about["lines"] for name, about in manifest["files"].items()} == {
            f"succeeded.{form}": 2,
            f"unprocessed.{form}": 2,
            f"conflicted.{form}": 1,
            f"failed.{form}": 1,
        }

    def test_a_folder_that_is_there_is_left_alone(self, shell: Shell, run: list[str]) -> None:
        assert run
        (shell.folder / "out").mkdir()
        result = shell.run("report", "r", "--results", "out")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "out: this folder exists already." in result.stderr
        assert list((shell.folder / "out").iterdir()) == []

    def test_those_of_the_same_run_are_replaced_if_they_are_as_they_were_written(
        self, shell: Shell, run: list[str]
    ) -> None:
        assert run
        assert shell.run("report", "r", "--results", "out", "--request-ids").exit_code == 0
        again = shell.run("report", "r", "--results", "out", "--format", "jsonl", "--include-values")
        assert again.exit_code == 0
        out = shell.folder / "out"
        assert {path.name for path in out.iterdir()} == {"manifest.json", *(f"{name}.jsonl" for name in FILES)}
        assert not list(shell.folder.glob(".*draft"))
        (out / "failed.jsonl").write_text("corrected by hand")
        assert shell.run("report", "r", "--results", "out").exit_code == 2
        assert (out / "failed.jsonl").read_text() == "corrected by hand"

    @pytest.mark.parametrize("words", [("--format", "xlsx"), ("--include-values",)], ids=str)
    def test_words_that_do_not_fit_are_a_usage_error(self, shell: Shell, run: list[str], words: tuple[str]) -> None:
        assert run
        assert shell.run("report", "r", *words).exit_code == 2

    def test_a_run_that_has_not_begun_is_all_unprocessed(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(2))
        shell.unbegun(edits, "r")
        (line, _) = shell.run("report", "r", "--results", "out", "--json").json
        assert [about["rows"] for about in line["files"].values()] == [0, 2, 0, 0]

    def test_a_row_goes_where_its_worst_edit_puts_it_with_all_of_its_lines(self, shell: Shell) -> None:
        (first,) = shell.image_sets(1)
        edits = shell.write(
            "edits.jsonl",
            json.dumps({"image_set_id": first, "StudyDescription": "A", "PatientName": "B"})
            + "\n"
            + json.dumps({"image_set_id": first, "StudyTime": "1200"}),
        )
        shell.run("plan", edits, "-o", "p")
        run = runs.create(
            shell.folder / "r", planner.load(shell.folder / "p"), {"connection": {}, "options": {}}, datetime.now(UTC)
        )
        calls, parts = pl.DataFrame({"call": [0], "outcome": ["applied"]}), pl.DataFrame({"edit": [0], "part": [7]})
        leads = pl.DataFrame(schema={"call": pl.UInt32, "lead": pl.String})
        absent = ("reason", "message", "version_before", "version_after", "attempts", "conflicts")
        nothing = [pl.lit(None, pl.UInt32).alias(name) for name in (*absent, "begun", "at", "request_id")]
        told = PlanAndLedger(calls, calls, calls, calls, parts)
        completed = CallOutcomes(calls.with_columns(nothing), leads, told)
        lines = results._lines(completed.of_edits(run.plan.edits().sort("edit"))).collect()
        ranks = lines.select("row", "rank", "outcome", "row_edits", "row_applied").rows()
        assert ranks == [(1, 1, "unprocessed", 2, 1), (1, 1, "applied", 2, 1), (2, 0, "applied", 1, 1)]


class TestChunks:
    def test_the_files_are_the_same_whatever_the_chunks(
        self, shell: Shell, run: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run
        for size in (1, 2, 1000):
            monkeypatch.setattr(results, "_CHUNK", size)
            for form in results.FORMATS:
                shell.run("report", "r", "--results", f"{form}{size}", "--format", form, "--include-values")
        for name in FILES:
            for form in ("csv", "jsonl"):
                texts = {(shell.folder / f"{form}{size}" / f"{name}.{form}").read_text() for size in (1, 2, 1000)}
                assert len(texts) == 1
            frames = [pl.read_parquet(shell.folder / f"parquet{size}/{name}.parquet") for size in (1, 2, 1000)]
            assert frames[0].equals(frames[1])
            assert frames[0].equals(frames[2])


class TestAgain:
    @pytest.mark.parametrize("form", results.FORMATS)
    def test_failed_goes_straight_back_into_plan(self, shell: Shell, run: list[str], form: str) -> None:
        assert run
        shell.run("report", "r", "--results", "out", "--format", form, "--include-values")
        result = shell.run("plan", f"out/failed.{form}", "-o", "p", "--json")
        assert result.exit_code == 0, result.stderr
        (line,) = result.json
        assert (line["rows"], line["edits"], line["calls"]) == (1, 1, 1)
        first, again = (planner.load(shell.folder / name).edits().collect() for name in ("r/plan", "p"))
        kept = ["edit_id", "image_set_id", "action", "level", "attribute", "value", "force", "version"]
        failed = first.filter(pl.col("edit_id") == "e-3").select(kept)
        assert again.select(kept).equals(failed)

    def test_without_values_plan_says_what_is_missing_and_what_to_type(self, shell: Shell, run: list[str]) -> None:
        assert run
        for form in results.FORMATS:
            shell.run("report", "r", "--results", form, "--format", form)
            result = shell.run("plan", f"{form}/failed.{form}", "-o", "p")
            assert result.exit_code == 2
            assert "this result file was written without the values of the edits" in result.stderr
            assert "bulkedit report RUN --results DIR --include-values" in result.stderr
            assert not (shell.folder / "p").exists()

    def test_what_is_applied_or_never_was_an_edit_is_left_out_and_said_so(self, shell: Shell, run: list[str]) -> None:
        assert run
        shell.run("report", "r", "--results", "out", "--include-values")
        together = shell.folder / "all.csv"
        texts = [(shell.folder / "out" / f"{name}.csv").read_text().splitlines() for name in FILES]
        together.write_text("\n".join([texts[0][0], *(line for text in texts for line in text[1:])]) + "\n")
        result = shell.run("plan", together, "-o", "p", "--json")
        assert (result.json[0]["rows"], result.json[0]["edits"]) == (2, 2)
        assert "2 lines left out: already applied" in result.stderr
        assert "2 lines left out: set aside" in result.stderr

    def test_a_file_with_nothing_left_says_so(self, shell: Shell, run: list[str]) -> None:
        assert run
        shell.run("report", "r", "--results", "out", "--include-values")
        for name in ("succeeded", "unprocessed"):
            result = shell.run("plan", f"out/{name}.csv")
            assert result.exit_code == 2
            assert "this result file has no edits left to plan." in result.stderr
        result = shell.run("plan", "out/succeeded.csv", "--ignore-column", "outcome", "--json")
        assert result.json[0]["edits"] == 2

    def test_no_cell_of_a_csv_is_a_formula_and_its_value_survives(self, shell: Shell, run: list[str]) -> None:
        assert run
        shell.run("report", "r", "--results", "out", "--include-values")
        _, description = lines_of(shell.folder / "out", "succeeded")
        assert (description["value"], description["value_json"]) == ("", '"=SECRET+1"')
        for name in FILES:
            for line in lines_of(shell.folder / "out", name):
                assert [text for text in line.values() if text[:1] in tuple("=+-@\t\r") and text] == []


# -- values: as they were planned, so they come back

VALUES: list[tuple[str, str, str, str | None]] = [  # action, attribute, planned JSON, VR of a private element
    *[
        ("set", "StudyDescription", json.dumps(text, ensure_ascii=False), None)
        for text in [
            *("A", " A ", " ", "[x", "0042", "null", "{}", '"', '""', "a,b;c", 'say "x"', "Ж^é^山", "=1+1", "+49", "-"),
            *("@x", "-5", "1.2E5", "\U0001f600", "'", "''=x", "#N/A", "TRUE"),
        ]
    ],
    ("set", "PatientComments", json.dumps("back\\slash \\n \\u0041"), None),
    ("set", "PatientComments", json.dumps("line\nline\r\n\ttab"), None),
    ("set", "StudyDescription", '""', None),
    ("set", "StudyDescription", "null", None),
    ("remove", "StudyDescription", "{}", None),
    ("remove", "StudyDescription", '""', None),
    ("remove", "StudyDescription", "null", None),
    ("remove", "StudyDescription", '"A"', None),
    ("remove", "StudyDescription", "5", None),
    ("set", "OtherPatientNames", '["A","B"]', None),
    ("set", "OtherPatientNames", '["[A"]', None),
    ("set", "OtherPatientNames", "[]", None),
    ("set", "OtherPatientNames", '"A"', None),
    ("set", "PatientWeight", '"70.5"', None),
    ("set", "Rows", "512", None),
    ("set", "Rows", "-0", None),
    ("set", "ReferencedStudySequence", '[{"ReferencedSOPClassUID":"1.2"}]', None),
    ("set", "ReferencedStudySequence", "null", None),
    ("set", "00091001", '"x"', None),
    ("set", "00091001", "7", "US"),
    ("set", "00091001", "-7.5", "FD"),
    ("set", "00091001", "7", None),
    ("remove", "00091001", "7", None),
]


def level_of(attribute: str) -> str:
    known = dicom.attribute(attribute)
    assert known is not None
    return str(known.level)


HOSTILE_IDS = ["=1+1", "+1", "-x", "@x", "'=x", "''-x", "'x", "\uff1d1", "\t=x", "x=1"]


@pytest.mark.parametrize("form", results.FORMATS)
def test_an_edit_id_is_no_formula_and_comes_back_as_it_was(shell: Shell, form: str) -> None:
    absent = ["f" * 31 + f"{n:x}" for n in range(len(HOSTILE_IDS))]
    rows = pl.DataFrame({"edit_id": HOSTILE_IDS, "image_set_id": absent}).with_columns(
        attribute=pl.lit("PatientName"), value=pl.lit("X")
    )
    rows.write_csv(shell.folder / "edits.csv")
    shell.run("apply", "edits.csv", "--yes", "--run", "r")
    shell.run("report", "r", "--results", "out", "--include-values", "--format", form)
    if form == "csv":
        with (shell.folder / "out/failed.csv").open(newline="") as file:
            written = [line["edit_id"] for line in csv.DictReader(file)]
        assert [text for text in written if text[0] in "=+-@\t\r\n\uff1d"] == []
    done = shell.run("plan", f"out/failed.{form}", "-o", "p")
    assert done.exit_code == 0, done.stderr
    assert planner.load(shell.folder / "p").edits().collect()["edit_id"].to_list() == HOSTILE_IDS


@pytest.mark.parametrize("form", results.FORMATS)
def test_every_planned_value_comes_back_as_it_was(tmp_path: Path, form: str) -> None:
    planned = pl.DataFrame(
        [
            {"action": action, "attribute": attribute, "value": value, "vr": vr, "level": level_of(attribute)}
            for action, attribute, value, vr in VALUES
        ],
        schema={name: EDITS[name] for name in ("action", "attribute", "value", "vr", "level")},
    ).with_columns(revert_to=pl.lit(None, pl.UInt32))
    written = cells.values(planned.lazy(), spreadsheet=form == "csv").collect()
    both: Any = pl.lit("1.2.3")
    lines = written.with_columns(
        row=pl.int_range(pl.len(), dtype=pl.UInt32) + 2,
        image_set_id=pl.lit("0" * 32),
        series_uid=pl.when(pl.col("level") == "Instance").then(both),
        instance_uid=pl.when(pl.col("level") == "Instance").then(both),
        force=pl.lit(value=True),
        unchecked=pl.lit(value=True),
        outcome=pl.lit("failed"),
        version_after=pl.lit(None, pl.UInt32),
    )
    lines = lines.drop("revert_to")
    path = tmp_path / f"failed.{form}"
    if form == "csv":
        lines.write_csv(path)
    elif form == "parquet":
        lines.write_parquet(path)
    else:
        lines.write_ndjson(path)
    read = read_list(path, ReadOptions())
    assert read.set_aside.rows() == []
    assert [json.loads(text) for text in read.edits["value"]] == [json.loads(value) for _, _, value, _ in VALUES]
    assert read.edits["action"].to_list() == [action for action, *_ in VALUES]
    assert read.edits["vr"].to_list() == [vr for *_, vr in VALUES]


class TestValueJson:
    @pytest.mark.parametrize(
        ("row", "code"),
        [
            ('set,StudyDescription,A,"""A"""', "extra-cell"),
            ("set,StudyDescription,,A", "not-json"),
            ("set,StudyDescription,,5", "value-form"),
            ("remove-instance,,,5", "extra-cell"),
        ],
    )
    def test_what_cannot_stand_there_is_a_problem_of_the_row(self, tmp_path: Path, row: str, code: str) -> None:
        path = tmp_path / "edits.csv"
        path.write_text(f"image_set_id,action,attribute,value,value_json\n{'0' * 32},{row}\n")
        read = read_list(path, ReadOptions(force=code == "extra-cell"))
        assert code in read.set_aside["code"].to_list()
        assert read.edits.height == 0

    def test_a_tidy_row_may_ask_for_the_study(self, tmp_path: Path) -> None:
        path = tmp_path / "edits.csv"
        path.write_text(f"image_set_id,attribute,value,include_study_image_sets\n{'0' * 32},StudyDescription,A,true\n")
        assert read_list(path, ReadOptions()).edits["study_wide"].to_list() == [True]
