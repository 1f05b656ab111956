"""`--study-wide`: with what an inventory or searches tell of studies, one call for a whole study; without, a word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Result, Shell


def studies(shell: Shell, count: int = 2, series: int = 3) -> list[list[str]]:
    """The image sets of studies 1.2.1, 1.2.2, …, all of them primary."""
    return [
        [shell.emulator.add(document(str(n), study=f"1.2.{study}", patient=f"P{study}")) for n in range(1, series + 1)]
        for study in range(1, count + 1)
    ]


def table(shell: Shell, header: str, *rows: str) -> Path:
    return shell.write("edits.csv", "\n".join([header, *rows]) + "\n")


def by_id(shell: Shell, image_sets: list[str], value: str = "HEAD") -> Path:
    return table(shell, "image_set_id,StudyDescription", *(f"{one},{value}" for one in image_sets))


def line(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    return result.json[-1]


def searches(shell: Shell) -> int:
    return len(shell.requests("SearchImageSets"))


def test_rows_that_name_studies_are_a_call_each_and_reach_every_image_set(shell: Shell) -> None:
    made = studies(shell)
    edits = table(shell, "study_instance_uid,StudyDescription", "1.2.1,HEAD", "1.2.2,FOOT")
    words = ("--on-many", "all", "--json")
    found = line(shell.run("plan", edits, *words))
    names = (
        "edits",
        "image_sets",
        "studies",
        "calls",
        "saved_by_study_wide",
        "saved_by_merging",
        "edits_of_unknown_study",
    )
    assert [found[name] for name in names] == [6, 6, 2, 2, 4, 0, 0]
    assert shell.run("apply", edits, *words, "--yes").exit_code == 0
    assert [shell.stored(one) for study in made for one in study] == [(2, "HEAD")] * 3 + [(2, "FOOT")] * 3
    assert [entry.study_wide for entry in shell.accepted()] == [True, True]


def test_a_person_reads_what_study_wide_calls_save(shell: Shell) -> None:
    studies(shell)
    edits = table(shell, "study_instance_uid,StudyDescription", "1.2.1,HEAD", "1.2.2,FOOT")
    text = shell.run("plan", edits, "--on-many", "all").stdout
    assert "6 of 2 studies" in text
    assert "saved: 4 by study-wide calls" in text


def test_the_studies_of_image_set_ids_are_looked_up(shell: Shell) -> None:
    made = studies(shell)
    assert line(shell.run("plan", by_id(shell, made[0]), "--look-up", "auto", "--json"))["calls"] == 1
    part = shell.run("plan", by_id(shell, made[0][:2]), "--look-up", "auto")
    assert part.exit_code == 2
    assert f"not named: {made[0][2]}." in part.stderr
    on = line(shell.run("plan", by_id(shell, made[0][:2]), "--look-up", "auto", "--study-wide", "on", "--json"))
    assert [on[name] for name in ("calls", "patients", "searches", "notices")] == [1, 1, 1, []]
    before = searches(shell)
    off = line(shell.run("plan", by_id(shell, made[0]), "--look-up", "auto", "--study-wide", "off", "--json"))
    assert off["calls"] == 3
    series = table(shell, "image_set_id,series_uid,SeriesDescription", f"{made[0][0]},1.2.1.1,S")
    assert line(shell.run("plan", series, "--look-up", "auto", "--json"))["searches"] == 0
    assert searches(shell) == before


def test_ids_are_planned_without_their_studies_if_the_service_is_out_of_reach(shell: Shell) -> None:
    made = studies(shell)
    words = ("plan", by_id(shell, made[0]), "--look-up", "auto", "--json")
    for env in ({"BULKEDIT_ENDPOINT_URL": "http://127.0.0.1:9"}, {"AWS_PROFILE": "absent"}):
        found = line(shell.run(*words, env=env))
        assert [found[name] for name in ("calls", "edits_of_unknown_study")] == [3, 3]
        assert [(one["code"], one["hint"]) for one in found["notices"]] == [
            ("studies-unknown", "To plan without them: --look-up never")
        ]
    accessions = table(shell, "accession_number,StudyDescription", "A1,HEAD")
    assert shell.run("plan", accessions, env={"AWS_PROFILE": "absent"}).exit_code != 0


def test_with_too_many_ids_none_is_looked_up(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    made = studies(shell)
    monkeypatch.setattr("bulkedit.inventories.AT_MOST", 2)
    found = line(shell.run("plan", by_id(shell, made[0]), "--look-up", "auto", "--json"))
    assert [found[name] for name in ("calls", "searches", "edits_of_unknown_study")] == [3, 0, 3]


def test_image_set_ids_alone_tell_nothing_of_studies_and_the_summary_says_what_to_type(shell: Shell) -> None:
    made = studies(shell)
    edits = by_id(shell, made[0])
    text = shell.run("plan", edits).stdout
    assert "3 Patient- or Study-level edits" in text
    assert "--inventory FILE" in text
    found = line(shell.run("plan", edits, "--json"))
    assert [found[name] for name in ("calls", "studies", "searches", "edits_of_unknown_study")] == [3, None, 0, 3]
    assert shell.requests() == []
    series = table(shell, "image_set_id,series_uid,SeriesDescription", f"{made[0][0]},1.2.1.1,S")
    assert "Patient- or Study-level edit" not in shell.run("plan", series).stdout


def test_an_inventory_tells_of_studies(shell: Shell) -> None:
    made = studies(shell)
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    edits = by_id(shell, made[0])
    found = line(shell.run("plan", edits, "--inventory", "i.parquet", "--json"))
    assert [found[name] for name in ("calls", "studies", "saved_by_study_wide", "edits_of_unknown_study")] == [
        1,
        1,
        2,
        0,
    ]
    off = line(shell.run("plan", edits, "--inventory", "i.parquet", "--study-wide", "off", "--json"))
    assert [off[name] for name in ("calls", "saved_by_study_wide")] == [3, 0]


def test_a_part_of_a_study_is_refused_with_the_missing_image_sets_and_what_to_type(shell: Shell) -> None:
    made = studies(shell)
    shell.run("inventory", "-o", "i.parquet")
    edits = by_id(shell, made[0][:2])
    result = shell.run("plan", edits, "--inventory", "i.parquet")
    assert result.exit_code == 2
    assert f"changes StudyDescription in 2 of the 3 primary image sets of its study; not named: {made[0][2]}." in (
        result.stderr
    )
    assert "--study-wide on" in result.stderr
    assert "HEAD" not in result.stderr
    words = ("--inventory", "i.parquet", "--study-wide")
    assert line(shell.run("plan", edits, *words, "on", "--json"))["calls"] == 1
    assert line(shell.run("plan", edits, *words, "off", "--json"))["calls"] == 2
    assert shell.accepted() == []


def test_where_searches_found_a_part_of_a_study_the_rest_is_searched_for(shell: Shell) -> None:
    """And only where it matters: for a Patient- or Study-level edit that has not named the study itself."""
    studies(shell)
    edits = table(shell, "series_instance_uid,StudyDescription", "1.2.1.1,HEAD")
    result = shell.run("plan", edits)
    assert (result.exit_code, searches(shell)) == (2, 2)
    assert "in 1 of the 3 primary image sets" in result.stderr
    found = line(shell.run("plan", edits, "--study-wide", "on", "--json"))
    assert [found[name] for name in ("calls", "searches")] == [1, 2]
    before = searches(shell)
    assert line(shell.run("plan", edits, "--study-wide", "off", "--json"))["searches"] == 1
    series = table(shell, "series_instance_uid,series_uid,SeriesDescription", "1.2.1.1,1.2.1.1,S")
    assert line(shell.run("plan", series, "--json"))["searches"] == 1
    study = table(shell, "study_instance_uid,StudyDescription", "1.2.1,HEAD")
    assert line(shell.run("plan", study, "--on-many", "all", "--json"))["searches"] == 1
    assert searches(shell) == before + 3


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--study-wide", "perhaps"], "'auto', 'on', 'off'"),
        (["--study-wide", "on", "--service-version", "2025"], "the service of 2025 has no study-wide calls."),
        (["--study-wide", "on"], "--inventory FILE"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_study_wide_is_a_usage_error(shell: Shell, words: list[str], what: str) -> None:
    result = shell.run("plan", by_id(shell, studies(shell, 1)[0]), *words)
    assert result.exit_code == 2
    assert what in result.stderr


def test_by_the_rules_of_2025_auto_is_off_and_patients_of_primary_image_sets_are_not_edited(shell: Shell) -> None:
    (made,) = studies(shell, 1)
    shell.run("inventory", "-o", "i.parquet")
    words = ("--inventory", "i.parquet", "--service-version", "2025")
    assert line(shell.run("plan", by_id(shell, made), *words, "--json"))["calls"] == 3
    result = shell.run("plan", table(shell, "image_set_id,PatientName", f"{made[0]},X^Y"), *words)
    assert result.exit_code == 2
    assert "changes PatientName, which is at Patient level, of a primary image set." in result.stderr


Versions = tuple[int | None, int | None]


def versions(shell: Shell, run: str) -> dict[tuple[int, str, str], Versions]:
    """Row, image set and attribute of each applied edit with its versions before and after, in `report --only`.

    The result files say the same.
    """

    def place(one: dict[str, Any]) -> tuple[int, str, str]:
        return one["row"], one["image_set_id"], one["attribute"]

    edits = shell.run("report", run, "--only", "applied", "--json").json[:-1]
    found = {place(edit): (edit["version_before"], edit["version_after"]) for edit in edits}
    shell.run("report", run, "--results", f"{run}-files", "--format", "jsonl")
    lines = map(json.loads, (shell.folder / f"{run}-files/succeeded.jsonl").read_text().splitlines())
    assert {place(one): (one["version_before"], one["version_after"]) for one in lines} == found
    return found


def test_only_the_image_set_that_a_study_wide_call_names_has_versions_to_tell(shell: Shell) -> None:
    """Also where two rows ask the same of it; and what is sent to another image set alone has its own."""
    ((lead, second, third),) = studies(shell, 1)
    shell.run("inventory", "-o", "i.parquet")
    lines = [f"{one},,StudyDescription,HEAD" for one in (lead, lead, second, third)]
    edits = table(shell, "image_set_id,series_uid,attribute,value", *lines, f"{third},1.2.1.3,SeriesDescription,S")
    assert shell.run("apply", edits, "--inventory", "i.parquet", "--yes", "--run", "r").exit_code == 0
    assert [entry.image_set_id for entry in shell.accepted() if entry.study_wide] == [lead]
    found = versions(shell, "r")
    assert {key: pair for key, pair in found.items() if key[2] == "StudyDescription"} == {
        (2, lead, "StudyDescription"): (1, 2),
        (3, lead, "StudyDescription"): (1, 2),
        (4, second, "StudyDescription"): (None, None),
        (5, third, "StudyDescription"): (None, None),
    }
    assert None not in found[6, third, "SeriesDescription"]


class TestTorn:
    """A list after which the image sets of a study differ at Patient or Study level."""

    @pytest.fixture
    def edits(self, shell: Shell) -> tuple[Path, list[str]]:
        """A list that describes a study and reverts one of its image sets, which has a version to go back to."""
        ((first, second, third),) = studies(shell, 1)
        before = table(shell, "image_set_id,series_uid,SeriesDescription", f"{third},1.2.1.3,S")
        assert shell.run("apply", before, "--yes", "--run", "before").exit_code == 0
        assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
        rows = [*(f"{one},set,StudyDescription,HEAD" for one in (first, second, third)), f"{third},revert,,1"]
        return table(shell, "image_set_id,action,attribute,value", *rows), [first, second, third]

    def test_it_is_refused_and_says_what_to_type(self, shell: Shell, edits: tuple[Path, list[str]]) -> None:
        path, (first, second, _) = edits
        before = len(shell.requests())
        result = shell.run("plan", path, "--inventory", "i.parquet")
        assert result.exit_code == 2
        assert (
            "Row 5: undoes StudyDescription of row 2 in 1 of the 3 primary image sets of its study; not reverted: "
            f"{', '.join(sorted((first, second)))}." in result.stderr
        )
        assert "--on-contradiction last" in result.stderr
        assert "HEAD" not in result.stderr
        assert shell.requests()[before:] == []

    def test_if_the_later_row_is_to_win_the_plan_warns(self, shell: Shell, edits: tuple[Path, list[str]]) -> None:
        path, ids = edits
        words = ("--inventory", "i.parquet", "--on-contradiction", "last")
        found = line(shell.run("plan", path, *words, "--json"))
        assert found["inconsistent_studies"] == 1
        assert [(one["code"], one["rows"], one["more"]) for one in found["warnings"]] == [
            ("study-inconsistent", [5], 0)
        ]
        text = shell.run("plan", path, *words).stdout
        assert "Warning (row 5): the primary image sets of the study will differ" in text
        assert "Revert or edit all image sets of the study, or none." in text
        applied = shell.run("apply", path, *words, "--yes", "--run", "r", "--json")
        assert (applied.exit_code, "Warning (row 5)" in applied.stderr) == (0, True)
        assert [shell.stored(one)[1] for one in ids] == ["HEAD", "HEAD", "CHEST"]
        assert shell.run("verify", "r").exit_code == 0

    def test_a_plan_without_such_rows_warns_of_nothing(self, shell: Shell, edits: tuple[Path, list[str]]) -> None:
        found = line(shell.run("plan", by_id(shell, edits[1]), "--inventory", "i.parquet", "--json"))
        assert (found["inconsistent_studies"], found["warnings"]) == (0, [])

    def test_warnings_of_a_plan_that_others_made_are_escaped_and_checked(
        self, shell: Shell, edits: tuple[Path, list[str]]
    ) -> None:
        from bulkedit.plans.saved import digest_of

        path, _ = edits
        assert (
            shell.run("plan", path, "--inventory", "i.parquet", "--on-contradiction", "last", "-o", "p").exit_code == 0
        )
        manifest = json.loads((shell.folder / "p/manifest.json").read_text())
        for problem, code in (("\x1b[2J", 0), (7, 2)):
            manifest["warnings"][0]["problem"] = problem
            (shell.folder / "p/manifest.json").write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
            result = shell.run("apply", "p", "--dry-run")
            assert (result.exit_code, "\x1b" in result.stdout) == (code, False), result.stderr
