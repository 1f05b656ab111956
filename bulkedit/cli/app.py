"""The typer application: loads commands, and turns errors into messages and exit codes."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bulkedit._version import __version__
from bulkedit.cli._commands import COMMANDS, PRINTING
from bulkedit.cli._console import as_flags, err, show_error
from bulkedit.cli._help import MARKUP, Manual, safe_texts
from bulkedit.cli._limits import allow_files
from bulkedit.cli._quiet import quiet_descriptor, quiet_libraries
from bulkedit.cli._signals import ended_by_signals
from bulkedit.cli._streams import lasting_outputs, open_closed_descriptors
from bulkedit.errors import EXIT_FATAL, EXIT_INTERRUPTED, BulkeditError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter


class CommandGroup(TyperGroup):
    """The commands. Each is imported when it is called; `--help` and completion need only names and summaries."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - typer's
        shown = {name: TyperCommand(name, help=place.summary) for name, place in COMMANDS.items()}
        super().__init__(**{**settings, "commands": shown})

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The name, the loaded command, and its arguments. A command of two words is `runs prune`."""
        if (both := " ".join(args[:2])) in COMMANDS:
            args = [both, *args[2:]]
        name, shown, rest = super().resolve_command(ctx, args)
        return name, shown and load_command(str(shown.name)), rest

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - typer's
        """As in typer. An error outside of a command, such as a damaged installation, is a defect with code 4."""
        open_closed_descriptors()
        with quiet_descriptor(), lasting_outputs(printing=True, as_json=False):
            try:
                return super().main(*args, **options)
            except BulkeditError as error:  # the help or the version could not be printed
                show_error(error)
                sys.exit(error.exit_code)
            except Exception as error:  # noqa: BLE001 - Python would print a traceback, and end with the code 1
                _show_defect(error)
                sys.exit(EXIT_FATAL)

    def make_context(self, *args: Any, **options: Any) -> Context:  # noqa: ANN401 - typer's
        """As in typer, with safe texts."""
        with safe_texts():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - typer's
        """As in typer, with safe texts."""
        with safe_texts():
            return super().invoke(ctx)

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """As in typer, with safe texts."""
        with safe_texts(now=True):
            super().format_help(ctx, formatter)


app = typer.Typer(
    name="bulkedit",
    cls=CommandGroup,
    help="Bulk edits of AWS HealthImaging metadata: fewest calls, exactly at the quota, every row accounted for.",
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bulkedit {__version__}", flush=True)  # noqa: T201 - rich is not imported for this
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    allow_files()
    own, warnings = logging.getLogger("bulkedit"), _Warnings(logging.WARNING)
    own.addHandler(warnings)
    context.call_on_close(lambda: own.removeHandler(warnings))


class _Warnings(logging.Handler):
    """Prints warnings of `bulkedit` on stderr, each text once per command."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "bulkedit.log":  # written by the handlers of `bulkedit._log`
            return
        text = record.getMessage()
        if text not in self._shown:
            self._shown.add(text)
            err().print(as_flags(text))


def _guarded(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command: print every error as a message, and turn it into its exit code."""

    @functools.wraps(command)
    def run(*args: Any, **values: Any) -> None:  # noqa: ANN401 - typer has checked them
        with quiet_libraries(), lasting_outputs(printing=name in PRINTING, as_json=bool(values.get("as_json"))):
            guarded(*args, **values)

    def guarded(*args: Any, **values: Any) -> None:  # noqa: ANN401 - typer has checked them
        try:
            with ended_by_signals():
                if name != "clean":
                    from bulkedit.cli.clean import remove_leftovers_here

                    remove_leftovers_here()
                with _logged(name, values):
                    command(*args, **values)
                    sys.stdout.flush()
        except BulkeditError as error:
            show_error(error)
            raise typer.Exit(error.exit_code) from None
        except (KeyboardInterrupt, typer.Abort):  # Abort: Ctrl-C, or the end of the input, at a question
            err().print("Interrupted.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except typer.Exit:
            raise
        except BaseException as error:  # noqa: BLE001 - no traceback reaches a user, and no text that may hold values
            if _is_interrupt(error):
                err().print("Interrupted.")
                raise typer.Exit(EXIT_INTERRUPTED) from None
            from bulkedit._files import fault_of_the_disk  # late: it imports what Windows does not have

            if (of_the_disk := fault_of_the_disk(error)) is not None:
                show_error(of_the_disk)
                raise typer.Exit(of_the_disk.exit_code) from None
            _show_defect(error)
            raise typer.Exit(EXIT_FATAL) from None

    return run


def _is_interrupt(error: BaseException) -> bool:
    """Whether an error is Ctrl-C or SIGTERM in a group of others."""
    return isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is not None


def _show_defect(error: BaseException) -> None:
    from bulkedit.cli._logging import report_defect

    err().print(f"error: this is a defect in bulkedit: {_place(error)}.")
    err().print("The ledger of a run has all recorded results; bulkedit resume continues from there.")
    report_defect(error)


def _logged(name: str, values: dict[str, Any]) -> AbstractContextManager[None]:
    """The log of a command with log options; other commands are short and have none."""
    if "verbose" not in values:
        return nullcontext()
    from bulkedit.cli._logging import logged

    return logged(name, values["verbose"], values["log_file"])


@functools.cache
def load_command(name: str) -> Command:
    """Make a command with its parameters. The module of its function is imported when it is called."""
    from bulkedit.cli import _parameters as parameters
    from bulkedit.cli._declared import command as declared

    Manual.known = parameters.known()
    one = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    kind = parameters.TAKEN[name]
    one.command(name, cls=Manual.of(kind))(declared(kind, name, lambda: _function(name)))
    command = get_command(one)
    command.callback = _guarded(name, cast("Callable[..., None]", command.callback))
    return command


def _function(name: str) -> Callable[..., None]:
    module = importlib.import_module(f"bulkedit.cli.{COMMANDS[name].module}")
    return getattr(module, name.replace(" ", "_"))  # type: ignore[no-any-return]


def _place(error: BaseException) -> str:
    """Type and source line of an exception, without its text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}bulkedit{os.sep}" in frame.filename] or list(frames)
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{place}"
