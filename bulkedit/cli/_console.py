"""Output for people and programs: results go to stdout, messages and errors to stderr."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from bulkedit._printable import printable, printable_json, printable_lines, shell_word
from bulkedit.errors import worded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from rich.console import ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.segment import Segment

    from bulkedit.errors import BulkeditError


# no markup in names and messages, and no line breaks added by rich
_NO_BREAK: Final = "\u00a0"
_DOT: Final = " · "
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}


class SafeConsole(Console):
    """A console that escapes control characters in untrusted text (names, ids, messages): `bulkedit._printable`."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Print. Escapes control characters first, because rich would silently drop some."""
        super().print(*(printable_lines(one) if isinstance(one, str) else one for one in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape the segments of everything that is printed, live displays included; rich adds styles after this."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable_lines(segment.text))


class WrappingConsole(SafeConsole):
    """A console that wraps text at blanks on a terminal, and does not wrap it elsewhere."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Print. Wraps strings; other objects are left to rich."""
        width = width_of(self)
        shown = [fitted(one, width) if width and isinstance(one, str) else one for one in objects]
        super().print(*shown, **options)


def colourless() -> bool:
    """Whether NO_COLOR is set: text without any style."""
    return bool(os.environ.get("NO_COLOR"))


def out() -> Console:
    """Standard output, for results."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error, for messages."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    if _live_consoles and _live_consoles[-1].stderr is stderr:
        return _live_consoles[-1]
    return WrappingConsole(stderr=stderr, color_system=None if colourless() else "auto", **_PLAIN)


# consoles with a live display; other output must go through the same console to appear above it
_live_consoles: Final[list[Console]] = []


@contextmanager
def redrawn(console: Console, *, transient: bool = True) -> Iterator[Live]:
    """A live display that is redrawn in place. ``transient``: it is erased at the end."""
    from rich.live import Live

    # stdout is not redirected, because it may be a pipe for JSON lines
    still: dict[str, Any] = {"auto_refresh": False, "redirect_stdout": False, "redirect_stderr": False}
    with Live(console=console, transient=transient, vertical_overflow="visible", **still) as live:
        _live_consoles.append(console)
        try:
            yield live
        finally:
            _live_consoles.remove(console)


def redraws(console: Console) -> bool:
    """Whether a console can redraw in place: it is a terminal, and not a dumb one."""
    return console.is_terminal and not console.is_dumb_terminal


def show_error(error: BulkeditError) -> None:
    """Print an error: what is wrong, the likely cause, and what to type."""
    head, *rest = as_flags(str(error)).split("\n")
    console = err()
    width = width_of(console)
    first, *more = _wrapped(f"error: {head}", width) if width else [f"error: {head}"]
    console.print(Text.assemble(("error: ", "bold red"), first.removeprefix("error: ")))
    for line in (*more, *rest):
        console.print(line)


_FLAGS: Final[ContextVar[Mapping[str, str]]] = ContextVar("flags")


@contextmanager
def option_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Set the flags that `as_flags` uses in the block. ``flags``: field name to flag."""
    token = _FLAGS.set(flags)
    try:
        yield
    finally:
        _FLAGS.reset(token)


def as_flags(text: str) -> str:
    """Replace the options in a text of the library with the flags of the present command."""
    return worded(text, _FLAGS.get({}))


def json_line(content: Mapping[str, object]) -> None:
    """Print one JSON line on stdout."""
    sys.stdout.write(printable_json(json.dumps(content, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def rows(pairs: list[tuple[str, str]], width: int | None = None) -> Text:
    """Names and texts in two columns. ``width``: wrap the second column at blanks to fit."""
    indent = max(len(name) for name, _ in pairs) + 4
    lines = []
    for name, text in pairs:
        parts = _filled(text, max(width - indent, 20)) if width else [text]
        lines.append(Text.assemble((f"  {name:<{indent - 2}}", "dim"), parts[0] if parts else ""))
        lines += [Text(" " * indent + part) for part in parts[1:]]
    return Text("\n").join(lines)


def print_rows(pairs: list[tuple[str, str]]) -> None:
    """Print names and texts in two columns on stdout, wrapped to the width of a terminal."""
    console = out()
    console.print(rows(pairs, width_of(console)))


def lines_of_edits(edits: Iterable[dict[str, Any]]) -> list[str]:
    """One aligned line per edit (``row``, ``image_set_id``, ``action``, ``attribute``)."""
    shown = [(f"row {edit['row']:,}", edit) for edit in edits]
    width = max((len(row) for row, _ in shown), default=0)
    return [
        printable(
            "  ".join(
                (row.ljust(width), edit["image_set_id"], " ".join(filter(None, (edit["action"], edit["attribute"]))))
            )
        )
        for row, edit in shown
    ]


def fitted(text: str, width: int) -> str:
    """Wrap the lines of a text at blanks. Lines with a command to type are not wrapped."""
    return "\n".join(part for line in text.split("\n") for part in _wrapped(line, width))


def _wrapped(line: str, width: int) -> list[str]:
    # a command to type is not wrapped, so that it can be copied
    if len(line) <= width or re.search(r"(?<!`)\bbulkedit [a-z]", line):
        return [line]
    return _filled(line, width, " " * 2 * (len(line) - len(line.lstrip()))) or [line]


def _filled(text: str, width: int, indent: str = "") -> list[str]:
    """Wrap a line at blanks, but not at a blank between a number and its unit."""
    together = re.sub(r"(?<=\d) (?=(?:s|min|h|d)\b)", _NO_BREAK, text)
    lines = textwrap.wrap(together, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def packed(parts: Iterable[str], width: int) -> list[str]:
    """Join parts with dots into as few lines as possible. Parts are not broken."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(_DOT) + len(part) <= width:
            lines[-1] += _DOT + part
        else:
            lines.append(part)
    return lines


def confirmed(question: str, *, abort: bool = False) -> bool:
    """Ask a yes-or-no question on stderr, wrapped at blanks."""
    question = printable_lines(question)
    width = width_of(err())
    # Python prints the last blank itself, to the descriptor that `bulkedit.cli._quiet` drops
    suffix = ":  "
    text = fitted(question, width - len(" [y/N]") - len(suffix)) if width else question
    return typer.confirm(text, abort=abort, err=True, prompt_suffix=suffix)


def width_of(console: Console) -> int | None:
    """The columns of a console's terminal; None if it is not a terminal."""
    return console.width if console.is_terminal else None


def command(*words: str | Path) -> str:
    """A `bulkedit` command line, quoted for a shell."""
    return " ".join(map(shell_word, ["bulkedit", *words]))


def interactive() -> bool:
    """Whether the user can be asked: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()
