"""Commands say where requests go, and do not follow an endpoint that nobody agreed to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_apply import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Env, Shell

ELSEWHERE = "https://example.org/x"
FOLLOWERS = [
    ("resume", "r"),
    ("verify", "r"),
    ("revert", "r", "-o", "p"),
    ("deid", "--check", "r"),
]


@pytest.fixture
def edits(shell: Shell) -> Path:
    return shell.descriptions(shell.image_sets(2))


def name_endpoint(shell: Shell, url: str) -> Env:
    """Let the run `r` name an endpoint, as another person could; and an environment that names none."""
    path = shell.folder / "r" / "run.json"
    about = json.loads(path.read_text())
    about["settings"]["connection"]["endpoint_url"] = url
    path.write_text(json.dumps(about))
    return {"BULKEDIT_ENDPOINT_URL": None}


@pytest.mark.parametrize("words", FOLLOWERS, ids=lambda words: words[0])
@pytest.mark.parametrize("url", [ELSEWHERE, "http://10.0.0.1:8104"])
def test_a_runs_endpoint_is_not_followed_if_it_is_neither_aws_nor_this_machine(
    shell: Shell, edits: Path, words: tuple[str, ...], url: str
) -> None:
    shell.run("apply", edits, "--yes", "--run", "r")
    before = len(shell.requests())
    env = name_endpoint(shell, url)
    refused = shell.run(*words, env=env)
    assert (refused.exit_code, len(shell.requests())) == (2, before)
    assert "the run names an endpoint that is neither AWS nor this machine" in refused.stderr
    assert f"--endpoint-url {url}" in refused.stderr
    followed = shell.run(*words, "--endpoint-url", str(shell.emulator), env=env)
    assert followed.exit_code in {0, 7}, followed.stderr
    assert len(shell.requests()) > before


@pytest.mark.parametrize("words", FOLLOWERS, ids=lambda words: words[0])
def test_a_runs_endpoint_on_this_machine_is_followed_and_said(
    shell: Shell, edits: Path, words: tuple[str, ...]
) -> None:
    shell.run("apply", edits, "--yes", "--run", "r")
    done = shell.run(*words, env={"BULKEDIT_ENDPOINT_URL": None})
    assert done.exit_code in {0, 7}, done.stderr
    assert f"endpoint {shell.emulator} (from the run's run.json), which is not AWS" in done.stderr


@pytest.mark.parametrize(
    ("answer", "said", "code"),
    [
        ("n\n", "Nothing was sent.", 0),
        pytest.param("y\n", "contains a user name or a password", 2, marks=pytest.mark.slow),
    ],
    ids=["no", "yes"],
)
def test_on_a_terminal_a_person_is_asked(shell: Shell, edits: Path, answer: str, said: str, code: int) -> None:
    shell.run("apply", edits, "--yes", "--run", "r")
    shell.env = {**shell.env, **name_endpoint(shell, "http://u:SECRET@192.0.2.1:8104")}
    exit_code, screen = on_terminal(shell, answer, said, "resume", "r")
    words = " ".join(screen.split())
    assert "This run's endpoint is http://192.0.2.1:8104, which is neither AWS nor this machine." in words
    assert (exit_code, said in words, "SECRET" in words) == (code, True, False)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_MEDICAL_IMAGING", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("command", ["apply", "inventory"])
def test_a_variable_that_was_left_over_is_named(shell: Shell, edits: Path, variable: str, command: str) -> None:
    env = {"BULKEDIT_ENDPOINT_URL": None, variable: str(shell.emulator)}
    words = ("apply", edits, "--yes", "--run", "r") if command == "apply" else ("inventory", "-o", "i.parquet")
    done = shell.run(*words, env=env)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(f"(from the environment variable {variable}), which is not AWS") == 1


def test_an_endpoint_of_the_profile_is_named(shell: Shell, edits: Path) -> None:
    keys = "aws_access_key_id = test\naws_secret_access_key = test"
    profile = f"[profile local]\nregion = us-east-1\nendpoint_url = {shell.emulator}\n{keys}\n"
    config = shell.write("config", profile)
    env = {"BULKEDIT_ENDPOINT_URL": None, "AWS_CONFIG_FILE": str(config)}
    done = shell.run("apply", edits, "--yes", "--run", "r", "--profile", "local", env=env)
    assert done.exit_code == 0, done.stderr
    assert "(from profile local of ~/.aws/config), which is not AWS" in done.stderr


@pytest.mark.parametrize("variable", ["BULKEDIT_ENDPOINT_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_MEDICAL_IMAGING"])
def test_http_to_another_machine_is_refused_wherever_it_is_named(shell: Shell, edits: Path, variable: str) -> None:
    env = {"BULKEDIT_ENDPOINT_URL": None, variable: "http://192.0.2.1:8104"}
    done = shell.run("apply", edits, "--yes", "--run", "r", env=env)
    assert (done.exit_code, "http is not encrypted" in done.stderr) == (2, True)
    assert not (shell.folder / "r").exists()


def test_to_send_without_tls_is_not_remembered(shell: Shell, edits: Path) -> None:
    shell.run("apply", edits, "--yes", "--run", "r", "--allow-http")
    assert "allow_http" not in (shell.folder / "r" / "run.json").read_text()


def test_a_password_in_an_endpoint_reaches_neither_terminal_nor_files(shell: Shell, edits: Path) -> None:
    url = str(shell.emulator).replace("://", "://user:SECRET@")
    done = shell.run("apply", edits, "--yes", "--run", "r", "--endpoint-url", url)
    assert (done.exit_code, "SECRET" in done.stdout + done.stderr) == (2, False)
    assert "user name or a password" in done.stderr
    kept = [path for path in shell.folder.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert kept == []


def test_a_plan_says_where_its_calls_would_go_and_needs_no_account(shell: Shell, edits: Path) -> None:
    done = shell.run("plan", edits, "-o", "p")
    assert f"Its calls would go to endpoint {shell.emulator} (from --endpoint-url), which is not AWS." in done.stdout
    (line,) = shell.run("plan", edits, "-o", "q", "--json").json
    assert line["destination"] == {
        "account": None,
        "principal": None,
        "region": None,
        "endpoint_url": str(shell.emulator),
        "endpoint_from": "--endpoint-url",
        "is_aws": False,
    }
    without = {"BULKEDIT_ENDPOINT_URL": None, "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    done = shell.run("plan", edits, "-o", "s", env=without)
    assert (done.exit_code, "Destination not known: no AWS credentials were found." in done.stderr) == (0, True)


def test_a_run_tells_its_destination_in_its_summary(shell: Shell, edits: Path) -> None:
    done = shell.run("apply", edits, "--yes", "--run", "r", "--json")
    assert done.json[-1]["destination"]["endpoint_url"] == str(shell.emulator)
