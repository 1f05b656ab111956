"""Does the work of `bulkedit plan` for a tidy list in plain Python, for `benchmarks.planner`.

python -m benchmarks.same_work LIST FOLDER
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.columns import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulkedit._json import Json

_ID = re.compile(IMAGE_SET_ID)
_DAMAGED = re.compile(
    r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-][0-9]{1,3}|[0-9]+[.,]0*|[0-9]{1,3}(?:[.,][0-9]{3})+|nan|None|NULL"
)
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_LIMIT = 10_000


class Same:
    """A planner for tidy lists of sets by image_set_id."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, tuple[int, str, str]]] = {}  # image set, attribute: row, level, JSON text
        self.replaced: list[tuple[int, str, str, str]] = []  # row, image set, attribute, JSON text
        self.problems: list[str] = []
        self.facts = functools.lru_cache(None)(facts)

    def take(self, row: int, cells: Sequence[str]) -> None:
        """Check a row and merge it; a row with a problem is recorded and left out."""
        if len(cells) != 3:
            self.problems.append(f"Row {row}: it has {len(cells)} cells, and the header has 3.")
            return
        image_set_id, name, text = cells[0].strip(), cells[1].strip(), cells[2]
        attribute, problem = self.facts(name)
        if not _ID.fullmatch(image_set_id):
            problem = "image_set_id is not 32 characters of 0-9 a-z."
        if problem is None and attribute is not None:
            value: Json = ([*text.split("\\")] if attribute.multi else text) if text else None
            problem = dicom.why_unfit(attribute, value)
            if is_identifier(attribute) and _DAMAGED.fullmatch(text):
                problem = f"{name} looks damaged by a spreadsheet."
        if problem is not None or attribute is None:
            self.problems.append(f"Row {row}: {problem}")
            return
        edits = self.calls.setdefault(image_set_id, {})
        written = _TEXT.encode(value)
        if (before := edits.get(name)) is not None:
            self.replaced.append((before[0], image_set_id, name, before[2]))
            if before[2] != written:
                self.problems.append(f"Row {row}: wants something else of {name} than row {before[0]}.")
        edits[name] = (row, attribute.level, written)

    def write(self, folder: Path) -> None:
        """Pack into calls under the limit, and write calls, edits and manifest, private and with digests."""
        if self.problems:
            raise SystemExit("\n".join(self.problems[:20]))
        folder.mkdir(mode=0o700)
        digests = {name: hashlib.sha256() for name in ("calls.jsonl", "edits.jsonl")}
        streams = {name: os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600), "wb") for name in digests}

        def line(name: str, record: dict[str, object]) -> None:
            data = (_TEXT.encode(record) + "\n").encode()
            digests[name].update(data)
            streams[name].write(data)

        number = 0
        sent_in: dict[tuple[str, str], int] = {}
        repeated = {(image_set_id, name) for _, image_set_id, name, _ in self.replaced}
        for image_set_id, edits in self.calls.items():
            for document, packed in documents(edits):
                line("calls.jsonl", {"call": number, "imageSetId": image_set_id, "updatableAttributes": document})
                for name in packed:
                    row, level, value = edits[name]
                    where = {"call": number, "row": row, "imageSetId": image_set_id}
                    line("edits.jsonl", {**where, "level": level, "attribute": name, "value": value, "sent": True})
                    if (image_set_id, name) in repeated:
                        sent_in[image_set_id, name] = number
                number += 1
        for row, image_set_id, name, value in self.replaced:
            where = {"call": sent_in[image_set_id, name], "row": row, "imageSetId": image_set_id}
            line("edits.jsonl", {**where, "attribute": name, "value": value, "sent": False})
        for stream in streams.values():
            stream.close()
        manifest = {"calls": number, "sha256": {name: digest.hexdigest() for name, digest in digests.items()}}
        (folder / "manifest.json").write_text(json.dumps(manifest))


def facts(name: str) -> tuple[dicom.Attribute | None, str | None]:
    """Look up an attribute by name, and the problem that it has in any row."""
    attribute = dicom.attribute(name)
    if name in dicom.NEVER_EDITABLE:
        return None, f"{name} cannot be edited."
    if attribute is None:
        return None, "attribute is not a DICOM keyword."
    if reason := dicom.force_reason(attribute):
        return None, f"{name} needs force: {reason}."
    if attribute.level not in (dicom.Level.PATIENT, dicom.Level.STUDY):
        return None, f"{name} is at {attribute.level} level, and series_uid is empty."
    return attribute, None


def documents(edits: dict[str, tuple[int, str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Return documents within the limit, and the attributes in each."""
    document = document_of(edits, list(edits))
    if len(document.encode()) <= _LIMIT:
        yield document, list(edits)
        return
    packed: list[str] = []
    for name in edits:
        if packed and len(document_of(edits, [*packed, name]).encode()) > _LIMIT:
            yield document_of(edits, packed), packed
            packed = []
        packed.append(name)
    yield document_of(edits, packed), packed


def document_of(edits: dict[str, tuple[int, str, str]], names: list[str]) -> str:
    members: dict[str, list[str]] = {}
    for name in names:
        _, level, value = edits[name]
        members.setdefault(level, []).append(f'"{name}":{value}')
    levels = [f'"{level}":{{"DICOM":{{{",".join(texts)}}}}}' for level, texts in members.items()]
    return "{" + ",".join(['"SchemaVersion":1.1', *levels]) + "}"


def same_work_planner(source: Path, target: Path) -> None:
    """Check, merge, pack and record, row by row."""
    planner = Same()
    if source.suffix == ".csv":
        with source.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file, strict=True)
            next(lines)
            for row, cells in enumerate(lines, 2):
                planner.take(row, cells)
    else:
        for row, values in enumerate(pl.read_parquet(source).iter_rows(), 1):
            planner.take(row, values)
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    planner.write(target)


if __name__ == "__main__":
    same_work_planner(*map(Path, sys.argv[1:]))
