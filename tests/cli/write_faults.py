"""Commands as processes that are killed, or meet an error of the disk, at the n-th call that writes a file.

`write_faults.c` counts the calls. Used by `test_write_faults.py`, and for every call by `benchmarks/kills.py`.
Processes are forked from one that has imported everything: an import takes longer than the command.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tests.cli.shell import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPILER: Final = shutil.which("cc")
_PATIENT_S: Final = 60  # for one command
_IMPORTED: Final = (
    *("bulkedit.cli.plan", "bulkedit.cli.apply", "bulkedit.cli.report", "bulkedit.cli.inventory", "bulkedit.cli.deid"),
    *("bulkedit.client.aws", "aioboto3", "jinja2", "anyio._backends._asyncio", "sqlite3"),
)


@functools.cache
def library() -> str:
    """Path of the compiled library; it stays until the tests end."""
    made = Path(tempfile.mkdtemp(prefix="write-faults-")) / "write_faults.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([COMPILER or "cc", "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return str(made)


@dataclass(frozen=True, slots=True)
class WriteFault:
    """What happens at the n-th call that writes."""

    at: int  # from 1; 0: nothing
    how: str  # before, half, after, or the name of an errno
    lasts: bool = False  # later calls that need space fail too
    only: str = ""  # count only calls whose "NAME PATH" contains this; "ledger": those of ledger, log and anchor

    def env(self, root: Path) -> dict[str, str]:
        """The variables that `write_faults.c` reads."""
        how = str(getattr(errno, self.how)) if self.how.startswith("E") else self.how
        return {
            "FAULT_ROOT": str(root),
            "FAULT_AT": str(self.at),
            "FAULT_HOW": how,
            "FAULT_LASTS": str(int(self.lasts)),
            "FAULT_ONLY": self.only,
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that met a fault, or ended before it did."""

    result: Result  # exit code -9: killed
    writes: list[str]  # the calls that write, as "NAME PATH"


class Commands:
    """Starts commands with faults."""

    def __init__(self, server: subprocess.Popen[str], scratch: Path) -> None:
        self._server, self._scratch = server, scratch

    def run(self, folder: Path, words: tuple[str | Path, ...], env: dict[str, str], fault: WriteFault) -> Ended:
        """Run a command in a folder, and wait until it has ended."""
        files = {name: self._scratch / name for name in ("stdout", "stderr", "writes")}
        for file in files.values():
            file.write_bytes(b"")
        order = {
            "folder": str(folder),
            "words": [*map(str, words)],
            "env": {**env, **fault.env(folder), "FAULT_LOG": str(files["writes"])},
            "stdout": str(files["stdout"]),
            "stderr": str(files["stderr"]),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        stdout, stderr, writes = (file.read_text("utf-8", errors="replace") for file in files.values())
        numbered = sorted((int(number), rest) for number, rest in (one.split(" ", 1) for one in writes.splitlines()))
        return Ended(Result(code, stdout, stderr), [rest for _, rest in numbered])


@contextmanager
def commands() -> Iterator[Commands]:
    """A process that starts commands."""
    with tempfile.TemporaryDirectory(prefix="write-faults-") as name:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.write_faults"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "LD_PRELOAD": library(), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Commands(server, Path(name))
        finally:
            server.kill()
            server.communicate()


def _serve() -> None:
    """Fork a process for each line of standard input, and print its exit code."""
    from botocore.loaders import JSONFileLoader

    read = functools.cache(JSONFileLoader().load_file)
    JSONFileLoader.load_file = lambda _, path: read(path)  # type: ignore[method-assign,assignment]
    for name in _IMPORTED:
        importlib.import_module(name)
    from bulkedit.cli._commands import COMMANDS
    from bulkedit.cli.app import load_command

    for name in COMMANDS:
        load_command(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _carry_out(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _carry_out(order: dict[str, Any]) -> NoReturn:
    """The command, in the forked process."""
    from bulkedit.cli.app import app

    signal.alarm(_PATIENT_S)
    os.environ.update(order["env"])
    os.chdir(order["folder"])
    for descriptor, path in enumerate((os.devnull, order["stdout"], order["stderr"])):
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    ctypes.CDLL(None).arm()
    code: Any = 0
    try:
        app(order["words"])
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _serve()
