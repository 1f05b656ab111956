"""What a person sees: results on standard output, talk and errors on standard error."""

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


# folders and the service's words are no markup, and a line is as long as it is
_NO_BREAK: Final = "\u00a0"
_DOT: Final = " · "
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}


class SafeConsole(Console):
    """A console on which text from elsewhere (names, ids, messages) cannot do anything: `bulkedit._printable`."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Print; rich would drop some control characters of text without a word."""
        super().print(*(printable_lines(one) if isinstance(one, str) else one for one in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of whatever is printed, a `Text` or a redrawn picture too; rich adds styles after this."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable_lines(segment.text))


class WrappingConsole(SafeConsole):
    """A console that wraps text at blanks on a terminal, and leaves it one line elsewhere."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Print; text as a person reads it, anything else as rich does."""
        width = width_of(self)
        shown = [fitted(one, width) if width and isinstance(one, str) else one for one in objects]
        super().print(*shown, **options)


def colourless() -> bool:
    """Whether NO_COLOR asks for text without any style."""
    return bool(os.environ.get("NO_COLOR"))


def out() -> Console:
    """Standard output, for results."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error, for talk."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    if _pictures and _pictures[-1].stderr is stderr:
        return _pictures[-1]
    return WrappingConsole(stderr=stderr, color_system=None if colourless() else "auto", **_PLAIN)


# what is printed while one of them is redrawn has to go above it, so through its own console
_pictures: Final[list[Console]] = []


@contextmanager
def redrawn(console: Console, *, transient: bool = True) -> Iterator[Live]:
    """A picture that is drawn anew in place; ``transient`` leaves nothing of it in the end."""
    from rich.live import Live

    # standard output may be a pipe to which lines of JSON go
    still: dict[str, Any] = {"auto_refresh": False, "redirect_stdout": False, "redirect_stderr": False}
    with Live(console=console, transient=transient, vertical_overflow="visible", **still) as live:
        _pictures.append(console)
        try:
            yield live
        finally:
            _pictures.remove(console)


def redraws(console: Console) -> bool:
    """Whether a console can draw anew in place: a terminal, and none that is dumb."""
    return console.is_terminal and not console.is_dumb_terminal


def show_error(error: BulkeditError) -> None:
    """An error as a person reads it: what, then why likely and what to type."""
    head, *rest = as_flags(str(error)).split("\n")
    console = err()
    width = width_of(console)
    first, *more = _wrapped(f"error: {head}", width) if width else [f"error: {head}"]
    console.print(Text.assemble(("error: ", "bold red"), first.removeprefix("error: ")))
    for line in (*more, *rest):
        console.print(line)


_FLAGS: Final[ContextVar[Mapping[str, str]]] = ContextVar("flags")


@contextmanager
def speaking_of(flags: Mapping[str, str]) -> Iterator[None]:
    """Within, texts that name options by their fields are worded with these flags."""
    token = _FLAGS.set(flags)
    try:
        yield
    finally:
        _FLAGS.reset(token)


def as_flags(text: str) -> str:
    """A text from below the command line, with the flags of the command at hand in place of its options' fields."""
    return worded(text, _FLAGS.get({}))


def json_line(content: Mapping[str, object]) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(printable_json(json.dumps(content, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def rows(pairs: list[tuple[str, str]], width: int | None = None) -> Text:
    """Names and what they come to, in two columns; with a ``width`` the second is wrapped at blanks to fit."""
    indent = max(len(name) for name, _ in pairs) + 4
    lines = []
    for name, text in pairs:
        parts = _filled(text, max(width - indent, 20)) if width else [text]
        lines.append(Text.assemble((f"  {name:<{indent - 2}}", "dim"), parts[0] if parts else ""))
        lines += [Text(" " * indent + part) for part in parts[1:]]
    return Text("\n").join(lines)


def print_rows(pairs: list[tuple[str, str]]) -> None:
    """Names and what they come to, on standard output; on a terminal no line is wider than it."""
    console = out()
    console.print(rows(pairs, width_of(console)))


def lines_of_edits(edits: Iterable[dict[str, Any]]) -> list[str]:
    """A line for each of some edits (``row``, ``image_set_id``, ``action``, ``attribute``), one under another."""
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
    """Text whose lines are wrapped at blanks; a command to type stays in one piece."""
    return "\n".join(part for line in text.split("\n") for part in _wrapped(line, width))


def _wrapped(line: str, width: int) -> list[str]:
    # what is to be typed stays in one piece, so that it can be copied
    if len(line) <= width or re.search(r"(?<!`)\bbulkedit [a-z]", line):
        return [line]
    return _filled(line, width, " " * 2 * (len(line) - len(line.lstrip()))) or [line]


def _filled(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most a width, parted at blanks, but not at the one between a number and its unit."""
    together = re.sub(r"(?<=\d) (?=(?:s|min|h|d)\b)", _NO_BREAK, text)
    lines = textwrap.wrap(together, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def packed(parts: Iterable[str], width: int) -> list[str]:
    """Parts between dots, as few lines of at most a width as they take; no part is torn where it fits a line."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(_DOT) + len(part) <= width:
            lines[-1] += _DOT + part
        else:
            lines.append(part)
    return lines


def confirmed(question: str, *, abort: bool = False) -> bool:
    """Ask on standard error; the question is wrapped at blanks."""
    question = printable_lines(question)
    width = width_of(err())
    return typer.confirm(fitted(question, width - len(" [y/N]: ")) if width else question, abort=abort, err=True)


def width_of(console: Console) -> int | None:
    """Columns of the terminal behind a console; None where there is none, as in a pipe."""
    return console.width if console.is_terminal else None


def command(*words: str | Path) -> str:
    """A command to type, quoted for a shell."""
    return " ".join(map(shell_word, ["bulkedit", *words]))


def interactive() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
