"""The notices of a plan are shown before it is applied, and checked as all that others may have written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bulkedit.plans.saved import digest_of

if TYPE_CHECKING:
    from tests.cli.shell import Shell

IMAGE_SET = "a" * 32


def test_notices_of_a_plan_are_shown_escaped_and_checked(shell: Shell) -> None:
    shell.write("edits.csv", f"image_set_id,StudyDescription\n{IMAGE_SET},HEAD\n")
    assert shell.run("plan", "edits.csv", "-o", "p").exit_code == 0
    path = shell.folder / "p/manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["notices"] == []
    notice = {"code": "x", "column": "StudyID", "hint": "Set `force`.", "rows": 12, "first": 3}
    for text, code in (("are \x1b[2Jlong.", 0), (7, 2)):
        manifest["notices"] = [{**notice, "text": text}]
        path.write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
        result = shell.run("apply", "p", "--dry-run")
        assert (result.exit_code, "\x1b" in result.stdout + result.stderr) == (code, False), result.stderr
        shown = "Notice (12 rows, first row 3): StudyID: are" in result.stdout and "Set --force." in result.stdout
        assert shown == (code == 0)


def test_a_row_in_several_calls_is_said_to_be_several(shell: Shell) -> None:
    long = "x" * 60
    shell.write("edits.csv", f"image_set_id,StudyDescription,PatientComments\n{IMAGE_SET},{long},{long}\n")
    result = shell.run("plan", "edits.csv", "-o", "p", "--payload-limit", "150")
    assert "Notice (row 2): Cells of a row are in several calls" in result.stdout
    manifest = json.loads((shell.folder / "p/manifest.json").read_text())
    assert (manifest["counts"]["calls"], manifest["counts"]["rows_in_several_calls"]) == (2, 1)
    assert long not in result.stdout + result.stderr
