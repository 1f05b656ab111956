"""Imports between the modules of bulkedit point down only, and the two heavy libraries stay in one module each."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bulkedit"

LAYERS = [
    {
        *("abreast", "destination", "dicom", "edit", "errors", "files"),
        *("pacing", "printable", "received", "service_messages"),
    },
    {"outcome", "answers", "client", "editlist", "inventory", "deid", "leaks", "holding", "anchor"},
    {"verdict", "planner", "ledger", "aws", "aws_session", "transport", "emulator"},
    {"connection", "full_messages", "runs", "reading", "changes", "own_versions", "recipe"},
    {"engine", "reports", "readback", "reversal", "leakcheck"},
    {"commands"},
    {"cli", "library"},
    {"__main__"},
]
LEVEL_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
# beside one another in the lowest layers, where the order inside the layer is written here
ALLOWED_SIDEWAYS = {
    ("edit", "dicom"),
    ("service_messages", "dicom"),
    ("client", "outcome"),
    ("answers", "outcome"),
    ("aws", "aws_session"),
    ("aws", "transport"),
    ("aws_session", "transport"),
    ("edit", "errors"),
    ("errors", "printable"),
    ("destination", "errors"),
    ("received", "errors"),
    ("dicom", "errors"),
    ("pacing", "errors"),
    ("inventory", "answers"),
    ("deid", "answers"),
    ("inventory", "client"),
    ("inventory", "outcome"),
    ("inventory", "editlist"),
    ("changes", "runs"),
    ("changes", "recipe"),
    ("deid", "client"),
    ("deid", "outcome"),
    ("deid", "inventory"),
}
ONLY_IMPORTERS = {
    "aioboto3": {"aws", "aws_session"},
    "botocore": {"aws", "aws_session", "transport", "emulator"},
    "aiobotocore": {"aws", "aws_session", "transport"},
    "tenacity": {"engine"},
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        found.append((place.parts[0].removesuffix(".py"), path))
    return [(module, path) for module, path in found if module != "__init__"]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda x: str(x).removeprefix(str(PACKAGE)))
def test_imports_point_down_only(module: str, path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "bulkedit" or len(parts) == 1 or parts[1] not in LEVEL_OF or parts[1] == module:
            continue
        down = LEVEL_OF[parts[1]] < LEVEL_OF[module]
        assert down or (module, parts[1]) in ALLOWED_SIDEWAYS, f"{path} imports {name}"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda x: str(x).removeprefix(str(PACKAGE)))
def test_each_heavy_library_has_one_importer(module: str, path: Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        assert module in ONLY_IMPORTERS.get(library, {module}), f"{path} imports {name}"


def test_every_module_has_a_layer() -> None:
    assert {module for module, _ in modules()} <= set(LEVEL_OF)


def test_engine_and_emulator_do_not_know_each_other() -> None:
    for module, path in modules():
        for name in imports(path):
            assert (module, name.split(".")[1:2]) not in [("engine", ["emulator"]), ("emulator", ["engine"])]


def test_what_asks_nothing_of_aws_does_not_load_it() -> None:
    """A third of a second of every `--help`, `status` and `plan` would go there."""
    heavy = {"aioboto3", "aiohttp", "boto3", "botocore"}
    code = f"import sys, bulkedit.cli.app; print([name for name in sys.modules if name in {heavy}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
