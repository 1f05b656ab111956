"""`report --inventory` counts edits by patient and study, and shows rows and image sets, never an id of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.emulator.hospital import document

if TYPE_CHECKING:
    from tests.cli.shell import Shell


def test_patients_and_studies_are_counted_without_their_ids(shell: Shell) -> None:
    """CANARY1 has two studies, one of them edited in part, and CANARY2 one; one image set came after the inventory."""
    places = [("CANARY1", "1.2.91"), ("CANARY1", "1.2.92"), ("CANARY1 ", "1.2.92"), ("CANARY2", "1.2.93")]
    found = [
        shell.emulator.add(document(str(number), study=study, patient=patient))
        for number, (patient, study) in enumerate(places, 1)
    ]
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    found.append(shell.emulator.add(document("9", study="1.2.94", patient="CANARY3")))
    rows = [f"{one},set,StudyTime,1200" for one in found]
    rows[2] = f"{found[2]},remove,AccessionNumber,WRONG"
    edits = shell.write("e.csv", "\n".join(["image_set_id,action,attribute,value", *rows]) + "\n")
    assert shell.run("apply", edits, "--yes", "--run", "r", "--study-wide", "off").exit_code == 1

    lines = shell.run("report", "r", "--inventory", "i.parquet", "--html", "p.html", "--json").json
    counts = {line["by"]: [*line.values()][2:] for line in lines if line["type"] == "by-inventory"}
    assert counts == {"patient": [2, 1, 1, 0, 1], "study": [3, 2, 1, 0, 1]}

    text = shell.run("report", "r", "--inventory", "i.parquet").stdout
    assert (
        "2 patients: 1 with all edits applied, 1 with some, 0 with none; 1 image set of unknown patients\n"
        "  patient 1: 2 of 3 edits applied, rows 2\N{EN DASH}4\n"
        "3 studies: 2 with all edits applied, 1 with some, 0 with none; 1 image set of unknown studies\n"
        "  study 2: 1 of 2 edits applied, rows 3\N{EN DASH}4\n"
    ) in text
    page = (shell.folder / "p.html").read_text()
    assert "2 patients: 1 with all edits applied, 1 with some, 0 with none. The inventory does not tell" in page
    assert found[2] in page
    for shown in (text, page, str(lines)):
        assert "CANARY" not in shown
        assert "1.2.9" not in shown


def test_an_inventory_that_is_not_there_is_told(shell: Shell) -> None:
    shell.unbegun(shell.descriptions(shell.image_sets(1)), "r")
    result = shell.run("report", "r", "--inventory", "absent.parquet")
    assert result.exit_code == 2
    assert "the inventory cannot be read (No such file or directory)" in result.stderr
