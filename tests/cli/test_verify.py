"""`bulkedit verify`: every applied edit held against the store."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit._json import object_in
from bulkedit.emulator.state.document import parse
from bulkedit.emulator.state.faults import Fault, FaultKind
from tests.cli.shell import wait_for
from tests.emulator.hospital import document
from tests.privileges import as_anybody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.shell import Shell


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    """Three image sets, and a run `r` that has given each a description."""
    found = shell.image_sets(3)
    assert shell.run("apply", shell.descriptions(found), "--yes", "--run", "r").exit_code == 0
    return found


def edit(shell: Shell, run: str, *lines: str) -> None:
    """A run of another writer."""
    path = shell.write(f"{run}.csv", "\n".join(["image_set_id,action,attribute,value", *lines]) + "\n")
    assert shell.run("apply", path, "--yes", "--run", run).exit_code == 0


def verified(shell: Shell, *words: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """Exit code, the closing line, and the lines before it."""
    result = shell.run("verify", "r", "--json", *words)
    *lines, last = result.json
    assert last["type"] == "verification"
    return result.exit_code, last, lines


class TestDifferences:
    @pytest.mark.usefixtures("image_sets")
    def test_a_store_as_the_run_left_it_has_none(self, shell: Shell) -> None:
        code, line, lines = verified(shell)
        assert (code, lines) == (0, [])
        assert (line["image_sets"], line["matching"], line["differences"], line["superseded"]) == (3, 3, 0, 0)

    @pytest.mark.parametrize("action", ["GetImageSet", "GetImageSetMetadata"])
    def test_one_image_set_that_is_denied_is_left_out_and_named(
        self, shell: Shell, image_sets: list[str], action: str
    ) -> None:
        server = shell.emulator.server
        denied = Fault(kind=FaultKind.DENIED, action=action, image_set_id=image_sets[0])
        shell.emulator.do(lambda _: server.faults.add([denied], now=server.now()))
        result = shell.run("verify", "r")
        assert (result.exit_code, "1 image set could not be read" in result.stderr) == (5, True)
        code, line, differences = verified(shell)
        assert (code, line["complete"], line["unread"], line["image_sets"], differences) == (5, False, 1, 2, [])
        shell.emulator.do(lambda _: server.faults.clear())
        code, verification, _ = verified(shell)
        assert (code, verification["image_sets"], verification["matching"]) == (0, 3, 3)
        assert (verification["complete"], verification["unread"]) == (True, 0)
        assert verification["verification"] == line["verification"]  # which it went on with
        assert verification.keys() == line.keys()

    def test_a_removal_whose_instance_is_gone_has_no_place(self, shell: Shell, image_sets: list[str]) -> None:
        columns = "image_set_id,action,attribute,series_uid,instance_uid,force"
        inside = "1.2.1.1,1.2.1.1.2"
        removal = shell.write("x.csv", f"{columns}\n{image_sets[0]},remove,KVP,{inside},\n")
        assert shell.run("apply", removal, "--yes", "--run", "x").exit_code == 0
        assert shell.run("verify", "x").exit_code == 0
        whole = shell.write("y.csv", f"{columns}\n{image_sets[0]},remove-instance,,{inside},true\n")
        assert shell.run("apply", whole, "--yes", "--run", "y").exit_code == 0
        assert shell.run("verify", "y").exit_code == 0
        result = shell.run("verify", "x", "--json", "--fresh")
        found, last = result.json
        assert (result.exit_code, last["matching"], last["differences"]) == (7, 0, 1)
        assert (found["difference"], found["origin"]) == ("place not found", "later writer")

    def test_a_later_writer_is_told_from_the_run(self, shell: Shell, image_sets: list[str]) -> None:
        edit(shell, "s", f"{image_sets[1]},set,StudyDescription,OTHER")
        code, line, lines = verified(shell)
        assert (code, line["differences"], line["by_later_writers"], line["by_run"]) == (7, 1, 1, 0)
        (found,) = lines
        assert (found["row"], found["image_set_id"]) == (3, image_sets[1])
        assert (found["difference"], found["origin"], found["version"], found["latest"]) == (
            "other value",
            "later writer",
            2,
            3,
        )

    def test_a_later_writer_of_something_else_makes_none(self, shell: Shell, image_sets: list[str]) -> None:
        edit(shell, "s", f"{image_sets[1]},set,StudyTime,1200")
        assert verified(shell)[0] == 0

    def test_an_update_that_did_something_else_is_the_runs_own(self, shell: Shell, image_sets: list[str]) -> None:
        """As no service should: the version that the run made does not hold its edit."""

        def forget(world: Any) -> None:
            image_set = world.image_set(shell.emulator.datastore_id, image_sets[0])
            image_set.versions[1].document = image_set.versions[0].document

        shell.emulator.do(forget)
        code, line, lines = verified(shell)
        assert (code, line["by_run"], [found["origin"] for found in lines]) == (7, 1, ["run"])

    def test_a_deleted_image_set_is_a_difference(self, shell: Shell, image_sets: list[str]) -> None:
        from bulkedit.emulator.api.actions import perform
        from bulkedit.emulator.api.request import Request

        params: dict[str, Any] = {"datastoreId": shell.emulator.datastore_id, "imageSetId": image_sets[2]}
        shell.emulator.do(lambda world: perform(world, Request("DeleteImageSet", params, shell.emulator.clock.now())))
        code, _, lines = verified(shell)
        assert (code, [(found["row"], found["difference"]) for found in lines]) == (7, [(4, "image set not found")])

    def test_only_applied_edits_are_held_against_the_store(self, shell: Shell) -> None:
        first, second = shell.image_sets(2)
        path = shell.write(
            "e.csv",
            "image_set_id,action,attribute,value\n"
            f"{first},set,StudyDescription,A\n{second},remove,StudyDescription,WRONG\n{first},remove,StudyTime,\n",
        )
        shell.run("apply", path, "--yes", "--run", "r")
        code, line, _ = verified(shell)
        assert (code, line["image_sets"], line["matching"]) == (0, 1, 2)

    def test_edits_of_a_split_call_have_each_their_version(self, shell: Shell) -> None:
        (one,) = shell.image_sets(1)
        path = shell.write(
            "e.csv",
            "image_set_id,action,attribute,value\n"
            f"{one},set,StudyDescription,A\n{one},remove,AccessionNumber,WRONG\n{one},set,StudyTime,1200\n",
        )
        shell.run("apply", path, "--yes", "--run", "r")
        edit(shell, "s", f"{one},set,StudyTime,1300")
        code, line, lines = verified(shell)
        assert (code, line["matching"]) == (7, 1)
        assert [(found["attribute"], found["origin"]) for found in lines] == [("StudyTime", "later writer")]

    def test_a_run_without_applied_edits_is_told_so(self, shell: Shell) -> None:
        (one,) = shell.image_sets(1)
        path = shell.write("e.csv", f"image_set_id,action,attribute,value\n{one},remove,StudyDescription,WRONG\n")
        shell.run("apply", path, "--yes", "--run", "r")
        result = shell.run("verify", "r")
        assert (result.exit_code, "applied nothing" in result.stderr) == (2, True)

    def test_the_image_sets_of_a_study_wide_call_are_all_read(self, shell: Shell) -> None:
        """Also those that the plan does not name, because the row asked for the study itself."""
        ids = [shell.emulator.add(document(str(number))) for number in (1, 2, 3)]
        document_ = {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDescription": "ALL"}}}
        updates = {"DICOMUpdates": {"updatableAttributes": document_}}
        line = {"imageSetId": ids[0], "updateImageSetMetadataUpdates": updates, "includeStudyImageSets": True}
        path = shell.write("calls.jsonl", json.dumps(line) + "\n")
        assert shell.run("apply", path, "--yes", "--run", "r").exit_code == 0
        code, closing, _ = verified(shell)
        assert (code, closing["image_sets"], closing["matching"]) == (0, 3, 3)

        def change(world: Any) -> None:
            image_set = world.image_set(shell.emulator.datastore_id, ids[2])
            image_set.versions[1].document = image_set.versions[0].document

        shell.emulator.do(change)
        code, _, lines = verified(shell)
        assert (code, [found["image_set_id"] for found in lines]) == (7, [ids[2]])


class TestHistory:
    def test_older_versions_that_have_what_was_replaced_are_listed(self, shell: Shell, image_sets: list[str]) -> None:
        edit(shell, "s", f"{image_sets[0]},set,StudyTime,1200")
        code, line, lines = verified(shell, "--history")
        assert (code, line["kept"]) == (0, 3)
        assert [(found["type"], found["row"], found["versions"]) for found in lines] == [
            ("kept", 2, [1]),
            ("kept", 3, [1]),
            ("kept", 4, [1]),
        ]

    def test_every_older_version_is_looked_at(self, shell: Shell) -> None:
        (one,) = shell.image_sets(1)
        edit(shell, "a", f"{one},set,StudyTime,1200")
        edit(shell, "r", f"{one},set,StudyDescription,NEW")
        _, _, lines = verified(shell, "--history")
        assert [found["versions"] for found in lines] == [[1, 2]]

    @pytest.mark.usefixtures("image_sets")
    def test_what_can_be_done_about_it_is_said(self, shell: Shell) -> None:
        text = shell.run("verify", "r", "--history").stdout
        assert "CopyImageSet" in text
        assert "DeleteImageSet" in text
        assert "CopyImageSet" not in shell.run("verify", "r").stdout

    @pytest.mark.usefixtures("image_sets")
    def test_without_it_older_versions_are_not_read(self, shell: Shell) -> None:
        verified(shell)
        assert shell.requests("ListImageSetVersions") == []
        assert len(shell.requests("GetImageSetMetadata")) == 3


class TestReading:
    @pytest.mark.usefixtures("image_sets")
    def test_a_sample_reads_no_more_and_is_recorded(self, shell: Shell) -> None:
        _, line, _ = verified(shell, "--sample", "1", "--seed", "7")
        assert (line["image_sets"], line["of_image_sets"], line["sample"], line["seed"]) == (1, 3, "1", 7)
        assert len(shell.requests("GetImageSetMetadata")) == 1

    @pytest.mark.usefixtures("image_sets")
    def test_nothing_is_written_to_the_store(self, shell: Shell) -> None:
        before = len(shell.requests("UpdateImageSetMetadata"))
        verified(shell, "--history")
        assert len(shell.requests("UpdateImageSetMetadata")) == before

    @pytest.mark.usefixtures("image_sets")
    def test_the_quota_of_reads_is_kept_to(self, shell: Shell) -> None:
        """At most a burst, and then the rate: never faster than asked for."""
        result = shell.run("verify", "r", "--json", "--read-rate", "20/s")
        assert result.json[-1]["throttled"] == 0
        at = [entry.at for entry in shell.requests("GetImageSetMetadata")]
        assert len(at) == 3

    def test_an_interrupted_one_is_gone_on_with(self, shell: Shell) -> None:
        found = shell.image_sets(30)
        shell.run("apply", shell.descriptions(found), "--yes", "--run", "r")
        with shell.started("verify", "r", "--read-rate", "4/s", "--workers", "2") as process:
            wait_for(lambda: len(shell.requests("GetImageSetMetadata")) > 3)
            process.kill()
            process.wait()
        (progress,) = (shell.folder / "r" / "verifications").glob("*/progress.jsonl")
        kept = len(progress.read_text().splitlines())
        with progress.open("a") as file:
            file.write('{"image_set_id": "cut sho')  # as a kill in the middle of a write leaves it
        read = len(shell.requests("GetImageSetMetadata"))
        code, line, _ = verified(shell)
        assert (code, line["image_sets"], line["matching"]) == (0, 30, 30)
        assert len(shell.requests("GetImageSetMetadata")) - read == 30 - kept
        assert kept > 0
        assert not progress.exists()

    @pytest.mark.usefixtures("image_sets")
    def test_one_that_is_done_is_not_gone_on_with(self, shell: Shell) -> None:
        first, second = verified(shell)[1], verified(shell)[1]
        assert first["verification"] != second["verification"]
        assert len(shell.requests("GetImageSetMetadata")) == 6

    def test_an_image_set_that_stays_locked_is_left_for_another_time(
        self, shell: Shell, image_sets: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from bulkedit.client import reader as reading

        monkeypatch.setattr(reading, "ATTEMPTS", 1)

        def lock(world: Any, locked: bool) -> None:
            from bulkedit.emulator.state.image_set import NEVER, Pending

            image_set = world.image_set(shell.emulator.datastore_id, image_sets[0])
            image_set.pending = Pending("UpdateImageSetMetadata", NEVER, "UPDATED", None) if locked else None

        shell.emulator.do(lambda world: lock(world, locked=True))
        result = shell.run("verify", "r")
        assert (result.exit_code, "1 image set could not be read (locked)" in result.stderr) == (5, True)
        assert "bulkedit verify r" in result.stderr
        shell.emulator.do(lambda world: lock(world, locked=False))
        read = len(shell.requests("GetImageSetMetadata"))
        assert verified(shell)[1]["matching"] == 3
        assert len(shell.requests("GetImageSetMetadata")) - read == 1


class TestArchived:
    @pytest.fixture
    def archived(self, shell: Shell, image_sets: list[str]) -> str:
        def archive(world: Any) -> None:
            world.image_set(shell.emulator.datastore_id, image_sets[1]).archived = True

        shell.emulator.do(archive)
        return image_sets[1]

    def tier(self, shell: Shell, image_set_id: str) -> bool:
        return bool(
            shell.emulator.do(lambda world: world.image_set(shell.emulator.datastore_id, image_set_id).archived)
        )

    @pytest.mark.parametrize("words", [(), ("--yes",)], ids=["", "not asked"])
    def test_a_script_moves_none_unless_it_says_so(self, shell: Shell, archived: str, words: tuple[str, ...]) -> None:
        result = shell.run("verify", "r", *words)
        assert result.exit_code == 5
        assert "1 image set is archived: reading moves it to the frequent tier for 30 days." in result.stderr
        assert "bulkedit verify r --read-archived" in result.stderr
        assert self.tier(shell, archived)

    def test_what_was_left_is_read_where_that_is_said(self, shell: Shell, archived: str) -> None:
        shell.run("verify", "r")
        read = len(shell.requests("GetImageSetMetadata"))
        _, line, _ = verified(shell, "--read-archived")
        assert (line["matching"], line["archived"]) == (3, 0)
        assert len(shell.requests("GetImageSetMetadata")) - read == 1
        assert not self.tier(shell, archived)

    def test_they_can_be_left_out(self, shell: Shell, archived: str) -> None:
        code, line, _ = verified(shell, "--skip-archived")
        assert (code, line["matching"], line["archived"]) == (0, 2, 1)
        assert self.tier(shell, archived)

    def test_to_read_them_and_to_leave_them_out_is_refused(self, shell: Shell, archived: str) -> None:
        result = shell.run("verify", "r", "--skip-archived", "--read-archived")
        assert (result.exit_code, result.stderr) == (
            2,
            "error: --read-archived and --skip-archived cannot be combined.\n",
        )
        assert self.tier(shell, archived)

    @pytest.mark.parametrize(
        ("answer", "said", "code"),
        [("y\n", "3/3 image sets", 0), pytest.param("n\n", "To read them:", 5, marks=pytest.mark.slow)],
        ids=["yes", "no"],
    )
    def test_on_a_terminal_it_asks(self, shell: Shell, archived: str, answer: str, said: str, code: int) -> None:
        from tests.cli.test_apply import on_terminal

        exit_code, _ = on_terminal(shell, answer, said, "verify", "r")
        assert (exit_code, self.tier(shell, archived)) == (code, code == 5)


CANARIES = ("CANARYNEW", "CANARYOLD")


class TestFiles:
    @pytest.fixture
    def folders(self, shell: Shell) -> list[Path]:
        """Verifications of a run whose edit somebody has changed: without values, and with."""
        (one,) = [shell.emulator.add(document(StudyDescription="CANARYFORMER"))]
        edit(shell, "r", f"{one},set,StudyDescription,{CANARIES[0]}")
        edit(shell, "s", f"{one},set,StudyDescription,{CANARIES[1]}")
        words = (("--history",), ("--history", "--include-values"))
        return [shell.folder / verified(shell, *more)[1]["verification"] for more in words]

    def test_they_hold_values_only_where_asked_to(self, folders: list[Path]) -> None:
        without, with_values = ("\n".join(_texts(folder)) for folder in folders)
        assert "CANARY" not in without
        assert all(canary in with_values for canary in CANARIES)
        frame = pl.read_parquet(folders[1] / "differences.parquet")
        assert frame.select("expected", "found").rows() == [tuple(f'"{canary}"' for canary in CANARIES)]

    def test_they_are_for_their_owner(self, folders: list[Path]) -> None:
        for folder in folders:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    @pytest.mark.usefixtures("folders")
    def test_no_value_is_on_any_stream(self, shell: Shell) -> None:
        for words in ((), ("--json",), ("--include-values",), ("--include-values", "--json", "--history")):
            result = shell.run("verify", "r", *words)
            assert "CANARY" not in result.stdout + result.stderr

    def test_their_digests_are_in_the_summary(self, folders: list[Path]) -> None:
        import hashlib

        summary = json.loads((folders[0] / "verification.json").read_text())
        assert set(summary["files"]) == {
            f"{name}.{kind}" for name in ("differences", "kept") for kind in ("csv", "parquet")
        }
        for name, digest in summary["files"].items():
            assert hashlib.sha256((folders[0] / name).read_bytes()).hexdigest() == digest

    @pytest.mark.usefixtures("image_sets")
    def test_a_folder_that_cannot_be_written_is_said(self, shell: Shell) -> None:
        (shell.folder / "r").chmod(0o500)
        with as_anybody():
            result = shell.run("verify", "r")
        assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)


def _texts(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.suffix == ".parquet":
            yield str(pl.read_parquet(path).rows())
        else:
            yield path.read_text()


def test_a_call_of_many_edits_is_verified_like_its_parts(shell: Shell) -> None:
    """Instances, series, private elements, removals: all that a plan can hold."""
    (one,) = shell.image_sets(1)
    series = "1.2.1.1"
    lines = [
        "image_set_id,action,attribute,value,series_uid,instance_uid,vr,force",
        f"{one},set,PatientName,NEW^NAME,,,,",
        f"{one},set,Modality,MR,{series},,,",
        f"{one},set,KVP,80,{series},{series}.1,,",
        f"{one},remove,InstanceNumber,,{series},{series}.1,,",
        f"{one},set,00091002,X,{series},{series}.1,LO,true",
        f"{one},remove-instance,,,{series},{series}.2,,true",
    ]
    path = shell.write("e.csv", "\n".join(lines) + "\n")
    assert shell.run("apply", path, "--yes", "--run", "r").exit_code == 0
    code, line, _ = verified(shell)
    assert (code, line["matching"]) == (0, 6)
    stored = parse(shell.emulator.do(lambda world: world.image_set(shell.emulator.datastore_id, one).latest.document))
    assert object_in(stored, "Study", "Series", series, "DICOM")["Modality"] == "MR"
