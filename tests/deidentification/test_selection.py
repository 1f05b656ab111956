"""Values of `--select` from the command line, a file or standard input; none of them are in an error."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from bulkedit.deidentification.selection import selected
from bulkedit.errors import EXIT_OK, EXIT_USAGE, UsageError
from tests.cli.shell import Shell
from tests.deidentification.walkers import KEY
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import Emulator

NOTHING = io.BytesIO()


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"P1\nP2\n", ["P1", "P2"]),
        (b"\xef\xbb\xbfP1\r\n\r\n  P2 \r\nP1", ["P1", "P2"]),
        (b"@home\n@-\na=b\n", ["@home", "@-", "a=b"]),
        ("M\u00fcller 7\n".encode(), ["M\u00fcller 7"]),
    ],
)
def test_a_file_has_a_value_on_each_line(tmp_path: Path, content: bytes, values: list[str]) -> None:
    file = tmp_path / "ids"
    file.write_bytes(content)
    expected = [("patient_id", value) for value in values]
    assert selected([f"patient_id=@{file}"], None, NOTHING).rows() == expected
    assert selected(["patient_id=@-"], None, io.BytesIO(content)).rows() == expected


def test_ways_to_select_add_up(tmp_path: Path) -> None:
    ids, table = tmp_path / "ids", tmp_path / "table.csv"
    ids.write_text("A1\n")
    table.write_text("study_id\nS1\n")
    texts = [f"accession_number=@{ids}", "patient_id=@-", "patient_id=a@b"]
    found = selected(texts, table, io.BytesIO(b"P1\n"))
    pairs = [("accession_number", "A1"), ("patient_id", "P1"), ("patient_id", "a@b"), ("study_id", "S1")]
    assert found.rows() == pairs


@pytest.mark.parametrize(
    ("text", "content", "what"),
    [
        ("patient_id=@FILE", b"", "`select` has no values here"),
        ("patient_id=@FILE", b" \n\r\n", "`select` has no values here"),
        ("patient_id=@FILE", b"M\xfcLLER-CANARY\n", "not UTF-8"),
        ("patient_id=@FILE", "P1\n".encode("utf-16"), "not UTF-8"),
        ("patient_id=@FILE.none", b"", "No such file"),
        ("patient_id=@-", b"", "`select` has no values here"),
        ("patient_id=@", b"", "`select` must be"),
        ("patient_id=", b"", "`select` must be"),
        ("patient=P1", b"", "`select` must be"),
    ],
)
def test_what_selects_nothing_is_refused(tmp_path: Path, text: str, content: bytes, what: str) -> None:
    file = tmp_path / "ids"
    file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        selected([text.replace("FILE", str(file))], None, NOTHING)
    assert what in str(raised.value)
    assert "CANARY" not in str(raised.value)


def test_standard_input_is_read_once() -> None:
    with pytest.raises(UsageError, match="only once"):
        selected(["patient_id=@-", "study_id=@-"], None, io.BytesIO(b"P1\n"))


def test_a_table_without_values_does_not_mean_all(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("patient_id\n\n")
    with pytest.raises(UsageError, match="has no values"):
        selected([], file, NOTHING)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "No such file"),
        (b"", "it is not CSV"),
        (b"name\nCANARY\n", "exactly one column"),
        (b"patient_id,study_id\nCANARY,CANARY\n", "exactly one column"),
    ],
)
def test_a_table_that_is_no_selection_is_refused(tmp_path: Path, content: bytes | None, what: str) -> None:
    file = tmp_path / "table.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=what) as raised:
        selected([], file, NOTHING)
    assert "CANARY" not in str(raised.value)


def test_the_command_takes_values_that_ps_does_not_show(tmp_path: Path, emulator: Emulator) -> None:
    shell = Shell(tmp_path, emulator)
    for number in range(3):
        emulator.add(document(study=f"1.2.{number}", patient=f"P{number}"))
    shell.write("deid.key", KEY.secret).chmod(0o600)
    shell.write("ids.txt", "P0\nP2\n")
    words = ["deid", "--deid-profile", "minimal-phi", "--key", "deid.key", "--json", "-o"]
    by_file = shell.run(*words, "a.csv", "--select", "patient_id=@ids.txt")
    by_stdin = shell.run(*words, "b.csv", "--select", "patient_id=@-", stdin="P1\n")
    assert [done.exit_code for done in (by_file, by_stdin)] == [EXIT_OK, EXIT_OK], by_file.stderr + by_stdin.stderr
    assert [done.json[-1]["image_sets"] for done in (by_file, by_stdin)] == [2, 1]
    nothing = shell.run(*words, "c.csv", "--select", "patient_id=@-", stdin="")
    assert nothing.exit_code == EXIT_USAGE
