"""`config.toml`: what fills the options that neither the command line nor the environment gives."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import typer

from bulkedit._printable import printable
from bulkedit.errors import UsageError
from bulkedit.options.declaring import Config, Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkedit.options.declaring import Declared

NAME: Final = "config.toml"
_BYTES: Final = 2**16  # a file of all options has about 4 KB
_WORDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list of texts",
    str: "a text",
}


def own_file() -> Path:
    """The user's file, which is for every list."""
    return Path(typer.get_app_dir("bulkedit")) / NAME


def filled(
    options: Mapping[str, Declared], known: Mapping[str, Iterable[Declared]], edit_list: str | None
) -> dict[str, object]:
    """The values that the files give to a command's options, by field name; a file beside the list goes first.

    ``known``: the options of all commands by key: what is for another command is passed over. ``edit_list``: the path
    as typed, if the command has a list in a folder. Raises UsageError that names file and key, and never the value.
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
            wanted = _word(next(iter(known[key])).typed)
            raise UsageError(f"{key} is {wanted}.", where=str(file), hint="Write text in quotes, and nothing else.")
    given = {name: (one, content[one.key]) for name, one in options.items() if _may(one) and one.key in content}
    for one, value in given.values():
        if problem := one.problem(value):
            raise UsageError(f"{one.key} {problem}.", where=str(file))
    return {name: _resolved(value, one, file.parent) for name, (one, value) in given.items()}


def _parsed(file: Path) -> dict[str, Any]:
    content = _content(file)
    try:
        if len(content) > _BYTES:
            raise UsageError(f"the file is larger than {_BYTES // 2**10} KiB.", where=str(file))
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        hint = 'Write a line for each option: max_rate = "5/s"'
        raise UsageError("this is no TOML.", where=str(file), likely=_place(content), hint=hint) from None


def _content(file: Path) -> bytes:
    """What is in a file; nothing if there is none. A pipe in its place would keep the command waiting."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise UsageError("this is no regular file.", where=str(file))
            return opened.read(_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise UsageError(f"the file cannot be read ({error.strerror}).", where=str(file)) from None


def _place(content: bytes) -> str | None:
    """Where the file stops being TOML, without its text."""
    lines = content.decode(errors="replace").split("\n")
    for count in range(1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[:count]))
        except (tomllib.TOMLDecodeError, RecursionError):
            return f"Look at line {count}."
    return None


def _unknown(file: Path, key: str, known: Mapping[str, Any]) -> UsageError:
    near = difflib.get_close_matches(key.replace("-", "_"), known, 1)
    return UsageError(
        f"no option is named {printable(key)}.",
        where=str(file),
        likely=f"It may mean {near[0]}." if near else None,
        hint="The names are those of the variables in docs/commands.md: BULKEDIT_MAX_RATE is max_rate here.",
    )


def _require_allowed(file: Path, key: str, options: Iterable[Declared], *, beside: bool) -> None:
    """Raises UsageError for what such a file must not decide."""
    rules = {one.said.config for one in options if isinstance(one.said, Option)}
    if rules == {Config.NEVER}:
        raise UsageError(
            f"{key} cannot be set in a file.",
            where=str(file),
            likely="It agrees to something, or is of one call of a command only.",
            hint=f"Type it each time: {next(iter(options)).flags[0]}",
        )
    if beside and Config.ANY not in rules:
        raise UsageError(
            f"{key} cannot be set beside an edit list.",
            where=str(file),
            likely="Lists and their folders may come from others, and it says where values are sent.",
            hint=f"Set it in {own_file()}, or type it: {next(iter(options)).flags[0]}",
        )


def _may(one: Declared) -> bool:
    return isinstance(one.said, Option) and one.said.config is not Config.NEVER


def _fits(value: object, kind: object) -> bool:
    wanted = _toml_type(kind)
    if wanted is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return type(value) is wanted or (wanted is float and type(value) is int)


def _toml_type(kind: object) -> type:
    if get_origin(kind) is list:
        return list
    return next((one for one in (bool, int, float) if kind is one), str)


def _word(kind: object) -> str:
    return _WORDS[_toml_type(kind)]


def _resolved(value: object, one: Declared, folder: Path) -> object:
    """A path is from the folder of the file on."""
    if one.typed is Path:
        return str(folder / str(value))
    if Path in get_args(one.typed) and isinstance(value, list):
        return [str(folder / each) for each in value]
    return value
