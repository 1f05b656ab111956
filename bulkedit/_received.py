"""Folders that others may have handed over: no link in them is followed, and what is read is bounded and checked.

A plan, a run, an inventory or a de-identification that is under way is a folder, and a folder can come from anywhere.
The path to it is the user's, so links on that way are followed. Entries in it are opened by names that `bulkedit`
itself gives, never by names that are read in the folder.
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
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from bulkedit.errors import ReceivedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedRandom, BufferedReader
    from pathlib import Path

    from bulkedit._json import Json, JsonObject

JSON_BYTES: Final = 2**20  # the largest file of ours that is read as one JSON object has about 3 KB

# O_NONBLOCK: the opening of a pipe would wait for its other end
_CAREFUL: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WORDS: Final[dict[type, str]] = {
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
    """Whether a folder has an entry of this name, a link that leads nowhere included."""
    return os.path.lexists(path)


def opened(path: Path) -> BufferedReader:
    """Open a file of a folder for reading. Raises ReceivedError if it is a link or no regular file, and OSError."""
    return os.fdopen(_descriptor(path, os.O_RDONLY), "rb")


def opened_to_write(path: Path) -> BufferedRandom:
    """Open a file of a folder to read and to append; an empty one, for its owner's eyes, if there is none.

    Raises ReceivedError if it is a link, no regular file, or has other names elsewhere (hard links), and OSError.
    """
    return os.fdopen(_descriptor(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b")


def require_file(path: Path, *, own: bool = False) -> None:
    """Raises ReceivedError unless the entry is a regular file, for libraries that open it by its path; and OSError.

    ``own``: it will be written to, so it must have no other names elsewhere.
    """
    _require_regular(path.lstat(), path, own=own)


def require_folder(path: Path) -> None:
    """Raises ReceivedError if the entry is there and is no folder."""
    if not there(path):
        return
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise _link(path)
    if not stat.S_ISDIR(mode):
        raise ReceivedError("this is no folder.", where=str(path))


def subfolders(path: Path) -> list[Path]:
    """The folders in a folder, by name. Links are passed over. Raises ReceivedError if ``path`` itself is a link."""
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
            if error.errno == errno.ELOOP:  # it has become a link just now
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
            "this is no regular file.",
            where=str(path),
            likely="A pipe, a device or a folder has the name of a file.",
            hint="Ask who made the folder, or remove it and make it again.",
        )
    if own and found.st_nlink > 1:
        raise ReceivedError(
            "this file has another name elsewhere (a hard link), so writing to it would change that too.",
            where=str(path),
            hint=f"Copy the folder, and go on with the copy: cp -R {path.parent} COPY\n"
            "Of a run that is: bulkedit resume COPY --assume-unknown",
        )


def _link(path: Path) -> ReceivedError:
    return ReceivedError(
        "this is a symbolic link, and no link in such a folder is followed.",
        where=str(path),
        likely="bulkedit makes none: someone has put it there, and what it leads to is not part of the folder.",
        hint="Ask who made the folder. If it was you, put the file itself in place of the link.",
    )


# -- JSON


def read_json(path: Path) -> JsonObject:
    """The JSON object in a file. Raises ReceivedError, and OSError if there is none or it cannot be read."""
    with opened(path) as file:
        content = file.read(JSON_BYTES + 1)
    if len(content) > JSON_BYTES:
        raise ReceivedError(
            f"the file is larger than {JSON_BYTES // 2**20} MiB; bulkedit writes a few thousand bytes.",
            where=str(path),
            likely=CHANGED,
        )
    return json_object(content, str(path))


def json_object(content: bytes | str, where: str) -> JsonObject:
    """A JSON object. Raises ReceivedError, whose text has nothing of the content."""
    try:
        found: Json = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_no_name_twice)
    except RecursionError:
        raise ReceivedError("its JSON is nested too deep.", where=where, likely=CHANGED) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ReceivedError(f"this is no JSON ({place}).", where=where, likely=CHANGED) from None
    except UnicodeDecodeError as error:
        raise ReceivedError(f"this is no JSON: no UTF-8 at byte {error.start}.", where=where, likely=CHANGED) from None
    except ValueError as error:  # of the two below, or of a number with too many digits
        reason = f" ({error})" if isinstance(error, _NotOursError) else ""
        raise ReceivedError(f"this is no JSON that bulkedit writes{reason}.", where=where, likely=CHANGED) from None
    if not isinstance(found, dict):
        raise ReceivedError(f"its JSON is {_word(found)}, not an object.", where=where, likely=CHANGED)
    return found


CHANGED: Final = "The file was damaged, or changed by hand."


class _NotOursError(ValueError):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _NotOursError(f"it has {name}")


def _no_name_twice(pairs: list[tuple[str, Json]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotOursError("it has a name twice")
    return found


def require(content: Mapping[str, object], kinds: Mapping[str, tuple[type, ...]], where: str) -> None:
    """Raises ReceivedError unless each name of ``kinds`` is there, and is of one of its types."""
    for name, allowed in kinds.items():
        if name not in content:
            raise ReceivedError(f"{name} is missing.", where=where, likely=CHANGED)
        if not _fits(content[name], allowed):
            wanted = " or ".join(_WORDS[kind] for kind in allowed)
            raise ReceivedError(f"{name} is {_word(content[name])}, not {wanted}.", where=where, likely=CHANGED)


def state_of(path: Path, format_: int, record: Callable[[JsonObject], _T], *, hint: str) -> _T | None:
    """What ``record`` makes of the file of something that was begun; None if nothing was, or in another format.

    Raises ReceivedError, as ``record`` may, with ``hint``: how to drop what was begun.
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
    """A dataclass of names and plain values. Raises ReceivedError for a strange name, and as `require` does."""
    hints = get_type_hints(kind)
    known = {field.name: _plain(hints[field.name]) for field in fields(kind)}  # type: ignore[arg-type]
    if strange := next((name for name in content if name not in known), None):
        raise ReceivedError(f"bulkedit does not know {strange!a:.40}.", where=where, likely=CHANGED)
    optional = {field.name for field in fields(kind) if field.default is not MISSING}  # type: ignore[arg-type]
    require(content, {name: kinds for name, kinds in known.items() if name in content or name not in optional}, where)
    try:
        return kind(**content)
    except UsageError as error:  # a word or a number that it does not take
        raise ReceivedError(error.what, where=where, likely=CHANGED) from None


def _plain(hint: object) -> tuple[type, ...]:
    """The types of JSON that a value of a type may have."""
    if get_origin(hint) in {Union, UnionType}:
        return tuple(kind for one in get_args(hint) for kind in _plain(one))
    if not isinstance(hint, type) or issubclass(hint, StrEnum):
        return (str,)  # a choice of words
    return (hint,)


def _fits(value: object, allowed: tuple[type, ...]) -> bool:
    kinds = {int, *allowed} if float in allowed else {*allowed}
    return type(value) in kinds


def _word(value: object) -> str:
    return _WORDS[type(value)]
