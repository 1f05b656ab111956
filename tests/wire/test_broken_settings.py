"""Settings and credentials that are broken are told as the fault: what, where, for which profile, what to type."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkedit.client import credential_process
from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection
from bulkedit.client.credential_process import ProcessFailedError, problem_of, run_credential_process
from bulkedit.errors import BulkeditError, CredentialsError, UsageError
from tests.cli.shell import Shell
from tests.privileges import as_anybody
from tests.wire.broken import CONFIGS, ROLE, SECRET
from tests.wire.servers import DATASTORE

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import Emulator


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path


async def fault(profile: str | None = None) -> BulkeditError:
    wanted = Connection(datastore_id=DATASTORE, profile=profile, endpoint_url="http://127.0.0.1:1")
    with pytest.raises(BulkeditError) as caught:
        async with connect(wanted):
            pass
    return caught.value


@pytest.mark.parametrize("name", CONFIGS)
async def test_a_broken_configuration_is_told_as_its_fault(name: str, folder: Path) -> None:
    text, profile, words = CONFIGS[name]
    (folder / "config").write_text(text, "utf-8")
    error = await fault(profile)
    assert isinstance(error, CredentialsError)
    assert error.exit_code == 4
    assert words in str(error)
    assert error.hint
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("`mfa_serial`", "aws configure export-credentials --profile r"),
        ("`login_session`", "aws configure export-credentials --profile l"),
        ("no sign-in (SSO)", "aws sso login --profile s"),
    ],
)
async def test_what_to_type_has_the_profile(name: str, words: str, folder: Path) -> None:
    text, profile, _ = CONFIGS[name]
    (folder / "config").write_text(text, "utf-8")
    assert words in str((await fault(profile)).hint)


async def test_a_file_that_is_not_utf_8_is_told(folder: Path) -> None:
    (folder / "config").write_bytes(b"[default]\nregion = \xff\n")
    error = await fault()
    assert (error.where, error.exit_code) == (str(folder / "config"), 4)


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
async def test_a_file_that_the_sdk_would_pass_over_is_named(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(folder))
    assert f"the file that {name} names is a folder." in str(await fault())
    closed = folder / "closed"
    closed.touch(0o000)
    monkeypatch.setenv(name, str(closed))
    with as_anybody():
        assert f"the file that {name} names cannot be read (Permission denied)." in str(await fault())
    monkeypatch.setenv(name, str(folder / "absent"))
    assert f"{name} names a file that does not exist." in str(await fault())
    assert f"{name} names a file that does not exist." in str(await fault("nobody"))


async def test_a_profile_that_does_not_exist_is_named_with_the_files_that_were_read(folder: Path) -> None:
    (folder / "config").write_text("[default]\nregion = us-east-1\n", "utf-8")
    error = await fault("nobody")
    assert isinstance(error, UsageError)
    assert error.where == f"{folder / 'config'}, {os.environ['AWS_SHARED_CREDENTIALS_FILE']}"
    assert error.what == "the AWS profile does not exist: nobody."


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("AWS_ACCESS_KEY_ID", f"{SECRET}\n", "AWS_ACCESS_KEY_ID: the access key has a line break in it."),
        ("AWS_SECRET_ACCESS_KEY", f"{SECRET}\r\n", "the secret key has a line break in it."),
        ("AWS_SESSION_TOKEN", f' "{SECRET}"', "the session token has a blank in it."),
        ("AWS_SESSION_TOKEN", f"{SECRET}\t", "the session token has a tab in it."),
        ("AWS_REGION", "us-east-1\n", "the name of the AWS region is not valid."),
        ("AWS_REGION", "us east 1", "the name of the AWS region is not valid."),
        ("AWS_MAX_ATTEMPTS", "lots", "AWS_MAX_ATTEMPTS is not a whole number."),
    ],
)
async def test_a_variable_with_a_character_too_many_is_named(
    name: str, text: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config").write_text(f"[profile r]\n{ROLE}credential_source = Environment\n", "utf-8")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "test")
    monkeypatch.setenv(name, text)
    error = await fault("r" if name == "AWS_MAX_ATTEMPTS" else None)
    assert said in str(error)
    assert SECRET not in str(error)


# -- programs that print credentials

KEYS = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}


def _later(**span: int) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        (KEYS, None),
        ({**KEYS, "Expiration": _later(hours=1)}, None),
        ({**KEYS, "Expiration": _later(hours=-1)}, "printed credentials that have already expired"),
        ({**KEYS, "Expiration": "soon"}, "printed an Expiration that is not a time with its zone"),
        ({**KEYS, "Expiration": "2099-01-01T00:00:00"}, "printed an Expiration that is not a time with its zone"),
        ({**KEYS, "Expiration": {}}, "printed an Expiration that is not a time with its zone"),
        ({"Version": 1, "AccessKeyId": "a"}, "printed JSON without SecretAccessKey"),
        ({"Version": 1}, "printed JSON without AccessKeyId and SecretAccessKey"),
        ({**KEYS, "AccessKeyId": ""}, "printed JSON without AccessKeyId"),
        ({**KEYS, "AccessKeyId": 7}, "printed JSON without AccessKeyId"),
        ({**KEYS, "Version": 2}, 'printed JSON without "Version": 1'),
        ([KEYS], "printed JSON that is not an object"),
    ],
)
def test_what_a_program_prints_is_checked(printed: object, problem: str | None) -> None:
    assert problem_of(json.dumps(printed).encode()) == problem


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (b"\xff\xfe", "printed something that is not UTF-8"),
        (b"", "printed nothing"),
        (b"[" * 100_000, "printed something that is not JSON"),
    ],
)
def test_output_that_is_not_json_is_told(output: bytes, problem: str) -> None:
    assert problem_of(output) == problem


async def program(text: str, **options: float) -> None:
    await run_credential_process(sys.executable, "-c", textwrap.dedent(text), **options)


async def test_a_program_that_hangs_is_ended() -> None:
    with anyio.fail_after(20), pytest.raises(ProcessFailedError) as caught:
        await program("import time; time.sleep(60)", timeout_s=0.2)
    assert caught.value.what == "did not end within 0.2 s"


async def test_a_program_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_process, "_LARGEST", 100_000)
    with anyio.fail_after(20), pytest.raises(ProcessFailedError) as caught:
        await program("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    assert caught.value.what == "printed more than 100,000 bytes"


async def test_a_program_gets_no_input() -> None:
    with pytest.raises(ProcessFailedError) as caught:
        await program("import sys; sys.exit(7 if sys.stdin.read() == '' else 0)")
    assert caught.value.what == "ended with code 7"


# -- the command line


def test_a_broken_configuration_ends_a_command_with_4_and_without_a_traceback(emulator: Emulator, folder: Path) -> None:
    shell = Shell(folder, emulator)
    path = shell.descriptions(shell.image_sets(1))
    (folder / "config").write_text("[default]\ncredential_process = /bin/echo hello\n", "utf-8")
    result = shell.run("apply", path, "--yes", "--run", "r")
    assert result.exit_code == 4
    assert "profile default: the program of credential_process /bin/echo printed something that is not JSON" in (
        result.stderr
    )
    assert "Traceback" not in result.stderr
    assert "defect" not in result.stderr
    assert not (shell.folder / "r").exists()
