"""The command line for tests: in this process where that shows the rule, as a process of its own where it matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from bulkedit import plans
from bulkedit._json import object_in
from bulkedit.cli.app import app
from bulkedit.emulator.state.document import parse
from bulkedit.options.running import RunOptions
from bulkedit.options.where import Where
from bulkedit.runs import anchor as anchors
from bulkedit.runs import folder as runs
from bulkedit.runs.anchor import Anchor
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bulkedit.emulator import Emulator, World
    from bulkedit.emulator.state.journal import Entry

    Env = Mapping[str, str | None]  # None takes a variable away

PATIENT_S = 120.0  # until a test that waits gives up; nothing depends on how long it takes


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def messages(self) -> list[str]:
        """The lines of standard error, without the one that says where requests go."""
        return [line for line in self.stderr.splitlines() if not line.startswith("Destination: ")]

    @property
    def json(self) -> list[dict[str, Any]]:
        """Standard output as lines of JSON."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Shell:
    """A folder, and an environment that points to an emulator and is in no hurry to be throttled."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        self.env: Env = {
            "BULKEDIT_ENDPOINT_URL": str(emulator),
            "BULKEDIT_DATASTORE": emulator.datastore_id,
            "BULKEDIT_RATE": "1000/s",
            "BULKEDIT_BURST": "1000",
            "BULKEDIT_READ_RATE": "1000/s",
            "BULKEDIT_LOOK_UP": "never",  # tests of a plan's requests count those that they are about
            "XDG_CONFIG_HOME": str(folder / "config"),  # not that of whoever runs the tests
        }

    def run(self, *words: str | Path, stdin: str | bytes | None = None, env: Env | None = None) -> Result:
        """Carry a command out in this process, in the folder."""
        with chdir(self.folder):
            result = CliRunner().invoke(app, list(map(str, words)), input=stdin, env={**self.env, **(env or {})})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    def call(self, *words: str | Path, env: Env | None = None) -> Result:
        """Carry a command out in a process of its own."""
        with self.started(*words, env=env) as process:
            stdout, stderr = process.communicate(timeout=PATIENT_S)
            return Result(process.returncode, stdout, stderr)

    @contextmanager
    def started(
        self, *words: str | Path, env: Env | None = None, start: Sequence[str] = ("-m", "bulkedit")
    ) -> Iterator[subprocess.Popen[str]]:
        """A process of its own; killed when the block ends."""
        environment = {**os.environ, **self.env, **(env or {})}
        process = subprocess.Popen(
            [sys.executable, *start, *map(str, words)],
            cwd=self.folder,
            env={name: text for name, text in environment.items() if text is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    # edit lists

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def image_sets(self, count: int) -> list[str]:
        """Image sets of a study each."""
        return [self.emulator.add(document(study=f"1.2.{number}")) for number in range(1, count + 1)]

    def descriptions(self, image_sets: list[str], name: str = "edits.csv") -> Path:
        """A list that gives each image set a description of its own."""
        lines = [f"{image_set_id},set,StudyDescription,T{i}" for i, image_set_id in enumerate(image_sets)]
        return self.write(name, "\n".join(["image_set_id,action,attribute,value", *lines]) + "\n")

    def unbegun(self, edits: Path, name: str) -> Path:
        """A run as a kill leaves it before its ledger is there."""
        assert self.run("plan", edits, "-o", f"plan of {name}").exit_code == 0
        settings: runs.RunSettings = {
            "connection": asdict(Where(endpoint_url=str(self.emulator))),
            "options": RunOptions().as_settings(),
        }
        plan = plans.load(self.folder / f"plan of {name}")
        return runs.create(self.folder / name, plan, settings, datetime.now(UTC)).folder

    # what the service saw

    def requests(self, action: str | None = None) -> list[Entry]:
        """The requests that reached the service."""
        entries = self.emulator.journal()
        return [entry for entry in entries if entry.kind == "request" and action in {None, entry.action}]

    def accepted(self) -> list[Entry]:
        """The updates that the service has accepted."""
        return [entry for entry in self.requests("UpdateImageSetMetadata") if entry.status == 200]

    def stored(self, image_set_id: str) -> tuple[int, str]:
        """Version and description of an image set, whose updates are all done."""

        def look(world: World) -> tuple[int, str]:
            image_set = world.datastores[self.emulator.datastore_id].image_sets[image_set_id]
            assert not image_set.locked
            elements = object_in(parse(image_set.latest.document), "Study", "DICOM")
            return image_set.number, str(elements["StudyDescription"])

        return self.emulator.do(look)


def unbegin(run: Path) -> None:
    """Make a run as a kill before its first request leaves it."""
    for file in run.glob("ledger.*"):
        file.unlink()
    name = json.loads((run / "run.json").read_text("utf-8"))["anchor"]
    Anchor.create(anchors.beside(run / "ledger.sqlite"), name).close()


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until it has happened."""
    deadline = time.monotonic() + PATIENT_S
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
