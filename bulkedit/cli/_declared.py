"""Makes typer commands from dataclasses of options (`bulkedit.options`)."""

from __future__ import annotations

import inspect
from dataclasses import MISSING
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulkedit.cli._help import show_all
from bulkedit.options.declaring import Argument, Declared, Option, all_declared, made

if TYPE_CHECKING:
    from collections.abc import Callable


def command(
    kind: type, name: str, carry_out: Callable[[], Callable[[Any, typer.Context], None]]
) -> Callable[..., None]:
    """Make a typer command from the dataclass ``kind``; its docstring becomes the help text.

    ``carry_out`` returns the function that is called with the options. It is called late, so that its import is late.
    """

    def run(context: typer.Context, **values: object) -> None:
        carry_out()(made(kind, values), context)

    words = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *map(_parameter, all_declared(kind).values()),
        _HELP_ALL,
    ]
    run.__signature__ = inspect.Signature(words)  # type: ignore[attr-defined]
    run.__annotations__ = {}
    run.__doc__ = inspect.getdoc(kind)
    run.__name__ = name
    return run


_HELP_ALL = inspect.Parameter(
    "help_all",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        bool,
        typer.Option(
            "--help-all",
            help="Show every option.",
            metavar="",
            is_eager=True,
            expose_value=False,
            callback=show_all,
        ),
    ],
    default=False,
)


def _parameter(one: Declared) -> inspect.Parameter:
    """A field as a typer parameter."""
    default = inspect.Parameter.empty if one.default is MISSING else one.default
    if default == ():
        default = None
    kind = or_(one.typed, None) if default is None else one.typed
    declaration = _option(one, one.declaration) if isinstance(one.declaration, Option) else _argument(one.declaration)
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, declaration], default=default
    )


def _argument(declaration: Argument) -> object:
    return typer.Argument(metavar=declaration.unit, help=declaration.help, show_default=False)


def _option(one: Declared, declaration: Option) -> object:
    return typer.Option(
        *one.flags,
        metavar="" if one.kind is bool or declaration.count else one.unit,
        envvar=one.variables if len(one.variables) > 1 else one.variables[0],
        help=declaration.help,
        count=declaration.count,
        min=declaration.least,
        max=declaration.most,
        rich_help_panel=None if declaration.common else declaration.group,
        show_default=one.default not in {None, False} and not declaration.count,
    )
