"""Runs the program of `credential_process`, which prints credentials as JSON.

The SDK waits for it without limit, leaves it the terminal, and fails on unexpected output with errors of its parser.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from subprocess import DEVNULL, PIPE
from typing import Final

import anyio
from botocore.exceptions import CredentialRetrievalError
from botocore.utils import parse_timestamp

TIMEOUT_S: Final = 60.0
_LARGEST: Final = 1024 * 1024  # bytes of output
_KEYS: Final = ("AccessKeyId", "SecretAccessKey")


class ProcessFailedError(CredentialRetrievalError):
    """The program gave no credentials."""

    def __init__(self, what: str, program: str | None = None) -> None:
        super().__init__(provider="custom-process", error_msg=what)
        self.what = what  # our own words; never its output, which may have secrets
        self.program = program


class Printed:
    """A program that has ended, with the interface of a process that has not."""

    returncode: Final = 0

    def __init__(self, output: bytes) -> None:
        self._output = output

    async def communicate(self) -> tuple[bytes, bytes]:
        """What it has printed."""
        return self._output, b""


async def run_credential_process(*words: str, timeout_s: float = TIMEOUT_S, **_: object) -> Printed:
    """Run the program, which gets no input, and check what it prints. Raises ProcessFailedError."""
    if not words:
        raise ProcessFailedError("names no program")
    program = words[0]
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise ProcessFailedError(f"could not be started ({reason})", program) from error
    try:
        with anyio.fail_after(timeout_s):
            output = await _output(process)
            code = await process.wait()
    except TimeoutError as error:
        raise ProcessFailedError(f"did not end within {timeout_s:g} s", program) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
    if len(output) > _LARGEST:
        raise ProcessFailedError(f"printed more than {_LARGEST:,} bytes", program)
    if code:
        raise ProcessFailedError(f"ended with code {code}", program)
    if (problem := problem_of(output)) is not None:
        raise ProcessFailedError(problem, program)
    return Printed(output)


async def _output(process: asyncio.subprocess.Process) -> bytes:
    """What the program prints; a little more than the limit if it is too much."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    output = bytearray()
    while len(output) <= _LARGEST and (piece := await process.stdout.read(65_536)):
        output += piece
    if len(output) > _LARGEST:
        process.kill()
    return bytes(output)


def problem_of(output: bytes) -> str | None:
    """What is wrong with the output of a program; None for credentials. The format: AWS SDKs reference guide."""
    try:
        found = json.loads(output.decode())
    except UnicodeDecodeError:
        return "printed something that is not UTF-8"
    except (ValueError, RecursionError):
        return "printed nothing" if not output.strip() else "printed something that is not JSON"
    if not isinstance(found, dict):
        return "printed JSON that is not an object"
    if found.get("Version") != 1:
        return 'printed JSON without "Version": 1'
    if missing := [name for name in _KEYS if not isinstance(found.get(name), str) or not found[name]]:
        return f"printed JSON without {' and '.join(missing)}"
    return _problem_of_expiration(found.get("Expiration"))


def _problem_of_expiration(expiration: object) -> str | None:
    if expiration is None:
        return None
    try:
        until = parse_timestamp(str(expiration))
        ended = until <= datetime.now(UTC)
    except (OverflowError, TypeError, ValueError):
        return "printed an Expiration that is not a time with its zone"
    return "printed credentials that have already expired" if ended else None
