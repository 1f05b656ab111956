"""What a person sees: results on standard output, talk and errors on standard error."""

from __future__ import annotations

import json
import re
import shlex
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.errors import BulkeditError


# folders and the service's words are no markup, and a line is as long as it is
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}


def out() -> Console:
    """Standard output, for results."""
    return Console(**_PLAIN)


def err() -> Console:
    """Standard error, for talk."""
    return Console(stderr=True, **_PLAIN)


def show_error(error: BulkeditError) -> None:
    """An error as a person reads it: what, then why likely and what to type."""
    head, *rest = str(error).split("\n")
    console = err()
    width = width_of(console)
    first, *more = _wrapped(f"error: {head}", width) if width else [f"error: {head}"]
    console.print(Text.assemble(("error: ", "bold red"), first.removeprefix("error: ")))
    for line in more:
        console.print(Text(line))
    for line in rest:
        say(console, line)


def json_line(content: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def rows(pairs: list[tuple[str, str]], width: int | None = None) -> Text:
    """Names and what they come to, in two columns; with a ``width`` the second is wrapped at blanks to fit."""
    indent = max(len(name) for name, _ in pairs) + 4
    lines = []
    for name, text in pairs:
        parts = textwrap.wrap(text, max(width - indent, 20), break_on_hyphens=False) if width else [text]
        lines.append(Text.assemble((f"  {name:<{indent - 2}}", "dim"), parts[0] if parts else ""))
        lines += [Text(" " * indent + part) for part in parts[1:]]
    return Text("\n").join(lines)


def print_rows(pairs: list[tuple[str, str]]) -> None:
    """Names and what they come to, on standard output; on a terminal no line is wider than it."""
    console = out()
    console.print(rows(pairs, width_of(console)))


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prose: wrapped at blanks on a terminal, one line elsewhere."""
    width = width_of(console)
    lines = text.split("\n") if width is None else [part for line in text.split("\n") for part in _wrapped(line, width)]
    console.print(Text("\n".join(lines), style=style or ""))


def _wrapped(line: str, width: int) -> list[str]:
    # what is to be typed stays in one piece, so that it can be copied
    if len(line) <= width or re.search(r"(?<!`)\bbulkedit [a-z]", line):
        return [line]
    indent = " " * 2 * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [
        line
    ]


def width_of(console: Console) -> int | None:
    """Columns of the terminal behind a console; None where there is none, as in a pipe."""
    return console.width if console.is_terminal else None


def command(*words: str | Path) -> str:
    """A command to type, quoted for a shell."""
    return shlex.join(["bulkedit", *map(str, words)])


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `14 min 02 s`, `3 h 05 min`, `4 d 15 h`."""
    whole = round(seconds)
    if whole < 1:
        return f"{seconds:.1f} s"
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h:02} h"
    if hours:
        return f"{hours} h {m:02} min"
    return f"{m} min {s:02} s" if minutes else f"{s} s"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 edit`, `2,000 edits`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def interactive() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
