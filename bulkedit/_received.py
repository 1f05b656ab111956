"""Reads folders that may come from other people: follows no links in them, and limits and checks what it reads.

Plans, runs, inventories and unfinished de-identifications are folders, and a folder can come from anywhere. The user
gives the path of the folder, so links in that path are followed. Files in the folder are opened by fixed names, never
by names that are read from the folder.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import MISSING, fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from bulkedit.errors import ReceivedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedRandom, BufferedReader
    from pathlib import Path

    from bulkedit._json import Json, JsonObject

JSON_BYTES: Final = 2**20  # limit; the largest JSON file that bulkedit writes has about 3 KB

# O_NONBLOCK: otherwise opening a pipe would wait for its other end
_CAREFUL: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    NoneType: "null",
}
_T = TypeVar("_T")


# -- entries of a folder


def there(path: Path) -> bool:
    """Whether the path exists; true for a broken link too."""
    return os.path.lexists(path)


def opened(path: Path) -> BufferedReader:
    """Open a file for reading. Raises ReceivedError if it is a link or not a regular file, and OSError."""
    return os.fdopen(_descriptor(path, os.O_RDONLY), "rb")


def opened_to_write(path: Path) -> BufferedRandom:
    """Open a file to read and append. Creates it, with mode 0600, if it does not exist.

    Raises ReceivedError if it is a link, is not a regular file, or has other hard links, and OSError.
    """
    return os.fdopen(_descriptor(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b")


def require_file(path: Path, *, own: bool = False) -> None:
    """Raises ReceivedError if the path is not a regular file, and OSError. For libraries that open files by path.

    ``own``: the file will be written to, so it must have no other hard links.
    """
    _require_regular(path.lstat(), path, own=own)


def require_folder(path: Path) -> None:
    """Raises ReceivedError if the path exists but is not a folder."""
    if not there(path):
        return
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise _link(path)
    if not stat.S_ISDIR(mode):
        raise ReceivedError("not a folder.", where=str(path))


def subfolders(path: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without links. Raises ReceivedError if ``path`` itself is a link."""
    require_folder(path)
    if not there(path):
        return []
    with os.scandir(path) as entries:
        return sorted(path / entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _descriptor(path: Path, flags: int) -> int:
    own = bool(flags & os.O_CREAT)
    with _entered(path.parent) as folder:
        try:
            _require_regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False), path, own=own)
        except FileNotFoundError:
            if not own:
                raise
        try:
            descriptor = os.open(path.name, flags | _CAREFUL, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:  # it was replaced by a link in the meantime
                raise _link(path) from error
            raise
    try:
        _require_regular(os.fstat(descriptor), path, own=own)
    except ReceivedError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _entered(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_regular(found: os.stat_result, path: Path, *, own: bool) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _link(path)
    if not stat.S_ISREG(found.st_mode):
        raise ReceivedError(
            "not a regular file.",
            where=str(path),
            likely="It is a pipe, a device or a folder with the name of a file.",
            hint="Ask the person who made the folder, or remove the folder and make it again.",
        )
    if own and found.st_nlink > 1:
        raise ReceivedError(
            "this file has another hard link, so writing to it would change another file too.",
            where=str(path),
            hint=f"Copy the folder, and continue with the copy: cp -R {path.parent} COPY\n"
            "For a run: bulkedit resume COPY --assume-unknown",
        )


def _link(path: Path) -> ReceivedError:
    return ReceivedError(
        "this is a symbolic link. Links in this folder are not followed.",
        where=str(path),
        likely="bulkedit makes no links. Another program or person made it, and its target is not part of the folder.",
        hint="Ask the person who made the folder. If it was you, replace the link with the file itself.",
    )


# -- JSON


def read_json(path: Path) -> JsonObject:
    """The JSON object in a file. Raises ReceivedError, and OSError if the file is missing or cannot be read."""
    with opened(path) as file:
        content = file.read(JSON_BYTES + 1)
    if len(content) > JSON_BYTES:
        raise ReceivedError(
            f"the file is larger than {JSON_BYTES // 2**20} MiB; bulkedit writes a few KB.",
            where=str(path),
            likely=CHANGED,
        )
    return json_object(content, str(path))


def json_object(content: bytes | str, where: str) -> JsonObject:
    """Parse a JSON object. Raises ReceivedError, whose text never quotes the content."""
    found = json_value(content, where)
    if not isinstance(found, dict):
        raise ReceivedError(f"the JSON is {_type_name(found)}, not an object.", where=where, likely=CHANGED)
    return found


def json_value(content: bytes | str, where: str) -> Json:
    """Parse JSON. Raises ReceivedError, whose text never quotes the content."""
    try:
        return cast("Json", json.loads(content, parse_constant=_no_constant, object_pairs_hook=_no_name_twice))
    except RecursionError:
        raise ReceivedError("the JSON is nested too deep.", where=where, likely=CHANGED) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ReceivedError(f"not valid JSON ({place}).", where=where, likely=CHANGED) from None
    except UnicodeDecodeError as error:
        raise ReceivedError(f"not valid JSON: not UTF-8 at byte {error.start}.", where=where, likely=CHANGED) from None
    except ValueError as error:  # raised by the functions below, or for a number with too many digits
        reason = f" ({error})" if isinstance(error, _NotOursError) else ""
        raise ReceivedError(f"bulkedit did not write this JSON{reason}.", where=where, likely=CHANGED) from None


CHANGED: Final = "The file was damaged, or edited by hand."


class _NotOursError(ValueError):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _NotOursError(f"it contains {name}")


def _no_name_twice(pairs: list[tuple[str, Json]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotOursError("it contains a name twice")
    return found


def require(content: Mapping[str, object], kinds: Mapping[str, tuple[type, ...]], where: str) -> None:
    """Raises ReceivedError unless ``content`` has each name of ``kinds``, with one of its types."""
    for name, allowed in kinds.items():
        if name not in content:
            raise ReceivedError(f"{name} is missing.", where=where, likely=CHANGED)
        if not _fits(content[name], allowed):
            wanted = " or ".join(_TYPE_NAMES[kind] for kind in allowed)
            raise ReceivedError(f"{name} is {_type_name(content[name])}, not {wanted}.", where=where, likely=CHANGED)


def state_of(path: Path, format_: int, record: Callable[[JsonObject], _T], *, hint: str) -> _T | None:
    """Read the state file of unfinished work and parse it with ``record``. None: no file, or another format version.

    Raises ReceivedError with ``hint``: how to discard the unfinished work.
    """
    try:
        content = read_json(path)
        return record(content) if content.get("format") == format_ else None
    except FileNotFoundError:
        return None
    except ReceivedError as error:
        error.hint = hint
        raise


def record(kind: type[_T], content: Mapping[str, object], where: str) -> _T:
    """Make a dataclass of a JSON object. Raises ReceivedError for an unknown name, and as `require` does."""
    hints = get_type_hints(kind)
    known = {field.name: _plain(hints[field.name]) for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := next((name for name in content if name not in known), None):
        raise ReceivedError(f"unknown name {unknown!a:.40}.", where=where, likely=CHANGED)
    optional = {field.name for field in fields(kind) if field.default is not MISSING}  # type: ignore[arg-type]
    require(content, {name: kinds for name, kinds in known.items() if name in content or name not in optional}, where)
    try:
        return kind(**content)
    except UsageError as error:  # a value that is not allowed
        raise ReceivedError(error.what, where=where, likely=CHANGED) from None


def _plain(hint: object) -> tuple[type, ...]:
    """The JSON types for a Python type."""
    if get_origin(hint) in {Union, UnionType}:
        return tuple(kind for one in get_args(hint) for kind in _plain(one))
    if not isinstance(hint, type) or issubclass(hint, StrEnum):
        return (str,)  # a choice
    return (hint,)


def _fits(value: object, allowed: tuple[type, ...]) -> bool:
    kinds = {int, *allowed} if float in allowed else {*allowed}
    return type(value) in kinds


def _type_name(value: object) -> str:
    return _TYPE_NAMES[type(value)]
