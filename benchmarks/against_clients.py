"""Compares bulkedit with typical scripts: the same edits on the same emulator, one client after another.

    python -m benchmarks.against_clients [--quick] [--scenario raised default merge] [--client …] [--figure FILE]

The scripts are in `benchmarks/clients`: boto3 in threads (default and adaptive retries), aioboto3 with a semaphore, the
SDK for JavaScript with a promise pool, the AWS CLI in xargs. Each polls GetImageSet for ACTIVE between the edits of one
image set, continues after an error, and reports errors at the end. bulkedit is the real command. Clients that are not
installed are skipped by name (tests/clients/install.sh installs them).

raised   400 edits on 100 image sets; quota 20 updates/s, burst 20, reads as documented
default  the same at the default quota of 0.25/s, burst 1, on a clock eight times as fast. The scripts poll eight times
         as fast too; the waits inside the SDKs do not change, which is in their favour.
merge    a patient merge: 1,000 studies of 10 series, PatientID and PatientName each; quota 20/s, burst 20. Needs a
         bulkedit with --study-wide. --studies scales it down.

Results come from the emulator's journal and documents, not from the output of a client. Seconds are from the first
request of the edits to the last; the start of the command is a column of its own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import figures
from benchmarks.emulator_load import document
from bulkedit.emulator import CompletionTime, Emulator, ScaledClock, Settings, SystemClock, profile, serve
from bulkedit.emulator.state.document import assemble
from tests.clients import test_conformance as installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent / "clients"
ATTRIBUTES = {
    "StudyDescription": "Study",
    "AccessionNumber": "Study",
    "ReferringPhysicianName": "Study",
    "PatientName": "Patient",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A list of edits, and the quotas of the account."""

    name: str
    image_sets: int
    attributes: dict[str, str]  # keyword -> level; one edit of each per image set
    series: int = 1  # image sets per study
    quotas: dict[str, tuple[float, float]] = field(default_factory=dict)
    speed: float = 1.0  # of the emulator's clock
    workers: int = 32
    poll_s: float = 0.5  # on the emulator's clock
    ours: tuple[str, ...] = ()  # options of bulkedit apply

    @property
    def edits(self) -> int:
        return self.image_sets * len(self.attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one client."""

    client: str
    seconds: float  # on the emulator's clock
    command_seconds: float
    calls: int
    looks: int
    throttled: int
    left: int  # edits that are missing in the data store at the end

    def per_second(self, edits: int) -> float:
        return (edits - self.left) / self.seconds


RAISED = {"UpdateImageSetMetadata": (20.0, 20.0)}


def scenarios(image_sets: int, studies: int, speed: float) -> dict[str, Scenario]:
    rate = f"{0.25 * speed:g}/s"
    return {
        "raised": Scenario(
            name=f"quota 20/s, {image_sets * len(ATTRIBUTES)} edits on {image_sets} image sets",
            image_sets=image_sets,
            attributes=ATTRIBUTES,
            quotas=RAISED,
            ours=("--rate", "20/s", "--burst", "20"),
        ),
        "default": Scenario(
            name=f"quota 0.25/s, {image_sets * len(ATTRIBUTES)} edits on {image_sets} image sets",
            image_sets=image_sets,
            attributes=ATTRIBUTES,
            speed=speed,
            workers=4,
            poll_s=1.0,
            ours=("--rate", rate, "--read-rate", f"{25 * speed:g}/s"),
        ),
        "merge": Scenario(
            name=f"patient merge, {studies} studies of 10 series",
            image_sets=studies * 10,
            attributes={"PatientID": "Patient", "PatientName": "Patient"},
            series=10,
            quotas=RAISED,
            ours=("--rate", "20/s", "--burst", "20", "--study-wide", "auto"),
        ),
    }


class Hospital:
    """An emulator with the image sets of a scenario, and the edits in the input format of each client."""

    def __init__(self, scenario: Scenario, emulator: Emulator, folder: Path) -> None:
        self.scenario, self.emulator, self.folder = scenario, emulator, folder
        self.wanted: dict[str, dict[str, str]] = {}  # image set -> attribute -> value
        self.studies: dict[str, dict[str, str]] = {}
        for number in range(scenario.image_sets):
            study, series = divmod(number, scenario.series)
            content = document(study, 500)
            if scenario.series > 1:
                inner = content["Study"]["Series"]
                (uid, one), *_ = inner.items()
                one["DICOM"]["SeriesInstanceUID"] = f"{uid}.{series}"
                one["DICOM"]["SeriesNumber"] = str(series)
                content["Study"]["Series"] = {f"{uid}.{series}": one}
            values = dict.fromkeys(scenario.attributes, f"EDITED {study}")
            self.wanted[emulator.add(content)] = values
            self.studies[content["Study"]["DICOM"]["StudyInstanceUID"]] = values
        self._write()

    def _write(self) -> None:
        with (self.folder / "edits.jsonl").open("w") as lines, (self.folder / "edits.txt").open("w") as texts:
            for image_set_id, values in self.wanted.items():
                edits = [_blob(self.scenario.attributes[name], name, value) for name, value in values.items()]
                lines.write(json.dumps({"imageSetId": image_set_id, "edits": edits}) + "\n")
                texts.write(" ".join([image_set_id, *(f"'{_cli_input(edit)}'" for edit in edits)]) + "\n")
        many = self.scenario.series > 1
        selector, rows = ("study_instance_uid", self.studies) if many else ("image_set_id", self.wanted)
        with (self.folder / "edits.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([selector, "attribute", "value"])
            writer.writerows([key, *edit] for key, values in rows.items() for edit in values.items())

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG", "PYENV_ROOT") if name in os.environ},
            **self.emulator.environment(),
            "HOME": str(self.folder),
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "ENDPOINT": self.emulator.url,
            "DATASTORE": self.emulator.datastore_id,
            "EDITS": str(self.folder / "edits.jsonl"),
            "EDITS_CLI": str(self.folder / "edits.txt"),
            "WORKERS": str(self.scenario.workers),
            "POLL_S": str(self.scenario.poll_s / self.scenario.speed),
        }

    def left(self) -> int:
        """Count the edits that are missing in the data store."""
        held = {name: self._document(name) for name in self.wanted}
        return sum(
            held[image_set][self.scenario.attributes[name]]["DICOM"].get(name) != value
            for image_set, values in self.wanted.items()
            for name, value in values.items()
        )

    def _document(self, image_set_id: str) -> dict[str, Any]:
        datastore = self.emulator.datastore_id
        text = self.emulator.do(
            lambda world: assemble(
                world.datastores[datastore].image_sets[image_set_id].versions[-1].document, datastore, image_set_id
            )
        )
        found: dict[str, Any] = json.loads(text)
        return found


def _blob(level: str, name: str, value: str) -> str:
    return json.dumps({"SchemaVersion": 1.1, level: {"DICOM": {name: value}}}, separators=(",", ":"))


def _cli_input(edit: str) -> str:
    blob = base64.b64encode(edit.encode()).decode()
    return json.dumps({"updateImageSetMetadataUpdates": {"DICOMUpdates": {"updatableAttributes": blob}}})


# -- the clients: the command, or the reason to skip it


def _ours(hospital: Hospital) -> list[list[str]]:
    bulkedit = [sys.executable, "-m", "bulkedit"]
    where = ["-d", hospital.emulator.datastore_id]
    apply = [*bulkedit, "apply", "edits.csv", *where, "--yes", "--json", "--run", "run", *hospital.scenario.ours]
    if hospital.scenario.series == 1:
        return [apply]
    inventory = ["--inventory", "inventory.parquet"]
    return [[*bulkedit, "inventory", *where, "-o", inventory[1]], [*apply, *inventory, "--on-many", "all"]]


def _script(name: str, *before: str) -> Callable[[Hospital], list[list[str]]]:
    return lambda _: [[*before, str(HERE / name)]]


def _cli(hospital: Hospital) -> list[list[str]]:
    command = installed.awscli().command[1]
    model = installed.service_model(hospital.folder / "service-2.json")
    aws = command.removeprefix("AWS=")
    add = [aws, "configure", "add-model", "--service-model", f"file://{model}", "--service-name", "medical-imaging"]
    return [add, ["env", command, str(HERE / "cli_xargs.sh")]]


CLIENTS: dict[str, Callable[[Hospital], list[list[str]]]] = {
    "bulkedit": _ours,
    "boto3 threads": _script("boto3_threads.py", "env", "MODE=default", sys.executable),
    "boto3 threads, adaptive": _script("boto3_threads.py", "env", "MODE=adaptive", sys.executable),
    "aioboto3 semaphore": _script("aioboto3_semaphore.py", sys.executable),
    "JavaScript promise pool": _script("promise_pool.mjs", "node"),
    "AWS CLI in xargs": _cli,
}


def missing(client: str, scenario: Scenario) -> str | None:
    """A client that cannot run; the text is the reason."""
    if client == "bulkedit" and "--study-wide" in scenario.ours:
        command = [sys.executable, "-m", "bulkedit", "apply", "--help"]
        wide = {"COLUMNS": "200", "PATH": os.environ["PATH"]}
        helped = subprocess.run(command, check=True, capture_output=True, text=True, env=wide).stdout
        return None if "--study-wide" in helped else "this bulkedit has no --study-wide"
    known = {"JavaScript promise pool": installed.javascript, "AWS CLI in xargs": installed.awscli}
    return known[client]().missing if client in known else None


@contextlib.contextmanager
def hospital_of(scenario: Scenario) -> Iterator[Hospital]:
    settings = Settings(
        profile=profile("2026", primary_patient="allow", primary_study="allow"),
        completion_time=CompletionTime(seconds=0.5, sigma=0.3),
        quotas=scenario.quotas,
    )
    clock = SystemClock() if scenario.speed == 1 else ScaledClock(scenario.speed)
    with tempfile.TemporaryDirectory() as folder, serve(settings, clock=clock) as emulator:
        yield Hospital(scenario, emulator, Path(folder))


def measure(client: str, scenario: Scenario, *, timeout_s: float) -> Result:
    with hospital_of(scenario) as hospital:
        *first, last = CLIENTS[client](hospital)
        for command in first:
            subprocess.run(command, check=True, capture_output=True, cwd=hospital.folder, env=hospital.environment)
        before = hospital.emulator.journal()
        began = time.perf_counter()
        _run(last, hospital, timeout_s)
        command_seconds = time.perf_counter() - began
        entries = hospital.emulator.journal(since=before[-1].seq if before else 0)
        requests = [entry for entry in entries if entry.kind == "request" and entry.image_set_id]
        assert requests, f"{client} has sent nothing"
        time.sleep(2 / scenario.speed)  # the last updates complete
        return Result(
            client=client,
            seconds=requests[-1].at - requests[0].at,
            command_seconds=command_seconds,
            calls=sum(entry.action == "UpdateImageSetMetadata" and entry.status == 200 for entry in requests),
            looks=sum(
                entry.action in {"GetImageSet", "ListImageSetVersions"} and entry.status == 200 for entry in requests
            ),
            throttled=sum(entry.status == 429 for entry in requests),
            left=hospital.left(),
        )


def _run(command: list[str], hospital: Hospital, timeout_s: float) -> None:
    """Run a client, and stop it at the timeout; its other edits count as left over."""
    with (hospital.folder / "talk").open("w") as talk, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command,
            check=False,
            cwd=hospital.folder,
            env=hospital.environment,
            stdout=talk,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", nargs="+", choices=["raised", "default", "merge"], default=["raised", "default"])
    parser.add_argument("--client", nargs="+", choices=list(CLIENTS), default=list(CLIENTS))
    parser.add_argument("--image-sets", type=int, default=100)
    parser.add_argument("--studies", type=int, default=1_000)
    parser.add_argument("--speed", type=float, default=8.0, help="of the clock in scenario default")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="of one client")
    parser.add_argument("--quick", action="store_true", help="bulkedit and boto3 threads on 5 image sets")
    parser.add_argument("--figure", type=Path, default=figures.FIGURES / "against_clients.png")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.client, arguments.image_sets, arguments.scenario = ["bulkedit", "boto3 threads"], 5, ["raised"]
    known = scenarios(arguments.image_sets, arguments.studies, arguments.speed)
    print(figures.machine())
    panels = []
    for name in arguments.scenario:
        results = []
        print(f"\n{known[name].name}\n", flush=True)
        for client in arguments.client:
            if why := missing(client, known[name]):
                print(f"{client} is left out: {why}")
                continue
            results.append(measure(client, known[name], timeout_s=arguments.timeout))
        if results:
            show(known[name], results)
            speeds = [result.per_second(known[name].edits) for result in results]
            names = [result.client for result in results]
            ours = names.index("bulkedit") if "bulkedit" in names else -1
            panels.append(figures.bars(f"edits per second: {known[name].name}", names, speeds, ours=ours))
    if panels:
        figures.plot(arguments.figure, (7 * len(panels), 2.8), panels)


def show(scenario: Scenario, results: list[Result]) -> None:
    rows = [
        [
            result.client,
            result.per_second(scenario.edits),
            result.calls,
            result.looks,
            result.throttled,
            result.left,
            result.seconds,
            result.command_seconds,
        ]
        for result in results
    ]
    print(figures.table(["client", "edits/s", "calls", "looks", "throttled", "left", "seconds", "command s"], rows))
    speeds = {result.client: result.per_second(scenario.edits) for result in results}
    if (ours := speeds.pop("bulkedit", None)) is not None and speeds:
        print(f"\nbulkedit is {ours / max(speeds.values()):.1f} times as fast as the best of them", flush=True)


if __name__ == "__main__":
    main()
