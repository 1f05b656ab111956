"""What --help says beside the options: examples, exit codes and the environment, in the manner of a manual page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.panel import Panel
from rich.text import Text
from typer.core import TyperCommand

from bulkedit.cli.terminal import out, rows

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

EXAMPLE: Final = "Example: "

# of commands that take a run or a plan to its end; the others end with 0, 2 or 4
_ENDS: Final = [
    ("0", "all edits applied, or nothing to do"),
    ("1", "done; some edits were not applied"),
    ("2", "the command's words or the edit list are not understood; nothing was sent"),
    ("4", "cannot go on: credentials, access, data store, network, ledger"),
    ("5", "ended early, can be resumed"),
    ("6", "the plan has changed since it was made"),
    ("130", "interrupted, can be resumed"),
]
_RUNS: Final = {"apply", "resume"}
_ENVIRONMENT: Final = [
    ("BULKEDIT_…", "every option, by the name beside it; the command line goes first"),
    ("AWS_PROFILE, AWS_REGION, …", "credentials and region, as the AWS CLI takes them"),
    ("NO_COLOR, TERM=dumb", "no colours"),
]


class Manual(TyperCommand):
    """A command whose --help ends with examples, exit codes and the environment."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """What typer shows, then the panels of this module."""
        whole = self.help or ""
        about, _, examples = whole.partition(EXAMPLE)
        self.help = about.strip()
        try:
            super().format_help(ctx, formatter)
        finally:
            self.help = whole
        console = out()
        shown = [line.strip().removeprefix(EXAMPLE) for line in examples.splitlines() if line.strip()]
        # a line to be copied stands bare, not in a box whose border would be copied with it
        console.print(Text("Example: " + shown[0] if len(shown) == 1 else "Examples:\n  " + "\n  ".join(shown)))
        console.print()
        codes = _ENDS if ctx.info_name in _RUNS else [code for code in _ENDS if code[0] in {"0", "2", "4", "6"}]
        if ctx.info_name not in _RUNS:
            codes = [("0", "done"), *codes[1:]]
        for title, pairs in (("Exit codes", codes), ("Environment", _ENVIRONMENT)):
            text = rows(pairs, console.width - 4)
            console.print(Panel(text, title=title, title_align="left", border_style="dim"), soft_wrap=False)
