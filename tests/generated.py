"""The parts of the documentation that are written from the code.

`python -m tests.generated` writes them anew; `test_docs.py` holds them to the code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkedit.cli._commands import COMMANDS
from bulkedit.cli.app import load_command
from bulkedit.runs import ledger
from bulkedit.runs.copy_transitions import COPIES, DELETIONS
from bulkedit.runs.transitions import CALLS
from tests.edits import cell_kinds
from tests.wire import broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]


def commands() -> dict[str, Any]:
    """The commands by name, in the order of use."""
    return {name: load_command(name) for name in COMMANDS}


def _commands() -> str:
    """Every command with its example, arguments and options."""
    parts = []
    for name, command in commands().items():
        about, _, example = command.help.partition("Example: ")
        parts += [f"## bulkedit {name}", "", about.strip(), "", "```", example.strip(), "```", ""]
        parts += ["| argument or option | variable | default | meaning |", "|---|---|---|---|"]
        parts += [_row(parameter) for parameter in command.params if parameter.expose_value]  # not --help-all
        parts.append("")
    return "\n".join(parts).strip()


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| {_code(parameter.metavar)} | | | {_text(parameter.help)} |"
    value = f" {parameter.metavar}" if parameter.metavar else "" if parameter.is_flag else " VALUE"
    names = ", ".join(_code(name + value if i == 0 else name) for i, name in enumerate(parameter.opts))
    default = parameter.default if parameter.show_default is True and not parameter.is_flag else None
    variables = ", ".join(f"`{name}`" for name in variables_of(parameter))
    return f"| {names} | {variables} | {_code(default)} | {_text(parameter.help)} |"


def variables_of(parameter: Any) -> list[str]:
    """The environment variables of an option."""
    found = parameter.envvar
    return [found] if isinstance(found, str) else list(found or [])


def _text(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


def _code(text: object) -> str:
    return "" if text is None else "`" + str(text).replace("|", "\\|") + "`"


def _ledger() -> str:
    """The tables of the ledger, with the comment that each column has in the statement that makes it."""
    parts = []
    for name, body in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\) STRICT", ledger.SETUP, re.DOTALL):
        columns = re.findall(r"^ +(\w+) +(.+?),? *-- (.+)$", body, re.MULTILINE)
        parts += [f"## {name}", "", "| column | type | meaning |", "|---|---|---|"]
        parts += [f"| `{column}` | {kind} | {_text(about)} |" for column, kind, about in columns]
        parts.append("")
    return "\n".join(parts).strip()


def _cells() -> str:
    """What each kind of cell means, by kind of attribute."""
    return cell_kinds.table()


SECTIONS: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/commands.md", "commands"): _commands,
    ("docs/architecture.md", "picture of calls"): CALLS.picture,
    ("docs/architecture.md", "calls"): CALLS.lines,
    ("docs/architecture.md", "picture of copies"): COPIES.picture,
    ("docs/architecture.md", "copies"): COPIES.lines,
    ("docs/architecture.md", "picture of deletions"): DELETIONS.picture,
    ("docs/architecture.md", "deletions"): DELETIONS.lines,
    ("docs/ledger.md", "ledger"): _ledger,
    ("docs/edit-lists.md", "cells"): _cells,
    ("docs/how-to.md", "broken configurations"): broken.configurations,
    ("docs/how-to.md", "lost answers"): broken.causes,
}


def sections() -> Iterator[tuple[Path, str, str]]:
    """File, name and text of each generated section."""
    for (file, name), make in SECTIONS.items():
        yield ROOT / file, name, make()


def marks(name: str) -> tuple[str, str]:
    """What stands before and behind a generated section."""
    return f"<!-- {name} -->\n", f"\n<!-- /{name} -->"


def main() -> None:
    for path, name, text in sections():
        begin, end = marks(name)
        before, found, rest = path.read_text("utf-8").partition(begin)
        if not found:
            raise SystemExit(f"{path} has no section {name}")
        path.write_text(before + begin + text + end + rest.partition(end)[2], "utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {name}\n")


if __name__ == "__main__":
    main()
