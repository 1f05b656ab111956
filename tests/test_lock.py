"""The lock files in .ci/lock hold what pyproject.toml asks for, one version of each package, with hashes."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.dependency_groups import resolve_dependency_groups
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.generated import ROOT
from tests.lock_files import FOLDER, entries, pins

if TYPE_CHECKING:
    from pathlib import Path

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = sorted(FOLDER.glob("*.txt"))
RUN_TIME: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: list[str] = [text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra]


def group(name: str) -> list[str]:
    return list(resolve_dependency_groups(PROJECT["dependency-groups"], name))


ASKED = {
    "demo": RUN_TIME + group("build"),
    "dev": RUN_TIME + EXTRAS + group("dev"),
    "docs": RUN_TIME + group("docs"),
    "pip": group("pip"),
    "run": RUN_TIME + EXTRAS,
    "uv": group("uv"),
}


def test_every_lock_is_one_that_is_asked_for() -> None:
    assert [path.stem for path in LOCKS] == sorted(ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_holds_a_fitting_version_of_all_that_is_asked_for(name: str) -> None:
    asked = [Requirement(text) for text in ASKED[name]]
    assert asked
    unmet = [str(one) for one in asked if not fits(one, FOLDER / f"{name}.txt")]
    assert unmet == [], "to renew the locks: make lock"


def fits(asked: Requirement, lock: Path) -> bool:
    versions = [pin.version for pin in pins(lock) if pin.name == canonicalize_name(asked.name)]
    return bool(versions) and all(asked.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_entry_is_one_version_with_hashes_and_no_place(lock: Path) -> None:
    shape = re.compile(r"[a-z0-9-]+==[0-9][\w.+!]*( ; [^:@/]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert [line for line in entries(lock) if not shape.fullmatch(line)] == []
    assert "://" not in lock.read_text("utf-8")


def test_locks_agree_on_versions() -> None:
    dev = {str(pin.requirement): set(pin.hashes) for pin in pins(FOLDER / "dev.txt")}
    for name in ("run", "demo"):
        for pin in pins(FOLDER / f"{name}.txt"):
            assert dev.get(str(pin.requirement)) == set(pin.hashes), (name, pin.name)


def test_the_lock_of_the_docs_changes_nothing_that_the_tests_run_with() -> None:
    dev = {pin.name: set(pin.hashes) for pin in pins(FOLDER / "dev.txt")}
    both = [pin for pin in pins(FOLDER / "docs.txt") if pin.name in dev]
    assert len(both) > 20
    assert [pin.name for pin in both if set(pin.hashes) != dev[pin.name]] == []


def test_the_build_group_holds_all_that_the_build_requires() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(group("build"))


def test_make_and_ci_install_nothing_else() -> None:
    """What pip installs is in a lock, or is this package without its dependencies."""
    lines = [line.strip() for name in ("Makefile", ".ci/run") for line in (ROOT / name).read_text("utf-8").splitlines()]
    installs = [line for line in lines if re.search(r"\b(install|wheel) -|\$\(LOCKED\)", line)]
    assert len(installs) > 5
    allowed = re.compile(r".*(\$\(LOCKED\) -r \$\(LOCK\)/\w+\.txt|--no-deps .*(\.|\$\(WHEEL\)\S*))")
    assert [line for line in installs if not allowed.fullmatch(line) and not line.startswith("LOCKED :=")] == []
    assert "LOCKED := install --quiet --require-hashes --only-binary :all:" in lines
