"""What a person sees: results on standard output, talk and errors on standard error."""

from __future__ import annotations

import json
import shlex
import sys
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
    console.print(Text.assemble(("error: ", "bold red"), head))
    for line in rest:
        console.print(Text(line))


def json_line(content: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def rows(pairs: list[tuple[str, str]]) -> Text:
    """Names and what they come to, in two columns."""
    width = max(len(name) for name, _ in pairs)
    return Text("\n").join(Text.assemble((f"  {name:<{width}}  ", "dim"), text) for name, text in pairs)


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
