"""`config.toml`: values of options that neither the command line nor the environment gives."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import typer

from bulkedit._printable import printable
from bulkedit.errors import UsageError, worded
from bulkedit.options.declaring import Config, Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkedit.options.declaring import Declared

NAME: Final = "config.toml"
_BYTES: Final = 2**16  # a file of all options has about 4 KB
_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list of texts",
    str: "a text",
}


def own_file() -> Path:
    """The user's own file, which applies everywhere."""
    return Path(typer.get_app_dir("bulkedit")) / NAME


def filled(
    options: Mapping[str, Declared], known: Mapping[str, Iterable[Declared]], edit_list: str | None
) -> dict[str, object]:
    """The values of a command's options in the files, by field name. A file beside the edit list takes precedence.

    ``known``: the options of all commands by key; those of other commands are ignored. ``edit_list``: the path as
    typed, if the command has a list. Raises UsageError, which names file and key, but never quotes the value.
    """
    found = _read(own_file(), options, known, beside=False)
    if edit_list is not None:
        found |= _read(Path(edit_list).parent / NAME, options, known, beside=True)
    return found


def _read(
    file: Path, options: Mapping[str, Declared], known: Mapping[str, Iterable[Declared]], *, beside: bool
) -> dict[str, object]:
    content = _parsed(file)
    for key, value in content.items():
        if key not in known:
            raise _unknown(file, key, known)
        _require_allowed(file, key, known[key], beside=beside)
        if not any(_fits(value, one.typed) for one in known[key]):
            wanted = _type_name(next(iter(known[key])).typed)
            raise UsageError(f"{key} must be {wanted}.", where=str(file), hint="Only texts are written in quotes.")
    given = {name: (one, content[one.key]) for name, one in options.items() if _is_settable(one) and one.key in content}
    for one, value in given.values():
        if problem := one.problem(value):
            raise UsageError(f"{one.key} {problem}.", where=str(file))
        try:
            one.read(value)
        except UsageError as error:
            said = {"likely": error.likely, "hint": error.hint}
            raise UsageError(worded(error.what, {one.name: one.key}), where=str(file), **said) from None
    return {name: _resolved(value, one, file.parent) for name, (one, value) in given.items()}


def _parsed(file: Path) -> dict[str, Any]:
    content = _content(file)
    try:
        if len(content) > _BYTES:
            raise UsageError(f"the file is larger than {_BYTES // 2**10} KiB.", where=str(file))
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        hint = 'Write one line per option: max_rate = "5/s"'
        raise UsageError("not valid TOML.", where=str(file), likely=_place(content), hint=hint) from None


def _content(file: Path) -> bytes:
    """The content of the file; empty if it does not exist. Raises UsageError for a pipe, which would block."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise UsageError("not a regular file.", where=str(file))
            return opened.read(_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise UsageError(f"the file cannot be read ({error.strerror}).", where=str(file)) from None


def _place(content: bytes) -> str | None:
    """The first line that is not valid TOML, without its text."""
    lines = content.decode(errors="replace").split("\n")
    for count in range(1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[:count]))
        except (tomllib.TOMLDecodeError, RecursionError):
            return f"See line {count}."
    return None


def _unknown(file: Path, key: str, known: Mapping[str, Any]) -> UsageError:
    near = difflib.get_close_matches(key.replace("-", "_"), known, 1)
    return UsageError(
        f"unknown option {printable(key)}.",
        where=str(file),
        likely=f"Did you mean {near[0]}?" if near else None,
        hint="Options are named like the variables in docs/commands.md: max_rate for BULKEDIT_MAX_RATE.",
    )


def _require_allowed(file: Path, key: str, options: Iterable[Declared], *, beside: bool) -> None:
    """Raises UsageError for an option that this file must not set."""
    rules = {one.declaration.config for one in options if isinstance(one.declaration, Option)}
    if rules == {Config.NEVER}:
        raise UsageError(
            f"{key} cannot be set in a file.",
            where=str(file),
            likely="It is a confirmation, or it applies to a single call of a command.",
            hint=f"Type it each time: {next(iter(options)).flags[0]}",
        )
    if beside and Config.ANY not in rules:
        raise UsageError(
            f"{key} cannot be set beside an edit list.",
            where=str(file),
            likely="Edit lists and their folders may come from other people, and this option is sensitive.",
            hint=f"Set it in {own_file()}, or type it: {next(iter(options)).flags[0]}",
        )


def _is_settable(one: Declared) -> bool:
    return isinstance(one.declaration, Option) and one.declaration.config is not Config.NEVER


def _fits(value: object, kind: object) -> bool:
    wanted = _toml_type(kind)
    if wanted is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return type(value) is wanted or (wanted is float and type(value) is int)


def _toml_type(kind: object) -> type:
    if get_origin(kind) is list:
        return list
    return next((one for one in (bool, int, float) if kind is one), str)


def _type_name(kind: object) -> str:
    return _TYPE_NAMES[_toml_type(kind)]


def _resolved(value: object, one: Declared, folder: Path) -> object:
    """The value; a relative path is resolved from the file's folder."""
    if one.typed is Path:
        return str(folder / str(value))
    if Path in get_args(one.typed) and isinstance(value, list):
        return [str(folder / each) for each in value]
    return value
