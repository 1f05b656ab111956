"""`bulkedit demo` from end to end: no account, no network, and a run that the other commands can read.

Slow for a test (some twenty seconds), and the one that shows what a new user sees first. It runs once.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.shell import PATIENT_S

MOST_THROTTLED = 0.15  # of the requests of so short a run; a fixed rate above the quota meets 40 %

if TYPE_CHECKING:
    from pathlib import Path


def bulkedit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Carry a command out as a user who has no account."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "bulkedit", *words],
        cwd=folder,
        env={**environment, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return bulkedit(folder, "demo", "--run", "r")


def test_it_ends_well_and_says_what_to_type_next(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, "Traceback" in demo.stderr) == (0, False)
    assert re.search(r"A local HealthImaging with \d+ image sets of \d+ DICOM files", demo.stdout)
    assert "bulkedit status r" in demo.stdout
    assert "bulkedit report r" in demo.stdout


def test_it_shows_attributes_of_three_image_sets_before_and_after(demo: subprocess.CompletedProcess[str]) -> None:
    after = demo.stdout.partition("Some of the changes")[2]
    rows = re.findall(r"^(\w{8})…  (\w+) +(\S+) +(\S.*?) *$", after, re.MULTILINE)
    assert ("2ae3143c", "PatientName", "CompressedSamples^CT1", "Santos^Marta") in rows
    assert len({image_set for image_set, *_ in rows}) == 3
    assert [row for row in rows if row[2] == row[3]] == []


def test_it_finds_its_pace_with_few_throttles_and_says_how_many(
    demo: subprocess.CompletedProcess[str], folder: Path
) -> None:
    settings = json.loads((folder / "r/run.json").read_text("utf-8"))["settings"]
    status = json.loads(bulkedit(folder, "status", "r", "--json").stdout)
    share = status["throttled"] / status["requests"]
    assert settings["options"]["rate"] == "auto"
    assert f"Throttled: {status['throttled']} of {status['requests']} requests ({share:.1%})" in demo.stdout
    assert share < MOST_THROTTLED


def test_its_run_can_be_looked_at(demo: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert demo.returncode == 0
    status = json.loads(bulkedit(folder, "status", "r", "--json").stdout)
    assert (status["unprocessed"], status["edits"] > status["applied"] > 0) == (0, True)
    report = bulkedit(folder, "report", "r")
    assert report.stdout.startswith(f"Run r: {status['applied']} edits applied, {status['rejected']} rejected, 0 left")


def test_its_folders_are_those_that_were_named(demo: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert demo.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["r", "r-plan"]
