"""What --help says beside the options, what --help-all adds, and where a command's configuration is read."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import typer
from rich.panel import Panel
from rich.text import Text
from typer.core import TyperCommand

from bulkedit.cli import _config
from bulkedit.cli._console import SafeConsole, colourless, out, rows, show_error, speaking_of
from bulkedit.errors import BulkeditError, require_posix
from bulkedit.options.declaring import Argument, Declared, Option, all_declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

EXAMPLE: Final = "Example: "
MARKUP: Final = "rich"
_ALL: Final = "bulkedit.help_all"  # in the context

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
    except typer.TyperException:
        _make_safe()
        raise


def _make_safe() -> None:
    from typer import rich_utils

    rich_utils.Console = SafeConsole  # type: ignore[attr-defined]
    if colourless():
        # without it typer's own --help and errors keep their bold and dim
        rich_utils.COLOR_SYSTEM = None


def show_all(context: typer.Context, wanted: bool) -> None:
    """Show every option, and leave."""
    if wanted and not context.resilient_parsing:
        context.meta[_ALL] = True
        context.get_help()
        raise typer.Exit


class Manual(TyperCommand):
    """A command whose --help has the options most used, and whose --help-all has all of them."""

    kind: ClassVar[type]  # its options: a dataclass of `bulkedit.cli._parameters`
    known: ClassVar[Mapping[str, Iterable[Declared]]] = {}  # those of all commands by their name in config.toml

    @classmethod
    def of(cls, kind: type) -> type[Manual]:
        """The class of the command that has these options."""
        return type(cls.__name__, (cls,), {"kind": kind})

    @property
    def declared(self) -> dict[str, Declared]:
        """Its options by field."""
        return all_declared(self.kind)

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Take the words, and `config.toml` for what they and the environment leave open."""
        if not ctx.resilient_parsing:
            words, _, _ = self.make_parser(ctx).parse_args(list(args))
            if not words.get("help") and not words.get("help_all"):
                ctx.default_map = self._filled(words)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - as click has it
        """Carry the command out; errors name its options as it has them."""
        others = {one.name: one.flags[0] for options in self.known.values() for one in options}
        with speaking_of(others | {str(one.name): one.opts[0] for one in self.params}):
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
        """What typer shows, an example, and either how to see more or the panels of this module."""
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
        # a line to be copied stands bare, not in a box whose border would be copied with it
        console.print(Text("Example: " + shown[0] if len(shown) == 1 else "Examples:\n  " + "\n  ".join(shown)))
        console.print()
        if short:
            console.print(f"All options, their variables, and exit codes:  bulkedit {ctx.info_name} --help-all")
            return
        own = _CODES.get(str(ctx.info_name), {"2", "4", "6"})
        codes = [("0", _DONE.get(str(ctx.info_name), "done")), *(code for code in _ENDS if code[0] in own)]
        for title, pairs in (("Exit codes", codes), ("Environment", _ENVIRONMENT)):
            text = rows(pairs, console.width - 4)
            console.print(Panel(text, title=title, title_align="left", border_style="dim"), soft_wrap=False)

    @contextmanager
    def _most_used(self) -> Iterator[None]:
        """Within, the other options are hidden, and these have one name, the first sentence, and no variable."""
        own: list[Any] = [one for one in self.params if one.param_type_name == "option"]
        before = [(one, one.hidden, one.show_envvar, one.help, one.opts) for one in own]
        for one in own:
            said = self.declared[one.name].said if one.name in self.declared else None
            one.hidden = isinstance(said, Option) and not said.common
            one.show_envvar = False
            one.help = one.help.partition(". ")[0].removesuffix(".") + "."
            one.opts = [name for name in one.opts if name == one.opts[0] or not name.startswith("--")]
        try:
            yield
        finally:
            for one, one.hidden, one.show_envvar, one.help, one.opts in before:  # noqa: B007 - they are set so
                pass


def _is_list(one: Declared) -> bool:
    return isinstance(one.said, Argument) and one.said.edit_list
