"""`bulkedit plan`: a folder for its owner's eyes, that says what it is and changes no more."""

from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit._version import __version__
from bulkedit.errors import EXIT_USAGE
from bulkedit.plans import CALLS, PLANNED_EDITS
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.shell import Shell


@pytest.fixture
def edits(shell: Shell) -> Path:
    return shell.descriptions(shell.image_sets(3))


def test_a_plan_is_a_folder_for_its_owner_only(shell: Shell, edits: Path) -> None:
    assert shell.run("plan", edits, "-o", "p").exit_code == 0
    folder = shell.folder / "p"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == dict.fromkeys(
        ("calls.parquet", "edits.parquet", "set_aside.parquet", "manifest.json"), 0o600
    )


def test_planning_sends_nothing(shell: Shell, edits: Path) -> None:
    shell.run("plan", edits, "-o", "p")
    assert shell.requests() == []


def test_planning_needs_neither_credentials_nor_region(shell: Shell, edits: Path) -> None:
    nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"))
    assert shell.run("plan", edits, "-o", "p", env=nothing).exit_code == 0


def test_the_manifest_says_what_was_planned_from_what_with_what(shell: Shell, edits: Path) -> None:
    shell.run("plan", edits, "-o", "p", "--payload-limit", "20000", "--force")
    manifest = json.loads((shell.folder / "p" / "manifest.json").read_text())
    assert {name: manifest[name] for name in ("format", "tool", "datastore_id", "list")} == {
        "format": 4,
        "tool": f"bulkedit {__version__}",
        "datastore_id": shell.emulator.datastore_id,
        "list": {
            "name": str(edits),
            "sha256": hashlib.sha256(edits.read_bytes()).hexdigest(),
            "form": "tidy",
            "rows": 3,
        },
    }
    settings = {"service_version": "2026", "payload_limit": 20_000, "force": True, "unchecked": False}
    assert {name: manifest["settings"][name] for name in settings} == settings
    counts = manifest["counts"]
    assert {name: counts[name] for name in ("edits", "rows", "image_sets", "calls", "set_aside")} == {
        "edits": 3,
        "rows": 3,
        "image_sets": 3,
        "calls": 3,
        "set_aside": 0,
    }
    assert {name: about["sha256"] for name, about in manifest["files"].items()} == {
        name: hashlib.sha256((shell.folder / "p" / name).read_bytes()).hexdigest()
        for name in ("calls.parquet", "edits.parquet", "set_aside.parquet")
    }


def test_calls_and_edits_are_parquet_files_of_the_documented_columns(shell: Shell, edits: Path) -> None:
    shell.run("plan", edits, "-o", "p")
    assert pl.read_parquet(shell.folder / "p" / "calls.parquet").schema == CALLS
    assert pl.read_parquet(shell.folder / "p" / "edits.parquet").schema == PLANNED_EDITS


def test_two_plans_of_one_list_hold_the_same_calls(shell: Shell, edits: Path) -> None:
    shell.run("plan", edits, "-o", "p")
    shell.run("plan", edits, "-o", "q")
    digests = [json.loads((shell.folder / name / "manifest.json").read_text())["digest"] for name in "pq"]
    assert digests[0] == digests[1]


def test_with_json_standard_output_is_one_line_that_describes_the_plan(shell: Shell, edits: Path) -> None:
    result = shell.run("plan", edits, "-o", "p", "--json")
    (line,) = result.json
    expected = {
        "type": "plan",
        "plan": "p",
        "datastore_id": shell.emulator.datastore_id,
        "edits": 3,
        "image_sets": 3,
        "calls": 3,
        "set_aside": 0,
    }
    assert {name: line.get(name) for name in expected} == expected


def test_a_person_reads_what_it_takes_and_what_to_type_next(shell: Shell, edits: Path) -> None:
    result = shell.run("plan", edits, "-o", "a plan")
    assert "3 from 3 rows (tidy)" in result.stdout
    assert "8 s at 0.25/s (the default quota)" in result.stdout
    assert result.stdout.splitlines()[-1] == "To apply it:  bulkedit apply 'a plan'"


def test_without_a_name_each_plan_gets_its_own(shell: Shell, edits: Path) -> None:
    folders = {shell.run("plan", edits, "--json").json[0]["plan"] for _ in range(2)}
    assert len(folders) == 2
    assert {folder.partition("/")[0] for folder in folders} == {"plans"}


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_folder_that_exists_is_refused_and_left_alone(shell: Shell, edits: Path, kind: str) -> None:
    there = shell.folder / "p"
    if kind == "folder":
        there.mkdir()
    else:
        there.write_text("mine")
    result = shell.run("plan", edits, "-o", "p")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "error: p: this folder exists already.")
    assert sorted(file.name for file in shell.folder.iterdir()) == [edits.name, "p"]
    assert there.read_text() == "mine" if kind == "file" else list(there.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_in_words(shell: Shell, edits: Path) -> None:
    result = shell.run("plan", edits, "-o", edits / "p")
    assert result.exit_code == 2
    assert "the plan cannot be written (Not a directory)" in result.stderr


def test_without_a_data_store_nothing_is_planned(shell: Shell, edits: Path) -> None:
    result = shell.run("plan", edits, env={"BULKEDIT_DATASTORE": None})
    assert (result.exit_code, result.stderr) == (
        2,
        "error: no data store is named.\nName it: --datastore ID\n",
    )


def test_columns_go_by_other_names_or_are_left_out_where_told(shell: Shell) -> None:
    (image_set_id,) = shell.image_sets(1)
    edits = shell.write("edits.csv", f"Set,Description,Remark\n{image_set_id},HEAD,mine\n")
    words = ("--map", "image_set_id=Set", "--map", "StudyDescription=Description", "--ignore-column", "Remark")
    assert shell.run("plan", edits, *words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--map", "image_set_id"], "--map"),
        (["--empty", "nothing"], "'--empty'"),
        (["--service-version", "1999"], "'2025'"),
        (["--format", "docx"], "format"),
        (["--payload-limit", "99"], "--payload-limit"),
        (["--payload-limit", "30001"], "--payload-limit"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_a_wrong_option_is_a_usage_error(shell: Shell, edits: Path, words: list[str], what: str) -> None:
    result = shell.run("plan", edits, *words)
    assert result.exit_code == 2
    assert what in result.stderr
    assert sorted(file.name for file in shell.folder.iterdir()) == [edits.name]


# -- plans that are no longer what was planned


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def _redirect(path: Path) -> None:
    path.write_text(path.read_text().replace('"datastore_id": "e', '"datastore_id": "f'))


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "calls": ("calls.parquet", _append),
    "edits": ("edits.parquet", _append),
    "rows set aside": ("set_aside.parquet", _append),
    "a file gone": ("edits.parquet", lambda path: path.unlink()),
    "another data store": ("manifest.json", _redirect),
}


@pytest.mark.parametrize(("name", "change"), CHANGES.values(), ids=list(CHANGES))
def test_a_plan_whose_files_have_changed_is_not_applied(
    shell: Shell, edits: Path, name: str, change: Callable[[Path], object]
) -> None:
    shell.run("plan", edits, "-o", "p")
    change(shell.folder / "p" / name)
    result = shell.run("apply", "p", "--yes", env={"BULKEDIT_DATASTORE": None})
    assert result.exit_code == 6
    assert name in result.stderr
    assert shell.requests() == []


@pytest.mark.parametrize("content", [None, "no JSON", "{}"], ids=["absent", "no JSON", "another version"])
def test_a_folder_that_is_no_plan_is_not_applied(shell: Shell, content: str | None) -> None:
    (shell.folder / "p").mkdir()
    if content is not None:
        (shell.folder / "p" / "manifest.json").write_text(content)
    result = shell.run("apply", "p", "--yes")
    assert result.exit_code == 2
    assert "plan" in result.stderr


def test_a_plan_is_for_its_own_data_store_only(shell: Shell, edits: Path) -> None:
    shell.run("plan", edits, "-o", "p")
    result = shell.run("apply", "p", "-d", "0" * 32, "--yes")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: p: this plan was made for another data store.\nLeave --datastore out.\n",
    )
    assert shell.requests() == []


def test_a_long_plan_comes_with_the_request_for_a_higher_quota(shell: Shell) -> None:
    long = shell.descriptions([f"{number:032x}" for number in range(2_000)])
    text = shell.run("plan", long).stdout
    assert "2 h 13 min at 0.25/s (the default quota), 6 min 40 s at 5/s" in text
    assert "from 0.25 to 5 transactions per second" in " ".join(text.split())
    (line,) = shell.run("plan", long, "--quota", "1/s", "--raised-quota", "50/s", "--json").json
    assert (line["seconds"], line["raised_seconds"]) == (1999.0, 39.98)
    assert "from 1 to 50 transactions per second" in line["quota_request"]


def test_a_short_plan_asks_for_nothing(shell: Shell, edits: Path) -> None:
    assert "transactions per second" not in shell.run("plan", edits).stdout


def test_an_inventory_tells_what_the_move_out_of_the_archive_costs(shell: Shell) -> None:
    image_sets = shell.image_sets(2)
    edits = shell.descriptions(image_sets)
    assert "not known: an inventory (--inventory)" in shell.run("plan", edits).stdout
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    assert "none: no image set is archived" in shell.run("plan", edits, "--inventory", "i.parquet").stdout
    (line,) = shell.run("plan", edits, "--inventory", "i.parquet", "--json").json
    assert (line["archived_image_sets"], line["unknown_tier_image_sets"]) == (0, 0)


@pytest.mark.parametrize(
    ("orders", "last"),
    [(("2", "1"), "A"), (("1", "2"), "B"), (("1", "1"), "B"), (("", "9"), None), (("", ""), None)],
    ids=["against the rows", "with the rows", "the same", "one without", "none"],
)
def test_an_order_column_says_which_row_comes_last(shell: Shell, orders: tuple[str, str], last: str | None) -> None:
    (image_set_id,) = shell.image_sets(1)
    rows = [f"{image_set_id},StudyDescription,{value},{n}" for value, n in zip("AB", orders, strict=True)]
    edits = shell.write("e.csv", "\n".join(["image_set_id,attribute,value,order", *rows]) + "\n")
    result = shell.run("apply", edits, "--yes")
    if last is None:
        assert (result.exit_code, "changes StudyDescription of this image set otherwise" in result.stderr) == (2, True)
    else:
        assert (result.exit_code, shell.stored(image_set_id)) == (0, (2, last))


def test_an_inventory_tells_of_rows_that_name_another_series(shell: Shell) -> None:
    one, other = shell.image_sets(2)
    lines = [f"{one},remove,Modality,1.2.1.9", f"{other},remove,Modality,1.2.2.1"]
    edits = shell.write("e.csv", "\n".join(["image_set_id,action,attribute,series_uid", *lines]) + "\n")
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    told = shell.run("plan", edits, "--inventory", "i.parquet")
    assert told.exit_code == EXIT_USAGE
    assert "Row 2: names a series that its image set does not have." in told.stderr
    assert "1.2.1.9" not in told.stderr
    words = ("--inventory", "i.parquet", "--bad-rows", "bad.csv", "-o", "p", "--json")
    line = shell.run("plan", edits, *words).json[-1]
    assert [line[name] for name in ("edits", "set_aside")] == [1, 1]
    assert "1.2.1.9" in (shell.folder / "bad.csv").read_text()


def test_with_an_inventory_a_bad_row_that_names_nothing_is_told_of_both(shell: Shell) -> None:
    shell.image_sets(1)
    rows = ["1.2.1,today", "9.9,today", "9.9,20240311", "x,today"]
    edits = shell.write("e.csv", "\n".join(["study_instance_uid,StudyDate", *rows]) + "\n")
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    kinds = shell.run("plan", edits, "--inventory", "i.parquet", "--json").json[0]["kinds"]
    assert {(kind["code"], kind["rows"]) for kind in kinds} == {("value-form", 3), ("no-match", 2), ("uid", 1)}


def test_a_list_that_is_refused_anyway_is_refused_without_a_request(shell: Shell) -> None:
    good, bad = shell.image_sets(2)
    text = f"image_set_id,StudyDate\n{good},20240311\n{bad},today\n"
    assert shell.run("plan", shell.write("e.csv", text), "--look-up", "auto").exit_code == EXIT_USAGE
    assert shell.requests() == []
    assert shell.run("plan", "e.csv", "--look-up", "auto", "--bad-rows", "bad.csv").exit_code == 0
    assert shell.requests() != []


def test_the_problems_of_rows_come_before_those_of_the_look_up(shell: Shell) -> None:
    edits = shell.write("e.csv", "patient_id,StudyDate\nP1,20240230\nP2,20240301\n")
    nothing = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    refused = shell.run("plan", edits, env=nothing)
    assert (refused.exit_code, "no calendar has" in refused.stderr) == (EXIT_USAGE, True)
    assert "no AWS credentials" in shell.run("plan", edits, "--bad-rows", "bad.csv", env=nothing).stderr


def test_a_series_that_the_list_names_anew_is_no_other_series(shell: Shell) -> None:
    one = shell.emulator.add(document(study="1.2.1"), primary=False)
    lines = [f"{one},set,SeriesInstanceUID,1.2.7,1.2.1.1", f"{one},set,Modality,MR,1.2.7"]
    edits = shell.write("e.csv", "\n".join(["image_set_id,action,attribute,value,series_uid", *lines]) + "\n")
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    assert shell.run("plan", edits, "--inventory", "i.parquet", "--force").exit_code == 0
