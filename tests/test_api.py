"""`import bulkedit`: the commands as functions, one with them."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import os
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import pytest

import bulkedit
from bulkedit.cli.app import load_command
from bulkedit.deidentification import ENVIRONMENT
from bulkedit.errors import BadRowsError, DatastoreError, EditListError, StalePlanError, StoppedError, UsageError
from bulkedit.runs.options import EngineOptions
from tests.cli.shell import Shell
from tests.deidentification.walkers import KEY
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import Emulator

SAMPLES = Path(__file__).parents[1] / "samples"
FAST = bulkedit.RunOptions(rate="1000/s", burst=1000, read_rate="1000/s")


@pytest.fixture
def shell(tmp_path: Path, emulator: Emulator) -> Iterator[Shell]:
    with chdir(tmp_path):
        yield Shell(tmp_path, emulator)


def where(shell: Shell) -> bulkedit.Where:
    return bulkedit.Where(endpoint_url=str(shell.emulator))


def frame(image_sets: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"image_set_id": image_sets, "StudyDescription": [f"T{i}" for i, _ in enumerate(image_sets)]})


async def test_a_frame_is_planned_without_a_file_of_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill would leave it, and it holds values."""
    monkeypatch.setattr(tempfile, "tempdir", str(shell.folder / "nowhere"))
    image_sets = shell.image_sets(1)
    plan = await bulkedit.plan(frame(image_sets), shell.emulator.datastore_id, folder="p")
    assert plan.manifest["list"]["name"] == "the frame"
    with pytest.raises(EditListError) as raised:
        await bulkedit.plan(pl.DataFrame({"nothing": ["x"]}), shell.emulator.datastore_id, folder="q")
    assert str(raised.value).startswith("the frame")


async def test_edits_are_taken_from_anything_that_has_columns(shell: Shell) -> None:
    columns = frame(shell.image_sets(2))
    store = shell.emulator.datastore_id
    kinds: list[Any] = [columns, columns.lazy(), columns.to_dict(as_series=False), columns.to_dicts()]
    plans = [await bulkedit.plan(edits, store, folder=f"p{number}") for number, edits in enumerate(kinds)]
    calls = [plan.calls().collect() for plan in plans]
    assert [found.equals(calls[0]) for found in calls] == [True] * 4
    assert [plan.counts["edits"] for plan in plans] == [2] * 4


@pytest.mark.parametrize("edits", ["image_set_id,PatientName\nx,DOE^JANE\n", {"DOE^JANE"}], ids=["text", "set"])
async def test_what_is_no_edit_list_is_told_without_its_values(shell: Shell, edits: Any) -> None:
    with pytest.raises(UsageError) as raised:
        await bulkedit.plan(edits, shell.emulator.datastore_id, folder="p")
    assert "DOE" not in str(raised.value)


async def test_from_a_frame_to_the_store_and_back(shell: Shell) -> None:
    image_sets = shell.image_sets(3)
    store = shell.emulator.datastore_id
    plan = await bulkedit.plan(frame(image_sets), store, folder="p", where=where(shell))
    assert (plan.counts["edits"], plan.counts["calls"], plan.counts["searches"]) == (3, 3, 1)
    assert {one.action for one in shell.requests()} == {"SearchImageSets"}
    result = await bulkedit.apply(plan, run="r", options=FAST, where=where(shell))
    assert (result.done, result.summary["applied"], result.run) == (True, 3, Path("r"))
    assert result.edits.collect()["outcome"].to_list() == ["applied"] * 3
    assert [shell.stored(one) for one in image_sets] == [(2, "T0"), (2, "T1"), (2, "T2")]
    seen = await bulkedit.verify("r", bulkedit.VerifyOptions(history=True, read_rate="1000/s"))
    assert seen.verification is not None
    assert (seen.verification.differences().collect().height, seen.verification.kept().collect().height) == (0, 3)
    undo = await bulkedit.revert("r", bulkedit.RevertOptions(read_rate="1000/s"), folder="undo")
    assert undo.left_out.height == 0
    await bulkedit.apply(undo.plan, run="u", options=FAST, where=where(shell))
    assert [shell.stored(one) for one in image_sets] == [(3, "CHEST")] * 3


def test_plans_and_runs_are_those_of_the_commands(shell: Shell) -> None:
    image_sets = shell.image_sets(2)
    asyncio.run(bulkedit.plan(frame(image_sets), shell.emulator.datastore_id, folder="p"))
    assert shell.run("apply", "p", "--yes", "--run", "r").exit_code == 0
    assert bulkedit.report("r").summary["applied"] == 2
    assert shell.run("plan", shell.descriptions(image_sets), "-o", "q").exit_code == 0
    asyncio.run(bulkedit.apply("q", run="s", options=FAST, where=where(shell)))
    assert shell.run("status", "s", "--json").json[0]["applied"] == 2


async def test_a_run_that_was_cancelled_is_resumed(shell: Shell) -> None:
    image_sets = shell.image_sets(20)
    plan = await bulkedit.plan(frame(image_sets), shell.emulator.datastore_id, folder="p")
    slow = bulkedit.RunOptions(rate="5/s", burst=1)
    task = asyncio.create_task(bulkedit.apply(plan, run="r", options=slow, where=where(shell)))
    while len(shell.accepted()) < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not bulkedit.report("r").done
    result = await bulkedit.resume("r")
    assert (result.done, result.summary["applied"]) == (True, 20)
    assert {shell.stored(one)[0] for one in image_sets} == {2}


async def test_what_failed_is_tried_again(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    edits = pl.DataFrame(
        {"image_set_id": [one], "action": ["remove"], "attribute": ["StudyDescription"], "value": ["X"]}
    )
    plan = await bulkedit.plan(edits, shell.emulator.datastore_id, folder="p")
    assert (await bulkedit.apply(plan, run="r", options=FAST, where=where(shell))).summary["rejected"] == 1
    other = await bulkedit.plan(
        pl.DataFrame({"image_set_id": [one], "StudyDescription": ["X"]}), shell.emulator.datastore_id, folder="q"
    )
    await bulkedit.apply(other, run="s", options=FAST, where=where(shell))
    assert (await bulkedit.resume("r")).summary["rejected"] == 1
    assert (await bulkedit.resume("r", bulkedit.Strategy.ALL)).summary["applied"] == 1


def flags(command: str) -> dict[str, Any]:
    """The options of a command by the name of their flag, with their defaults."""
    found = {one.opts[0]: one.default for one in load_command(command).params if one.expose_value}
    found = {name: found[name] for name in found.keys() - {"--verbose", "--log-file"}}  # a program has its own logging
    return {name.removeprefix("--").replace("-", "_"): default for name, default in found.items() if name[0] == "-"}


def fields_of(*options: Any) -> dict[str, Any]:
    return {name: value for one in options for name, value in dataclasses.asdict(one).items()}


def keywords(function: Any) -> set[str]:
    """What a function takes, but for the objects that stand for several flags."""
    return set(inspect.signature(function).parameters) - {
        "edits",
        "plan",
        "run",
        "options",
        "where",
        "progress",
        "stop",
        "file",
    }


class TestFlags:
    """The functions can be told all that the commands can, in the same words, and do the same where told nothing."""

    # of a command line alone: `json` and `yes` say how it talks, and a plan of code can be looked at before `apply`
    TALK: ClassVar = {"json", "yes", "dry_run"}
    ELSEWHERE: ClassVar = {"datastore", "digest", "out", "run", "resume_or_start"}  # arguments; out is folder
    LIST: ClassVar = {
        "ignore_column": "ignore",
        "aws_profile": "profile",
        "all": "everything",
        "from": "source",
        "where": "condition",
    }  # flag -> field, where they differ

    def test_plan_and_its_options(self) -> None:
        wanted = {self.LIST.get(name, name): default for name, default in flags("plan").items()}
        have = fields_of(bulkedit.ListOptions(), bulkedit.Where())
        assert have == {name: wanted[name] for name in wanted.keys() - self.TALK - self.ELSEWHERE}

    def test_apply_and_its_options(self) -> None:
        wanted = {self.LIST.get(name, name): default for name, default in flags("apply").items()}
        have = fields_of(bulkedit.RunOptions(), bulkedit.Where(), bulkedit.ListOptions())
        wanted = {name: wanted[name] for name in wanted.keys() - self.TALK - self.ELSEWHERE}
        assert have == wanted

    def test_what_the_options_of_a_run_mean_to_the_engine_by_default_is_its_own_default(self) -> None:
        assert EngineOptions.of(bulkedit.RunOptions()) == EngineOptions()

    @pytest.mark.parametrize(
        ("command", "options", "others"),
        [
            ("verify", bulkedit.VerifyOptions(), {"yes", "json"}),
            ("revert", bulkedit.RevertOptions(), {"out", "json"}),
            ("resume", bulkedit.RunChanges(), {"json"}),
            ("inventory", bulkedit.InventoryOptions(), {"datastore", "out", "json"}),
            # --plan, --check, --explain and --new-key are other functions
            (
                "deid",
                bulkedit.DeidOptions(),
                {
                    *("datastore", "out", "json", "yes", "plan", "delete_originals", "check", "explain", "new_key"),
                },
            ),
            ("audit", bulkedit.AuditOptions(), {"json"}),
        ],
    )
    def test_no_flag_of_the_others_is_without_an_argument(self, command: str, options: Any, others: set[str]) -> None:
        function = getattr(bulkedit, command)
        have = keywords(function) | set(
            fields_of(options, bulkedit.Where()) if options else fields_of(bulkedit.Where())
        )
        assert {self.LIST.get(name, name) for name in flags(command)} - others <= have

    @pytest.mark.parametrize(
        ("chosen", "text"),
        [
            ({"rate": "fast"}, "rate"),
            ({"rate": "5/s", "max_rate": "6/s"}, "max_rate"),
            ({"read_rate": "slow"}, "rate"),
            ({"on_conflict": "win"}, "`on_conflict` must be retry or stop"),
            ({"halt": "never"}, "`halt`"),
            ({"max_errors": "many"}, "max_errors"),
            ({"burst": 0}, "`burst` must be at least 1"),
            ({"workers": 0}, "`workers` must be at least 1"),
            ({"max_in_flight": 0}, "`max_in_flight` must be at least 1"),
            ({"min_sample": 0}, "`min_sample` must be at least 1"),
            ({"max_attempts": 0}, "`max_attempts` must be at least 1"),
            ({"unlock_timeout": 0.5}, "`unlock_timeout` must be at least 1"),
            ({"retry_for": -1}, "`retry_for` must be at least 0"),
        ],
        ids=str,
    )
    def test_what_a_flag_refuses_the_option_refuses(self, chosen: dict[str, Any], text: str) -> None:
        with pytest.raises(UsageError, match=text):
            EngineOptions.of(bulkedit.RunOptions(**chosen))


class TestProgressAndStop:
    """Each function tells how far it is, and ends early and well."""

    @pytest.fixture
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ENVIRONMENT, KEY.secret.decode())

    async def test_plan(self, shell: Shell) -> None:
        shell.image_sets(2)
        edits = {"study_instance_uid": ["1.2.1", "1.2.2"], "StudyDescription": ["A", "B"]}
        told: list[bulkedit.Advance] = []
        store = shell.emulator.datastore_id
        options = bulkedit.ListOptions(skip_satisfied=True)
        await bulkedit.plan(edits, store, folder="p", options=options, where=where(shell), progress=told.append)
        assert [(one.phase, one.done, one.total) for one in told if one.total][-1] == ("reading", 2, 2)
        assert told[0].phase == "searching"
        with pytest.raises(StoppedError):
            await bulkedit.plan(edits, store, folder="q", where=where(shell), stop=sent())
        assert not Path("q").exists()

    async def test_apply_and_resume(self, shell: Shell) -> None:
        image_sets = shell.image_sets(20)
        plan = await bulkedit.plan(frame(image_sets), shell.emulator.datastore_id, folder="p")
        stop, slow = bulkedit.StopSignal(), bulkedit.RunOptions(rate="5/s", burst=1)
        result, _ = await asyncio.gather(
            bulkedit.apply(plan, run="r", options=slow, where=where(shell), stop=stop), sent_later(shell, stop)
        )
        assert (result.done, result.summary["applied"]) == (False, len(shell.accepted()))
        assert set(result.edits.collect()["outcome"]) == {"applied", "unprocessed"}
        told: list[bulkedit.Advance] = []
        assert (await bulkedit.resume("r", progress=told.append)).done
        assert (told[-1].phase, told[-1].done, told[-1].total) == ("sending", 20, 20)

    async def test_verify(self, shell: Shell) -> None:
        await applied(shell, 3)
        told: list[bulkedit.WorkProgress] = []
        with pytest.raises(StoppedError):
            await bulkedit.verify("r", stop=sent())
        stop = bulkedit.StopSignal()

        def first(progress: bulkedit.WorkProgress) -> None:
            told.append(progress)
            stop.send()

        options = bulkedit.VerifyOptions(workers=1, read_rate="1000/s")
        seen = await bulkedit.verify("r", options, progress=first, stop=stop)
        assert (seen.stopped, seen.verification, told[-1].total) == (True, None, 3)
        assert seen.counts.image_sets < 3
        seen = await bulkedit.verify("r", options, progress=told.append)
        assert seen.verification is not None
        assert (told[-1].done, told[-1].found) == (3, 0)

    async def test_revert(self, shell: Shell) -> None:
        await applied(shell, 2)
        told: list[bulkedit.WorkProgress] = []
        with pytest.raises(StoppedError, match="Nothing was planned"):
            await bulkedit.revert("r", folder="u", stop=sent())
        assert not Path("u").exists()
        undo = await bulkedit.revert("r", bulkedit.RevertOptions(rows=[1]), folder="u", progress=told.append)
        assert (undo.plan.counts["calls"], told[-1].done, told[-1].total) == (1, 1, 1)

    async def test_inventory(self, shell: Shell) -> None:
        image_sets = shell.image_sets(60)  # two pages
        store = shell.emulator.datastore_id
        stop, told = bulkedit.StopSignal(), list[bulkedit.InventoryProgress]()

        def first(progress: bulkedit.InventoryProgress) -> None:
            told.append(progress)
            stop.send()

        with pytest.raises(StoppedError, match="the same call resumes"):
            await bulkedit.inventory(store, "i.parquet", where=where(shell), progress=first, stop=stop)
        assert [(one.pages, one.done) for one in told] == [(1, 50)]
        taken = await bulkedit.inventory(store, "i.parquet", where=where(shell), progress=told.append)
        assert set(taken.scan().collect()["image_set_id"]) == set(image_sets)
        assert (taken.image_sets, taken.searches, told[-1].done) == (60, 1, 60)

    @pytest.mark.usefixtures("key")
    async def test_deid_and_audit(self, shell: Shell) -> None:
        shell.image_sets(40)  # more than are read at once
        store = shell.emulator.datastore_id
        stop, told = bulkedit.StopSignal(), list[bulkedit.WorkProgress]()

        def first(progress: bulkedit.WorkProgress) -> None:
            told.append(progress)
            if progress.phase == "reading" and progress.done:
                stop.send()

        options = bulkedit.DeidOptions(deid_profile="basic", everything=True)
        with pytest.raises(StoppedError):
            await bulkedit.deid("d.parquet", options, store, where=where(shell), progress=first, stop=stop)
        kept = told[-1].done
        assert 0 < kept < 40
        made = await bulkedit.deid("d.parquet", options, store, where=where(shell), progress=told.append)
        assert (told[-1].done, made.image_sets, made.changed) == (40 - kept, 40, 40)
        assert [one.phase for one in told[:2]] == ["searching", "reading"]
        assert told[-1].found > 40  # edits
        plan = await bulkedit.plan(made.file, store, folder="p", where=where(shell))
        await bulkedit.apply(plan, run="r", options=FAST, where=where(shell))
        with pytest.raises(StoppedError, match="Nothing was written"):
            await bulkedit.audit("r", stop=sent())
        assert not Path("r/checks").exists()
        found = await bulkedit.audit("r", bulkedit.AuditOptions(deid_profile="basic"), progress=told.append)
        assert (found.complete, found.summary["image_sets"], told[-1].done, told[-1].total) == (True, 40, 40, 40)
        assert found.clean == (shell.run("audit", "r", "--deid-profile", "basic").exit_code == 0)

    @pytest.mark.usefixtures("key")
    async def test_archived_image_sets_are_not_read_unasked(self, shell: Shell) -> None:
        shell.emulator.add(document(), primary=False, storage_tier="ARCHIVE_INSTANT_ACCESS")
        store, options = shell.emulator.datastore_id, bulkedit.DeidOptions(deid_profile="basic", everything=True)
        with pytest.raises(UsageError, match="1 image set will move"):
            await bulkedit.deid("d.csv", options, store, where=where(shell))
        agreed = dataclasses.replace(options, read_archived=True)
        assert (await bulkedit.deid("d.csv", agreed, store, where=where(shell))).image_sets == 1


def sent() -> bulkedit.StopSignal:
    stop = bulkedit.StopSignal()
    stop.send()
    return stop


async def sent_later(shell: Shell, stop: bulkedit.StopSignal) -> None:
    while len(shell.accepted()) < 3:
        await asyncio.sleep(0.01)
    stop.send()


async def applied(shell: Shell, count: int) -> None:
    plan = await bulkedit.plan(frame(shell.image_sets(count)), shell.emulator.datastore_id, folder="p")
    await bulkedit.apply(plan, run="r", options=FAST, where=where(shell))


async def test_nothing_is_printed(shell: Shell, capfd: pytest.CaptureFixture[str]) -> None:
    """What the commands say of a list, of its looking up and of rows that are set aside is theirs alone."""
    shell.image_sets(2)
    edits = pl.DataFrame({"study_instance_uid": ["1.2.1", "1.2.2", "x"], "StudyDescription": ["A", "B", "C"]})
    listing = bulkedit.ListOptions(bad_rows=Path("bad.csv"))
    plan = await bulkedit.plan(edits, shell.emulator.datastore_id, folder="p", options=listing, where=where(shell))
    assert (plan.counts["calls"], plan.counts["set_aside"]) == (2, 1)
    await bulkedit.apply(plan, run="r", options=FAST, where=where(shell))
    await bulkedit.resume("r")
    await bulkedit.verify("r")
    await bulkedit.revert("r")
    assert capfd.readouterr() == ("", "")


class TestErrors:
    async def test_bad_edits(self, shell: Shell) -> None:
        bad = pl.DataFrame({"image_set_id": ["x"], "StudyDescription": ["A"]})
        with pytest.raises(BadRowsError, match="Row 1"):
            await bulkedit.plan(bad, shell.emulator.datastore_id, folder="p")
        assert not Path("p").exists()

    async def test_bad_edits_come_with_all_problems(self, shell: Shell) -> None:
        bad = pl.DataFrame({"image_set_id": ["x"] * 9, "StudyDate": ["A"] * 9})
        with pytest.raises(BadRowsError, match="By kind: 9 image-set-id") as raised:
            await bulkedit.plan(bad, shell.emulator.datastore_id, folder="p")
        assert raised.value.problems is not None
        assert (raised.value.rows, raised.value.problems.height) == (9, 18)
        assert list(Path().iterdir()) == []

    async def test_they_name_arguments_and_no_flags(self, shell: Shell) -> None:
        twice = pl.DataFrame({"study_instance_uid": ["1.2.1", "9.9"], "StudyDescription": ["A", "B"]})
        shell.image_sets(1)
        with pytest.raises(BadRowsError) as raised:
            await bulkedit.plan(twice, shell.emulator.datastore_id, folder="p", where=where(shell))
        assert "`on_missing=skip`" in str(raised.value)
        assert "`bad_rows=bad.csv`" in str(raised.value)
        with pytest.raises(UsageError, match="`datastore_id=ID`") as unnamed:
            await bulkedit.plan(twice)
        assert "--" not in f"{raised.value}{unnamed.value}"

    async def test_a_plan_that_was_changed(self, shell: Shell) -> None:
        await bulkedit.plan(frame(shell.image_sets(1)), shell.emulator.datastore_id, folder="p")
        Path("p/edits.parquet").write_bytes(b"other")
        with pytest.raises(StalePlanError):
            await bulkedit.apply("p", run="r", where=where(shell))

    async def test_a_data_store_that_is_not(self, shell: Shell) -> None:
        await bulkedit.plan(frame(shell.image_sets(1)), "0" * 32, folder="p")
        with pytest.raises(DatastoreError):
            await bulkedit.apply("p", run="r", where=where(shell))

    async def test_options_that_are_not_understood_leave_no_run(self, shell: Shell) -> None:
        await bulkedit.plan(frame(shell.image_sets(1)), shell.emulator.datastore_id, folder="p")
        with pytest.raises(UsageError, match="rate"):
            await bulkedit.apply("p", run="r", options=bulkedit.RunOptions(rate="fast"))
        assert not Path("r").exists()


class TestNames:
    @pytest.mark.parametrize("name", bulkedit.__all__)
    def test_every_name_is_there_and_in_the_docs(self, name: str) -> None:
        assert getattr(bulkedit, name)
        text = (SAMPLES.parent / "docs/library.md").read_text("utf-8")
        assert name.startswith("_") or f"`{name}`" in text

    def test_the_functions_are_typed_and_say_what_they_do(self) -> None:
        for name in ("plan", "apply", "resume", "revert", "verify", "inventory", "deid", "audit", "report"):
            function = getattr(bulkedit, name)
            signature = inspect.signature(function)
            assert function.__doc__
            assert signature.return_annotation is not inspect.Signature.empty
            assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
            assert inspect.iscoroutinefunction(function) == (name != "report")
            assert name == "report" or {"progress", "stop", "where"} <= signature.parameters.keys()

    def test_importing_it_imports_no_heavy_library(self) -> None:
        code = "import sys, bulkedit; print(sorted({'polars', 'aioboto3', 'pydicom', 'typer'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"

    def test_a_name_that_is_not_there(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = bulkedit.nothing


# -- the samples


@pytest.fixture
def environment(shell: Shell) -> dict[str, str]:
    return {**os.environ, **shell.emulator.environment(), "BULKEDIT_DATASTORE": shell.emulator.datastore_id}


def job(shell: Shell, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SAMPLES / "nightly.py"), ".", shell.emulator.datastore_id]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_the_scheduled_job_applies_each_list_once(shell: Shell, environment: dict[str, str]) -> None:
    shell.descriptions(shell.image_sets(1), "a.csv")
    shell.write("b.csv", "image_set_id,StudyDescription\nnot an id,X\n")
    first = job(shell, environment)
    assert (first.returncode, "a.csv: 1 of 1 edits applied" in first.stdout) == (2, True)
    assert "b.csv" in first.stderr
    (shell.folder / "b.csv").unlink()
    assert job(shell, environment).returncode == 0
    assert len(shell.accepted()) == 1


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    shell: Shell, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = shell.image_sets(1)
    shell.write("descriptions.csv", f"image_set_id,StudyDescription\n{one}, chest \n")
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    source = (SAMPLES / "notebook.py").read_text("utf-8")
    code = compile(source, "notebook.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    cells: dict[str, Any] = {}
    asyncio.run(eval(code, cells))  # noqa: S307 - as Jupyter does, which lets cells await
    assert cells["result"].summary["applied"] == cells["undone"].summary["applied"] == 1
    assert shell.stored(one) == (3, "CHEST")
    assert source.count("# %%") > 8


async def test_the_id_of_a_data_store_is_checked_in_the_library_too(tmp_path: Path) -> None:
    options = bulkedit.DeidOptions(deid_profile="basic", everything=True)
    for asked in (
        bulkedit.plan(tmp_path / "absent.csv", "123"),
        bulkedit.inventory("123", tmp_path / "i.parquet"),
        bulkedit.deid(tmp_path / "d.csv", options, "123"),
    ):
        with pytest.raises(UsageError, match="`datastore_id` must be 32 characters of 0-9 a-z"):
            await asked
