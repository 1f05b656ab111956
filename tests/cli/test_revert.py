"""`bulkedit revert`: a plan that brings image sets back to their versions before the run, and what it leaves alone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.after.revert import tier_of
from bulkedit.client.responses import CallState, ImageSet, ImageSetState
from bulkedit.emulator.state.document import parse
from bulkedit.runs.ledger import rebuilt
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from tests.cli.shell import Shell

OTHER_RUN = r"(?:a later|another) run of yours \(s\)"


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    """Three image sets; a run `r` has given each a description (rows 2 to 4), and the first a time (row 5)."""
    found = shell.image_sets(3)
    lines = [f"{image_set_id},set,StudyDescription,NEW{i}" for i, image_set_id in enumerate(found)]
    edit(shell, "r", *lines, f"{found[0]},set,StudyTime,1200")
    return found


def edit(shell: Shell, run: str, *lines: str, code: int = 0) -> None:
    path = shell.write(f"{run}.csv", "\n".join(["image_set_id,action,attribute,value", *lines]) + "\n")
    assert shell.run("apply", path, "--yes", "--run", run).exit_code == code


def content(shell: Shell, image_set_id: str, version: int | None = None) -> dict[str, Any]:
    """The document of the latest version, or of one."""

    def read(world: Any) -> dict[str, Any]:
        image_set = world.image_set(shell.emulator.datastore_id, image_set_id)
        return parse(image_set.versions[(version or image_set.number) - 1].document)

    return shell.emulator.do(read)


def planned(shell: Shell, *words: str, run: str = "r", code: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The closing line of `revert`, and the lines before it."""
    result = shell.run("revert", run, "--json", *words)
    assert result.exit_code == code, result.stderr
    *lines, last = result.json
    assert last["type"] == "revert"
    return last, lines


def applied(shell: Shell, plan: str, run: str) -> dict[str, Any]:
    (line,) = shell.run("apply", plan, "--yes", "--run", run, "--json").json
    return line


@pytest.mark.usefixtures("image_sets")
def test_reads_find_their_pace_where_no_rate_is_given(shell: Shell) -> None:
    for words in (["verify", "r"], ["revert", "r"]):
        result = shell.run(*words, env={"BULKEDIT_READ_RATE": None})
        assert (result.exit_code, result.messages) == (0, [])


def test_apply_verify_revert_apply_verify(shell: Shell, image_sets: list[str]) -> None:
    """The documents are byte for byte those of before, and the reverts themselves are verified."""
    before = {one: content(shell, one, 1) for one in image_sets}
    assert shell.run("verify", "r").exit_code == 0
    line, _ = planned(shell, "-o", "back")
    assert (line["image_sets"], line["calls"], line["left_out"]) == (3, 3, 0)
    assert {one: content(shell, one) for one in image_sets} != before  # a plan changes nothing
    assert applied(shell, "back", "b")["applied"] == 3
    assert {one: json.dumps(content(shell, one)) for one in image_sets} == {
        one: json.dumps(document_) for one, document_ in before.items()
    }
    assert shell.run("verify", "b").exit_code == 0
    result = shell.run("verify", "r", "--json")
    assert (result.exit_code, result.json[-1]["by_later_writers"]) == (7, 4)


def test_a_revert_can_be_reverted(shell: Shell, image_sets: list[str]) -> None:
    after = {one: content(shell, one) for one in image_sets}
    planned(shell, "-o", "back")
    applied(shell, "back", "b")
    planned(shell, "-o", "again", run="b")
    assert applied(shell, "again", "a")["applied"] == 3
    assert {one: content(shell, one) for one in image_sets} == after


def test_several_versions_of_a_run_are_undone_in_one_call(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    path = shell.write(
        "e.csv",
        f"image_set_id,action,attribute,value,version\n{one},set,StudyTime,1,1\n{one},set,StudyTime,1200,2\n",
    )
    shell.run("apply", path, "--yes", "--run", "r", "--no-merge", "--force", "--unchecked")
    line, _ = planned(shell, "-o", "back")
    assert line["calls"] == 1
    applied(shell, "back", "b")
    assert content(shell, one) == content(shell, one, 1)


class TestWhatOthersDid:
    def test_an_image_set_that_was_changed_since_is_left_out_and_named(
        self, shell: Shell, image_sets: list[str]
    ) -> None:
        edit(shell, "s", f"{image_sets[1]},set,AccessionNumber,A9")
        line, lines = planned(shell, "-o", "back", code=1)
        assert (line["image_sets"], line["left_out"]) == (2, 1)
        assert [(found["image_set_id"], found["code"]) for found in lines] == [(image_sets[1], "changed")]
        applied(shell, "back", "b")
        assert content(shell, image_sets[1])["Study"]["DICOM"]["AccessionNumber"] == "A9"
        text = shell.run("revert", "r").stderr
        assert re.search(rf"{image_sets[1]} has been changed by {OTHER_RUN} since \(version 3\)\.", text)

    def test_if_all_are_left_out_each_is_named_and_the_plan_has_no_calls(
        self, shell: Shell, image_sets: list[str]
    ) -> None:
        edit(shell, "s", *(f"{one},set,AccessionNumber,A9" for one in image_sets))
        line, lines = planned(shell, "-o", "back", code=1)
        assert (line["image_sets"], line["calls"], line["left_out"]) == (0, 0, 3)
        assert {found["image_set_id"] for found in lines} == set(image_sets)
        why = re.compile(f"has been changed by {OTHER_RUN} since \\(version 3\\)\\.")
        assert all(why.fullmatch(found["problem"]) for found in lines)
        assert applied(shell, "back", "b")["edits"] == 0
        result = shell.run("revert", "r")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Nothing can be undone: all image sets are left out." in result.stderr
        assert all(re.search(f"{one} has been changed by {OTHER_RUN}", result.stderr) for one in image_sets)
        assert "--on-later-change overwrite" in result.stderr

    def test_it_can_be_brought_back_all_the_same(self, shell: Shell, image_sets: list[str]) -> None:
        edit(shell, "s", f"{image_sets[1]},set,AccessionNumber,A9")
        planned(shell, "-o", "back", "--on-later-change", "overwrite")
        applied(shell, "back", "b")
        assert content(shell, image_sets[1]) == content(shell, image_sets[1], 1)

    def test_nothing_is_planned_under_fail(self, shell: Shell, image_sets: list[str]) -> None:
        edit(shell, "s", f"{image_sets[1]},set,AccessionNumber,A9")
        result = shell.run("revert", "r", "-o", "back", "--on-later-change", "fail")
        assert (result.exit_code, image_sets[1] in result.stderr) == (2, True)
        assert not (shell.folder / "back").exists()

    def test_a_change_after_the_plan_was_made_is_never_undone(self, shell: Shell, image_sets: list[str]) -> None:
        """The planned call names the version that has to be the latest, whatever --on-conflict of apply says."""
        planned(shell, "-o", "back")
        edit(shell, "s", f"{image_sets[1]},set,AccessionNumber,A9")
        line = applied(shell, "back", "b")
        assert (line["applied"], line["conflicted"]) == (2, 1)
        assert content(shell, image_sets[1])["Study"]["DICOM"]["AccessionNumber"] == "A9"

    def test_a_writer_in_the_midst_of_the_run_is_seen(self) -> None:
        """Going back to before the run would undo his change too, though the run's version is the latest."""
        from bulkedit.after.revert import NotReverted, decide
        from bulkedit.runs.own_versions import OwnVersions

        own = OwnVersions({2: 1, 4: 3})  # another writer made version 3
        found = decide("x" * 32, own, [_version(number) for number in (4, 3, 2, 1)])
        assert isinstance(found, NotReverted)
        assert found.problem == "has been changed by another writer while it ran (version 3)."

    def test_versions_of_failed_updates_are_nobodys_change(self, shell: Shell) -> None:
        """And no version to go back to."""
        (one,) = shell.image_sets(1)
        edit(shell, "a", f"{one},remove,StudyDescription,WRONG", code=1)  # version 2 fails
        edit(shell, "r", f"{one},set,StudyDescription,NEW")  # version 3 builds on it
        edit(shell, "b", f"{one},remove,StudyDescription,WRONG", code=1)  # version 4 fails
        planned(shell, "-o", "back")
        assert applied(shell, "back", "c")["applied"] == 1
        assert content(shell, one) == content(shell, one, 1)

    def test_a_deleted_image_set_is_left_out(self, shell: Shell, image_sets: list[str]) -> None:
        from bulkedit.emulator.api.actions import perform
        from bulkedit.emulator.api.request import Request

        params: dict[str, Any] = {"datastoreId": shell.emulator.datastore_id, "imageSetId": image_sets[2]}
        shell.emulator.do(lambda world: perform(world, Request("DeleteImageSet", params, shell.emulator.clock.now())))
        _, lines = planned(shell, code=1)
        assert [found["code"] for found in lines] == ["gone"]


def _version(number: int, **fields: Any) -> Any:
    from bulkedit.client.responses import ImageSet, ImageSetState

    return ImageSet(image_set_id="x" * 32, version=number, state=ImageSetState.ACTIVE, status="UPDATED", **fields)


class TestChoice:
    def test_some_image_sets(self, shell: Shell, image_sets: list[str]) -> None:
        line, _ = planned(shell, "--image-sets", ",".join(image_sets[1:]))
        assert line["image_sets"] == 2

    def test_a_file_of_image_sets(self, shell: Shell, image_sets: list[str]) -> None:
        path = shell.write("ids.txt", "\n".join(image_sets[:2]) + "\n")
        assert planned(shell, "--image-sets", str(path))[0]["image_sets"] == 2

    @pytest.mark.usefixtures("image_sets")
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--image-sets", "f" * 32), "has not changed image set ffff"),
            (("--image-sets", "nonsense"), "must be image set ids"),
            (("--rows", "99"), "applied nothing of row 99"),
            (("--rows", "5-3"), "invalid row numbers"),
            (("--rows", "2", "--image-sets", "f" * 32), "cannot be combined"),
            (("--on-later-change", "maybe"), "'overwrite'"),
        ],
        ids=lambda x: x if isinstance(x, str) else " ".join(x),
    )
    def test_a_choice_that_cannot_be_is_said(self, shell: Shell, words: tuple[str, ...], said: str) -> None:
        result = shell.run("revert", "r", "-o", "back", *words)
        assert (result.exit_code, said in result.stderr, (shell.folder / "back").exists()) == (2, True, False)

    def test_rows_whose_image_sets_no_other_row_has_changed(self, shell: Shell, image_sets: list[str]) -> None:
        line, _ = planned(shell, "--rows", "3-4", "-o", "back")
        assert (line["image_sets"], line["other_rows"]) == (2, [])
        applied(shell, "back", "b")
        assert [content(shell, one) == content(shell, one, 1) for one in image_sets] == [False, True, True]

    @pytest.mark.usefixtures("image_sets")
    def test_rows_that_would_take_others_along_are_refused_with_what_to_type(self, shell: Shell) -> None:
        result = shell.run("revert", "r", "--rows", "2")
        assert result.exit_code == 2
        assert "other row 5 changed the same image sets" in result.stderr
        assert "--rows 2,5, or --whole-image-sets" in result.stderr
        assert planned(shell, "--rows", "2,5")[0]["image_sets"] == 1

    @pytest.mark.usefixtures("image_sets")
    def test_others_are_taken_along_where_that_is_asked_for(self, shell: Shell) -> None:
        assert planned(shell, "--rows", "2", "--whole-image-sets")[0]["other_rows"] == [5]
        assert "1 other row undone too: 5" in shell.run("revert", "r", "--rows", "2", "--whole-image-sets").stderr

    def test_a_run_that_applied_nothing(self, shell: Shell) -> None:
        (one,) = shell.image_sets(1)
        edit(shell, "r", f"{one},remove,StudyDescription,WRONG", code=1)
        result = shell.run("revert", "r")
        assert (result.exit_code, "applied nothing" in result.stderr) == (2, True)


class TestStudyWide:
    @pytest.fixture
    def study(self, shell: Shell) -> list[str]:
        """A study of three image sets, described by one study-wide call; the second has an edit of its own before."""
        ids = [shell.emulator.add(document(str(number))) for number in (1, 2, 3)]
        series = "1.2.3.2"
        path = shell.write(
            "own.csv",
            "image_set_id,action,attribute,value,series_uid\n" + f"{ids[1]},set,Modality,MR,{series}\n",
        )
        assert shell.run("apply", path, "--yes", "--run", "own").exit_code == 0
        document_ = {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDescription": "ALL"}}}
        updates = {"DICOMUpdates": {"updatableAttributes": document_}}
        line = {"imageSetId": ids[0], "updateImageSetMetadataUpdates": updates, "includeStudyImageSets": True}
        path = shell.write("calls.jsonl", json.dumps(line) + "\n")
        assert shell.run("apply", path, "--yes", "--run", "r").exit_code == 0
        assert [content(shell, one)["Study"]["DICOM"]["StudyDescription"] for one in ids] == ["ALL"] * 3
        return ids

    def test_it_is_undone_set_by_set(self, shell: Shell, study: list[str]) -> None:
        line, _ = planned(shell, "-o", "back")
        assert (line["calls"], line["study_wide_calls"], line["study_wide_reverts"]) == (3, 1, 3)
        assert line["inconsistent_studies"] == 0
        assert applied(shell, "back", "b")["applied"] == 3
        assert [content(shell, one) for one in study] == [
            content(shell, study[0], 1),
            content(shell, study[1], 2),  # with its own edit, which was before the run
            content(shell, study[2], 1),
        ]

    @pytest.mark.usefixtures("study")
    def test_what_that_costs_is_said(self, shell: Shell) -> None:
        text = shell.run("revert", "r").stderr
        assert "1 study-wide call of the run is undone by one call per image set: 3 calls." in text

    def test_a_study_that_would_become_inconsistent_is_a_warning(self, shell: Shell, study: list[str]) -> None:
        result = shell.run("revert", "r", "--image-sets", study[0])
        assert result.exit_code == 0
        assert "1 study would become inconsistent" in result.stderr
        assert all(other in result.stderr for other in study[1:])

    def test_a_sibling_that_was_changed_since_is_left_out(self, shell: Shell, study: list[str]) -> None:
        shell.emulator.do(
            lambda world: world.write_as_another(
                world.image_set(shell.emulator.datastore_id, study[2]), shell.emulator.clock.now() + 500
            )
        )
        line, lines = planned(shell, code=1)
        assert (line["calls"], line["inconsistent_studies"], [found["code"] for found in lines]) == (2, 1, ["changed"])


def test_a_study_wide_call_that_the_planner_chose_is_verified_and_undone(shell: Shell) -> None:
    ids = [shell.emulator.add(document(str(number))) for number in (1, 2, 3)]
    path = shell.write("e.csv", "study_instance_uid,StudyDescription\n1.2.3,ALL\n")
    (line,) = shell.run("apply", path, "--on-many", "all", "--yes", "--run", "r", "--json").json
    assert (line["applied"], line["calls"]) == (3, 1)
    closing = shell.run("verify", "r", "--history", "--json").json[-1]
    assert (closing["image_sets"], closing["matching"], closing["kept"]) == (3, 3, 3)
    line, _ = planned(shell, "-o", "back")
    assert (line["calls"], line["study_wide_calls"], line["study_wide_reverts"]) == (3, 1, 3)
    assert applied(shell, "back", "b")["applied"] == 3
    assert [content(shell, one) == content(shell, one, 1) for one in ids] == [True] * 3
    assert shell.run("verify", "b").exit_code == 0


def test_a_call_with_an_unknown_outcome_is_left_out(shell: Shell, image_sets: list[str]) -> None:
    with rebuilt(shell.folder / "r/ledger.sqlite", run="", stamp="before") as (left, ledger):
        assert left is not None
        events = list(left.intact_events())
        # as a kill leaves it: the last intent without an answer
        asked = max(n for n, one in enumerate(events) if (one.call, one.state) == (1, CallState.INTENDED))
        ledger.append([one for n, one in enumerate(events) if n <= asked or one.call != 1])
    line, lines = planned(shell, code=1)
    assert (line["image_sets"], line["unprocessed"]) == (2, 1)
    assert [found["code"] for found in lines] == ["outcome-unknown"]
    assert "has a call of the run with an unknown outcome" in shell.run("revert", "r").stderr
    assert lines[0]["image_set_id"] in image_sets


def test_planning_reads_no_metadata_and_writes_nothing(shell: Shell, image_sets: list[str]) -> None:
    before = len(shell.requests())
    planned(shell)
    asked = shell.requests()[before:]
    assert {entry.action for entry in asked} == {"ListImageSetVersions"}
    assert len(asked) == len(image_sets)


class TestStorageCost:
    """What a run has updated is in the frequent tier for 30 days: undoing it moves nothing."""

    NOW = 1_790_000_000.0

    @pytest.mark.parametrize(
        ("told", "days_ago", "tier"),
        [
            (None, 0, "FREQUENT_ACCESS"),
            (None, 29.9, "FREQUENT_ACCESS"),
            (None, 30.1, None),
            (None, None, None),
            ("ARCHIVE_INSTANT_ACCESS", 40, "ARCHIVE_INSTANT_ACCESS"),
            ("FREQUENT_ACCESS", 40, "FREQUENT_ACCESS"),
        ],
        ids=str,
    )
    def test_a_tier_is_what_the_service_says_or_follows_from_the_last_update(
        self, told: str | None, days_ago: float | None, tier: str | None
    ) -> None:
        at = None if days_ago is None else self.NOW - days_ago * 86_400
        latest = ImageSet(
            image_set_id="a" * 32,
            version=2,
            state=ImageSetState.ACTIVE,
            status="UPDATED",
            updated_at=at,
            storage_tier=told,
        )
        assert tier_of(latest, self.NOW) == tier

    @pytest.mark.usefixtures("image_sets")
    def test_a_plan_of_today_costs_none(self, shell: Shell) -> None:
        text = shell.run("revert", "r", "-o", "p").stdout
        assert "  storage cost  none: no image set is archived\n" in text

    @pytest.mark.usefixtures("image_sets")
    def test_a_plan_of_which_it_is_not_known_says_what_to_type(self, shell: Shell) -> None:
        def age(world: Any) -> None:
            for image_set in world.datastores[shell.emulator.datastore_id].image_sets.values():
                for version in image_set.versions:
                    version.updated_at = version.updated_at and version.updated_at - 31 * 86_400

        shell.emulator.do(age)
        text = shell.run("revert", "r", "-o", "p").stdout
        assert f"to see storage tiers: bulkedit inventory -d {shell.emulator.datastore_id} -o FILE\n" in text
