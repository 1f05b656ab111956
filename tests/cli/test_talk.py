"""Standard output is data, standard error is talk, and neither ever shows a value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from bulkedit._words import duration, plural
from bulkedit.cli._console import command, rows
from bulkedit.edits.edit import json_text
from tests.cli.shell import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

# as the command, but with a line of progress every moment instead of every minute
IMPATIENT = (
    "-c",
    "import bulkedit.cli._progress as p; p._LINE_S = 0.05; from bulkedit.cli.app import app; app()",
)
NUMBERS = re.compile(
    r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  "
    r"\d+% · \d+/20 edits( · (a few seconds|about \d+ s) left)? · \d+\.\d\d/s of \d+\.\d\d/s · \d+/20 calls · "
    r"\d+ in flight · 0\.0% throttled( · completed within p50 [\d.]+ s, p95 [\d.]+ s)?"
)


class TestProgress:
    def test_it_is_one_line_a_minute_where_standard_error_is_no_terminal(self) -> None:
        from bulkedit.cli import _progress as progress

        assert progress._LINE_S == 60.0

    def test_its_lines_are_plain_text(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(20))
        words = ("apply", edits, "--yes", "--run", "r", "--rate", "20/s", "--burst", "1")
        with shell.started(*words, start=IMPATIENT) as process:
            _, stderr = process.communicate()
        destination, head, *lines = stderr.splitlines()
        assert (destination.partition(":")[0], head) == ("Destination", "Run r")
        assert [line for line in lines if not NUMBERS.fullmatch(line)] == []
        assert len(lines) > 1
        assert printable(stderr)

    def test_talk_is_plain_whatever_comes_of_the_run(self, shell: Shell) -> None:
        image_sets = shell.image_sets(2)
        edits = shell.write(
            "e.csv",
            f"image_set_id,action,attribute,value\n{image_sets[0]},remove,StudyDescription,WRONG\n"
            f"{image_sets[1]},set,StudyDescription,B\n{image_sets[1]},set,StudyDate,20240101\n",
        )
        results = [
            shell.run("plan", edits, "-o", "p"),
            shell.run("apply", "p", "--yes", "--run", "r"),
            shell.run("status", "r"),
            shell.run("report", "r"),
        ]
        assert [result.exit_code for result in results] == [0, 1, 0, 0]
        for result in results:
            assert printable(result.stdout + result.stderr)
            assert [line for line in result.stdout.splitlines() if line != line.rstrip()] == []

    @pytest.mark.slow
    def test_on_a_terminal_the_line_is_redrawn(self, shell: Shell) -> None:
        from tests.cli.test_apply import on_terminal

        edits = shell.descriptions(shell.image_sets(3))
        code, screen = on_terminal(shell, "y\n", "Run r", "apply", str(edits), "--run", "r", "--rate", "4/s")
        assert code == 0
        assert "100%  3/3 edits" in screen


def printable(text: str) -> bool:
    """Whether a text has no control characters, and none that boxes and bars are drawn with."""
    return not re.search("[\x00-\x09\x0b-\x1f\x7f\u2500-\u259f]", text)


class TestJson:
    def test_every_line_of_standard_output_is_an_object_with_a_type(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(2))
        results = [
            shell.run("plan", edits, "-o", "p", "--json"),
            shell.run("apply", "p", "--dry-run", "--json"),
            shell.run("apply", "p", "--yes", "--run", "r", "--json"),
            shell.run("resume", "r", "--json"),
            shell.run("status", "r", "--json"),
            shell.run("report", "r", "--json"),
            shell.run("report", "r", "--json", "--only", "applied"),
        ]
        assert [[line["type"] for line in result.json] for result in results] == [
            ["plan"],
            ["plan"],
            ["summary"],
            ["summary"],
            ["status"],
            ["summary"],
            ["edit", "edit", "summary"],
        ]

    def test_an_error_leaves_standard_output_empty(self, shell: Shell) -> None:
        for words in (("plan", "absent.csv"), ("apply", "absent.csv"), ("status", "r"), ("report", "r")):
            assert shell.run(*words, "--json").stdout == ""

    def test_the_json_switch_is_an_environment_variable_too(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(1))
        (line,) = shell.run("plan", edits, env={"BULKEDIT_JSON": "1"}).json
        assert line["type"] == "plan"


# -- values are for the owner's files only

CANARIES = ("CANARY^ANNA", "CANARYTEXT", "19770707", "CANARYNOTE")


@pytest.fixture
def canaries(shell: Shell) -> Path:
    """Edits of every outcome, each with a value that must not be seen."""
    good, bad, absent = *shell.image_sets(2), "f" * 32
    rows_ = [
        (good, "set", "PatientName", CANARIES[0]),
        (good, "set", "StudyDescription", CANARIES[1]),
        (bad, "remove", "StudyDescription", CANARIES[1]),
        (good, "set", "StudyDate", CANARIES[2]),
        (absent, "set", "PatientComments", CANARIES[3]),
    ]
    lines = ["image_set_id,action,attribute,value", *(",".join(row) for row in rows_)]
    return shell.write("edits.csv", "\n".join(lines) + "\n")


class TestValues:
    def test_no_value_is_on_any_stream(self, shell: Shell, canaries: Path) -> None:
        results = [
            shell.run("plan", canaries, "-o", "p"),
            shell.run("plan", canaries, "-o", "q", "--json"),
            shell.run("apply", "p", "--yes", "--run", "r"),
            shell.run("apply", "q", "--yes", "--run", "s", "--json"),
            *(shell.run(name, "r", *switch) for name in ("status", "report") for switch in ([], ["--json"])),
            *(shell.run("report", "r", "--json", "--only", outcome) for outcome in ("applied", "rejected", "failed")),
        ]
        assert [result.exit_code for result in results[:3]] == [0, 0, 1]
        for result in results:
            assert seen(result.stdout + result.stderr) == []

    def test_no_value_is_in_the_ledger_or_beside_it(self, shell: Shell, canaries: Path) -> None:
        shell.run("apply", canaries, "--yes", "--run", "r")
        beside = [path for path in (shell.folder / "r").iterdir() if path.is_file()]
        assert "ledger.sqlite" in {path.name for path in beside}
        assert {path.name: seen(path.read_bytes().decode("latin-1")) for path in beside} == {
            path.name: [] for path in beside
        }

    def test_no_value_is_in_what_is_kept_of_the_list(self, shell: Shell, canaries: Path) -> None:
        shell.run("plan", canaries, "-o", "p")
        assert seen((shell.folder / "p" / "manifest.json").read_text()) == []

    def test_no_value_is_in_the_words_for_a_defect_of_our_own(
        self, shell: Shell, canaries: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(text: str) -> None:
            raise RuntimeError(text + CANARIES[0])

        monkeypatch.setattr("bulkedit.plans.from_list.plans.make", lambda *_: broken(canaries.read_text()))
        result = shell.run("plan", canaries)
        assert (result.exit_code, seen(result.stderr)) == (4, [])
        assert "error: this is a defect in bulkedit: RuntimeError" in result.stderr
        assert "Traceback" not in result.stderr


def seen(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary in text or json_text(canary)[1:-1] in text]


# -- words


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0.0 s"),
            (0.04, "0.0 s"),
            (0.4, "0.4 s"),
            (0.96, "1 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (842, "14 min 02 s"),
            (3599.7, "1 h 00 min"),
            (11_100, "3 h 05 min"),
            (86_399.6, "1 d 00 h"),
            (399_600, "4 d 15 h"),
        ],
    )
    def test_a_duration_is_said_as_a_person_says_it(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text

    @pytest.mark.parametrize(
        ("count", "text"), [(0, "0 edits"), (1, "1 edit"), (2, "2 edits"), (2000, "2,000 edits")], ids=str
    )
    def test_a_count_agrees_with_its_noun(self, count: int, text: str) -> None:
        assert plural(count, "edit") == text

    def test_a_command_is_quoted_for_a_shell(self) -> None:
        assert command("resume", "my run; rm *") == "bulkedit resume 'my run; rm *'"

    def test_rows_line_up_and_have_nothing_behind(self) -> None:
        assert rows([("a", "1"), ("long", "2")]).plain == "  a     1\n  long  2"


def test_a_reader_that_goes_away_is_no_traceback(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    shell.run("plan", edits, "-o", "p")
    with shell.started("apply", "p", "--dry-run", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        wait_for(lambda: process.poll() is not None)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_the_summary_counts_every_edit_in_exactly_one_outcome(shell: Shell, canaries: Path) -> None:
    (line,) = shell.run("apply", canaries, "--yes", "--json").json
    outcomes = ("applied", "rejected", "conflicted", "failed", "unprocessed")
    assert sum(line[outcome] for outcome in outcomes) == line["edits"] == 5
    assert json.dumps(line)
