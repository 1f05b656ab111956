"""The rooms of bulkedit: imports between them point down only, no modules import one another in a circle, the heavy
libraries are imported in one room each, and no class name is taken twice."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bulkedit"

# from the top; a room may import those below it, and nothing beside it
ROOMS = [
    *("__main__", "cli", "api"),
    *("audits", "deidentification", "after", "runs", "plans", "inventories", "edits"),
    "options",
    *("emulator", "client", "dicom"),
    *(
        "_progress",
        "_concurrency",
        "_log",
        "_files",
        "_received",
        "errors",
        "_json",
        "_printable",
        "_version",
        "_words",
    ),
]
HEIGHT = {room: -place for place, room in enumerate(ROOMS)}
SDK = {  # all are imported late, by `client.connect`
    "client.aws",
    "client.aws_session",
    "client.credential_faults",
    "client.credential_process",
    "client.lasting_credentials",
    "client.service_clock",
    "client.transport",
}
ONLY_IMPORTERS = {  # modules, or rooms
    "aioboto3": {"client.aws", "client.aws_session"},
    "botocore": {*SDK, "emulator"},
    "aiobotocore": {"client.aws", "client.aws_session", "client.service_clock", "client.transport"},
    "tenacity": {"client.reader", "runs.retry"},
}


def modules() -> dict[str, Path]:
    """By name inside the package: cli.app, errors."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
INSIDE = [(name, path) for name, path in MODULES.items() if name]  # all but the package's own face


@cache
def syntax(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


@cache
def imports(path: Path) -> set[str]:
    """What a module imports, also for types only and inside functions."""
    names: set[str] = set()
    for node in syntax(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a module imports."""
    own = {name.removeprefix("bulkedit.") for name in imports(path) if name.startswith("bulkedit.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in own}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def test_imports_between_rooms_point_down() -> None:
    found = [(module, room_of(other)) for module, path in INSIDE for other in imported_modules(path)]
    upwards = [
        f"{module} imports of {other}"
        for module, other in found
        if other != room_of(module) and HEIGHT[other] >= HEIGHT[room_of(module)]
    ]
    assert found
    assert upwards == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {name: imported_modules(path) - {name} for name, path in INSIDE}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_class_name_is_taken_twice() -> None:
    """Also not by classes inside functions and classes."""
    found: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in syntax(path):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name)
    assert found
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_every_module_is_in_a_room() -> None:
    assert {room_of(name) for name, _ in INSIDE} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_its_tests(room: str) -> None:
    """In tests/ROOM, or in tests/test_ROOM.py, without the underscores of its name."""
    tests, name = Path(__file__).parent, "main" if room == "_version" else room.strip("_")
    assert (tests / f"test_{name}.py").is_file() or any((tests / name).rglob("test_*.py"))


def test_each_heavy_library_has_one_importer() -> None:
    found = [(module, name, name.split(".")[0]) for module, path in INSIDE for name in imports(path)]
    elsewhere = [
        f"{module} imports {name}"
        for module, name, library in found
        if not {module, room_of(module)} & ONLY_IMPORTERS.get(library, {module})
    ]
    assert {library for _, _, library in found} >= ONLY_IMPORTERS.keys()
    assert elsewhere == []


def test_runs_and_emulator_do_not_know_each_other() -> None:
    for name, path in INSIDE:
        rooms = {room_of(name), *(room_of(other) for other in imported_modules(path))}
        assert not {"runs", "emulator"} <= rooms or room_of(name) in {"cli", "api"}, name


def test_what_asks_nothing_of_aws_does_not_load_it() -> None:
    """A third of a second of every `plan` and `report` would go there."""
    heavy = {"aioboto3", "aiohttp", "boto3", "botocore"}
    load = "[load_command(name) for name in COMMANDS]"
    code = f"import sys; from bulkedit.cli.app import COMMANDS, load_command; {load}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_application_and_status_load_no_frames() -> None:
    """What a run of `--help` and `status` loads beside is in tests/cli/test_start.py."""
    heavy = {"polars", "pydicom", "numpy", "asyncio", "aiohttp", "botocore"}
    code = f"import sys; import bulkedit.cli.app, bulkedit.cli.status; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
