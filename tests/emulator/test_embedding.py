"""Embedding: in a thread, in the caller's loop, as a pytest fixture, and as a command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from typer.testing import CliRunner

import bulkedit.emulator
from bulkedit.cli.app import app
from bulkedit.emulator import (
    DEFAULT_DATASTORE_ID,
    PROFILES,
    Emulator,
    ScaledClock,
    ServiceProfile,
    Settings,
    profile,
    serve,
    serve_async,
    switches,
)
from bulkedit.errors import EXIT_USAGE
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.hospital import Json


class TestInAThread:
    def test_the_emulator_is_its_url(self) -> None:
        with serve() as emulator:
            assert isinstance(emulator, str)
            assert emulator == emulator.url == str(emulator)
            assert emulator.startswith("http://127.0.0.1:")

    def test_the_world_is_looked_at_on_the_servers_own_thread(self) -> None:
        with serve() as emulator:
            names = [emulator.do(lambda _: threading.current_thread().name), threading.current_thread().name]
        assert names == ["bulkedit-emulator", "MainThread"]

    def test_an_error_in_a_look_is_the_callers(self) -> None:
        with serve() as emulator, pytest.raises(ZeroDivisionError):
            emulator.do(lambda _: 1 // 0)

    def test_a_port_in_use_is_the_callers_error(self) -> None:
        with serve() as emulator, pytest.raises(OSError, match="address already in use"):  # noqa: SIM117
            with serve(port=int(emulator.rpartition(":")[2])):
                pass

    def test_nothing_is_left_when_the_block_ends(self) -> None:
        before = threading.active_count()
        with serve():
            pass
        assert threading.active_count() == before

    def test_time_can_run_faster(self, client_of: Callable[..., Json]) -> None:
        with serve(Settings(scale=1.0), clock=ScaledClock(10_000.0)) as emulator:
            client = client_of(emulator)
            one = emulator.add(document())
            for version in range(1, 4):
                edit = json.dumps({"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": f"X{version}"}}})
                while True:
                    try:
                        client.update_image_set_metadata(
                            datastoreId=DEFAULT_DATASTORE_ID,
                            imageSetId=one,
                            latestVersionId=str(version),
                            updateImageSetMetadataUpdates={"DICOMUpdates": {"updatableAttributes": edit}},
                        )
                        break
                    except (client.exceptions.ThrottlingException, client.exceptions.ConflictException):
                        continue


async def test_in_the_callers_own_loop() -> None:
    async with serve_async() as emulator, aiohttp.ClientSession() as session:
        emulator.add(document())
        async with session.get(f"{emulator}/datastore") as answer:
            assert (await answer.json())["datastoreSummaries"][0]["datastoreId"] == DEFAULT_DATASTORE_ID
        assert [entry.kind for entry in emulator.journal()] == ["state", "request"]


def test_a_pytest_plugin_gives_a_fresh_emulator_to_each_test(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(PLUGIN_TEST)
    installed = any(point.value == "bulkedit.emulator.plugin" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "bulkedit.emulator.plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_plugin_imports_nothing_of_the_emulator_until_a_fixture_is_used() -> None:
    """pytest loads the plugin at every start, also where no test uses it."""
    code = """
import sys, pytest
before = set(sys.modules)
import bulkedit.emulator.plugin
print(sorted(name for name in set(sys.modules) - before if name.partition(".")[0] != "coverage"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "['bulkedit', 'bulkedit._version', 'bulkedit.emulator', 'bulkedit.emulator.plugin']"


def test_every_public_name_is_there_and_no_other() -> None:
    for name in bulkedit.emulator.__all__:
        assert getattr(bulkedit.emulator, name) is not None
    assert dir(bulkedit.emulator) == sorted(bulkedit.emulator.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = bulkedit.emulator.nothing


PLUGIN_TEST = """
import boto3, pytest
from bulkedit.emulator import Settings, profile

def test_an_sdk_finds_it_by_the_environment(healthimaging):
    client = boto3.client("medical-imaging")
    assert client.list_datastores()["datastoreSummaries"][0]["datastoreId"] == healthimaging.datastore_id
    assert [e.action for e in healthimaging.journal()] == ["ListDatastores"]

def test_it_is_fresh(healthimaging):
    assert healthimaging.journal() == []

class TestOldService:
    @pytest.fixture
    def healthimaging_settings(self):
        return Settings(profile=profile("2025"))

    def test_the_settings_are_the_tests_own(self, healthimaging):
        assert healthimaging.server.settings.profile.service_version == "2025"
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), *sys.path]))}


class TestSwitches:
    def test_each_can_be_set_to_each_of_its_choices(self) -> None:
        for name, choices in switches().items():
            for choice in choices:
                if name != "service_version":
                    assert getattr(profile("2026", **{name: choice}), name) == choice

    @pytest.mark.parametrize(
        ("age", "changes"),
        [
            ("2024", {}),
            ("2026", {"colour": "red"}),
            ("2026", {"service_version": "2025"}),
            ("2026", {"stale_version": "404"}),
            ("2026", {"payload_limit": 30_001}),
            ("2026", {"payload_limit": 0}),
        ],
        ids=str,
    )
    def test_a_wrong_name_or_choice_is_told(self, age: str, changes: Json) -> None:
        with pytest.raises(ValueError, match=r"\w+"):
            profile(age, **changes)

    def test_the_ages_differ_in_what_the_documentation_changed(self) -> None:
        old, new = PROFILES["2025"], PROFILES["2026"]
        different = {name for name in switches() if getattr(old, name) != getattr(new, name)}
        assert different == {
            *("service_version", "primary_patient", "primary_study", "primary_series"),
            *("instance_removal", "series_removal", "study_wide"),
        }
        assert ServiceProfile() == new


def job_of(client: Json, folder: Path) -> str:
    """How an import job of a folder ends."""
    job = client.start_dicom_import_job(
        datastoreId=DEFAULT_DATASTORE_ID,
        dataAccessRoleArn="arn:aws:iam::000000000000:role/importer",
        inputS3Uri=folder.as_uri(),
        outputS3Uri="s3://bucket/out/",
    )
    while True:
        found = client.get_dicom_import_job(datastoreId=DEFAULT_DATASTORE_ID, jobId=job["jobId"])["jobProperties"]
        if found["jobStatus"] in {"COMPLETED", "FAILED"}:
            return str(found["jobStatus"])
        time.sleep(0.05)


class TestCommand:
    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bulkedit", "emulate", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | variables,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
    def test_it_says_where_it_listens_and_how_to_use_it_and_ends_cleanly(self, number: int) -> None:
        process = self.start("--port", "0")
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, "")
        assert f"export AWS_ENDPOINT_URL_MEDICAL_IMAGING={url}\n" in err
        assert "export AWS_DISABLE_HOST_PREFIX_INJECTION=true\n" in err

    def test_as_json_it_says_so_in_one_line_and_imports_first(self) -> None:
        import pydicom

        folder = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "77654033" / "CT2"
        process = self.start("--port", "0", "--json", "--import", str(folder))
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        assert (line["type"], line["datastore"], line["environment"]["AWS_ENDPOINT_URL_MEDICAL_IMAGING"]) == (
            "emulator",
            DEFAULT_DATASTORE_ID,
            line["url"],
        )
        assert "Imported 1 image set from" in err

    @pytest.mark.parametrize(
        ("options", "allowed"),
        [
            ([], []),
            (["--import", "mine"], ["mine"]),
            (["--import", "mine", "--import-root", "asked", "--import-root", "too"], ["asked", "too"]),
        ],
        ids=["nothing", "what --import names", "what --import-root names"],
    )
    def test_import_jobs_read_what_was_named(
        self, tmp_path: Path, client_of: Callable[..., Json], options: list[str], allowed: list[str]
    ) -> None:
        import pydicom

        folders = {name: tmp_path / name for name in ("mine", "asked", "too", "other")}
        for folder in folders.values():
            folder.mkdir()
            file = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
            (folder / "ct.dcm").write_bytes(file.read_bytes())
        process = self.start("--port", "0", "--scale", "inf", *(str(folders.get(word, word)) for word in options))
        assert process.stdout is not None
        try:
            client = client_of(process.stdout.readline().strip())
            assert [name for name, folder in folders.items() if job_of(client, folder) == "COMPLETED"] == allowed
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)

    def said(self, *arguments: str, **variables: str) -> tuple[str, str]:
        """What it says from its start to its end, on standard output and error."""
        process = self.start("--port", "0", *arguments, **variables)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 0
        return first + out, err

    def test_others_are_let_in_with_a_warning_only(self) -> None:
        _, err = self.said("--host", "0.0.0.0")  # noqa: S104
        assert [name for name in ("Warning", "--secret-key", "--allow-host NAME") if name not in err] == []
        _, err = self.said("--host", "0.0.0.0", "--allow-host", "emulator")  # noqa: S104
        assert "--allow-host" not in err

    @pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
    def test_the_secret_key_is_read_from_the_environment_and_never_said(self, form: tuple[str, ...]) -> None:
        keys = {"BULKEDIT_EMULATE_ACCESS_KEY": "AKIDEXAMPLE", "BULKEDIT_EMULATE_SECRET_KEY": "CANARY"}
        out, err = self.said(*form, **keys)
        assert "AKIDEXAMPLE" in (out if form else err)
        assert "CANARY" not in out + err
        assert "Warning" not in err

    def test_a_secret_key_on_the_command_line_is_warned_of(self) -> None:
        _, err = self.said("--access-key", "AKIDEXAMPLE", "--secret-key", "CANARY")
        assert "BULKEDIT_EMULATE_SECRET_KEY" in err
        assert "CANARY" not in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--service-version", "2024"],
            ["--switch", "stale_version"],
            ["--switch", "colour=red"],
            ["--fault", "nothing"],
            ["--scale", "0"],
            ["--scale", "nan"],
            ["--access-key", "x"],
            ["--allow-host", "http://emulator:8104"],
        ],
        ids=" ".join,
    )
    def test_words_that_do_not_fit_are_told_before_anything_starts(self, arguments: list[str]) -> None:
        result = CliRunner().invoke(app, ["emulate", "--port", "0", *arguments])
        assert result.exit_code == EXIT_USAGE
        assert "http://127.0.0.1" not in result.output

    def test_a_port_in_use_is_told(self) -> None:
        with serve() as emulator:
            process = self.start("--port", emulator.rpartition(":")[2])
            _, err = process.communicate(timeout=20)
        assert process.returncode != 0
        assert "cannot listen on port" in err


def test_the_emulator_is_safe_to_use_from_many_threads() -> None:
    with serve() as emulator:

        def add(number: int) -> str:
            return emulator.add(document(study=f"9.{number}"))

        async def many() -> list[str]:
            return await asyncio.gather(*(asyncio.to_thread(add, number) for number in range(50)))

        assert len(set(asyncio.run(many()))) == 50
        assert isinstance(emulator, Emulator)
