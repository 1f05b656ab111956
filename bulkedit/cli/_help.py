"""The help of a command (`--help`, `--help-all`), and the reading of its configuration."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import typer
from rich.panel import Panel
from rich.text import Text
from typer.core import TyperCommand

from bulkedit.cli import _config
from bulkedit.cli._console import SafeConsole, colourless, option_flags, out, rows, show_error
from bulkedit.errors import BulkeditError, require_posix
from bulkedit.options.declaring import Argument, Declared, Option, all_declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

EXAMPLE: Final = "Example: "
MARKUP: Final = "rich"
_ALL: Final = "bulkedit.help_all"  # in the context

# all but 0; `_CODES` says which of them a command has
_ENDS: Final = [
    ("1", "done; some edits were not applied"),
    ("2", "invalid arguments or edit list; nothing was sent"),
    ("3", "stopped, because more edits failed than --max-errors allows"),
    ("4", "cannot continue: credentials, access, data store, network, ledger"),
    ("5", "ended early; can be resumed"),
    ("6", "the plan has changed since it was made"),
    ("7", "differences were found"),
    ("130", "interrupted; can be resumed"),
]
_DONE: Final = dict.fromkeys(("apply", "resume"), "all edits applied, or nothing to do")
_CODES: Final = {
    **{name: {"1", "2", "3", "4", "5", "6", "130"} for name in _DONE},
    "verify": {"2", "4", "6", "7"},
}
_ENVIRONMENT: Final = [
    ("BULKEDIT_…", "sets the option that it is listed with; the command line takes precedence"),
    ("AWS_PROFILE, AWS_REGION, …", "credentials and region, as for the AWS CLI"),
    ("NO_COLOR, TERM=dumb", "no colours or styles; a dumb terminal is not redrawn either"),
]


@contextmanager
def safe_texts(*, now: bool = False) -> Iterator[None]:
    """Escape control characters in typer's error messages of the block, and in its help if ``now``.

    Error messages quote arguments, such as file names. Typer's printing module is slow to import, so it is imported
    only if there is something to print.
    """
    try:
        if now:
            _make_safe()
        yield
    except typer.TyperException:
        _make_safe()
        raise


def _make_safe() -> None:
    from typer import rich_utils

    rich_utils.Console = SafeConsole  # type: ignore[attr-defined]
    if colourless():
        # otherwise typer's help and errors keep bold and dim text
        rich_utils.COLOR_SYSTEM = None


def show_all(context: typer.Context, wanted: bool) -> None:
    """Show the help with every option, and exit."""
    if wanted and not context.resilient_parsing:
        context.meta[_ALL] = True
        context.get_help()
        raise typer.Exit


class Manual(TyperCommand):
    """A command. `--help` shows its common options, `--help-all` all of them."""

    kind: ClassVar[type]  # its options: a dataclass of `bulkedit.cli._parameters`
    known: ClassVar[Mapping[str, Iterable[Declared]]] = {}  # options of all commands, by their name in config.toml

    @classmethod
    def of(cls, kind: type) -> type[Manual]:
        """The subclass for a command with these options."""
        return type(cls.__name__, (cls,), {"kind": kind})

    @property
    def declared(self) -> dict[str, Declared]:
        """Its options by field name."""
        return all_declared(self.kind)

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments. `config.toml` gives the defaults."""
        if not ctx.resilient_parsing:
            words, _, _ = self.make_parser(ctx).parse_args(list(args))
            if not words.get("help") and not words.get("help_all"):
                ctx.default_map = self._filled(words)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command. Errors name options by this command's flags."""
        others = {one.name: one.flags[0] for options in self.known.values() for one in options}
        with option_flags(others | {str(one.name): one.opts[0] for one in self.params}):
            return super().invoke(ctx)

    def _filled(self, words: Mapping[str, Any]) -> dict[str, object]:
        lists = [words.get(name) for name, one in self.declared.items() if _is_list(one)]
        named = next((one for one in lists if one not in {None, "-"} and not Path(one).is_dir()), None)
        try:
            require_posix()
            return _config.filled(self.declared, self.known, named)
        except BulkeditError as error:
            show_error(error)
            raise typer.Exit(error.exit_code) from None

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Print typer's help and an example, then a pointer to --help-all, or the exit codes and variables."""
        whole = self.help or ""
        about, _, examples = whole.partition(EXAMPLE)
        self.help = about.strip()
        short = not ctx.meta.get(_ALL)
        try:
            with safe_texts(now=True), self._most_used() if short else nullcontext():
                super().format_help(ctx, formatter)
        finally:
            self.help = whole
        console = out()
        shown = [line.strip().removeprefix(EXAMPLE) for line in examples.splitlines() if line.strip()]
        # without a box, whose border would be copied with the command
        console.print(Text("Example: " + shown[0] if len(shown) == 1 else "Examples:\n  " + "\n  ".join(shown)))
        console.print()
        if short:
            console.print(f"All options, variables and exit codes:  bulkedit {ctx.info_name} --help-all")
            return
        own = _CODES.get(str(ctx.info_name), {"2", "4", "6"})
        codes = [("0", _DONE.get(str(ctx.info_name), "done")), *(code for code in _ENDS if code[0] in own)]
        for title, pairs in (("Exit codes", codes), ("Environment", _ENVIRONMENT)):
            text = rows(pairs, console.width - 4)
            console.print(Panel(text, title=title, title_align="left", border_style="dim"), soft_wrap=False)

    @contextmanager
    def _most_used(self) -> Iterator[None]:
        """In the block, hide other options, and show common ones with one flag, one sentence and no variable."""
        own: list[Any] = [one for one in self.params if one.param_type_name == "option"]
        before = [(one, one.hidden, one.show_envvar, one.help, one.opts) for one in own]
        for one in own:
            option = self.declared[one.name].declaration if one.name in self.declared else None
            one.hidden = isinstance(option, Option) and not option.common
            one.show_envvar = False
            one.help = one.help.partition(". ")[0].removesuffix(".") + "."
            one.opts = [name for name in one.opts if name == one.opts[0] or not name.startswith("--")]
        try:
            yield
        finally:
            for one, one.hidden, one.show_envvar, one.help, one.opts in before:  # noqa: B007 - the loop itself restores them
                pass


def _is_list(one: Declared) -> bool:
    return isinstance(one.declaration, Argument) and one.declaration.edit_list
