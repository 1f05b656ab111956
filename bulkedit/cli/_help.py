"""What --help says beside the options: examples, exit codes and the environment, in the manner of a manual page."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.panel import Panel
from rich.text import Text
from typer._click.exceptions import ClickException
from typer.core import TyperCommand

from bulkedit.cli._console import SafeConsole, colourless, out, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

EXAMPLE: Final = "Example: "
MARKUP: Final = "rich"

# beside 0; which of them a command ends with is below
_ENDS: Final = [
    ("1", "done; some edits were not applied"),
    ("2", "the command's words or the edit list are not understood; nothing was sent"),
    ("3", "stopped, because more edits failed than --max-errors allows"),
    ("4", "cannot go on: credentials, access, data store, network, ledger"),
    ("5", "ended early, can be resumed"),
    ("6", "the plan has changed since it was made"),
    ("7", "a read-back found a difference"),
    ("130", "interrupted, can be resumed"),
]
_DONE: Final = dict.fromkeys(("apply", "resume"), "all edits applied, or nothing to do")
_CODES: Final = {
    **{name: {"1", "2", "3", "4", "5", "6", "130"} for name in _DONE},
    "verify": {"2", "4", "6", "7"},
}
_ENVIRONMENT: Final = [
    ("BULKEDIT_…", "every option, by the name beside it; the command line goes first"),
    ("AWS_PROFILE, AWS_REGION, …", "credentials and region, as the AWS CLI takes them"),
    ("NO_COLOR, TERM=dumb", "text without any style; a dumb terminal is also not redrawn"),
]


@contextmanager
def safe_texts(*, now: bool = False) -> Iterator[None]:
    """Typer's own errors of the block, and its help if ``now``, are printed as `bulkedit.cli._console` prints.

    They quote the arguments, which can be names of files. The module that prints them takes long to import, so that is
    done when there is something to print.
    """
    try:
        if now:
            _make_safe()
        yield
    except ClickException:
        _make_safe()
        raise


def _make_safe() -> None:
    from typer import rich_utils

    rich_utils.Console = SafeConsole  # type: ignore[attr-defined]
    if colourless():
        # without it typer's own --help and errors keep their bold and dim
        rich_utils.COLOR_SYSTEM = None


class Manual(TyperCommand):
    """A command whose --help ends with examples, exit codes and the environment."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """What typer shows, then the panels of this module."""
        whole = self.help or ""
        about, _, examples = whole.partition(EXAMPLE)
        self.help = about.strip()
        try:
            with safe_texts(now=True):
                super().format_help(ctx, formatter)
        finally:
            self.help = whole
        console = out()
        shown = [line.strip().removeprefix(EXAMPLE) for line in examples.splitlines() if line.strip()]
        # a line to be copied stands bare, not in a box whose border would be copied with it
        console.print(Text("Example: " + shown[0] if len(shown) == 1 else "Examples:\n  " + "\n  ".join(shown)))
        console.print()
        own = _CODES.get(str(ctx.info_name), {"2", "4", "6"})
        codes = [("0", _DONE.get(str(ctx.info_name), "done")), *(code for code in _ENDS if code[0] in own)]
        for title, pairs in (("Exit codes", codes), ("Environment", _ENVIRONMENT)):
            text = rows(pairs, console.width - 4)
            console.print(Panel(text, title=title, title_align="left", border_style="dim"), soft_wrap=False)
