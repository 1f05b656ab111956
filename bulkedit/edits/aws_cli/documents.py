"""The documents that the commands of a script name with file://, from the folder of the script.

A script may come from other people. So only regular files in its folder, or below it, are read, and no more than
`LONGEST_CELL` bytes of each.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkedit import _received as received
from bulkedit.edits.bounds import FLOOR, GROWTH, LONGEST_CELL
from bulkedit.edits.strict_json import check_text
from bulkedit.errors import EditListError, ReceivedError

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMES: Final = ("file://", "fileb://")
_KEPT: Final = 64  # documents in memory; commands that share one are mostly close to each other


class DocumentError(ValueError):
    """A document that cannot be used: what is wrong, and what to do."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


class Documents:
    """Reads documents of one folder."""

    def __init__(self, folder: Path | None, packed: Callable[[], int]) -> None:
        """``folder``: None if the script comes from a stream. ``packed``: returns the bytes of the script so far."""
        self._folder = folder.resolve() if folder else None
        self._packed = packed
        self._bytes = 0
        self.read: dict[Path, list[int]] = {}  # the lines whose commands name each document
        self._text = lru_cache(_KEPT)(_text_of)

    def content(self, address: str, line: int) -> str:
        """Return the text of a document. Raises DocumentError, and EditListError if the documents are too many."""
        path = self.path(address.partition("://")[2])
        text = self._text(path)
        self.read.setdefault(path, []).append(line)
        self._bytes += len(text)
        if self._bytes > FLOOR + GROWTH * self._packed():
            raise EditListError(
                f"its documents hold more than {GROWTH:,} times the bytes of the script.",
                where=f"line {line:,}",
                likely="Many commands name one large document.",
                hint="Split the script.",
            )
        return text

    def path(self, name: str) -> Path:
        """Return the path of a file that a script names. Raises DocumentError if it is not in the folder."""
        if self._folder is None:
            raise DocumentError(
                "it names a document, and the script comes from standard input.", "Give the file of the script instead."
            )
        if "\0" in name or "$" in name or "~" in name or not name:
            raise DocumentError("the name of its document is not a plain path.", _BESIDE)
        path = Path(os.path.realpath(self._folder / name))
        if not path.is_relative_to(self._folder):
            raise DocumentError("its document is outside of the folder of the script.", _BESIDE)
        return path


_BESIDE: Final = "Put the document beside the script, and name it from there: file://NAME"


def _text_of(path: Path) -> str:
    try:
        with received.opened(path) as file:
            content = file.read(LONGEST_CELL + 1)
    except ReceivedError:
        raise DocumentError("its document is not a regular file.", _BESIDE) from None
    except FileNotFoundError:
        raise DocumentError("there is no such document.", _BESIDE) from None
    except OSError as error:
        raise DocumentError(f"its document cannot be read: {error.strerror or type(error).__name__}.") from None
    if len(content) > LONGEST_CELL:
        raise DocumentError(
            f"its document is larger than {LONGEST_CELL // 2**20} MiB; HealthImaging accepts 30,000 bytes per call."
        )
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        check_text(content, lambda _: 1)
    except EditListError:
        raise DocumentError("its document is not text in UTF-8.", "Save it again in UTF-8.") from None
    return content.decode()
