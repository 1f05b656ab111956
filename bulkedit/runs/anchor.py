"""What a run's ledger holds, told by a second file beside it: the *anchor*.

A ledger that was lost, cut short or put back from an older copy is a ledger like any other. The anchor tells it: that
the run was begun, how many rows the ledger has, and a digest of its events. It is written after each commit of the
ledger and before anybody acts on what was committed. So a kill at any instant leaves an anchor that tells of a part of
what is in the ledger, at most one commit less; a ledger that has less than its anchor tells has lost something.

The file has two slots in pages of their own, written in turn and never moved: of a write that was cut short the other
slot is left. The file's own place on the disk (its inode) is in it, so a copy of the folder is known as one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypedDict

from bulkedit import _received as received
from bulkedit._files import open_private
from bulkedit.errors import ReceivedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Unpack

FORMAT: Final = 1
NO_EVENTS: Final = hashlib.blake2b(digest_size=16).hexdigest()
_SLOT: Final = 4096  # bytes: what file systems and disks write as one
_NUMBERS: Final = 2**63
_SYNC: Final = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file is, so that a copy of it is somewhere else."""

    inode: int
    device: int
    file_system: int  # 0 where the file system has no number

    @classmethod
    def of(cls, descriptor: int) -> FilePlace:
        """The place of an open file."""
        found = os.fstat(descriptor)
        return cls(found.st_ino, found.st_dev, os.fstatvfs(descriptor).f_fsid)

    def is_same(self, other: FilePlace) -> bool:
        """Whether both are one place. The number of a device can change with a restart or a mount."""
        return self.inode == other.inode and (self.device == other.device or self.file_system == other.file_system)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorMark:
    """What an anchor tells of its ledger."""

    run: str  # a random name of the run, which its run.json has too
    begun: bool  # the ledger has been there
    place: FilePlace  # of the anchor, when it was made
    events: int = 0  # rows of table event: their numbers are 1 to this
    digest: str = NO_EVENTS  # of these rows, in their order
    rows: dict[str, int] = field(default_factory=dict)  # of each other table
    turn: int = 0  # which write of the anchor this is


class LedgerContents(TypedDict):
    """What a `AnchorMark` tells of a ledger's rows."""

    events: int
    digest: str
    rows: dict[str, int]


class LedgerMark(TypedDict, total=False):
    """What of a `AnchorMark` is about the ledger."""

    begun: bool
    events: int
    digest: str
    rows: dict[str, int]


class MarkChanges(LedgerMark, total=False):
    """What of a `AnchorMark` may change."""

    place: FilePlace


class IllegibleError(ReceivedError):
    """The anchor tells nothing."""


def new_run() -> str:
    """A random name for a run."""
    return secrets.token_hex(16)


def beside(ledger: Path) -> Path:
    """Where the anchor of a ledger is."""
    return ledger.with_suffix(".anchor")


class Anchor:
    """The anchor of a ledger that this process holds. Its methods raise OSError."""

    def __init__(self, path: Path, descriptor: int, mark: AnchorMark) -> None:
        self.path = path
        self.mark = mark
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, run: str) -> Anchor:
        """Make the anchor of a run that is not begun. Raises FileExistsError."""
        with open_private(path) as file:
            mark = AnchorMark(run=run, begun=False, place=FilePlace.of(file.fileno()))
            file.write(_slot(mark) * 2)  # both: a file that is never longer needs no room on a full disk
            file.flush()
            os.fsync(file.fileno())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Anchor:
        """Go on with an anchor. Raises IllegibleError if it tells nothing, ReceivedError if it is no file of ours."""
        with received.opened_to_write(path) as file:
            mark = _newest(os.pread(file.fileno(), 2 * _SLOT, 0), path)
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not os.path.samestat(os.fstat(descriptor), os.fstat(file.fileno())):
                os.close(descriptor)
                raise FileNotFoundError(path)
        return cls(path, descriptor, mark)

    @property
    def is_copy(self) -> bool:
        """Whether this file is not the one that was made for the run."""
        return not self.mark.place.is_same(FilePlace.of(self._descriptor))

    def write(self, **told: Unpack[MarkChanges]) -> None:
        """Tell what the ledger holds now; it is on the disk when this returns."""
        if not self._is_in_its_folder():
            raise FileNotFoundError("it is not in its folder any more")
        mark = replace(self.mark, turn=self.mark.turn + 1, **told)
        os.pwrite(self._descriptor, _slot(mark), _SLOT * (mark.turn % 2))
        _SYNC(self._descriptor)
        self.mark = mark

    def _is_in_its_folder(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        return False

    def adopt(self, **told: Unpack[LedgerMark]) -> None:
        """As `write`, and from here on this file is the one that was made for the run."""
        self.write(place=FilePlace.of(self._descriptor), **told)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


@contextmanager
def opened(path: Path) -> Iterator[Anchor]:
    """`Anchor.open`, closed when the block ends."""
    anchor = Anchor.open(path)
    try:
        yield anchor
    finally:
        anchor.close()


@dataclass(frozen=True, slots=True)
class Told:
    """An anchor as a reader finds it."""

    mark: AnchorMark
    is_copy: bool


def read(path: Path) -> Told | None:
    """What an anchor tells now, also while another process writes it; None if there is none.

    Raises IllegibleError if it tells nothing, ReceivedError and OSError.
    """
    try:
        with received.opened(path) as file:
            mark = _newest(os.pread(file.fileno(), 2 * _SLOT, 0), path)
            return Told(mark, is_copy=not mark.place.is_same(FilePlace.of(file.fileno())))
    except FileNotFoundError:
        return None


def _slot(mark: AnchorMark) -> bytes:
    text = json.dumps({"format": FORMAT, **asdict(mark)}).encode()
    line = _check(text) + b" " + text + b"\n"
    return line.ljust(_SLOT, b" ")


def _check(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _newest(content: bytes, path: Path) -> AnchorMark:
    """The later of two slots, of those that are whole. Raises IllegibleError if none is."""
    found = []
    for begin in (0, _SLOT):
        check, _, text = content[begin : begin + _SLOT].rstrip(b" \n").partition(b" ")
        if check and check == _check(text):
            with suppress(ReceivedError, KeyError, TypeError):
                found.append(_mark(text, path))
    if not found:
        raise IllegibleError("this file does not tell what the ledger holds.", where=str(path))
    return max(found, key=lambda mark: mark.turn)


def _mark(text: bytes, path: Path) -> AnchorMark:
    """Raises ReceivedError, KeyError, TypeError for what no anchor holds."""
    told = received.json_object(text, str(path))
    if told.pop("format") != FORMAT:
        raise TypeError
    fields: dict[str, Any] = {**told}  # looked at below
    mark = AnchorMark(**{**fields, "place": FilePlace(**fields["place"])})
    numbers = [mark.events, mark.turn, *mark.rows.values(), *asdict(mark.place).values()]
    words = [mark.run, mark.digest, *mark.rows]
    if not all(isinstance(number, int) and 0 <= number < 2 * _NUMBERS for number in numbers):
        raise TypeError
    if not all(isinstance(word, str) for word in words) or not isinstance(mark.begun, bool):
        raise TypeError
    return mark
