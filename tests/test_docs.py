"""The documentation cannot drift: what it says of commands, codes, lines and links is held to the code."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
import shlex
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import typer

import bulkedit
from bulkedit import errors
from bulkedit.client.responses import CallState, Outcome
from bulkedit.deidentification import ENVIRONMENT
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.locks import LockedImageSet, LockWait
from tests import generated
from tests.cli.shell import Shell
from tests.emulator.hospital import document
from tests.runs.test_progress import NUMBERS as MINUTE
from tests.test_layers import ROOMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ROOT = generated.ROOT
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "samples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
COMMANDS = generated.commands()


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# -- what is written from the code


@pytest.mark.parametrize(("path", "name", "text"), list(generated.sections()), ids=list(map(str, generated.SECTIONS)))
def test_what_is_written_from_the_code_is_what_the_code_says(path: Path, name: str, text: str) -> None:
    begin, end = generated.marks(name)
    written = path.read_text("utf-8").partition(begin)[2].partition(end)[0]
    assert written == text, "to write it anew: python -m tests.generated"


# -- commands, options, variables


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_table_of_the_readme(command: str) -> None:
    assert re.search(rf"^\| `bulkedit {command}\b", page("README.md"), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_variable_is_under_its_command(command: str) -> None:
    section = re.split(r"^## bulkedit ", page("docs/commands.md"), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{command}\n")]
    options = [parameter for parameter in COMMANDS[command].params if parameter.param_type_name == "option"]
    options = [option for option in options if option.expose_value]  # not --help-all
    names = [name for option in options for name in (*option.opts, *generated.variables_of(option))]
    assert [name for name in names if not re.search(rf"`{name}[ `]", text)] == []


def test_every_variable_in_the_docs_is_one_of_an_option() -> None:
    options = [parameter for command in COMMANDS.values() for parameter in command.params]
    known = {ENVIRONMENT, *(name for option in options for name in generated.variables_of(option))}
    found = {name for path in PAGES for name in re.findall(r"\bBULKEDIT_[A-Z_]+\b", path.read_text("utf-8"))}
    assert found - known == set()


def command_lines() -> Iterator[tuple[str, str]]:
    """Page and line of every `bulkedit …` of a code block, without prompt, comment and what it is piped to.

    Continued lines are one.
    """
    for path in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.removeprefix("$ ").split(" | "):
                    if re.match(r"(\S+/)?bulkedit [a-z-]", part.strip()):
                        yield named(path), part.strip()


def refusal(line: str) -> str | None:
    """What is wrong with the words of a command line."""
    _, command, *words = shlex.split(line, comments=True)
    if words and f"{command} {words[0]}" in COMMANDS:
        command, *words = f"{command} {words[0]}", *words[1:]
    try:
        COMMANDS[command].make_context(command, words)
    except (KeyError, typer.TyperException) as error:
        return str(error)
    return None


def test_every_command_line_in_the_docs_is_understood() -> None:
    lines = list(command_lines())
    assert len(lines) > 40
    assert [(page, line, wrong) for page, line in lines if (wrong := refusal(line))] == []


def test_code_spans_name_options_that_exist() -> None:
    known = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}
    known |= {"--help", "--version"}
    spans = [
        (named(path), span)
        for path in PAGES
        for span in re.findall(r"`(bulkedit [a-z]+ [^`]*)`", path.read_text("utf-8"))
    ]
    wrong = [
        (place, name) for place, span in spans for name in re.findall(r"(?<!\S)--[a-z-]+", span) if name not in known
    ]
    assert wrong == []


# -- the library


def test_the_reference_of_the_library_has_all_its_names_and_no_other() -> None:
    written = re.findall(r"^\.\. auto(?:function|class):: (\w+)$", page("docs/api.md"), re.MULTILINE)
    assert sorted(written) == sorted({*bulkedit.__all__} - {"__version__"})


# -- exit codes and errors

CODES = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
CLASSES = dict(inspect.getmembers(errors, lambda x: inspect.isclass(x) and issubclass(x, errors.BulkeditError)))


def test_every_exit_code_is_in_the_docs_and_no_other() -> None:
    table = page("docs/exit-codes.md").partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(CODES.values())


def test_the_readme_has_the_exit_codes_that_are_in_use() -> None:
    codes = re.findall(r"^\| (\d+) \|", page("README.md"), re.MULTILINE)
    assert [int(code) for code in codes] == sorted(CODES.values())


def test_every_error_has_its_exit_code_in_the_docs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page("docs/exit-codes.md"), re.MULTILINE)
    assert {name: int(code) for name, code in rows} == {name: error.exit_code for name, error in CLASSES.items()}
    assert len(rows) == len(CLASSES)


# -- JSON lines


def documented() -> dict[str, set[str]]:
    """Fields by type, as docs/json-output.md has them."""
    types: dict[str, set[str]] = {}
    for section in re.split(r"^## ", page("docs/json-output.md"), flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        cells = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
        types[name] = {field for cell in cells for field in re.findall(r"`(\w+)`", cell)}
    types["status"] |= types["summary"]
    return types


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One line of each type, from real commands."""
    from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve

    folder = tmp_path_factory.mktemp("json")
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        return {line["type"]: line for line in _lines(Shell(folder, emulator))}


def _lines(shell: Shell) -> Iterator[dict[str, Any]]:
    image_sets = shell.image_sets(2)
    edits = shell.descriptions(image_sets)
    yield from shell.run("plan", edits, "-o", "p", "--json").json
    yield from shell.run("plan", shell.write("bad.csv", "image_set_id,StudyDate\nabc,x\n"), "--json").json
    yield from shell.run("apply", edits, "--yes", "--run", "r", "--json").json
    yield from shell.run("status", "r", "--json").json
    yield from shell.run("runs", "--json").json
    yield from shell.run("runs", "prune", "p", "--older-than", "0h", "--dry-run", "--json").json
    yield from shell.run("report", "r", "--only", "applied", "--results", "out", "--html", "page.html", "--json").json
    yield from shell.run("report", "r", "--request-ids", "--json").json[:1]
    yield from shell.run("revert", "r", "-o", "back", "--json").json
    yield from shell.run("inventory", "-o", "i.parquet", "--json").json
    yield from shell.run("report", "r", "--inventory", "i.parquet", "--json").json[:-1]
    chosen = ("--from", "i.parquet", "--where", "primary or not primary", "-o", "chosen.csv")
    yield from shell.run("inventory", *chosen, "--json").json
    shell.run("apply", shell.descriptions([image_sets[1]], "more.csv"), "--yes", "--run", "s")
    yield from shell.run("verify", "r", "--history", "--json").json
    (shell.folder / "log.json").write_text('{"Records": []}')
    yield from shell.run("trail", "r", "log.json", "--json").json
    yield from shell.run("revert", "r", "--json").json
    yield MINUTE.as_json()  # comes once a minute only
    yield {"type": "locked", **LockedImageSet(LockWait(None, 0.0), 1).as_json()}  # of a lock that lasts
    key = {ENVIRONMENT: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
    shell.emulator.add(document(study="1.2.99"), primary=True)
    yield from shell.run("deid", "--deid-profile", "basic", "--all", "-o", "d.csv", "--json", env=key).json
    yield from shell.run("deid", "--deid-profile", "basic", "--explain", "--json").json[:1]
    yield from shell.run("deid", "--new-key", "deid.key", "--json").json
    yield from shell.run("audit", "r", "--json").json
    (shell.folder / ".p.1a2b3c4d.bulkedit-draft").mkdir()
    yield from shell.run("clean", "--json").json
    with shell.started("emulate", "--port", "0", "--json") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def test_every_type_of_line_is_in_the_docs(lines: dict[str, dict[str, Any]]) -> None:
    assert sorted(documented()) == sorted(lines)


@pytest.mark.parametrize("name", documented())
def test_every_field_of_a_line_is_in_the_docs(lines: dict[str, dict[str, Any]], name: str) -> None:
    assert sorted(documented()[name]) == sorted(lines[name])


@pytest.mark.parametrize("word", [*CallState, *Outcome])
def test_every_standing_and_outcome_is_in_the_docs(word: str) -> None:
    assert f"`{word}`" in page("docs/json-output.md")


# -- links


def links() -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target):
                yield path, target


def leads_somewhere(path: Path, target: str) -> bool:
    file, _, heading = target.partition("#")
    there = (path.parent / file).resolve() if file else path
    if not there.exists():
        return False
    if not heading:
        return True
    titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere() -> None:
    found = list(links())
    assert len(found) > 40
    assert [(named(path), target) for path, target in found if not leads_somewhere(path, target)] == []


@pytest.mark.parametrize("path", [path for path in PAGES if path.parent.name == "docs"], ids=named)
def test_every_page_can_be_found_from_the_readme(path: Path) -> None:
    assert f"]({named(path)})" in page("README.md")


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_page_has_one_title_and_closes_its_code(path: Path) -> None:
    text = path.read_text("utf-8")
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "```" not in outside
    assert len(re.findall(r"^# ", outside, re.MULTILINE)) == 1


# -- glossary

WORDS = re.findall(r"^\| \*\*([\w -]+)\*\* \|", page("docs/glossary.md"), re.MULTILINE)


@pytest.mark.parametrize("word", sorted({*CallState, *Outcome}))
def test_every_state_and_outcome_is_in_the_glossary(word: str) -> None:
    assert f"**{word}**" in page("docs/glossary.md")


def test_the_glossary_has_each_word_once_and_in_order() -> None:
    assert len(WORDS) > 40
    assert sorted(set(WORDS), key=str.lower) == WORDS


def test_the_glossary_explains_each_word_in_a_sentence_or_two() -> None:
    rows = [line.split(" | ") for line in page("docs/glossary.md").splitlines() if line.startswith("| **")]
    assert len(rows) == len(WORDS)
    assert [row[0] for row in rows if not row[1].endswith(".") or row[1].count(". ") > 1] == []


# -- architecture


def test_the_rooms_are_those_that_a_test_holds() -> None:
    table = page("docs/architecture.md").partition("| room | what is in it |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS


def test_the_way_of_one_row_names_what_is_there() -> None:
    way = page("docs/architecture.md").partition("## The way of one row")[2].partition("\n## ")[0]
    names = re.findall(rf"`((?:{'|'.join(ROOMS)})\.[\w.]+)`", way)
    assert len(names) > 20
    for name in names:
        pkgutil.resolve_name(f"bulkedit.{name}")


def test_the_tables_of_the_ledger_have_the_columns_that_are_written_down(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.create(path).close()
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    ).fetchall()
    connection.close()
    tables = re.split(r"^## ", page("docs/ledger.md").partition("<!-- /ledger -->")[0], flags=re.MULTILINE)[1:]
    written = [
        (table.split("\n", 1)[0], name) for table in tables for name in re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    ]
    assert written == found
