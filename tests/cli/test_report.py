"""`bulkedit status` and `bulkedit report`: what became of every edit, by its row and the user's own name for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.emulator.state.faults import fault
from tests.cli.shell import wait_for

if TYPE_CHECKING:
    from tests.cli.shell import Shell

FIELDS = {
    "type",
    "row",
    "edit_id",
    "image_set_id",
    "action",
    "level",
    "series_uid",
    "instance_uid",
    "attribute",
    "call",
    "outcome",
    "reason",
    "message",
    "version_before",
    "version_after",
    "attempts",
    "conflicts",
    "request_id",
}


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    """Two image sets, and a run `r` over them and one that does not exist: two edits applied, two rejected."""
    first, second = shell.image_sets(2)
    absent = "f" * 32
    lines = [
        "edit_id,image_set_id,action,attribute,value",
        f"e-2,{first},set,StudyDescription,A",
        f"e-3,{second},remove,StudyDescription,WRONG",
        f"e-4,{absent},set,StudyDescription,C",
        f"e-5,{first},set,StudyTime,1200",
    ]
    edits = shell.write("edits.csv", "\n".join(lines) + "\n")
    shell.run("apply", edits, "--yes", "--run", "r")
    return [first, second, absent]


class TestReport:
    def test_each_edit_has_its_row_its_name_and_its_outcome(self, shell: Shell, image_sets: list[str]) -> None:
        lines = shell.run("report", "r", "--json", "--only", "rejected").json
        assert [(line["row"], line["edit_id"], line["image_set_id"]) for line in lines[:-1]] == [
            (3, "e-3", image_sets[1]),
            (4, "e-4", image_sets[2]),
        ]
        assert set(lines[0]) >= FIELDS
        assert (lines[-1]["type"], lines[-1]["rejected"]) == ("summary", 2)

    def test_an_applied_edit_has_the_versions_before_and_after(self, shell: Shell, image_sets: list[str]) -> None:
        assert image_sets
        lines = shell.run("report", "r", "--json", "--only", "applied").json[:-1]
        assert [(line["row"], line["version_after"] - line["version_before"]) for line in lines] == [(2, 1), (5, 1)]

    def test_a_person_reads_the_edits_that_were_not_applied_by_reason(
        self, shell: Shell, image_sets: list[str]
    ) -> None:
        text = shell.run("report", "r").stdout
        head, *rest = text.splitlines()
        assert head.startswith("Run r: 2 edits applied, 2 rejected, 0 left")
        wrong = rest.index(f"  row 3  {image_sets[1]}  remove StudyDescription")
        assert rest[wrong - 1].startswith("1 edit rejected: update failed by its request: INVALID_REQUEST: ")
        absent = rest.index(f"  row 4  {image_sets[2]}  set StudyDescription")
        assert rest[absent - 1] == "1 edit rejected: image set not found"
        assert "row 2 " not in text

    def test_only_shows_the_edits_of_one_outcome(self, shell: Shell, image_sets: list[str]) -> None:
        lines = shell.run("report", "r", "--only", "applied").stdout.splitlines()
        assert lines[2:] == [
            "2 edits applied",
            f"  row 2  {image_sets[0]}  set StudyDescription",
            f"  row 5  {image_sets[0]}  set StudyTime",
        ]

    def test_of_many_edits_with_one_reason_the_first_are_shown(self, shell: Shell) -> None:
        lines = [f"{number:032},set,StudyDescription,x" for number in range(25)]
        edits = shell.write("edits.csv", "\n".join(["image_set_id,action,attribute,value", *lines]))
        shell.run("apply", edits, "--yes", "--run", "r")
        text = shell.run("report", "r").stdout
        assert text.count("\n  row ") == 10
        assert "  … and 15 more like these; --only rejected --json lists all.\n" in text
        assert len(shell.run("report", "r", "--only", "rejected", "--json").json) == 26

    def test_an_outcome_that_does_not_exist_is_a_usage_error(self, shell: Shell, image_sets: list[str]) -> None:
        assert image_sets
        result = shell.run("report", "r", "--only", "lost")
        assert result.exit_code == 2
        assert "'--only'" in result.stderr
        assert "'conflicted'" in result.stderr


class TestWatch:
    def test_it_looks_until_the_run_has_ended(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(8))
        shell.run("plan", edits, "-o", "p")
        with shell.started("apply", "p", "--yes", "--run", "r", "--rate", "8/s", "--burst", "1") as process:
            wait_for((shell.folder / "r" / "ledger.sqlite").exists)
            wait_for(lambda: len(shell.accepted()) > 0)
            looks = shell.run("status", "r", "--watch", "--every", "0.1", "--json").json
            process.communicate()
        assert {look["type"] for look in looks} == {"status"}
        assert looks[-1]["applied"] == 8
        assert [look["applied"] for look in looks] == sorted(look["applied"] for look in looks)
        assert len(looks) > 1

    def test_it_ends_at_once_where_nobody_works_on_the_run(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(2))
        shell.unbegun(edits, "r")
        lines = shell.run("status", "r", "--watch").stdout.splitlines()
        assert lines[0].startswith(
            "state not started · edits 0 applied, 0 rejected, 0 conflicted, 0 failed, 2 unprocessed"
        )
        assert lines[-1] == "To continue:  bulkedit resume r"


class TestStatus:
    def test_a_finished_run(self, shell: Shell, image_sets: list[str]) -> None:
        assert image_sets
        result = shell.run("status", "r")
        head = rf"Run r on data store {shell.emulator.datastore_id}, made [\d-]{{10}} [\d:]{{8}}Z\n"
        assert re.match(head, result.stdout)
        assert "edits      2 applied, 2 rejected, 0 conflicted, 0 failed, 0 unprocessed\n" in result.stdout
        assert "resume" not in result.stdout

    def test_a_run_that_does_not_exist(self, shell: Shell) -> None:
        result = shell.run("status", "elsewhere")
        said = "error: elsewhere: the run does not exist.\nTo list runs and plans: bulkedit runs\n"
        assert (result.exit_code, result.stderr) == (2, said)

    def test_the_parts_of_a_split_call_are_calls_too(self, shell: Shell) -> None:
        (image_set_id,) = shell.image_sets(1)
        rows = [f"{image_set_id},set,StudyTime,1200", f"{image_set_id},remove,StudyDescription,WRONG"]
        edits = shell.write("edits.csv", "\n".join(["image_set_id,action,attribute,value", *rows]))
        shell.run("apply", edits, "--yes", "--run", "r")
        (line,) = shell.run("status", "r", "--json").json
        assert (line["calls"], line["states"]) == (1, {"applied": 1, "rejected": 1, "split": 1})
        assert (line["applied"], line["rejected"], line["unprocessed"]) == (1, 1, 0)

    def test_a_run_that_has_not_begun(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(2))
        shell.unbegun(edits, "my run")
        result = shell.run("status", "my run")
        assert "0 applied, 0 rejected, 0 conflicted, 0 failed, 2 unprocessed" in result.stdout
        assert result.stdout.splitlines()[-1] == "To continue:  bulkedit resume 'my run'"
        (line,) = shell.run("status", "my run", "--json").json
        assert (line["states"], line["seconds"]) == ({"planned": 2}, 0.0)
        assert [
            edit["outcome"] for edit in shell.run("report", "my run", "--json", "--only", "unprocessed").json[:-1]
        ] == ["unprocessed"] * 2


class TestRequestIds:
    def test_every_edit_has_the_id_of_the_request_that_decided_it(self, shell: Shell, image_sets: list[str]) -> None:
        updates = {entry.request_id: entry for entry in shell.requests("UpdateImageSetMetadata")}
        shell.run("report", "r", "--results", "out")
        edits = [
            edit
            for name in ("succeeded", "failed")
            for edit in pl.read_csv(shell.folder / f"out/{name}.csv", infer_schema=False).to_dicts()
        ]
        sent = [edit for edit in edits if edit["image_set_id"] != image_sets[2]]
        assert len(sent) == 3
        assert all(updates[edit["request_id"]].image_set_id == edit["image_set_id"] for edit in sent)
        # nothing was sent to an image set that does not exist
        assert [edit["request_id"] for edit in edits if edit not in sent] == [None]
        lines = shell.run("report", "r", "--json", "--only", "applied").json
        assert {line["request_id"] for line in lines[:-1]} == {edit["request_id"] for edit in sent[:2]}

    def test_all_requests_are_listed_as_text_as_json_and_as_a_private_file(
        self, shell: Shell, image_sets: list[str]
    ) -> None:
        assert image_sets
        text = shell.run("report", "r", "--request-ids").stdout
        lines = [line for line in shell.run("report", "r", "--request-ids", "--json").json if line["type"] == "request"]
        (line, _) = shell.run("report", "r", "--request-ids", "--results", "out", "--json").json
        path = shell.folder / "out/request-ids.csv"
        rows = pl.read_csv(path, infer_schema=False).to_dicts()
        seen = [entry.request_id for entry in shell.requests()[1:]]  # the first is for no call: GetDatastore
        assert sorted(map(str, seen)) == sorted(row["request_id"] for row in rows)
        assert [(one["at"], one["request_id"]) for one in lines] == [(row["at"], row["request_id"]) for row in rows]
        assert all(str(request_id) in text for request_id in seen)
        assert [*rows[0]] == ["at", "call", "image_set_id", "operation", "request_id", "result"]
        assert line["request_ids"]["lines"] == len(rows)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_lost_answer_has_no_id_and_its_cause(self, shell: Shell) -> None:
        server = shell.emulator.server
        lost = fault("drop-after:action=UpdateImageSetMetadata,times=1")
        shell.emulator.do(lambda _: server.faults.add([lost], now=server.now()))
        shell.run("apply", shell.descriptions(shell.image_sets(1)), "--yes", "--run", "r")
        lines = shell.run("report", "r", "--request-ids", "--json").json
        updates = [line for line in lines if line.get("operation") == "UpdateImageSetMetadata"]
        assert [(line["request_id"], line["result"]) for line in updates] == [(None, "lost: ConnectionClosedError")]
