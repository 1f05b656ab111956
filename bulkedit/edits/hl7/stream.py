"""Splits a file of HL7 v2 into messages: one or many, in a batch (FHS, BHS, BTS, FTS) or not, framed for MLLP or not.

Nothing is decoded here. A segment ends with CR as in the standard, or with LF or CRLF as in files that were edited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from bulkedit.edits.bounds import LONGEST_ROW
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 2**20
MOST_KEPT: Final = 65_536  # bytes of a message that are split into fields; each mark takes hundreds of bytes of memory
_END: Final = re.compile(rb"\r\n|\r|\n")
_SEGMENT: Final = re.compile(rb"[A-Z][A-Z0-9]{2}(?=[^A-Za-z0-9 ]|$)")
_KEPT: Final = (b"MSH", b"EVN", b"PID", b"MRG")
_UTF_8_MARK: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class RawMessage:
    """A message as bytes."""

    number: int  # in the file, from 1
    line: int  # of its MSH segment
    segments: list[tuple[int, bytes]] = field(default_factory=list)  # line, and MSH, EVN, PID or MRG
    others: bool = False  # it has other segments
    broken: int | None = None  # the line of the first segment that is not one
    size: int = 0
    kept: int = 0  # bytes of MSH, EVN, PID and MRG, also of those that are too many


def messages(stream: IO[bytes]) -> Iterator[RawMessage]:
    """Yield the messages of a file.

    Raises EditListError if the file is not HL7, a message is too long, or a batch has another number of messages than
    it says.
    """
    message: RawMessage | None = None
    count = in_batch = batches = 0
    for number, line in _lines(stream):
        name = line[:3]
        if name == b"MSH":
            if message is not None:
                yield message
            count, in_batch = count + 1, in_batch + 1
            message = RawMessage(count, number)
        elif name in {b"FHS", b"BHS", b"BTS", b"FTS"}:
            if message is not None:
                yield message
            message = None
            in_batch = 0 if name == b"BHS" else in_batch
            batches += name == b"BTS"
            _check_count(line, number, in_batch if name == b"BTS" else batches)
            continue
        if message is None:
            raise EditListError(
                "it is not HL7 v2: a message begins with MSH.",
                where=f"line {number:,}",
                likely="The file may be another format, or FHIR.",
            )
        _add(message, number, line)
    if message is not None:
        yield message


def _add(message: RawMessage, number: int, line: bytes) -> None:
    message.size += len(line)
    if message.size > LONGEST_ROW:
        raise EditListError(f"the message is longer than {LONGEST_ROW // 2**20} MiB.", where=f"line {message.line:,}")
    if not _SEGMENT.match(line):
        message.broken = message.broken or number
    elif line[:3] in _KEPT:
        message.kept += len(line)
        if message.kept <= MOST_KEPT:
            message.segments.append((number, line))
    else:
        message.others = True


def _check_count(line: bytes, number: int, count: int) -> None:
    """Compare the count of a trailer, BTS-1 or FTS-1, with what was read."""
    said = line[4:].split(line[3:4] or b"|")[0].strip()
    if line[:3] in {b"BTS", b"FTS"} and said.isdigit() and len(said) < 12 and int(said) != count:
        kind = "messages" if line[:3] == b"BTS" else "batches"
        raise EditListError(
            f"{line[:3].decode()}-1 does not say how many {kind} the file has.",
            where=f"line {number:,}",
            likely="The file may be cut short, or put together from others.",
            hint="Export it again.",
        )


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield segments that are not blank, by line from 1, without line ends and MLLP framing."""
    number, tail = 1, b""
    while block := stream.read(_BLOCK):
        if number == 1 and not tail:
            block = block.removeprefix(_UTF_8_MARK)
        block = tail + block
        kept = block[-1:] if block.endswith(b"\r") else b""  # a LF may follow
        *whole, tail = _END.split(block[: len(block) - len(kept)])
        tail += kept
        if len(tail) > LONGEST_ROW:
            raise EditListError(f"the line is longer than {LONGEST_ROW // 2**20} MiB.", where=f"line {number:,}")
        for line in whole:
            yield from _unframed(number, line)
            number += 1
    for line in _END.split(tail):
        yield from _unframed(number, line)
        number += 1


def _unframed(number: int, line: bytes) -> Iterator[tuple[int, bytes]]:
    line = line.strip(b"\x0b\x1c")
    if line.strip():
        yield number, line
