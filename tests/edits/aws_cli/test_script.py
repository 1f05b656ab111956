"""A shell script of the AWS CLI is a list of the call form: the batch of commands that people have today."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkedit.edits import EditList, ReadOptions, read
from bulkedit.edits.aws_cli.shorthand import shorthand
from bulkedit.errors import EditListError
from tests.edits.lists import A, B, edits, problems, read_text, texts_of

ROOT = Path(__file__).parents[3]
STORE = "emulated000000000000000000000001"
CANARY = "Canary^Carla"
DOCUMENT = json.dumps({"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": CANARY}}})
UPDATES = json.dumps({"DICOMUpdates": {"updatableAttributes": DOCUMENT}})


def command(*more: str, updates: str = UPDATES, image_set: str = A, version: int = 1, quote: str = "'") -> str:
    words = (
        f"--datastore-id {STORE} --image-set-id {image_set} --latest-version-id {version} "
        f"--update-image-set-metadata-updates {quote}{updates}{quote}"
    )
    return " ".join(["aws medical-imaging update-image-set-metadata", words, *more])


def done(*lines: str) -> EditList:
    return read_text("\n".join(lines), format="aws-cli")


def codes(*lines: str) -> list[tuple[int, str]]:
    found = done(*lines)
    assert "anary" not in texts_of(found)
    return [(row, code) for row, _, code in problems(found)]


def error_of(*lines: str) -> EditListError:
    with pytest.raises(EditListError) as caught:
        done(*lines)
    assert "anary" not in str(caught.value)
    return caught.value


NAME = ("set", "PatientName", f'"{CANARY}"')


@pytest.mark.parametrize(
    "line",
    [
        command(),
        command().replace("--image-set-id ", "--image-set-id="),
        command().replace(" --", " \\\n    --"),
        command().replace("aws ", "AWS_PROFILE=x sudo /usr/local/bin/aws --output text "),
        command("--cli-binary-format raw-in-base64-out --query 'x[0]' --no-cli-pager > log.txt 2>&1 || exit 1"),
        command(" && echo done; sleep 0.5"),
        command("|| { echo failed >&2; exit 1; }"),
        command("|| {\n  echo $?\n  exit 1\n}"),
        command(updates=UPDATES.replace("\\", "\\\\").replace('"', '\\"'), quote='"'),
        command(updates=f"DICOMUpdates={{updatableAttributes='{DOCUMENT}'}}".replace("'", "'\\''")),
        "aws medical-imaging update-image-set-metadata --cli-input-json '"
        + json.dumps(
            {"datastoreId": STORE, "imageSetId": A, "latestVersionId": "1"}
            | {"updateImageSetMetadataUpdates": json.loads(UPDATES)}
        )
        + "'",
    ],
)  # fmt: skip
def test_a_command_is_a_row(line: str) -> None:
    found = done("#!/usr/bin/env bash", "set -euo pipefail", "", line)
    assert problems(found) == []
    assert edits(found, "row", "key", "version", "action", "attribute", "value") == [(4, A, 1, *NAME)]
    assert (found.form, found.datastore_id, found.rows) == ("call", STORE, 1)


def test_commands_are_in_the_order_of_the_script_with_their_lines_and_flags() -> None:
    found = done(
        command("--force", image_set=A),
        "sleep 0.2",
        command("--no-force", "--include-study-image-sets", image_set=B).replace(" --", " \\\n --"),
        command(updates="revertToVersionId=1", version=3),
    )
    assert edits(found, "row", "key", "force", "study_wide", "action") == [
        (1, A, True, False, "set"),
        (3, B, False, True, "set"),
        (10, A, False, False, "revert"),
    ]


def test_carriage_returns_of_windows_are_line_ends() -> None:
    found = read_text(command().replace(" --", " \\\r\n --") + "\r\n" + command(version=2) + "\r\n", format="aws-cli")
    assert edits(found, "row", "version") == [(1, 1), (6, 2)]


def test_options_win_over_cli_input_json() -> None:
    text = json.dumps({"imageSetId": B, "force": True, "latestVersionId": "7"})
    found = done(command("--cli-input-json", f"'{text}'", version=2))
    assert edits(found, "key", "version", "force") == [(A, 2, True)]


# -- documents


def script(folder: Path, *lines: str) -> EditList:
    (folder / "list.sh").write_text("\n".join(lines))
    return read(folder / "list.sh", ReadOptions())


def file(address: str, *more: str) -> str:
    return command(*more, updates=address, quote="")


def test_documents_are_read_from_the_folder_of_the_script(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/updates.json").write_text(UPDATES)
    (tmp_path / "name.json").write_text(DOCUMENT)
    request = {"datastoreId": STORE, "imageSetId": A, "latestVersionId": "4"}
    (tmp_path / "all.json").write_text(json.dumps({**request, "updateImageSetMetadataUpdates": json.loads(UPDATES)}))
    found = script(
        tmp_path,
        file("file://below/updates.json"),
        file(f"file://{tmp_path}/below/../below/updates.json"),
        file("'DICOMUpdates={updatableAttributes@=file://name.json}'"),
        "aws medical-imaging update-image-set-metadata --cli-input-json file://all.json",
    )
    assert problems(found) == []
    assert edits(found, "action", "attribute", "value") == [NAME] * 4


def test_documents_that_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (tmp_path / "outside.json").write_text(UPDATES)
    (folder / "link.json").symlink_to("../outside.json")
    (folder / "latin.json").write_bytes(b'{"\xe9": 1}')
    (folder / "large.json").write_bytes(b" " * (2**20 + 1))
    (folder / "made.json").write_text(UPDATES)
    os.mkfifo(folder / "pipe.json")
    names = ["../outside.json", str(tmp_path / "outside.json"), "link.json", "latin.json", "large.json", "pipe.json"]
    names += ["absent.json", ".", "'~/x.json'", "made.json"]
    lines = [file(f"file://{name}") for name in names]
    found = script(folder, *lines, "echo '{}' > made.json")
    assert [(row, code) for row, _, code in problems(found)] == [(n, "cli-document") for n in range(1, len(names) + 1)]
    assert "the folder of the script" in found.set_aside["problem"][0]
    assert "writes its document itself" in found.set_aside["problem"][-1]
    assert not [text for text in found.set_aside["problem"] if "outside.json" in text]


def test_a_script_from_standard_input_names_no_documents() -> None:
    assert codes(file("file://updates.json")) == [(1, "cli-document")]


def test_one_large_document_of_many_commands_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkedit.edits.aws_cli.documents.FLOOR", 2**10)
    (tmp_path / "large.json").write_text(UPDATES + " " * 2**19)
    with pytest.raises(EditListError, match=r"line \d+: its documents hold more than 200 times"):
        script(tmp_path, *[file("file://large.json")] * 20)


# -- what is refused


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (command().replace(A, "$ID"), "shell-syntax"),
        (command().replace(A, '"${ID}"'), "shell-syntax"),
        (command("--query x[*]"), "shell-syntax"),
        (command("| tee log"), "shell-syntax"),
        (command("< in"), "shell-syntax"),
        (command("&"), "shell-syntax"),
        ("true && " + command(), "shell-syntax"),
        (command("; ", command(version=2)), "not-an-update"),
        (command().replace(" --latest", " \\ \n--latest"), "shell-syntax"),
        (command(quote="\u201d"), "shell-syntax"),
        (command().replace(" --image", " \u2014image"), "shell-syntax"),
        ("ID=1", "not-an-update"),
        ("> log", "not-an-update"),
        ("export AWS_REGION=us-east-1", "not-an-update"),
        ("python make.py", "not-an-update"),
        ("sudo -u x " + command(), "not-an-update"),
        ("aws s3 ls", "not-an-update"),
        ("aws medical-imaging copy-image-set --datastore-id x --source-image-set-id y", "not-an-update"),
        ("aws medical-imaging delete-image-set --datastore-id x --image-set-id y", "not-an-update"),
        (command("more"), "cli-option"),
        (command("--imageset-id x"), "cli-option"),
        (command("--image-set-id " + B), "cli-option"),
        (command("--force --no-force"), "cli-option"),
        (command("--force=true"), "cli-option"),
        (command("--generate-cli-skeleton input"), "cli-option"),
        (command("--region"), "cli-option"),
        (command("--region --force"), "cli-option"),
        (command().replace("--latest-version-id 1", ""), "cli-option"),
        (command("--cli-input-json '{\"x\":1}'"), "cli-option"),
        (command("--cli-input-json '{\"imageSetId\":null}'"), "cli-option"),
        (command("--cli-input-json '[1,'"), "not-json"),
        (command(updates="{DICOMUpdates"), "not-json"),
        (command(updates="DICOMUpdates=[x]"), "updates"),
        (command(updates="https://x"), "updates"),
        (command().replace(A, "x" * 31), "image-set-id"),
        (command(version=0), "version"),
    ],
)
def test_a_line_that_is_no_update_is_set_aside_with_its_line(line: str, code: str) -> None:
    assert codes("#!/bin/sh", command(), line)[:1] == [(3, code)]


@pytest.mark.parametrize(
    ("lines", "line", "what"),
    [
        (["for id in a b; do", command(), "done"], 1, "loop"),
        (["while read id", "do", command(), "done < ids"], 1, "loop"),
        ([command(), "if true; then", command(), "fi"], 2, "loop"),
        ([command(), "cd /tmp"], 2, "what other lines of the script mean"),
        ([command(), "exit 0"], 2, "what other lines of the script mean"),
        (["set -n", command()], 1, "what other lines of the script mean"),
        (["update() {", command(), "}"], 1, "parentheses"),
        ([command().replace(A, "$(next-id)")], 1, "only a shell can compute"),
        (["cat > x.json <<'EOF'", CANARY, "EOF"], 1, "here-document"),
        ([command("|| { rm x; }")], 1, "group"),
        ([command("|| { echo x"), command()], 2, "group"),
        ([command("|| { echo x")], 1, "not closed"),
        (["{", command(), "}"], 1, "loop"),
        (["#!/usr/bin/python3", "print()"], 1, "not of a shell"),
        ([command() + " ^", "  --force"], 1, "Windows"),
        ([command(), "echo '" + CANARY], 2, "not closed"),
    ],
)
def test_what_changes_other_lines_refuses_the_script(lines: list[str], line: int, what: str) -> None:
    error = error_of(*lines)
    assert error.where == f"standard input, line {line}"
    assert what in error.what
    assert error.hint


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([command("--region eu-west-1"), command("--region us-east-1")], "more than one region"),
        ([command("--region eu-west-1"), "AWS_REGION=us-east-1 " + command()], "more than one region"),
        ([command(), command().replace(STORE, "b" * 32)], "more than one data store"),
        (["# nothing", "echo"], "has no command"),
        (["a" * 100] * 0, "is empty"),
    ],
)
def test_scripts_that_are_no_list(lines: list[str], what: str) -> None:
    assert what in error_of(*lines).what


def test_very_many_commands_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkedit.edits.bounds.MOST_PROBLEMS", 5)
    assert error_of(*["Canary"] * 9).where == "standard input, line 6"


def test_what_is_left_out_is_said() -> None:
    found = done(
        "set -e",
        command("--region eu-west-1 --profile x", "> /dev/null"),
        "AWS_PROFILE=y " + command(version=2) + " > log",
    )
    assert found.notices.select("code", "text", "rows").rows() == [
        ("passed-over", "Lines with echo, sleep and set are left out.", 1),
        ("output-not-written", "The output of commands is not written to the files that the script names.", 1),
        ("not-used", "--region of the commands is not used.", 1),
        ("not-used", "--profile of the commands is not used.", 2),
    ]


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "a=b}", "a={b=c", "a=b,a=c", "a=[b]", "a=b c", "a=" + "{a=" * 9, "a='b"]
)
def test_shorthand_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - without a text
        shorthand(text, str)


def test_what_a_loop_prints_as_the_documentation_says_is_a_list() -> None:
    line = next(text for text in (ROOT / "docs/edit-lists.md").read_text().splitlines() if text.startswith("aws() {"))
    loop = f"{line}\nfor id in {A} {B}; do\n{command()}\ndone".replace(f"--image-set-id {A}", "--image-set-id $id")
    printed = subprocess.run(["bash", "-c", loop], capture_output=True, check=True).stdout
    assert edits(read_text(printed, format="aws-cli"), "key", "attribute") == [(A, "PatientName"), (B, "PatientName")]


def test_shorthand() -> None:
    text = r"""a=b,c={d='e,\'f\\',g@=file://h},i="{\"j\":1}" """.strip()
    assert shorthand(text, str.upper) == {"a": "b", "c": {"d": "e,'f\\", "g": "FILE://H"}, "i": '{"j":1}'}


PIECES = st.sampled_from(
    [*command("--force", "--region x").split(), "\n", "\\", "'", '"', "$X", "$(", "&&", ";", ">", "<", "#", "{", "file://x"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.lists(PIECES, max_size=25).map(lambda words: " ".join(words).encode())))
def test_any_bytes_are_edits_or_words(data: bytes) -> None:
    try:
        words = texts_of(read_text(data, format="aws-cli"))
    except EditListError as error:
        words = str(error)
    assert "anary" not in words
