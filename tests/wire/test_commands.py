"""The commands, as a person runs them, with an attacker in between: nothing is sent, and the words say what to do."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.cli.shell import Result, Shell
from tests.wire.cases import CONFIG
from tests.wire.servers import Authority, Certificate, Server, fronting, proxying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bulkedit.emulator import Emulator

    _Env = dict[str, str | None]


@asynccontextmanager
async def in_between(shell: Shell, authority: Authority, shown: Certificate) -> AsyncIterator[tuple[Server, _Env]]:
    """A server with a certificate, behind a proxy that leads every host of AWS to it; and the environment for that."""
    async with fronting(port_of(shell.emulator), authority.server(shown)) as front, proxying(front.port) as proxy:
        config = shell.folder / "config"
        config.write_text(CONFIG, "utf-8")
        yield (
            front,
            {
                "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
                "AWS_CA_BUNDLE": str(authority.bundle),
                "AWS_CONFIG_FILE": str(config),
                "AWS_MAX_ATTEMPTS": "1",
                "BULKEDIT_ENDPOINT_URL": None,
            },
        )


def port_of(emulator: Emulator) -> int:
    return int(emulator.rsplit(":", 1)[1])


async def call(shell: Shell, *words: str, env: _Env) -> Result:
    return await asyncio.to_thread(shell.call, *words, env=env)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """One that answers for the hosts of AWS, which the proxy leads to it."""
    hosts = tuple(f"{prefix}medical-imaging.us-east-1.amazonaws.com" for prefix in ("", "runtime-"))
    with serve(
        Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01), allowed_hosts=hosts)
    ) as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, emulator: Emulator) -> Shell:
    made = Shell(tmp_path, emulator)
    lines = [f"{each},CANARY^JANE\n" for each in made.image_sets(3)]
    made.write("edits.csv", "image_set_id,PatientName\n" + "".join(lines))
    return made


async def test_apply_works_through_a_proxy_to_a_server_that_proves_who_it_is(shell: Shell, tmp_path: Path) -> None:
    async with in_between(shell, Authority(tmp_path), Certificate.RIGHT) as (front, env):
        done = await call(shell, "apply", "edits.csv", "--yes", "--run", "r", "--json", env=env)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["applied"] == 3
    assert b"".join(front.requests).count(b"Host: runtime-medical-imaging.us-east-1.amazonaws.com") > 0


@pytest.mark.parametrize(
    "shown",
    [
        Certificate.EXPIRED,
        # the tests of the client have these in their short form; a command does not distinguish them
        *(pytest.param(each, marks=pytest.mark.slow) for each in (Certificate.SELF_SIGNED, Certificate.WRONG_HOST)),
    ],
    ids=str,
)
async def test_apply_sends_nothing_to_a_server_that_does_not(shown: Certificate, shell: Shell, tmp_path: Path) -> None:
    async with in_between(shell, Authority(tmp_path), shown) as (front, env):
        done = await call(shell, "apply", "edits.csv", "--yes", "--run", "r", env=env)
        assert front.requests == []
        assert done.exit_code == 4
        assert "certificate could not be verified" in " ".join(done.stderr.split())
        todo = {Certificate.EXPIRED: "timedatectl", Certificate.WRONG_HOST: "belongs to another server"}
        assert todo.get(shown, "AWS_CA_BUNDLE") in done.stderr
        assert "Traceback" not in done.stderr
        with_role = await call(shell, "apply", "edits.csv", "--yes", "--run", "q", "--profile", "role", env=env)
        assert (front.requests, with_role.exit_code) == ([], 4)
        assert "Traceback" not in with_role.stderr
    # nothing was sent and nothing is kept: with the right server the same command runs
    async with in_between(shell, Authority(tmp_path), Certificate.RIGHT) as (_, env):
        again = await call(shell, "apply", "edits.csv", "--yes", "--run", "r", env=env)
    assert again.exit_code == 0, again.stderr


@pytest.mark.slow  # tests/wire/test_settings.py holds the same without a process
async def test_a_certificate_of_this_side_is_an_option(shell: Shell, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.client()
    context = authority.server(Certificate.RIGHT, asks_client=True)
    async with fronting(port_of(shell.emulator), context) as front:
        env: _Env = {
            "AWS_CA_BUNDLE": str(authority.bundle),
            "BULKEDIT_ENDPOINT_URL": f"https://localhost:{front.port}",
        }
        shown = ("--client-cert", "client.pem", "--client-key", "client.key")
        done = await call(shell, "apply", "edits.csv", "--yes", "--run", "r", *shown, env=env)
        assert done.exit_code == 0, done.stderr
        # the run keeps where they are, as absolute paths
        kept = json.loads((shell.folder / "r/run.json").read_text("utf-8"))["settings"]["connection"]
        assert (kept["client_cert"], kept["client_key"]) == (str(tmp_path / "client.pem"), str(tmp_path / "client.key"))
        verified = await call(shell, "verify", "r", env=env)
        assert verified.exit_code == 0, verified.stderr
