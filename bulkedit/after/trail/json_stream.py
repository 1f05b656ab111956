"""JSON values of a file one by one, in constant memory: a list in an object, a list, or JSON lines; also gzipped.

The files come from elsewhere. So the size of one value, and what a gzip file may unpack to, are limited, and no text of
an error quotes the file.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from typing import IO, TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit._json import Json

VALUE_CHARACTERS: Final = 2 * 2**20  # of one value; CloudTrail's largest event has 1 MB (cloudtrail, quotas)
_CHUNK: Final = 2**20  # bytes
# logs unpack to about twenty times their size; the first megabytes may be more even
_UNPACKED_RATIO: Final = 200
_UNPACKED_AT_LEAST: Final = 64 * 2**20
_GZIP: Final = b"\x1f\x8b"
_BLANKS: Final = re.compile(r"[\s,]*")
_BLANK_LINES: Final = re.compile(r"\s*")
_decode: Final = json.JSONDecoder().raw_decode


class UnreadableLogError(Exception):
    """A file cannot be read to its end; the text says why."""


def values_of(path: Path, lists: frozenset[str]) -> Iterator[Json]:
    """The values of a file. ``lists``: names of lists, whose members come instead of the object around them.

    Raises UnreadableLogError if the file cannot be read to its end, after the values before that place.
    """
    try:
        with path.open("rb") as file:
            yield from _JsonValues(_texts(file), lists).all()
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> UnreadableLogError:
    if isinstance(error, gzip.BadGzipFile):
        return UnreadableLogError("it is damaged: its gzip checksum or format is wrong.")
    return UnreadableLogError(f"it cannot be read ({error.strerror or type(error).__name__}).")


def _texts(file: IO[bytes]) -> Iterator[str]:
    """The text of a file in chunks. Raises UnreadableLogError."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for chunk in _chunks(file):
            yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise UnreadableLogError("it is not text in UTF-8.") from None
    except EOFError:
        raise UnreadableLogError("it is cut short.") from None
    except zlib.error:
        raise UnreadableLogError("it is damaged: it cannot be unpacked.") from None


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    packed = file.read(len(_GZIP)) == _GZIP
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    left = max(_UNPACKED_AT_LEAST, size * _UNPACKED_RATIO)
    source: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
    while chunk := source.read(_CHUNK):
        left -= len(chunk)
        if packed and left < 0:
            raise UnreadableLogError("it unpacks to far more than a log does.")
        yield chunk


class _JsonValues:
    """Reads values from chunks of text."""

    def __init__(self, texts: Iterator[str], lists: frozenset[str]) -> None:
        self._texts = texts
        self._lists = re.compile(rf'\{{\s*"(?:{"|".join(sorted(lists))})"\s*:\s*\[') if lists else None
        self._buffer = ""
        self._at = 0
        self._before = 0  # characters before the buffer
        self._ended = False

    def all(self) -> Iterator[Json]:
        """Every value, one by one."""
        while self._more(_BLANK_LINES):
            if self._buffer[self._at] == "[":
                self._at += 1
                yield from self._members()
            elif (found := self._opened_list()) is not None:
                self._at = found
                yield from self._members()
                self._close()
            else:
                yield self._value()

    def _opened_list(self) -> int | None:
        """The place after `{"Records": [`, if the text continues so."""
        if self._lists is None:
            return None
        self._fill(200)  # characters; more than the beginning has
        found = self._lists.match(self._buffer, self._at)
        return found.end() if found else None

    def _members(self) -> Iterator[Json]:
        while self._more(_BLANKS):
            if self._buffer[self._at] == "]":
                self._at += 1
                return
            yield self._value()
        raise UnreadableLogError("it is cut short.")

    def _close(self) -> None:
        """The rest of the object after its list: other names, which are not needed."""
        while self._more(_BLANKS):
            if self._buffer[self._at] == "}":
                self._at += 1
                return
            self._value()  # a name
            if not self._more(_BLANK_LINES) or self._buffer[self._at] != ":":
                raise self._malformed()
            self._at += 1
            if self._more(_BLANK_LINES):
                self._value()
        raise UnreadableLogError("it is cut short.")

    def _value(self) -> Json:
        """The value at this place."""
        wanted = 0
        while True:
            try:
                value, end = _decode(self._buffer, self._at)
            except (json.JSONDecodeError, RecursionError, ValueError) as error:
                # a number with too many digits, or nesting, stays so however much follows
                if type(error) is not json.JSONDecodeError or self._ended:
                    raise self._malformed() from None
                wanted = max(2 * wanted, _CHUNK)
                if len(self._buffer) - self._at > VALUE_CHARACTERS:
                    raise self._malformed() from None
                self._fill(wanted)
                continue
            # a number may continue in the next chunk
            if end == len(self._buffer) and not self._ended:
                self._fill(end - self._at + 1)
                continue
            if end - self._at > VALUE_CHARACTERS:
                raise self._malformed()
            self._at = end
            return cast("Json", value)

    def _more(self, skipped: re.Pattern[str]) -> bool:
        """Skip blanks. Returns whether something follows."""
        while True:
            match = skipped.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return True
            if self._ended:
                return False
            self._fill(1)

    def _fill(self, wanted: int) -> None:
        """Read until so many characters follow, or to the end."""
        if len(self._buffer) - self._at >= wanted or self._ended:
            return
        self._before += self._at
        parts, count = [self._buffer[self._at :]], len(self._buffer) - self._at
        self._at = 0
        while count < wanted and not self._ended:
            text = next(self._texts, None)
            self._ended = text is None
            parts.append(text or "")
            count += len(text or "")
        self._buffer = "".join(parts)

    def _malformed(self) -> UnreadableLogError:
        place = self._before + self._at
        if len(self._buffer) - self._at > VALUE_CHARACTERS:
            return UnreadableLogError(
                f"after character {place:,} it is not JSON, or a value is larger than any of CloudTrail."
            )
        what = "it is cut short, or not JSON" if self._ended else "it is not JSON"
        return UnreadableLogError(f"{what}, after character {place:,}.")
