"""The *anchor*: a second file beside a run's ledger, which shows whether the ledger is complete.

A ledger that was cut short, or replaced by an older copy, looks like any other. The anchor records that the run was
begun, how many rows the ledger has, and a digest of its events. It is written after each commit, before anything relies
on the committed rows. So if a process is killed, the anchor is at most one commit behind the ledger. If the ledger has
less than its anchor records, it has lost rows.

The file has two slots in separate pages, written in turn: if a write is cut short, the other slot is intact. The anchor
records its own inode, so a copy of the folder is recognised.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypedDict

from bulkedit import _received as received
from bulkedit._files import open_private
from bulkedit.errors import ReceivedError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

FORMAT: Final = 1
NO_EVENTS: Final = hashlib.blake2b(digest_size=16).hexdigest()
_SLOT: Final = 4096  # bytes: one page, which file systems and disks write as a whole
_NUMBERS: Final = 2**63
_SYNC: Final = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(frozen=True, slots=True)
class FilePlace:
    """The place of a file on disk; a copy has another."""

    inode: int
    device: int
    file_system: int  # 0 if the file system has no number

    @classmethod
    def of(cls, descriptor: int) -> FilePlace:
        """The place of an open file."""
        found = os.fstat(descriptor)
        return cls(found.st_ino, found.st_dev, os.fstatvfs(descriptor).f_fsid)

    def is_same(self, other: FilePlace) -> bool:
        """Whether both are the same place. A device's number can change with a restart or a mount."""
        return self.inode == other.inode and (self.device == other.device or self.file_system == other.file_system)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorMark:
    """The contents of an anchor."""

    run: str  # random name of the run, as in run.json
    begun: bool  # the ledger was made
    place: FilePlace  # of the anchor when it was made
    events: int = 0  # rows of table event; their seq is 1 to this number
    digest: str = NO_EVENTS  # of these rows in order
    rows: dict[str, int] = field(default_factory=dict)  # number of rows of each other table
    turn: int = 0  # number of the write


class LedgerContents(TypedDict):
    """The fields of an `AnchorMark` about the ledger's rows."""

    events: int
    digest: str
    rows: dict[str, int]


class LedgerMark(TypedDict, total=False):
    """The fields of an `AnchorMark` about the ledger."""

    begun: bool
    events: int
    digest: str
    rows: dict[str, int]


class MarkChanges(LedgerMark, total=False):
    """The fields of an `AnchorMark` that can change."""

    place: FilePlace


class UnreadableAnchorError(ReceivedError):
    """The anchor cannot be read."""


def new_run() -> str:
    """A random name for a run."""
    return secrets.token_hex(16)


def beside(ledger: Path) -> Path:
    """The path of a ledger's anchor."""
    return ledger.with_suffix(".anchor")


class Anchor:
    """The anchor of a ledger that this process has locked. Its methods raise OSError."""

    def __init__(self, path: Path, descriptor: int, mark: AnchorMark) -> None:
        self.path = path
        self.mark = mark
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, run: str) -> Anchor:
        """Make the anchor of a run that is not begun. Raises FileExistsError."""
        with open_private(path) as file:
            mark = AnchorMark(run=run, begun=False, place=FilePlace.of(file.fileno()))
            file.write(_slot(mark) * 2)  # both slots: the file never grows, even if the disk is full
            file.flush()
            os.fsync(file.fileno())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Anchor:
        """Open an anchor for writing.

        Raises UnreadableAnchorError if it has no valid slot, ReceivedError if it is not a plain file.
        """
        with received.opened_to_write(path) as file:
            mark = _newest(os.pread(file.fileno(), 2 * _SLOT, 0), path)
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not os.path.samestat(os.fstat(descriptor), os.fstat(file.fileno())):
                os.close(descriptor)
                raise FileNotFoundError(path)
        return cls(path, descriptor, mark)

    @property
    def is_copy(self) -> bool:
        """Whether this file is a copy of the anchor that was made for the run."""
        return not self.mark.place.is_same(FilePlace.of(self._descriptor))

    def write(self, **changes: Unpack[MarkChanges]) -> None:
        """Record the ledger's contents; durable when this returns."""
        if not self._is_in_its_folder():
            raise FileNotFoundError("it is not in its folder any more")
        mark = replace(self.mark, turn=self.mark.turn + 1, **changes)
        os.pwrite(self._descriptor, _slot(mark), _SLOT * (mark.turn % 2))
        _SYNC(self._descriptor)
        self.mark = mark

    def _is_in_its_folder(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        return False

    def adopt(self, **changes: Unpack[LedgerMark]) -> None:
        """As `write`, and make this file the run's own anchor: it no longer counts as a copy."""
        self.write(place=FilePlace.of(self._descriptor), **changes)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class AnchorReading:
    """An anchor as it was read."""

    mark: AnchorMark
    is_copy: bool


def read(path: Path) -> AnchorReading | None:
    """Read an anchor, even while another process writes it; None if it is missing.

    Raises UnreadableAnchorError if it has no valid slot, ReceivedError and OSError.
    """
    try:
        with received.opened(path) as file:
            mark = _newest(os.pread(file.fileno(), 2 * _SLOT, 0), path)
            return AnchorReading(mark, is_copy=not mark.place.is_same(FilePlace.of(file.fileno())))
    except FileNotFoundError:
        return None


def _slot(mark: AnchorMark) -> bytes:
    text = json.dumps({"format": FORMAT, **asdict(mark)}).encode()
    line = _check(text) + b" " + text + b"\n"
    return line.ljust(_SLOT, b" ")


def _check(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _newest(content: bytes, path: Path) -> AnchorMark:
    """The later of the valid slots. Raises UnreadableAnchorError if there is no valid one."""
    found = []
    for begin in (0, _SLOT):
        check, _, text = content[begin : begin + _SLOT].rstrip(b" \n").partition(b" ")
        if check and check == _check(text):
            with suppress(ReceivedError, KeyError, TypeError):
                found.append(_mark(text, path))
    if not found:
        raise UnreadableAnchorError("this anchor has no valid record of its ledger.", where=str(path))
    return max(found, key=lambda mark: mark.turn)


def _mark(text: bytes, path: Path) -> AnchorMark:
    """Raises ReceivedError, KeyError or TypeError for invalid contents."""
    content = received.json_object(text, str(path))
    if content.pop("format") != FORMAT:
        raise TypeError
    fields: dict[str, Any] = {**content}  # checked below
    mark = AnchorMark(**{**fields, "place": FilePlace(**fields["place"])})
    numbers = [mark.events, mark.turn, *mark.rows.values(), *asdict(mark.place).values()]
    texts = [mark.run, mark.digest, *mark.rows]
    if not all(isinstance(number, int) and 0 <= number < 2 * _NUMBERS for number in numbers):
        raise TypeError
    if not all(isinstance(text, str) for text in texts) or not isinstance(mark.begun, bool):
        raise TypeError
    return mark
