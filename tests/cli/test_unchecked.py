"""Values that break a rule are planned only unchecked, are counted by attribute, and can be planned again."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from bulkedit import plans
from bulkedit.plans.saved import digest_of

if TYPE_CHECKING:
    from tests.cli.shell import Shell

ONE, TWO = "a" * 32, "b" * 32
ROWS = (
    f"{ONE},StudyDate,2024-03-11,StudyDate",
    f"{TWO},StudyDate,2024-03-11,yes",
    f"{TWO},PatientAge,42,true",
    f"{TWO},StudyDescription,CT,true",
)
LIST = "image_set_id,attribute,value,unchecked\n" + "\n".join(ROWS) + "\n"
TEXT = "Notice (3 rows, first row 2): 3 values unchecked: StudyDate 2, PatientAge 1."


def test_the_plan_counts_values_that_are_left_unchecked(shell: Shell) -> None:
    shell.write("edits.csv", LIST)
    shown = shell.run("plan", "edits.csv", "-o", "p")
    assert TEXT in shown.stdout, shown.stderr
    assert "may refuse those without force" in shown.stdout
    assert "without force" not in shell.run("plan", "edits.csv", "-o", "forced", "--force").stdout
    (line,) = shell.run("plan", "edits.csv", "-o", "q", "--json").json
    assert (line["unchecked"], line["unchecked_values"]) == ({"StudyDate": 2, "PatientAge": 1}, 3)
    assert "2024-03-11" not in json.dumps(line)
    assert json.loads((shell.folder / "p/manifest.json").read_text())["unchecked"] == line["unchecked"]


def test_a_plan_that_says_less_than_its_edits_is_refused(shell: Shell) -> None:
    shell.write("edits.csv", LIST)
    shell.run("plan", "edits.csv", "-o", "p")
    path = shell.folder / "p/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["counts"]["unchecked_values"] = 0
    path.write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
    result = shell.run("apply", "p", "--dry-run")
    assert "has 0 as unchecked_values, but the plan has 3" in result.stderr


def test_one_bad_row_does_not_take_the_list_along(shell: Shell) -> None:
    shell.write("edits.csv", LIST + f"{ONE},PatientBirthDate,11.03.2024,StudyDate\n")
    result = shell.run("plan", "edits.csv", "-o", "p", "--force")
    assert (result.exit_code, "Row 6: the value of PatientBirthDate" in result.stderr) == (2, True), result.stderr


def test_result_files_keep_which_values_are_unchecked(shell: Shell) -> None:
    shell.write("edits.csv", LIST)
    shell.run("apply", "edits.csv", "--yes", "--run", "r")
    shell.run("report", "r", "--results", "out", "--include-values")
    with (shell.folder / "out/failed.csv").open(newline="") as file:
        assert [line["unchecked"] for line in csv.DictReader(file)] == ["true", "true", "true", "false"]
    assert shell.run("plan", "out/failed.csv", "-o", "again").exit_code == 0
    kept = ["attribute", "value", "unchecked"]
    first, again = (plans.load(shell.folder / name).edits().collect().sort("row") for name in ("r/plan", "again"))
    assert first.select(kept).equals(again.select(kept))
