"""docs/emulator.md says what there is, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from bulkedit.cli._parameters import EMULATOR_PORT
from bulkedit.cli.app import load_command
from bulkedit.emulator import (
    DEFAULT_DATASTORE_ID,
    PROFILES,
    CompletionTime,
    Entry,
    Fault,
    FaultKind,
    Settings,
    switches,
)
from bulkedit.emulator.http.control import _ACTIONS

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "emulator.md").read_text("utf-8")


def named(text: str) -> bool:
    return f"`{text}`" in PAGE


@pytest.mark.parametrize("name", switches())
def test_each_switch_is_there_with_its_choices_and_defaults(name: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    choices = switches()[name]
    assert all(f"`{choice}`" in row for choice in choices)
    default, old = getattr(PROFILES["2026"], name), getattr(PROFILES["2025"], name)
    assert str(default) in row.split("|")[2].split(",")[0]
    assert old == default or name == "service_version" or f"(2025: `{old}`)" in row


@pytest.mark.parametrize("kind", FaultKind)
def test_each_fault_is_there(kind: FaultKind) -> None:
    assert f"| `{kind}` |" in PAGE


@pytest.mark.parametrize("record", [Fault, Entry, Settings, CompletionTime])
def test_each_field_is_there(record: type) -> None:
    hidden = {"kind", "account", "region", "journal_limit"} if record is not Entry else set()
    missing = {f.name for f in dataclasses.fields(record) if not re.search(rf"\b{f.name}\b", PAGE)}
    assert missing <= hidden


@pytest.mark.parametrize(("method", "path"), list(_ACTIONS))
def test_each_control_request_is_there(method: str, path: str) -> None:
    assert f"`{method} /_emulator{'/' if path else ''}{path}" in PAGE


def test_each_option_is_there_and_no_other() -> None:
    options = {name for one in load_command("emulate").params if one.expose_value for name in one.opts}
    options -= {"--verbose", "-v", "--log-file"}  # those of every command
    section = PAGE.partition("## Every option")[2].partition("## What it does not do")[0]
    assert set(re.findall(r"`(--[a-z-]+)", section)) == options


def test_the_numbers_are_those_of_the_code() -> None:
    assert named(DEFAULT_DATASTORE_ID)
    assert f"`--port N` | {EMULATOR_PORT};" in PAGE


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+\.py(?:::\w+)?)`", PAGE))))
def test_each_test_that_it_names_exists(name: str) -> None:
    file, _, member = name.partition("::")
    source = (HERE / file).read_text("utf-8")
    assert not member or re.search(rf"^(class|def) {member}\b", source, re.MULTILINE)
