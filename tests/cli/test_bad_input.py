"""Bad input: a clear error with its row, exit 2, and nothing is sent; no cell of the list is in any text."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from bulkedit.plans import load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
CANARY = "CANARY"  # in every cell that is wrong, and in its neighbours
GOOD_LINE = json.dumps({"image_set_id": ID, "PatientName": CANARY})
HEAD = "image_set_id,action,attribute,value,level,series_uid,instance_uid"


def tidy(*cells: str) -> str:
    """One row of the tidy form, in row 3, below a row that is right."""
    return "\n".join([HEAD, f"{ID},set,StudyDescription,{CANARY},,,", ",".join(cells)]) + "\n"


def call(updates: object) -> str:
    """One row of the call form, in row 2."""
    text = updates if isinstance(updates, str) else json.dumps(updates)
    doubled = text.replace('"', '""')
    return f'image_set_id,updates\n{ID},"{doubled}"\n'


def attributes(document: object) -> dict[str, object]:
    return {"DICOMUpdates": {"updatableAttributes": json.dumps(document)}}


# name: (file name, content, where, what); each line of the issue, in its order
FILES: dict[str, tuple[str, str | bytes, str, str]] = {
    # missing or duplicate columns
    "no selector": ("e.csv", f"attribute,value\nPatientName,{CANARY}\n", "row 1", "no column says which image sets"),
    "nothing to do": ("e.csv", f"image_set_id\n{ID}\n", "row 1", "no column says what to edit"),
    "value without attribute": ("e.csv", f"image_set_id,value\n{ID},{CANARY}\n", "row 1", "needs a column attribute"),
    "unknown column": (
        "e.csv",
        f"image_set_id,PatientNam\n{ID},{CANARY}\n",
        "row 1",
        "column B (PatientNam) has a name that bulkedit does not know",
    ),
    "duplicate columns": (
        "e.csv",
        f"image_set_id,PatientName,PatientName\n{ID},{CANARY},{CANARY}\n",
        "row 1",
        "columns B and C are both PatientName",
    ),
    "no header": ("e.csv", f"{ID},PatientName,{CANARY}\n", "row 1", "no"),
    # a file that is empty, not UTF-8, of ragged rows, or not what its suffix says
    "empty": ("e.csv", b"", "e.csv", "the file is empty"),
    "header only": ("e.csv", HEAD + "\n", "e.csv", "a header and no rows"),
    "not UTF-8": ("e.csv", tidy(ID, "set", "PatientName", "Müller").encode("latin-1"), "row 3", "it is not UTF-8"),
    "a cell too few": ("e.csv", tidy(ID, "set", "PatientName", CANARY, "", ""), "row 3", "has 6 cells"),
    "a cell too many": ("e.csv", tidy(ID, "set", "PatientName", CANARY, "", "", "", ""), "row 3", "has 8 cells"),
    "CSV named Parquet": ("e.parquet", tidy(), "e.parquet", "is not parquet"),
    "CSV named Excel": ("e.xlsx", tidy(), "e.xlsx", "is not xlsx"),
    "CSV named gzip": ("e.csv.gz", tidy(), "e.csv.gz", "is not csv.gz"),
    "gzip named CSV": ("e.csv", gzip.compress(tidy().encode()), "e.csv", "is gzip, not csv"),
    "gzip cut short": ("e.csv.gz", gzip.compress(tidy().encode())[:40], "e.csv.gz", "cut short"),
    "no suffix": ("edits", tidy(), "edits", "its suffix is unknown"),
    # rows
    "a short id": ("e.csv", tidy(CANARY, "set", "PatientName", CANARY, "", "", ""), "Row 3", "32 characters"),
    "an upper-case id": ("e.csv", tidy(ID.upper(), "set", "PatientName", "x", "", "", ""), "Row 3", "32 characters"),
    "no id": ("e.csv", tidy("", "set", "PatientName", CANARY, "", "", ""), "Row 3", "image_set_id is empty"),
    "an unknown attribute": ("e.csv", tidy(ID, "set", CANARY, CANARY, "", "", ""), "Row 3", "attribute"),
    "the wrong level": ("e.csv", tidy(ID, "set", "PatientName", CANARY, "Study", "", ""), "Row 3", "at Patient level"),
    "an unknown action": ("e.csv", tidy(ID, CANARY, "PatientName", CANARY, "", "", ""), "Row 3", "action"),
    "a value against its VR": ("e.csv", tidy(ID, "set", "StudyDate", CANARY, "", "", ""), "Row 3", "form of VR DA"),
    "a value too long": ("e.csv", tidy(ID, "set", "PatientID", CANARY * 50, "", "", ""), "Row 3", "characters"),
    "a series edit without UID": (
        "e.csv",
        tidy(ID, "set", "SeriesDescription", CANARY, "", "", ""),
        "Row 3",
        "series_uid",
    ),
    "an instance edit without UID": (
        "e.csv",
        tidy(ID, "set", "ImageComments", CANARY, "", "1.2.3", ""),
        "Row 3",
        "instance_uid",
    ),
    "updates and attributes": (
        "e.csv",
        f"image_set_id,updates,PatientName\n{ID},{{}},{CANARY}\n",
        "row 1",
        "belong to different forms",
    ),
    "updates and value": ("e.csv", f"image_set_id,updates,value\n{ID},{{}},{CANARY}\n", "row 1", "different forms"),
    "malformed JSON": ("e.csv", call(f'{{"DICOMUpdates": {CANARY}'), "Row 2", "not valid JSON"),
    "malformed JSON inside": (
        "e.csv",
        call({"DICOMUpdates": {"updatableAttributes": f'{{"Study": {CANARY}'}}),
        "Row 2",
        "not valid JSON",
    ),
    "a level's attribute elsewhere": (
        "e.csv",
        call(attributes({"SchemaVersion": 1.1, "Study": {"DICOM": {"PatientName": CANARY}}})),
        "Row 2",
        "Patient level",
    ),
    "a malformed line": (
        "e.jsonl",
        f'{{"image_set_id": "{ID}", "PatientName": {CANARY}}}\n{GOOD_LINE}\n',
        "Row 1",
        "not valid JSON",
    ),
    "a revert with an attribute": ("e.csv", tidy(ID, "revert", "PatientName", "1", "", "", ""), "Row 3", "attribute"),
    "a revert with attributes": (
        "e.csv",
        call({"revertToVersionId": "1"} | attributes({"SchemaVersion": 1.1})),
        "Row 2",
        "revert",
    ),
    "an id in scientific notation": (
        "e.csv",
        tidy("1.2E+10", "set", "PatientName", CANARY, "", "", ""),
        "Row 3",
        "looks damaged by a spreadsheet",
    ),
    "a UID in scientific notation": (
        "e.csv",
        tidy(ID, "set", "SeriesDescription", CANARY, "", "1.2E+10", ""),
        "Row 3",
        "looks damaged by a spreadsheet",
    ),
    "a patient's id in scientific notation": (
        "e.csv",
        tidy(ID, "set", "PatientID", "1.2E+10", "", "", ""),
        "Row 3",
        "looks damaged by a spreadsheet",
    ),
}


@pytest.mark.parametrize("command", ["plan", "apply"])
@pytest.mark.parametrize("case", FILES.values(), ids=list(FILES))
def test_a_list_that_is_wrong_is_said_with_its_row_and_nothing_is_sent(
    shell: Shell, command: str, case: tuple[str, str | bytes, str, str]
) -> None:
    name, content, where, what = case
    edits = shell.write(name, content)
    result = shell.run(command, edits, *(["--yes"] if command == "apply" else []))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert where in result.stderr
    assert what in result.stderr
    assert shell.requests() == []
    assert (result.stdout, sorted(file.name for file in shell.folder.iterdir())) == ("", [name])
    assert CANARY not in result.stderr


def test_all_rows_that_are_wrong_are_said_at_once_those_of_one_kind_together(shell: Shell) -> None:
    rows = [f"{number:04},set,PatientName,x\n{ID},set,PatientName,x" for number in range(1, 1201)]
    edits = shell.write("e.csv", "\n".join(["image_set_id,action,attribute,value", *rows, f"{ID},set,Foo,x"]) + "\n")
    lines = shell.run("plan", edits).stderr.splitlines()
    assert lines[0] == f"error: {edits}: 1,201 rows of 2,401 cannot be planned; nothing was sent."
    texts = [line.partition(":")[0] for line in lines if line.startswith("Row")]
    assert texts == ["Rows 2, 4, 6, 8, 10 and 1,195 more", "Row 2,402"]
    assert lines.count("The column may have patient ids or accession numbers.") == 1
    assert lines[2] == "By kind: 1,200 image-set-id (column image_set_id), 1 attribute (column attribute)."
    assert lines[-1] == "Correct the list, or plan it without these rows: --bad-rows bad.csv"
    (file,) = (shell.folder / "plans").iterdir()
    assert lines[-2] == f"All problems: {file.relative_to(shell.folder)}"
    assert oct(file.stat().st_mode) == "0o100600"
    header, *all_lines = file.read_text().splitlines()
    assert (header, len(all_lines)) == ("row,column,code,problem,likely,hint", 1201)


def test_a_program_is_told_how_many_rows_of_each_kind_and_where_all_problems_are(shell: Shell) -> None:
    edits = shell.write("e.csv", f"image_set_id,StudyDate\nabc,{CANARY}\n{ID},{CANARY}\nTotal,2\n")
    result = shell.run("plan", edits, "-o", "out/p", "--json")
    assert result.exit_code == 2
    (line,) = result.json
    assert (line["type"], line["list"], line["rows"], line["bad_rows"]) == ("bad-rows", str(edits), 3, 3)
    assert line["kinds"] == [
        {"code": "value-form", "column": "StudyDate", "rows": 2, "first": 2},
        {"code": "image-set-id", "column": "image_set_id", "rows": 1, "first": 2},
        {"code": "total-row", "column": None, "rows": 1, "first": 4},
    ]
    assert line["problems"] == "out/p-problems.csv"
    text = (shell.folder / line["problems"]).read_text()
    assert (text.count("\n"), CANARY in text + result.stdout) == (5, False)
    assert shell.run("apply", edits, "--yes", "--json").json[0]["type"] == "bad-rows"


def test_a_list_that_is_refused_again_has_another_file_of_problems(shell: Shell) -> None:
    edits = shell.write("e.csv", f"image_set_id,StudyDate\n{ID},today\n")
    names = [shell.run("plan", edits, "-o", "p", "--json").json[0]["problems"] for _ in range(3)]
    assert names == ["p-problems.csv", "p-problems-2.csv", "p-problems-3.csv"]


def test_a_file_of_problems_that_cannot_be_written_hides_none_of_those_shown(shell: Shell) -> None:
    edits = shell.write("e.csv", "image_set_id,StudyDate\n" + "".join(f"{'a' * n},20240311\n" for n in range(1, 10)))
    shell.write("plans", "a file")
    result = shell.run("plan", edits)
    assert (result.exit_code, "Row 6: image_set_id has 5 characters" in result.stderr) == (2, True)
    assert "… and 4 more like these." in result.stderr
    assert "The file of all problems cannot be written" in result.stderr


def test_few_problems_are_all_shown_and_leave_no_file(shell: Shell) -> None:
    edits = shell.write("e.csv", "image_set_id,StudyDate\n" + "abc,20240311\n" * 1000)
    said = shell.run("plan", edits).stderr
    assert ("Rows 2-1001: image_set_id has 3 characters" in said, "All problems" in said) == (True, False)
    assert sorted(file.name for file in shell.folder.iterdir()) == ["e.csv"]


def test_each_hint_is_beside_the_rows_that_it_is_for(shell: Shell) -> None:
    rows = [f"{ID},set,{name},today" for name in ("StudyDate", "StudyTime")]
    edits = shell.write("e.csv", "\n".join(["image_set_id,action,attribute,value", *rows]) + "\n")
    parts = shell.run("plan", edits).stderr.split("\n\n")
    assert [("Row 2" in part, "YYYYMMDD" in part, "HHMMSS" in part) for part in parts[1:3]] == [
        (True, True, False),
        (False, False, True),
    ]


def test_a_file_that_does_not_exist_is_said(shell: Shell) -> None:
    result = shell.run("apply", "absent.csv", "--yes")
    assert (result.exit_code, result.stderr) == (2, "error: absent.csv: there is no such file.\n")


def test_rows_of_standard_input_are_numbered_alike(shell: Shell) -> None:
    result = shell.run("apply", "-", "--yes", stdin=tidy("abc", "set", "PatientName", CANARY, "", "", ""))
    assert (result.exit_code, shell.requests()) == (2, [])
    assert result.stderr.startswith("error: -: 1 row of 2 cannot be planned")
    assert "Row 3: image_set_id has 3 characters" in result.stderr


def test_a_data_store_that_does_not_exist_is_fatal(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    result = shell.run("apply", edits, "--yes", "-d", "0" * 32)
    assert result.exit_code == 4
    assert f"error: data store {'0' * 32} does not exist in this account and region" in result.stderr
    assert [entry.action for entry in shell.requests()] == ["GetDatastore"]


NO_DATA_STORES = {
    "123": "has 3 characters",
    "../imageSet": "has 11 characters",
    "A" * 32: "has capital letters",
    "a" * 31 + "é": "has a character that is not in 0-9 a-z",
    "a" * 31 + " ": "has a blank at its beginning or end",
    "arn:aws:medical-imaging:eu-west-1:123456789012:datastore/" + "a" * 32: "is an ARN",
}


@pytest.mark.parametrize(("text", "said"), NO_DATA_STORES.items())
def test_what_is_no_data_store_id_is_refused_before_anything_is_read(shell: Shell, text: str, said: str) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    commands = (
        ["apply", edits, "--yes"],
        ["plan", "absent.csv"],
        ["inventory", "-o", "i.parquet"],
        ["deid", "-o", "d.csv"],
    )
    for words in commands:
        result = shell.run(*words, "-d", text)
        assert (result.exit_code, shell.requests()) == (2, [])
        assert "error: --datastore must be 32 characters of 0-9 a-z.\nThe given text " + said in result.stderr
        assert "list-datastores" in result.stderr
        assert text not in result.stderr


def test_a_data_store_id_of_the_environment_or_a_file_is_checked_too(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    result = shell.run("plan", edits, env={"BULKEDIT_DATASTORE": "123"})
    assert (result.exit_code, result.stderr.startswith("error: --datastore must be 32 characters")) == (2, True)
    file = shell.write("config.toml", "datastore = '123'")
    result = shell.run("plan", edits, env={"BULKEDIT_DATASTORE": None})
    assert result.exit_code == 2
    assert f"{file.name}: datastore must be 32 characters" in result.stderr


def test_a_data_store_that_is_being_deleted_is_fatal(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    shell.emulator.do(lambda world: setattr(world.datastores[shell.emulator.datastore_id], "status", "DELETING"))
    result = shell.run("apply", edits, "--yes")
    assert (result.exit_code, shell.accepted()) == (4, [])
    assert "is DELETING, not ACTIVE" in result.stderr


def test_without_credentials_nothing_is_sent_and_the_way_to_give_them_is_said(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    result = shell.run("apply", edits, "--yes", env=nothing)
    assert (result.exit_code, shell.requests()) == (4, [])
    assert "error: no AWS credentials were found." in result.stderr
    assert "Give --aws-profile NAME, run `aws configure` or `aws sso login`" in result.stderr


def test_a_service_that_cannot_be_reached_is_fatal(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    result = shell.run("apply", edits, "--yes", "--endpoint-url", "http://127.0.0.1:1", "--retry-for", "0")
    assert result.exit_code == 4
    assert "error: the service could not be reached (ConnectionRefusedError)." in result.stderr
    assert "nothing listens at this port" in result.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--rate", "fast"], "invalid rate"),
        (["--rate", "0/s"], "invalid rate"),
        (["--read-rate", "1/d"], "invalid rate"),
        (["--on-conflict", "shrug"], "'retry', 'stop'"),
        (["--workers", "0"], "--workers"),
        (["--burst", "0.5"], "--burst"),
        (["--endpoint-url", "nonsense"], "--endpoint-url: the endpoint is not a valid URL"),
        (["--profile", "nobody"], "the AWS profile does not exist"),
        (["-d", "0" * 32, "--frobnicate"], "--frobnicate"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_a_wrong_option_is_a_usage_error_and_nothing_is_sent(shell: Shell, words: list[str], what: str) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    result = shell.run("apply", edits, "--yes", *words)
    assert (result.exit_code, shell.requests()) == (2, [])
    assert what in result.stderr


# -- going on without them


class TestBadRows:
    def test_the_good_rows_are_planned_and_the_others_written_for_their_owner(self, shell: Shell) -> None:
        good, other = shell.image_sets(2)
        edits = shell.write(
            "e.csv",
            "\n".join(
                [
                    "image_set_id,action,attribute,value",
                    f"{good},set,StudyDescription,A",
                    f"{other[:31]},set,StudyDescription,{CANARY}",
                    f"{other},set,StudyDate,{CANARY}",
                ]
            ),
        )
        result = shell.run("plan", edits, "-o", "p", "--bad-rows", "bad.csv", "--json")
        assert result.exit_code == 0
        assert (result.json[0]["edits"], result.json[0]["set_aside"]) == (1, 2)
        assert "Row 3: image_set_id has 31 characters" in result.stderr
        assert "2 rows set aside, written to bad.csv, with all problems of each." in result.stderr
        assert CANARY not in result.stderr
        assert load(shell.folder / "p").set_aside().collect()["row"].to_list() == [3, 4]
        bad = shell.folder / "bad.csv"
        assert oct(bad.stat().st_mode) == "0o100600"
        header, *rows = bad.read_text().splitlines()
        assert header == "row,image_set_id,action,attribute,value,code,problem"
        assert [row.partition("image_set_id has")[0] for row in rows[:1]] == [
            f"3,{other[:31]},set,StudyDescription,{CANARY},image-set-id,"
        ]
        assert rows[1].startswith(f"4,{other},set,StudyDate,{CANARY},value-form,the value of StudyDate")

    def test_the_file_is_an_edit_list_once_it_is_mended(self, shell: Shell) -> None:
        (image_set_id,) = shell.image_sets(1)
        edits = shell.write("e.csv", f"image_set_id,StudyDescription\n{image_set_id},A\nabc,B\n")
        shell.run("plan", edits, "--bad-rows", "bad.csv")
        again = shell.run("plan", "bad.csv", "--bad-rows", "worse.csv")
        assert (again.exit_code, "no row of the list can be planned" in again.stderr) == (2, True)
        worse = shell.folder / "worse.csv"
        assert worse.read_text().splitlines()[0] == "row,image_set_id,StudyDescription,code,problem"
        worse.write_text(worse.read_text().replace("abc", image_set_id))
        assert shell.run("apply", worse, "--yes").exit_code == 0
        assert shell.stored(image_set_id) == (2, "B")

    @pytest.mark.parametrize("by", ["file", "standard input"])
    def test_a_row_that_only_planning_refuses_is_in_the_file_too(self, shell: Shell, by: str) -> None:
        first, second = shell.image_sets(2)
        long = "x" * 60
        rows = [f"{first},StudyDescription,A", f"{second},StudyDescription,{long}", "abc,StudyDescription,B"]
        text = "\n".join(["image_set_id,attribute,value", *rows]) + "\n"
        edits = shell.write("e.csv", text) if by == "file" else "-"
        words = ("--payload-limit", "100", "--bad-rows", "bad.csv", "--json")
        (line,) = shell.run("plan", edits, *words, stdin=text).json
        assert (line["edits"], line["set_aside"]) == (1, 2)
        header, *lines = (shell.folder / "bad.csv").read_text().splitlines()
        assert header == "row,image_set_id,attribute,value,code,problem"
        assert [line[: len(f"3,{row},pa")] for line, row in zip(lines, rows[1:], strict=True)] == [
            f"3,{rows[1]},pa",
            f"4,{rows[2]},im",
        ]

    def test_a_file_that_exists_is_not_written_over(self, shell: Shell) -> None:
        (image_set_id,) = shell.image_sets(1)
        edits = shell.write("e.csv", f"image_set_id,StudyDescription\n{image_set_id},A\nabc,B\n")
        mine = shell.write("bad.csv", "mine")
        result = shell.run("apply", edits, "--yes", "--bad-rows", mine)
        assert (result.exit_code, mine.read_text(), shell.requests()) == (2, "mine", [])
        assert "the rows set aside cannot be written (File exists)" in result.stderr

    def test_without_bad_rows_no_file_is_written(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(1))
        assert shell.run("plan", edits, "-o", "p", "--bad-rows", "bad.csv").exit_code == 0
        assert not (shell.folder / "bad.csv").exists()


def test_a_plan_with_rows_set_aside_is_applied_like_any_other(shell: Shell, tmp_path: Path) -> None:
    (image_set_id,) = shell.image_sets(1)
    edits = shell.write("e.csv", f"image_set_id,StudyDescription\n{image_set_id},A\nabc,B\n")
    result = shell.run("apply", edits, "--yes", "--bad-rows", tmp_path / "bad.csv")
    assert (result.exit_code, shell.stored(image_set_id)) == (0, (2, "A"))
