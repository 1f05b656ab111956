"""The policies in docs/iam are neither more nor less than what the commands call."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from bulkedit.emulator.api.model import operations
from bulkedit.emulator.state.faults import Fault, FaultKind
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_FATAL, EXIT_NOT_ALL_APPLIED, EXIT_OK
from tests import generated
from tests.cli.shell import Shell, unbegin
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.emulator import Emulator

ROOT = generated.ROOT
GUARDS = sorted((ROOT / "docs/iam").glob("deny-*.json"))
POLICIES = sorted(set((ROOT / "docs/iam").glob("*.json")) - set(GUARDS))
STORE = "arn:aws:medical-imaging:REGION:ACCOUNT:datastore/DATASTORE"
VIA_COPY = "-via-copy"
WRITES = ("UpdateImageSetMetadata", "CopyImageSet", "DeleteImageSet")


def statements(name: str) -> list[dict[str, Any]]:
    policy: dict[str, Any] = json.loads((ROOT / f"docs/iam/{name}.json").read_text("utf-8"))
    assert policy["Version"] == "2012-10-17"
    return list(policy["Statement"])


def bare(statement: dict[str, Any]) -> set[str]:
    """The actions of a statement, without the name of the service."""
    assert all(action.startswith("medical-imaging:") for action in statement["Action"])
    return {action.removeprefix("medical-imaging:") for action in statement["Action"]}


def actions(policy: str) -> set[str]:
    (statement,) = statements(policy)
    assert statement["Effect"] == "Allow"
    return bare(statement)


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What each command calls, over a list that takes all the ways there are."""
    seen: dict[str, set[str]] = {}
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        shell = Shell(tmp_path_factory.mktemp("iam"), emulator)

        def run(command: str, *words: str, policy: str | None = None, stopped: bool = False) -> None:
            since = len(shell.requests())
            result = shell.run(command, *words)
            ended = {EXIT_FATAL} if stopped else {EXIT_OK, EXIT_NOT_ALL_APPLIED, EXIT_DIFFERENCE}
            assert result.exit_code in ended, result.stderr
            names = {str(entry.action) for entry in shell.requests()[since:]}
            seen[policy or command] = seen.get(policy or command, set()) | names

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
        unbegin(shell.folder / "b")
        back = shell.write("n.csv", f"image_set_id,action,attribute,value\n{one},set,AccessionNumber,A1\n")
        run("apply", str(back), "--yes", "--run", "n")
        run("resume", "b")
        some = shell.image_sets(3)
        looks = shell.write("l.csv", "image_set_id,PatientName\n" + "".join(f"{each},L\n" for each in some))
        run("apply", str(looks), "--yes", "--run", "l", "--read-rate", "1/s")
        unbegin(shell.folder / "l")
        # else the resume takes the versions of its own former run for those of another process with the same plan
        run("apply", str(shell.write("m.csv", looks.read_text().replace(",L", ",M"))), "--yes", "--run", "m")
        run("resume", "l")
        unbegin(shell.folder / "w")
        _strike(emulator, Fault(kind=FaultKind.CONFLICT, action="UpdateImageSetMetadata", times=1))
        run("resume", "w")
        run("verify", "a", "--history")
        run("verify", "w")
        run("revert", "a", "-o", "ra", "--on-later-change", "overwrite")
        run("revert", "w", "-o", "rw")
        run("inventory", "-o", "i.parquet")
        key = shell.write("deid.key", os.urandom(32).hex())
        key.chmod(0o600)
        for number, chosen in enumerate((("--all",), ("--select", f"image_set_id={one}"))):
            run("deid", "--deid-profile", "basic", "--key", str(key), *chosen, "-o", f"deid{number}.parquet")
        run("apply", "deid1.parquet", "--yes", "--run", "d")
        run("deid", "--check", "d")
        run("audit", "d")
        _run_via_copy(shell, run)
        run(
            "deid",
            "--deid-profile",
            "basic",
            "--key",
            str(key),
            "--all",
            "--via-copy",
            "-o",
            "c.parquet",
            "--plan",
            "e",
        )
        run("status", "a")
        run("report", "a")
    return seen


def _strike(emulator: Emulator, fault: Fault) -> None:
    emulator.do(lambda _: emulator.server.faults.add([fault], now=time.time()))


def _run_via_copy(shell: Shell, run: Callable[..., None]) -> None:
    """One run that comes to its end, and one that stops before its first copy."""

    def primary(study: str) -> str:
        """A primary image set, and a list that moves it to another study."""
        ident = shell.emulator.add(document(study=study, patient=study), primary=True)
        row = f"{ident},set,StudyInstanceUID,{study}.9,true"
        return str(shell.write(f"{study}.csv", f"image_set_id,action,attribute,value,force\n{row}\n"))

    run("plan", primary("1.3.1"), "-o", "c", "--via-copy")
    run("apply", "c", "--yes", "--run", "c1", policy="apply-via-copy")
    run("verify", "c1")
    _strike(shell.emulator, Fault(kind=FaultKind.EXPIRED, action="SearchImageSets", times=1))
    run("apply", primary("1.3.2"), "--via-copy", "--yes", "--run", "c2", policy="apply-via-copy", stopped=True)
    run("resume", "c2", policy="resume-via-copy")


@pytest.mark.parametrize("policy", [path.stem for path in POLICIES])
def test_a_policy_is_what_its_command_calls(called: dict[str, set[str]], policy: str) -> None:
    ordinary = called[policy.removesuffix(VIA_COPY)]  # a plan made with --via-copy may hold ordinary calls too
    assert called[policy] | ordinary == actions(policy)


def test_commands_without_a_policy_call_nothing(called: dict[str, set[str]]) -> None:
    without = called.keys() - {path.stem for path in POLICIES}
    assert {command: called[command] for command in without} == {"status": set(), "report": set()}


def least_privilege() -> str:
    return (ROOT / "docs/security.md").read_text("utf-8").partition("## Least privilege")[2].partition("\n## ")[0]


def test_every_command_and_action_is_in_the_table() -> None:
    lines = [line for line in least_privilege().splitlines() if line.startswith("| `")]
    commands = {command for line in lines for command in re.findall(r"`([\w ]+)`", line.split("|")[1])}
    assert [command for command in generated.commands() if command not in commands] == []
    rows = {policy: line for line in lines for policy in re.findall(r"iam/([\w-]+)\.json", line)}
    assert rows.keys() == {path.stem for path in POLICIES}
    for policy, row in rows.items():
        assert named(row) | _referred(row, policy, rows) == actions(policy), policy


def named(row: str) -> set[str]:
    return set(re.findall(r"`([A-Z]\w+)`", row))


def _referred(row: str, policy: str, rows: dict[str, str]) -> set[str]:
    """Actions of `… as in `plan``, and of `all of `apply``."""
    if all_of := re.search(r"all of `(\w+)`", row):
        return named(rows[all_of[1]]) | _referred(rows[all_of[1]], all_of[1], rows)
    return (
        {"SearchImageSets", "GetImageSetMetadata", "ListImageSetVersions"} & actions(policy)
        if " as in " in row
        else set()
    )


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_names_one_data_store_and_no_wildcard_of_actions(path: Path) -> None:
    (statement,) = statements(path.stem)
    assert all("*" not in action for action in statement["Action"])
    assert statement["Resource"] == [STORE, f"{STORE}/imageset/*"]


def test_only_commands_that_write_may_write() -> None:
    able = {action: {path.stem for path in POLICIES if action in actions(path.stem)} for action in WRITES}
    via_copy = {f"apply{VIA_COPY}", f"resume{VIA_COPY}"}
    assert able == {
        "UpdateImageSetMetadata": {"apply", "resume"} | via_copy,
        "CopyImageSet": via_copy,
        "DeleteImageSet": via_copy,
    }


# -- policies that deny


@pytest.mark.parametrize("path", GUARDS, ids=lambda path: path.stem)
def test_a_policy_that_denies_only_denies_and_is_explained(path: Path) -> None:
    assert {statement["Effect"] for statement in statements(path.stem)} == {"Deny"}
    assert f"](iam/{path.name})" in least_privilege()


def test_every_deletion_that_the_service_has_is_denied() -> None:
    """Image sets to all but one role; data stores, which no command deletes, to everyone."""
    of_image_sets, of_data_stores = statements("deny-deletion")
    assert bare(of_image_sets) == {"DeleteImageSet"}
    assert of_image_sets["Condition"] == {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::ACCOUNT:role/ROLE"}}
    assert "Condition" not in of_data_stores
    deletions = {name for name in operations() if name.startswith("Delete")}
    assert bare(of_image_sets) | bare(of_data_stores) == deletions
    assert {statement["Resource"] for statement in (of_image_sets, of_data_stores)} == {"*"}


def test_what_is_not_tagged_is_not_written_to() -> None:
    """The tag is that of the data store: a wildcard, or image sets, would deny image sets that have no tag."""
    (statement,) = statements("deny-untagged")
    assert bare(statement) == set(WRITES)
    assert statement["Resource"] == [STORE]
    assert statement["Condition"] == {"StringNotEquals": {"aws:ResourceTag/bulk-edits": "allowed"}}


def test_nothing_reaches_the_service_but_through_the_endpoints() -> None:
    (statement,) = statements("deny-outside-vpc")
    assert (statement["Action"], statement["Resource"]) == (["medical-imaging:*"], "*")
    assert list(statement["Condition"]) == ["StringNotEquals"]
    assert list(statement["Condition"]["StringNotEquals"]) == ["aws:SourceVpce"]
