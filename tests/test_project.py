"""What the project says of itself is so: addresses, classifiers, how to contribute, decisions, versions."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bulkedit._version import __version__
from tests.generated import ROOT
from tests.test_layers import ROOMS

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ADDRESS = "https://github.com/bulkedit/bulkedit"
CLASSIFIERS: list[str] = PROJECT["project"]["classifiers"]


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# -- addresses and classifiers


def test_the_addresses_are_those_of_the_project() -> None:
    urls: dict[str, str] = PROJECT["project"]["urls"]
    assert list(urls) == ["Homepage", "Documentation", "Issues", "Changelog", "Source"]
    assert [url for url in urls.values() if not url.startswith(ADDRESS)] == []
    for path in re.findall(rf"{ADDRESS}/(?:blob|tree)/main/(\S+)", "\n".join(urls.values())):
        assert (ROOT / path).exists()


def test_the_installed_package_names_the_address_for_issues() -> None:
    named = metadata.metadata("bulkedit").get_all("Project-URL") or []
    assert f"Issues, {PROJECT['project']['urls']['Issues']}" in named


def test_vulnerabilities_are_reported_privately_at_the_project() -> None:
    assert f"<{ADDRESS}/security/advisories/new>" in text_of("SECURITY.md")


def test_all_places_agree_on_the_oldest_python() -> None:
    versions = [name.rpartition(" ")[2] for name in CLASSIFIERS if re.search(r":: 3\.\d+$", name)]
    oldest = min(versions, key=lambda version: int(version.partition(".")[2]))
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert f"--python-version {oldest} " in text_of(".ci/lock/write")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in text_of("Makefile")


def test_this_python_and_system_are_among_those_that_are_named() -> None:
    """CI runs the suite, so what it runs on is named."""
    assert f"Programming Language :: Python :: {sys.version_info.major}.{sys.version_info.minor}" in CLASSIFIERS
    system = {"linux": "POSIX :: Linux", "darwin": "MacOS"}[sys.platform]
    assert f"Operating System :: {system}" in CLASSIFIERS


def test_windows_is_not_named_and_the_readme_says_so() -> None:
    assert [name for name in CLASSIFIERS if "Windows" in name or name.endswith("OS Independent")] == []
    assert "Windows: not supported; use WSL." in text_of("README.md")


# -- how to contribute

CONTRIBUTING = text_of("CONTRIBUTING.md")
TARGETS = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))


def test_every_make_target_in_the_text_is_there() -> None:
    code = [
        *re.findall(r"`([^`\n]+)`", CONTRIBUTING),
        *re.findall(r"^```\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL),
    ]
    found = [word for text in code for words in re.findall(r"\bmake ([\w.=/ -]+)", text) for word in words.split()]
    targets = {word for word in found if "=" not in word} - {".venv/.dev"}
    assert len(targets) > 5
    assert targets - TARGETS == set()


def test_every_make_target_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `make ([a-z-]+)[^`]*` \|", CONTRIBUTING, re.MULTILINE))
    assert rows == TARGETS - {"demo"}


def test_every_path_in_the_text_is_there() -> None:
    """Paths begin at the top or in the package."""
    spans = re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|md|toml))`", CONTRIBUTING)
    paths = [
        span
        for span in spans
        if "NAME" not in span and "VERSION" not in span and not span.startswith(("dist/", "build/"))
    ]
    paths = [path for path in paths if path != "config.toml"]  # the user's
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists() and not (ROOT / "bulkedit" / path).exists()] == []


def test_every_name_of_the_package_in_the_text_is_there() -> None:
    for name, file in [
        ("TAKEN", "cli/_parameters.py"),
        ("ServiceRules", "dicom/dictionary.py"),
        ("ServiceProfile", "emulator/settings.py"),
        ("CallState", "client/responses.py"),
        ("SETUP", "runs/ledger/schema.py"),
        ("SCHEMA", "runs/ledger/schema.py"),
    ]:
        assert f"`{name}`" in CONTRIBUTING
        assert re.search(rf"^(class )?{name}\b", text_of(f"bulkedit/{file}"), re.MULTILINE)


def test_the_marker_in_the_text_is_one_of_pytest() -> None:
    markers: list[str] = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    assert "-m slow" in CONTRIBUTING
    assert [marker.partition(":")[0] for marker in markers if marker.startswith("slow")] == ["slow"]


# -- before a commit


def test_hooks_are_programs_of_the_environment() -> None:
    """None is fetched, and `make` has installed all of them."""
    text = text_of(".pre-commit-config.yaml")
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    entries = re.findall(r"entry: (\S+)", text)
    assert len(entries) == len(re.findall(r"- id: ", text)) > 5
    programs = [Path(entry).relative_to(".venv/bin").name for entry in entries]
    assert [name for name in programs if not shutil.which(name, path=str(Path(sys.executable).parent))] == []


# -- decisions

DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))


def test_the_index_of_decisions_is_complete_and_in_order() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\((.+)\) \| (.+) \|$", text_of("docs/decisions/README.md"), re.MULTILINE)
    titles = [path.read_text("utf-8").partition("\n")[0] for path in DECISIONS]
    assert [(f"# {number}. {title}", name) for number, name, title in rows] == [
        (title, path.name) for title, path in zip(titles, DECISIONS, strict=True)
    ]
    assert [int(number) for number, _, _ in rows] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_parts(path: Path) -> None:
    parts = re.findall(r"^\*\*(\w+)[.:]\*\*", path.read_text("utf-8"), re.MULTILINE)
    assert [part.replace("Considered", "Rejected") for part in parts] == [
        "Status",
        "Context",
        "Decision",
        "Rejected",
        "Consequences",
    ]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_what_a_decision_names_is_there(path: Path) -> None:
    """Paths, and dotted names of the package's modules."""
    text = path.read_text("utf-8")
    named = [
        name for name in re.findall(r"`((?:[\w-]+/)+[\w-]+(?:\.\w+)?|_\w+\.py)`", text) if not name.startswith("build/")
    ]
    places = (ROOT, ROOT / "bulkedit")
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_the_rooms_that_decisions_name_are_there() -> None:
    rooms = re.findall(
        r"`(plans|audits|inventories|deidentification|runs|edits|after)`", DECISIONS[6].read_text("utf-8")
    )
    assert set(rooms) <= set(ROOMS)
    assert len(set(rooms)) == 7


# -- changelog

KINDS = ["Renamed", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def sections() -> dict[str, str]:
    parts = re.split(r"^## ", text_of("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def test_the_changelog_has_this_version_first_after_what_is_unreleased() -> None:
    first, second, *_ = sections()
    assert first == "[Unreleased]"
    version, day = second.split(" - ")
    assert version == f"[{__version__}]"
    assert str(date.fromisoformat(day)) == day


def test_the_parts_of_a_version_are_those_of_keep_a_changelog() -> None:
    for title, text in sections().items():
        kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds], title


def test_every_version_has_an_address() -> None:
    for title in sections():
        assert re.search(rf"^\[{title[1:].partition(']')[0]}\]: {ADDRESS}/", text_of("CHANGELOG.md"), re.MULTILINE), (
            title
        )
