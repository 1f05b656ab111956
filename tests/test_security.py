"""The policies in docs/iam are neither more nor less than what the commands call."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.emulator import UNTHROTTLED, Settings, Settle, serve
from tests import generated
from tests.cli.shell import Shell
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

ROOT = generated.ROOT
POLICIES = sorted((ROOT / "docs/iam").glob("*.json"))


def actions(command: str) -> set[str]:
    policy: dict[str, Any] = json.loads((ROOT / f"docs/iam/{command}.json").read_text("utf-8"))
    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Allow"
    return {action.removeprefix("medical-imaging:") for action in statement["Action"]}


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What each command calls, over a list that takes all the ways there are."""
    seen: dict[str, set[str]] = {}
    with serve(Settings(scale=UNTHROTTLED, settle=Settle(seconds=0.01))) as emulator:
        shell = Shell(tmp_path_factory.mktemp("iam"), emulator)

        def run(command: str, *words: str) -> None:
            since = len(shell.requests())
            result = shell.run(command, *words)
            assert result.exit_code in {0, 1, 7}, result.stderr
            names = {str(entry.action) for entry in shell.requests()[since:]}
            seen[command] = seen.get(command, set()) | names

        (one,) = shell.image_sets(1)
        study = [emulator.add(document(str(number), study="1.9")) for number in (1, 2)]
        by_study = shell.write("s.csv", "study_instance_uid,action,attribute,value\n1.2.1,set,StudyTime,1200\n")
        removal = shell.write("r.csv", f"image_set_id,action,attribute\n{one},remove,AccessionNumber\n")
        call = {
            "imageSetId": study[0],
            "includeStudyImageSets": True,
            "updateImageSetMetadataUpdates": {
                "DICOMUpdates": {
                    "updatableAttributes": {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDescription": "NEW"}}}
                }
            },
        }
        wide = shell.write("w.jsonl", json.dumps(call) + "\n")
        run("plan", str(by_study), "-o", "p")
        run("plan", str(by_study), "-o", "s", "--skip-satisfied")
        run("apply", str(by_study), "--yes", "--run", "a")
        run("apply", str(removal), "--yes", "--run", "b")
        run("apply", str(wide), "--yes", "--run", "w")
        _undo_ledger(shell.folder / "b")
        back = shell.write("n.csv", f"image_set_id,action,attribute,value\n{one},set,AccessionNumber,A1\n")
        run("apply", str(back), "--yes", "--run", "n")
        run("resume", "b")
        some = shell.image_sets(3)
        looks = shell.write("l.csv", "image_set_id,PatientName\n" + "".join(f"{each},L\n" for each in some))
        run("apply", str(looks), "--yes", "--run", "l", "--read-rate", "1/s")
        _undo_ledger(shell.folder / "l")
        run("resume", "l")
        run("verify", "a", "--history")
        run("verify", "w")
        run("revert", "a", "-o", "ra", "--on-conflict", "overwrite")
        run("revert", "w", "-o", "rw")
        run("inventory", "-o", "i.parquet")
        key = shell.write("deid.key", os.urandom(32).hex())
        key.chmod(0o600)
        for number, chosen in enumerate((("--all",), ("--select", f"image_set_id={one}"))):
            run("deid", "--profile", "basic", "--key", str(key), *chosen, "-o", f"deid{number}.parquet")
        run("apply", "deid1.parquet", "--yes", "--run", "d")
        run("deid", "--check", "d")
        run("status", "a")
        run("report", "a")
    return seen


def _undo_ledger(folder: Path) -> None:
    """As a kill before the first request leaves it."""
    (folder / "ledger.sqlite").unlink()


@pytest.mark.parametrize("command", [path.stem for path in POLICIES])
def test_a_policy_is_what_its_command_calls(called: dict[str, set[str]], command: str) -> None:
    assert called[command] == actions(command)


def test_commands_without_a_policy_call_nothing(called: dict[str, set[str]]) -> None:
    without = called.keys() - {path.stem for path in POLICIES}
    assert {command: called[command] for command in without} == {"status": set(), "report": set()}


def test_every_command_and_action_is_in_the_table() -> None:
    text = (ROOT / "docs/security.md").read_text("utf-8").partition("## Least privilege")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = {command: line for line in lines for command in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert [command for command in generated.commands() if command not in rows] == []
    for path in POLICIES:
        assert set(re.findall(r"`([A-Z]\w+)`", rows[path.stem])) | _referred(rows, path.stem) == actions(path.stem)


def _referred(rows: dict[str, str], command: str) -> set[str]:
    """Actions of `… as in `plan``."""
    return (
        {"SearchImageSets", "GetImageSetMetadata", "ListImageSetVersions"} & actions(command)
        if " as in " in rows[command]
        else set()
    )


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_names_one_data_store_and_no_wildcard_of_actions(path: Path) -> None:
    (statement,) = json.loads(path.read_text("utf-8"))["Statement"]
    assert all("*" not in action for action in statement["Action"])
    store = "arn:aws:medical-imaging:REGION:ACCOUNT:datastore/DATASTORE"
    assert statement["Resource"] == [store, f"{store}/imageset/*"]


def test_only_commands_that_write_may_write() -> None:
    writers = {path.stem for path in POLICIES if "UpdateImageSetMetadata" in actions(path.stem)}
    assert writers == {"apply", "resume"}
