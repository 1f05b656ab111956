"""Mutated workbooks, each from a seed, and the process that reads many of them in bounded memory.

    python -m tests.edits.excel.fuzzed_books FIRST COUNT

prints what each seed gives: `edits`, or the class of the error that was raised in words.
"""

from __future__ import annotations

import io
import random
import re
import resource
import sys
import zipfile
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from bulkedit.edits import ReadOptions, read
from bulkedit.errors import UsageError
from tests.edits.excel.books import Page, Styled, book, changed
from tests.edits.lists import A, B, Formula, workbook

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 3 * 2**30  # bytes of address space; polars and its threads take a third of it
_WORDS = [
    b"",
    b"0",
    b"-1",
    b"1",
    b"99999999999",
    b"4294967295",
    b"NaN",
    b"A1",
    b"XFD1048576",
    b"1e308",
    b"true",
    b"&#0;",
    b"'",
]
_NUMBER = re.compile(rb'"[0-9]{1,9}"|>[0-9.]{1,20}<')
_ATTRIBUTE = re.compile(rb'(\w+)="([^"<]*)"')
_ELEMENT = re.compile(rb"<[^<>]+>[^<>]*")


@cache
def bases() -> list[bytes]:
    """Sound workbooks of several kinds."""
    head = ["image_set_id", "PatientID", "StudyDate", "PatientName"]
    rows = [[(A, B)[i % 2], Styled(i, "0000000"), Styled(45000 + i, "yyyymmdd"), f"Doe^{i}"] for i in range(8)]
    styled = book(Page([head, *rows], hidden_rows=[4], hidden_columns="D:D"), Page([head], "other", "hidden"))
    formulas = workbook([head[:2], [A, Formula("A1", 7)], [B, Formula("A1", "x")], [B, "=NA()"]], merged=["B2:B3"])
    other = changed(styled, {"xl/worksheets/sheet1.xml": lambda xml: xml.replace(b'"', b"'")})
    return [styled, formulas, other]


def mutated(seed: int) -> bytes:
    """A workbook with a few changes, which depend on the seed only."""
    draw = random.Random(seed)
    data = draw.choice(bases())
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        data = draw.choice([_other_bytes, _other_part, _other_part, _other_part, _other_archive])(draw, data)
    return data


def _other_bytes(draw: random.Random, data: bytes) -> bytes:
    """Change, leave out or repeat some bytes."""
    if not data:
        return data
    at = draw.randrange(len(data))
    length = draw.choice([1, 1, 2, 8, 100, 1000])
    match draw.randrange(4):
        case 0:
            return data[:at] + draw.randbytes(length) + data[at + length :]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case _:
            return data[:at]


def _parts(data: bytes) -> dict[str, bytes] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # noqa: BLE001 - an archive that a mutation has damaged; it stays as it is
        return None


def _packed(parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()


def _other_part(draw: random.Random, data: bytes) -> bytes:
    """Change one part, mostly that of a sheet, texts, styles or the workbook."""
    parts = _parts(data)
    if not parts:
        return data
    likely = [name for name in parts if re.search(r"sheet1|shared|styles|workbook", name)]
    name = draw.choice(likely or [*parts]) if draw.random() < 0.9 else draw.choice([*parts])
    change: Callable[[random.Random, bytes], bytes] = draw.choice(
        [_other_bytes, _other_value, _other_value, _other_value, _other_elements]
    )
    parts[name] = change(draw, parts[name])
    return _packed(parts)


def _other_value(draw: random.Random, xml: bytes) -> bytes:
    """Give an attribute or a number another value, one of this part or a strange one."""
    pattern = draw.choice([_ATTRIBUTE, _NUMBER])
    found = [*pattern.finditer(xml)]
    if not found:
        return xml
    match = draw.choice(found)
    word = draw.choice(_WORDS) if draw.random() < 0.7 else draw.choice(found)[0].strip(b'"><')
    begin, end = match.span(2) if pattern is _ATTRIBUTE else (match.start() + 1, match.end() - 1)
    return xml[:begin] + word + xml[end:]


def _other_elements(draw: random.Random, xml: bytes) -> bytes:
    """Leave an element's tag out, repeat it or move it."""
    found = [match.span() for match in _ELEMENT.finditer(xml)]
    if not found:
        return xml
    begin, end = draw.choice(found)
    to = draw.choice(found)[0]
    element, rest = xml[begin:end], xml[:begin] + xml[end:]
    return draw.choice([rest, xml[:to] + element + xml[to:], rest[:to] + element + rest[to:]])


def _other_archive(draw: random.Random, data: bytes) -> bytes:
    """Leave out, rename or swap parts, or store them."""
    parts = _parts(data)
    if not parts or len(parts) < 2:
        return data
    first, second = draw.sample([*parts], 2)
    match draw.randrange(4):
        case 0:
            del parts[first]
        case 1:
            parts[first], parts[second] = parts[second], parts[first]
        case 2:
            parts[first.upper()] = parts.pop(first)
        case _:
            return _packed(parts, zipfile.ZIP_STORED)
    return _packed(parts)


def outcome_of(seed: int) -> str:
    """Read a mutated workbook: `edits`, or the class of an error in words. Anything else is raised."""
    hidden = ("include", "skip", None)[seed % 3]
    try:
        options = ReadOptions(format="xlsx", hidden_rows=hidden, numbers_are_text=True)  # type: ignore[arg-type]
        done = read(io.BytesIO(mutated(seed)), options)
    except UsageError as error:
        return type(error).__name__
    assert isinstance(done.set_aside, pl.DataFrame)
    return "edits"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    first, count = map(int, sys.argv[1:])
    for seed in range(first, first + count):
        print(seed, end=" ", flush=True)
        print(outcome_of(seed), flush=True)


if __name__ == "__main__":
    main()
