"""What a person sees: wrapped to the terminal, without codes where they are not wanted, and nothing of it lost."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from bulkedit.cli._console import err, fitted, lines_of_edits, packed, redrawn, rows
from bulkedit.cli._progress import edits_done, parts, picture
from tests.cli.shell import PATIENT_S
from tests.runs.test_progress import NUMBERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Env, Shell

STYLE = re.compile(r"\x1b\[[\d;]*m")
CODES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
HELP = [["--help"], ["apply", "--help"]]


END = "-- end of a command --\n"
# some commands one after the other in one process: to start one for each would take seven times as long
ONE_BY_ONE = f"""
import json, sys
from bulkedit.cli.app import app
for words in json.loads(sys.argv.pop(1)):
    try:
        app(words)
    except SystemExit:
        pass
    print({END!r}, end="", flush=True)
"""


def on_terminal(shell: Shell, *words: str | Path, columns: int = 80, env: Env | None = None) -> str:
    """All that a command writes to a terminal, codes and carriage returns included; line ends are newlines."""
    return written(shell, ["-m", "bulkedit", *map(str, words)], columns, env)


def each_on_terminal(shell: Shell, *commands: list[str], columns: int = 80, env: Env | None = None) -> list[str]:
    """What `on_terminal` gives, of commands one after the other."""
    return by_command(written(shell, ["-c", ONE_BY_ONE, json.dumps(commands)], columns, env), len(commands))


def by_command(text: str, count: int) -> list[str]:
    *found, rest = text.split(END)
    assert (len(found), rest) == (count, "")
    return found


def written(shell: Shell, start: list[str], columns: int, env: Env | None) -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **shell.env, **(env or {})}
    process = subprocess.Popen(
        [sys.executable, *start],
        cwd=shell.folder,
        env={name: text for name, text in environment.items() if text is not None},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
    )
    os.close(follower)
    content = b""
    try:
        while True:
            try:
                read = os.read(leader, 65536)
            except OSError:  # how Linux says that nobody writes any more
                break
            if not read:
                break
            content += read
    finally:
        os.close(leader)
        process.kill()
        process.wait()
    return content.decode().replace("\r\n", "\n")


@pytest.fixture
def run(shell: Shell) -> list[str]:
    """A list of ten edits, its plan `p`, and a run `r` of it."""
    image_sets = shell.image_sets(10)
    shell.run("plan", shell.descriptions(image_sets), "-o", "p")
    assert shell.run("apply", "p", "--yes", "--run", "r").exit_code == 0
    return image_sets


COMMANDS = [["status", "r"], ["report", "r", "--only", "applied"], ["verify", "r", "--history"], ["plan", "no.csv"]]


class TestCodes:
    @pytest.mark.usefixtures("run")
    def test_a_terminal_has_colours_and_a_line_that_is_redrawn(self, shell: Shell) -> None:
        """So that the tests below have something to miss."""
        text = on_terminal(shell, "apply", "p", "--yes", "--run", "s", "--rate", "10/s", "--burst", "1")
        assert STYLE.search(text)
        assert "\r" in text
        assert "Run s: 10 edits applied" in text
        assert STYLE.search(on_terminal(shell, "apply", "--help"))

    @pytest.mark.usefixtures("run")
    def test_no_color_leaves_no_style(self, shell: Shell) -> None:
        for text in each_on_terminal(shell, *COMMANDS, *HELP, env={"NO_COLOR": "1"}):
            assert text.strip()
            assert not STYLE.search(text)

    @pytest.mark.slow
    @pytest.mark.usefixtures("run")
    def test_no_color_leaves_no_style_in_what_is_redrawn(self, shell: Shell) -> None:
        text = on_terminal(
            shell, "apply", "p", "--yes", "--run", "s", "--rate", "10/s", "--burst", "1", env={"NO_COLOR": "1"}
        )
        assert not STYLE.search(text)
        assert "10/10 edits" in text

    @pytest.mark.slow
    @pytest.mark.usefixtures("run")
    def test_a_dumb_terminal_is_sent_lines_and_nothing_else(self, shell: Shell) -> None:
        others = ["apply", "--help"], ["apply", "p", "--yes", "--run", "s"], ["status", "r", "--watch"]
        for text in each_on_terminal(shell, *COMMANDS, *others, env={"TERM": "dumb"}):
            assert text.strip()
            assert "\x1b" not in text
            assert "\r" not in text

    @pytest.mark.slow  # tests/cli/test_talk.py: its lines are plain text
    @pytest.mark.usefixtures("run")
    def test_a_pipe_is_sent_lines_and_nothing_else(self, shell: Shell) -> None:
        commands = [*COMMANDS, ["apply", "p", "--yes", "--run", "s"], ["apply", "--help"]]
        start = ["-c", ONE_BY_ONE, json.dumps(commands)]
        with shell.started(start=start, env={"TERM": "xterm-256color"}) as process:
            stdout, stderr = process.communicate(timeout=PATIENT_S)
        said = by_command(stdout, len(commands))
        assert [words for words, text in zip(commands, said, strict=True) if not text.strip()] == [["plan", "no.csv"]]
        for text in (stdout, stderr):
            assert text.strip()
            assert "\x1b" not in text
            assert "\r" not in text


class TestNarrow:
    @pytest.mark.usefixtures("run")
    def test_no_line_of_prose_is_wider_than_the_terminal_and_no_word_is_cut(self, shell: Shell) -> None:
        """But for a command to type and the digest of a plan, which are to be copied as they are."""
        commands = [*COMMANDS, ["revert", "r", "-o", "u"]]
        at_60 = each_on_terminal(shell, *commands, columns=60)
        at_1000 = each_on_terminal(shell, *commands, columns=1000, env={"NO_COLOR": "1"})
        for words, text, wide in zip(commands, at_60, at_1000, strict=True):
            narrow = CODES.sub("", text)
            copied = re.compile(r"bulkedit |\b[0-9a-f]{64}$", re.MULTILINE)
            lines = [part for line in narrow.splitlines() if not copied.search(line) for part in line.split("\r")]
            assert max(map(len, lines)) <= 60
            assert "…" not in narrow
            if words[0] not in {"verify", "revert"}:  # which say how long they took, or that something is there
                assert narrow.split() == wide.split()

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
    def test_nothing_of_the_numbers_is_lost_on_any_terminal(self, width: int) -> None:
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(picture(NUMBERS, width))
        assert isinstance(console.file, io.StringIO)
        shown = console.file.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        words = " ".join(shown.replace("━", " ").replace("─", " ").replace(" · ", " ").split())
        assert words == " ".join(("40%", edits_done(NUMBERS), *parts(NUMBERS)))

    def test_parts_are_packed_into_few_lines(self) -> None:
        assert packed(["aaa", "bbb", "ccc"], 9) == ["aaa · bbb", "ccc"]
        assert packed(["aaa", "bbb", "ccc"], 8) == ["aaa", "bbb", "ccc"]
        assert packed(["aaaaaa"], 3) == ["aaaaaa"]

    def test_a_number_stays_with_its_unit(self) -> None:
        text = rows([("time", "2 min 24 s at 0.25/s (the default quota), 7 s at 5/s")], 52).plain
        assert [line.strip() for line in text.splitlines()] == [
            "time  2 min 24 s at 0.25/s (the default quota),",
            "7 s at 5/s",
        ]

    def test_a_command_to_type_stays_in_one_piece(self) -> None:
        text = "To continue:  bulkedit resume runs/20260102-030405-1a2b"
        assert fitted(text, 20) == text
        assert fitted("one two three", 8) == "one two\nthree"


def test_lines_of_json_go_to_standard_output_while_a_picture_is_redrawn_on_the_other() -> None:
    before = sys.stdout
    console = Console(stderr=True, force_terminal=True)
    with redrawn(console):
        assert sys.stdout is before
        assert err() is console  # what is said meanwhile goes above the picture
    assert err() is not console


START = [sys.executable, "-c", "import sys; sys.argv[0] = 'bulkedit'; from bulkedit.__main__ import app; app()"]
MAXIMA = {"--max-rate", "--max-errors", "--max-in-flight", "--max-attempts"}


def completed(shell: str, line: str) -> list[str]:
    """What a shell is offered for a line, asked for as its script does."""
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    env = {**os.environ, **asked, "_BULKEDIT_COMPLETE": f"complete_{shell}"}
    said = subprocess.run(START, env=env, capture_output=True, text=True, check=False).stdout
    if shell == "zsh":  # name and help of each, quoted for `eval`
        return [name for name, _ in re.findall(r'"([^"\n]+)":"([^"]*)"', said)]
    return [words.split("\t")[0] for words in said.splitlines() if shell == "bash" or "\t" in words]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str) -> None:
    assert sorted(completed(shell, "bulkedit re")) == ["report", "resume", "revert"]
    assert set(completed(shell, "bulkedit apply --max-")) == MAXIMA


def test_edits_stand_one_under_another() -> None:
    edits = [
        {"row": 8, "image_set_id": "a", "action": "set", "attribute": "PatientName"},
        {"row": 12_345, "image_set_id": "b", "action": "revert", "attribute": None},
    ]
    assert lines_of_edits(edits) == ["row 8       a  set PatientName", "row 12,345  b  revert"]


HOSTILE = "r\x1b[2J\u202e\nerror: x\x9b"


def test_names_of_folders_and_of_a_data_store_steer_no_terminal(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    hostile = shell.folder / HOSTILE
    done = [
        shell.run("plan", edits, "-o", HOSTILE + "p"),
        shell.run("plan", edits, "-o", HOSTILE + "p"),  # there is something there already
        shell.run("plan", edits, "-d", "d\x1b[31m", "-o", "p2"),
        shell.run("plan", edits, "-o", "p3", "--json", env={"BULKEDIT_DATASTORE": "d\x1b[31m\x9b"}),
        shell.run("plan", edits, "--no-such\x1b[2J"),
        shell.run("plan", edits, "--service-version", "\x1b[2J"),
        shell.run("apply", edits, "--yes", "--run", HOSTILE),
        shell.run("apply", edits, "--yes", "--run", HOSTILE),
        *(shell.run(command, HOSTILE) for command in ("status", "report", "resume", "verify", "revert")),
        *(shell.run(command, HOSTILE, "--json") for command in ("status", "report", "verify")),
        shell.run("status", HOSTILE + "absent"),
    ]
    assert hostile.is_dir()
    for one in done:
        text = one.stdout + one.stderr
        assert text
        unsafe = {c for c in text if c != "\n" and (unicodedata.category(c) == "Cc" or c == "\u202e")}
        assert unsafe == set()
        assert "\nerror: x" not in text
