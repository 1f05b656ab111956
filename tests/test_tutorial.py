"""docs/tutorial.md, typed from the first command to the last: every output is what the page shows.

The emulator is a process of its own. The other commands run in this process, which takes a tenth of the time. They get
a rate, so that nothing waits for the search for the quota; a reader's run takes some seconds more.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from bulkedit.cli.app import app
from tests.cli.shell import PATIENT_S

PAGE: Final = (Path(__file__).parents[1] / "docs/tutorial.md").read_text("utf-8")
URL: Final = "http://127.0.0.1:8104"
QUICK: Final = {"BULKEDIT_RATE": "1000/s", "BULKEDIT_BURST": "1000", "BULKEDIT_READ_RATE": "1000/s"}
DURATION: Final = r"\d[\d.]* (?:ms|s|min)(?: \d+ s)?"
CHANGING: Final = {
    r"\b[0-9a-f]{64}\b": "<digest>",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00": "<time>",
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ": "<time>",
    r"\b\d{8}-\d{6}-[0-9a-f]{4}\b": "<id>",
    rf"(?<=\. ){DURATION}\.(?=\n)": "<seconds>.",
    rf"(?<=\n  time       ){DURATION}(?=\n)": "<seconds>",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What is typed, and the output that the page shows for it."""

    script: str
    shown: str


def steps(page: str) -> list[Step]:
    blocks = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", page, re.MULTILINE | re.DOTALL)
    return [Step(script, shown) for script, shown in blocks]


def steady(text: str) -> str:
    """A text without what differs from run to run: durations, times, ids, digests."""
    for pattern, name in CHANGING.items():
        text = re.sub(pattern, name, text)
    return text


STEPS: Final = steps(PAGE)


class Reader:
    """Types the steps in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**QUICK, "XDG_CONFIG_HOME": str(folder)}
        self.emulator: subprocess.Popen[str] | None = None
        self.url = URL

    def type(self, script: str) -> str:
        """Carry a step out, and return its output; the emulator is at the port of the page."""
        first = script.split(maxsplit=2)
        if first[:2] == ["bulkedit", "emulate"]:
            return self._start(script)
        if first[0] == "bulkedit":
            return self._run(script)
        if first[0] == "export":
            words = [word for word in shlex.split(script.replace(URL, self.url)) if word != "export"]
            self.env |= dict(word.split("=", 1) for word in words)
            return ""
        return subprocess.check_output(["/bin/sh", "-c", script], cwd=self.folder, text=True)

    def _start(self, script: str) -> str:
        """In the first terminal: without the variables of the second, and at a free port."""
        _, *words = shlex.split(script)
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "BULKEDIT_"))}
        self.emulator = subprocess.Popen(
            [sys.executable, "-m", "bulkedit", *words, "--port", "0"],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.emulator.stdout is not None
        output = ""
        for line in self.emulator.stdout:
            output += line
            if line.startswith("http://"):
                self.url = line.strip()
            if line.startswith("Data store: "):
                break
        return output.replace(self.url, URL)

    def _run(self, script: str) -> str:
        _, *words = shlex.split(script.replace("\\\n", " "))
        with chdir(self.folder):
            result = CliRunner().invoke(app, words, env=self.env)
        assert result.exit_code == 0, result.output
        return result.output.replace(self.url, URL)

    def leave(self) -> None:
        """End the emulator."""
        if self.emulator is not None:
            self.emulator.terminate()
            self.emulator.communicate(timeout=PATIENT_S)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The output of every step, in order. Only the first command that says where it goes keeps that line."""
    reader = Reader(tmp_path_factory.mktemp("tutorial"))
    try:
        found = [reader.type(step.script) for step in STEPS]
    finally:
        reader.leave()
    first = next(number for number, output in enumerate(found) if "Destination: " in output)
    return [
        output if number == first else re.sub(r"^Destination: .*\n", "", output, flags=re.MULTILINE)
        for number, output in enumerate(found)
    ]


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[step.script.splitlines()[0] for step in STEPS])
def test_the_output_of_a_step_is_the_one_on_the_page(outputs: list[str], number: int) -> None:
    assert steady(outputs[number]) == steady(STEPS[number].shown)


def test_what_is_exported_is_what_the_emulator_says(outputs: list[str]) -> None:
    (typed,) = [step.script.splitlines() for step in STEPS if step.script.startswith("export")]
    said = [line.strip() for line in outputs[0].splitlines() if line.startswith("  export ")]
    assert typed == [*said, "export BULKEDIT_DATASTORE=emulated000000000000000000000001"]


def test_the_page_goes_from_a_list_to_a_revert_that_is_verified() -> None:
    commands = [step.script.split()[1] for step in STEPS if step.script.startswith("bulkedit ")]
    way = ["emulate", "inventory", "plan", "apply", "apply", "status", "report", "verify", "revert", "apply", "verify"]
    assert commands == way


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("24 edits applied. 10 s.\n", "24 edits applied. 0.9 s.\n", True),
        ("24 edits applied. 10 s.\n", "24 edits applied. 1 min 2 s.\n", True),
        ("24 edits applied. 10 s.\n", "23 edits applied. 10 s.\n", False),
        ("\n  time          24 s at 0.25/s\n", "\n  time          28 s at 0.25/s\n", False),
        ("runs/undo\n", "runs/other\n", False),
    ],
)
def test_only_what_differs_from_run_to_run_may_differ(shown: str, printed: str, *, same: bool) -> None:
    assert (steady(shown) == steady(printed)) is same
