"""`bulkedit deid` as a user meets it: from a data store and from files, interrupted, and asked for the wrong thing."""

from __future__ import annotations

import gzip
import json
import signal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.deidentification import ENVIRONMENT, SELECTION, DeidRecord, folder_of
from bulkedit.emulator.state.document import parse
from bulkedit.emulator.state.faults import Fault, FaultKind
from bulkedit.errors import EXIT_FATAL, EXIT_NOT_ALL_APPLIED, EXIT_OK, EXIT_USAGE
from tests.cli.shell import Shell, wait_for
from tests.deidentification.walkers import KEY
from tests.deidentification.walkers import document as of_one
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import Emulator, World

CANARY = "DOE^JANE"


@pytest.fixture
def shell(tmp_path: Path, emulator: Emulator) -> Shell:
    made = Shell(tmp_path, emulator)
    made.env = {**made.env, ENVIRONMENT: KEY.secret.decode()}
    return made


def studies(shell: Shell, count: int, *, primary: bool = False) -> list[str]:
    return [
        shell.emulator.add(document(study=f"1.2.{n}", patient=f"P{n}"), primary=primary) for n in range(1, count + 1)
    ]


def stored(shell: Shell, image_set_id: str) -> dict[str, Any]:
    def look(world: World) -> dict[str, Any]:
        content: dict[str, Any] = parse(
            world.datastores[shell.emulator.datastore_id].image_sets[image_set_id].latest.document
        )
        return content

    return shell.emulator.do(look)


def test_all_of_a_data_store_read_planned_applied_and_then_nothing_is_left(shell: Shell) -> None:
    ids = studies(shell, 5)
    done = shell.run("deid", "--deid-profile", "basic", "--all", "-o", "edits.parquet", "--plan", "plan", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    line, plan = done.json
    assert (line["image_sets"], line["changed"], line["unreachable"], plan["calls"]) == (5, 5, 0, 5)
    assert CANARY not in done.stdout + done.stderr
    assert (
        KEY.secret.decode()
        not in done.stdout + done.stderr + (shell.folder / "edits.parquet.deid/about.json").read_text()
    )
    assert not shell.requests("UpdateImageSetMetadata")
    assert shell.run("apply", "plan", "--yes").exit_code == EXIT_OK
    for image_set_id in ids:
        text = json.dumps(stored(shell, image_set_id))
        assert CANARY not in text
        assert "GENESIS" not in text
    again = shell.run("deid", "--deid-profile", "basic", "--all", "-o", "again.parquet", "--plan", "plan2", "--json")
    assert [(one["type"], one["edits"]) for one in again.json] == [("deid", 0)]
    assert not (shell.folder / "plan2").exists()


def test_stored_values_that_break_rules_are_written_back_unchecked(shell: Shell) -> None:
    item = {"ReferencedSOPInstanceUID": "1.2.3.4", "CodeMeaning": "\x1b(B"}
    stored_here = document(patient="P1")
    series = next(iter(stored_here["Study"]["Series"].values()))
    next(iter(series["Instances"].values()))["DICOM"]["SourceImageSequence"] = [item]
    image_set_id = shell.emulator.add(stored_here, primary=False)
    done = shell.run("deid", "--deid-profile", "basic", "--all", "-o", "edits.parquet", "--plan", "plan", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    assert done.json[1]["unchecked"] == {"SourceImageSequence": 1}
    edits = pl.read_parquet(shell.folder / "edits.parquet")
    assert edits.filter(pl.col("attribute").str.ends_with("InstanceUID"))["unchecked"].to_list() == [False] * 4
    assert shell.run("apply", "plan", "--yes").exit_code == EXIT_OK
    after = json.dumps(stored(shell, image_set_id))
    assert ("\\u001b(B" in after, "1.2.3.4" in after) == (True, False)


def test_files_are_private_and_an_interrupted_run_reads_only_what_is_left(shell: Shell) -> None:
    ids = studies(shell, 6)
    words = ["deid", "--deid-profile", "basic", "--all", "-o", "edits.parquet"]
    assert shell.run(*words).exit_code == EXIT_OK
    target, folder = shell.folder / "edits.parquet", shell.folder / "edits.parquet.deid"
    whole = pl.read_parquet(target)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in [target, *folder.iterdir()]} == {0o600}
    assert shell.run(*words).exit_code == EXIT_USAGE  # it is there already

    # as a kill leaves it after the first part: four image sets are done
    kept = ids[:4]
    asked = json.loads((folder / "about.json").read_text())["asked"]
    target.unlink()
    with DeidRecord.open(target, asked, fresh=True) as record:
        record.select(
            pl.DataFrame({"image_set_id": ids, "version": 1, "primary": False, "storage_tier": None}, schema=SELECTION)
        )
        record._write(whole.filter(pl.col("image_set_id").is_in(kept)).drop("unchecked"), "edits-00000.parquet")
        record._write(
            pl.read_parquet(folder / "findings.parquet")
            if (folder / "findings.parquet").exists()
            else pl.DataFrame(
                schema={
                    "image_set_id": pl.String,
                    "level": pl.String,
                    "attribute": pl.String,
                    "kind": pl.String,
                    "times": pl.UInt32,
                }
            ),
            "findings-00000.parquet",
        )
        record._write(
            pl.DataFrame(
                {"image_set_id": kept, "edits": 1, "unreachable": 0, "marked": False},
                schema={"image_set_id": pl.String, "edits": pl.UInt32, "unreachable": pl.UInt32, "marked": pl.Boolean},
            ),
            "done-00000.parquet",
        )
    before = len(shell.requests("GetImageSetMetadata"))
    done = shell.run(*words)
    assert done.exit_code == EXIT_OK, done.stderr
    assert len(shell.requests("GetImageSetMetadata")) - before == 2
    assert pl.read_parquet(target).sort(pl.all()).equals(whole.sort(pl.all()))


@pytest.mark.parametrize(
    ("select", "count"), [("patient_id=P2", 1), ("study_instance_uid=1.2.3", 1), ("accession_number=A1", 4)]
)
def test_image_sets_are_chosen_by_a_selector(shell: Shell, select: str, count: int) -> None:
    studies(shell, 4)
    done = shell.run("deid", "--deid-profile", "basic", "--select", select, "-o", "edits.csv", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    assert done.json[0]["image_sets"] == count


def test_image_sets_named_by_id_or_in_a_file_or_looked_up_in_an_inventory(shell: Shell) -> None:
    ids = studies(shell, 3)
    assert shell.run("inventory", "-o", "inventory.parquet").exit_code == EXIT_OK
    shell.write("chosen.csv", "patient_id\nP1\nP3\n")
    words = ["deid", "--deid-profile", "basic", "--json"]
    by_id = shell.run(*words, "--select", f"image_set_id={ids[0]}", "-o", "a.csv")
    by_file = shell.run(*words, "--select-file", "chosen.csv", "--inventory", "inventory.parquet", "-o", "b.csv")
    whole = shell.run(*words, "--inventory", "inventory.parquet", "-o", "c.csv")
    assert [one.json[0]["image_sets"] for one in (by_id, by_file, whole)] == [1, 2, 3]
    nobody = shell.run(*words, "--select", "patient_id=NOBODY", "-o", "d.csv")
    assert nobody.exit_code == EXIT_USAGE
    assert "NOBODY" not in nobody.stderr


def strike(shell: Shell, **fields: Any) -> None:
    server = shell.emulator.server
    fault = Fault(action="GetImageSet", **fields)
    shell.emulator.do(lambda _: server.faults.add([fault], now=server.now()))


@pytest.mark.parametrize("kind", [FaultKind.THROTTLE, FaultKind.DROP_BEFORE])
def test_one_fault_does_not_end_a_selection_by_id(shell: Shell, kind: FaultKind) -> None:
    ids = studies(shell, 2)
    strike(shell, kind=kind, image_set_id=ids[0], times=1)
    selects = [word for image_set_id in ids for word in ("--select", f"image_set_id={image_set_id}")]
    done = shell.run("deid", "--deid-profile", "basic", *selects, "-o", "edits.csv", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    assert done.json[0]["image_sets"] == 2


@pytest.mark.parametrize(
    ("kind", "exit_code", "told"),
    [
        (FaultKind.DENIED, EXIT_FATAL, "AWS denied access to a selected image set"),
        (FaultKind.EXPIRED, EXIT_FATAL, "or use another profile: --aws-profile NAME"),
        (None, EXIT_USAGE, "The id is mistyped"),
    ],
)
def test_a_selection_by_id_says_what_ends_it(shell: Shell, kind: FaultKind | None, exit_code: int, told: str) -> None:
    image_set_id = studies(shell, 1)[0] if kind else "0" * 32
    if kind:
        strike(shell, kind=kind)
    done = shell.run("deid", "--deid-profile", "basic", "--select", f"image_set_id={image_set_id}", "-o", "edits.csv")
    assert done.exit_code == exit_code
    assert told in " ".join(done.stderr.split())
    assert ("mistyped" in done.stderr) is (kind is None)


def test_uids_of_primary_image_sets_are_named_as_unreachable(shell: Shell) -> None:
    studies(shell, 1, primary=True)
    done = shell.run("deid", "--deid-profile", "basic", "--all", "-o", "edits.csv", "--json")
    assert done.exit_code == EXIT_NOT_ALL_APPLIED
    *findings, line = done.json
    assert {one["kind"] for one in findings} == {"primary-uid"}
    assert line["unreachable"] == 4  # study, series, and two instances
    kept = shell.run("deid", "--deid-profile", "minimal-phi", "--all", "-o", "kept.csv", "--json")
    assert kept.exit_code == EXIT_OK


def test_documents_from_files(shell: Shell) -> None:
    folder = shell.folder / "documents"
    folder.mkdir()
    content = json.dumps(of_one({"PatientAddress": "X"})).encode()
    (folder / f"{'1' * 32}.json").write_bytes(content)
    (folder / f"{'2' * 32}.json.gz").write_bytes(gzip.compress(content, mtime=0))
    done = shell.run(
        "deid",
        "--deid-profile",
        "basic",
        "--from",
        "documents",
        "-o",
        "edits.csv",
        "--json",
        env={"BULKEDIT_DATASTORE": None},
    )
    assert done.exit_code == EXIT_OK, done.stderr
    assert done.json[0]["image_sets"] == 2
    assert not shell.requests()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"Patient":', "not valid JSON"),
        (gzip.compress(b"{}" * 100, mtime=0)[:-12], "gzip"),
        (b"[1]", "the JSON is not the metadata document"),
        (b'{"Study":5}', "the JSON is not the metadata document"),
        (
            json.dumps(of_one()).encode().replace(b'"DICOM"', b'"DICOM":5,"x"', 1),
            "the JSON is not the metadata document",
        ),
    ],
)
def test_a_bad_document_names_its_file_and_leaves_no_list(shell: Shell, content: bytes, what: str) -> None:
    shell.write(f"{'1' * 32}.json", json.dumps(of_one()))
    shell.write(f"{'2' * 32}.json", content)
    done = shell.run(
        "deid", "--deid-profile", "basic", "--from", f"{'1' * 32}.json", "--from", f"{'2' * 32}.json", "-o", "edits.csv"
    )
    assert done.exit_code == EXIT_USAGE
    assert what in done.stderr
    assert not (shell.folder / "edits.csv").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--deid-profile", "basics", "--all"], "Did you mean basic?"),
        (["--profile", "basic", "--all"], "Use: --deid-profile basic"),
        (["--profile", "mine.toml", "--all"], "Use: --deid-profile mine.toml"),
        (["--deid-profile", "basic"], "which image sets?"),
        (["--deid-profile", "basic", "--all", "--select", "patient_id=P1"], "which image sets?"),
        (["--deid-profile", "basic", "--all", "-o", "edits.xlsx"], "must be a .parquet or .csv file"),
        (["--deid-profile", "basic", "--all", "--key", "none.key"], "the key cannot be read"),
        (["--deid-profile", "basic", "--all", "--reidentification-map", "map"], "must be given together"),
        (["--deid-profile", "basic", "--select", "patient=P1"], "--select must be"),
        (["--deid-profile", "basic", "--all", "--mapping", "none.csv"], "the mapping cannot be read"),
        (["--deid-profile", "basic", "--from", "nowhere"], "does not exist"),
    ],
)
def test_what_is_asked_for_wrongly_is_said(shell: Shell, words: list[str], what: str) -> None:
    done = shell.run("deid", *words)
    assert done.exit_code == EXIT_USAGE
    assert what in done.stderr
    assert not folder_of(shell.folder / "deid.parquet").exists()


def test_going_on_with_another_key_or_profile_is_refused(shell: Shell) -> None:
    studies(shell, 1)
    target = shell.folder / "edits.csv"
    with DeidRecord.open(target, {"profile": "x", "key": "y"}):
        pass
    done = shell.run("deid", "--deid-profile", "basic", "--all", "-o", "edits.csv")
    assert done.exit_code == EXIT_USAGE
    assert "started with another profile and key" in done.stderr
    assert shell.run("deid", "--deid-profile", "basic", "--all", "-o", "edits.csv", "--fresh").exit_code == EXIT_OK


def test_what_an_earlier_version_began_with_this_key_goes_on(shell: Shell) -> None:
    studies(shell, 1)
    words = ["deid", "--deid-profile", "basic", "--all", "-o", "edits.csv"]
    assert shell.run(*words).exit_code == EXIT_OK
    about = folder_of(shell.folder / "edits.csv") / "about.json"
    begun = json.loads(about.read_text())
    del begun["counts"]
    begun["asked"]["key"] = KEY.former_fingerprint
    about.write_text(json.dumps(begun))
    (shell.folder / "edits.csv").unlink()
    done = shell.run(*words)
    assert done.exit_code == EXIT_OK, done.stderr
    assert json.loads(about.read_text())["asked"]["key"] == KEY.fingerprint


def test_archived_image_sets_are_read_only_where_that_was_agreed_to(shell: Shell) -> None:
    shell.emulator.add(document(), primary=False, storage_tier="ARCHIVE_INSTANT_ACCESS")
    words = ["deid", "--deid-profile", "basic", "--all", "-o", "edits.csv"]
    for more in ([], ["--yes"]):
        refused = shell.run(*words, *more)
        assert refused.exit_code == EXIT_USAGE
        assert "1 image set will move from the archive tier" in refused.stderr
        assert "To agree: --read-archived" in refused.stderr
    assert not shell.requests("GetImageSetMetadata")
    assert shell.run(*words, "--read-archived").exit_code == EXIT_OK


def test_a_profile_explains_itself(shell: Shell) -> None:
    done = shell.run("deid", "--deid-profile", "research-dates-shifted", "--explain")
    assert done.exit_code == EXIT_OK
    assert "Precedence of rules, highest first" in done.stdout
    lines = shell.run("deid", "--deid-profile", "basic", "--explain", "--json").json
    assert {
        "type": "deid-rule",
        "attribute": "PatientID",
        "level": "Patient",
        "action": "pseudonym",
        "because": "override by attribute",
    } in lines


def test_a_kill_in_the_midst_leaves_nothing_half_written_and_the_same_command_ends_it(shell: Shell) -> None:
    studies(shell, 30)
    words = ["deid", "--deid-profile", "basic", "--all"]
    with shell.started(*words, "-o", "killed.parquet", "--read-rate", "5/s") as process:
        wait_for(lambda: len(shell.requests("GetImageSetMetadata")) > 8)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (shell.folder / "killed.parquet").exists()
    assert shell.run(*words, "-o", "killed.parquet").exit_code == EXIT_OK
    assert shell.run(*words, "-o", "whole.parquet").exit_code == EXIT_OK
    killed, whole = (pl.read_parquet(shell.folder / f"{name}.parquet") for name in ("killed", "whole"))
    assert killed.sort(killed.columns).equals(whole.sort(whole.columns))


def test_a_document_of_fifty_megabytes_is_done_and_one_over_the_bound_is_said(shell: Shell) -> None:
    content = document(study="1.2.1")
    ((uid, series),) = content["Study"]["Series"].items()
    (_, one), *_ = series["Instances"].items()
    filling = {**one["DICOM"], "ImageComments": "for DOE " * 300}  # about 2.5 kB an instance
    for count, fits in ((20_000, True), (28_000, False)):
        series["Instances"] = {
            f"{uid}.{n}": {**one, "DICOM": {**filling, "SOPInstanceUID": f"{uid}.{n}"}} for n in range(count)
        }
        data = json.dumps(content).encode()
        assert (50_000_000 < len(data) < 64 * 2**20) is fits
        name = f"{count:032d}"
        (shell.folder / f"{name}.json.gz").write_bytes(gzip.compress(data, 1))
        words = ["deid", "--deid-profile", "basic", "--from", f"{name}.json.gz", "-o", f"{count}.parquet", "--json"]
        result = shell.run(*words)
        if fits:
            assert result.exit_code == EXIT_OK, result.stderr
            assert result.json[-1]["edits"] > count
        else:
            assert result.exit_code != EXIT_OK
            assert "larger than 64 MiB" in result.stderr
            assert not (shell.folder / f"{count}.parquet").exists()
