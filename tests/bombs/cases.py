"""The bombs: what is given to which command, and what it is to say."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.bombs import files
from tests.bombs.server import ENDLESS, Answer, answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Prepare = Callable[[Path], None]

GIGA: Final = 2**30
MOST: Final = GIGA  # above the peak of the same command with something harmless
_KILLED: Final = 3 * GIGA
_PATIENT_S: Final = 60.0  # a command that takes longer is stuck
_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_DATASTORE: Final = "0" * 32


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    text: str  # of standard output and standard error, with one blank between words
    peak: int  # bytes
    killed: bool  # because it took too much memory


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A command, and what there is when it starts."""

    words: tuple[str, ...]
    prepare: Prepare = lambda _: None  # fills the folder that the command is started in
    answers: Mapping[str, Answer] | None = None  # of the service, by the last part of the path
    until: str | None = None  # end it when it has said this

    def carry_out(self, folder: Path) -> Ended:
        """Start the command in a new folder, and wait for its end."""
        folder.mkdir()
        self.prepare(folder)
        with _service(self.answers) as url:
            return _run(self, folder, url)


@dataclass(frozen=True, slots=True, eq=False)
class Bomb:
    """A trial that would take all memory, beside a harmless one of the same command."""

    name: str
    trial: Trial
    harmless: Trial
    says: str
    exit_code: int = 2
    slow: bool = False  # what refuses it is in the short form: with another bomb, or without a process

    def __str__(self) -> str:
        return self.name


@contextmanager
def _service(answers: Mapping[str, Answer] | None) -> Iterator[str]:
    if answers is None:
        yield "http://127.0.0.1:1"
        return
    with answering(answers) as url:
        yield url


def _run(trial: Trial, folder: Path, url: str) -> Ended:
    report = folder.parent / f"{folder.name}.json"
    command = [sys.executable, "-m", "bulkedit", *trial.words]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER), str(report), str(_KILLED), *command],
        cwd=folder,
        env={**os.environ, "BULKEDIT_ENDPOINT_URL": url, "BULKEDIT_DATASTORE": _DATASTORE, "COLUMNS": "500"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    text = ""
    try:
        if trial.until is not None and process.stdout is not None:
            for line in process.stdout:
                text += line
                if trial.until in line:
                    os.killpg(process.pid, signal.SIGINT)
                    break
        text += process.communicate(timeout=_PATIENT_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text += process.communicate()[0] + "It did not end."
        return Ended(-signal.SIGKILL, text, 0, killed=True)
    return Ended(**json.loads(report.read_text()), text=" ".join(text.split()))


# -- lists


def _made(name: str, make: files.Maker) -> Prepare:
    return lambda folder: make(folder / name)


def _list(name: str, make: files.Maker, harmless: files.Maker, says: str, *, slow: bool = False) -> Bomb:
    """``name``: what the list is, and its suffix as its first word."""
    file = f"list.{name.partition(':')[0]}"
    words = ("plan", file, "-o", "plan")
    return Bomb(name, Trial(words, _made(file, make)), Trial(words, _made(file, harmless)), says, slow=slow)


_MUCH: Final = "unpacks to more than 200 times its size"
_MANY: Final = "unpacks to more than 1,000 times its size"
LISTS: Final = [
    _list("csv.gz: blank lines", files.blank_lines_gz, files.csv_gz, _MUCH, slow=True),
    _list("csv.gz: one endless line", files.endless_line, files.csv_gz, _MUCH),
    _list("csv.gz: one row 100,000,000 times", files.equal_rows, files.csv_gz, _MUCH, slow=True),
    _list("jsonl.gz: one endless line", files.endless_object, files.jsonl_gz, _MUCH, slow=True),
    _list("csv: blank lines", files.blank_lines, files.csv, "more than 40,000 blank lines"),
    _list("csv: 1,000,000 columns", files.columns, files.csv, "more than 6,000 columns"),
    _list("csv: 270 rows of 6,000 empty cells", files.few_empty_cells, files.csv, "270 rows of 270", slow=True),
    _list("csv: 2,700 rows of 6,000 empty cells", files.empty_cells, files.csv, "2,700 rows of 2,700", slow=True),
    _list("jsonl: nested 200,000 deep", files.nested_line, files.jsonl, "nested too deep"),
    _list("jsonl: 5,900 keys, one a line", files.keys, files.jsonl, "few common keys", slow=True),
    _list("parquet: a cell of 10 MB in 1,000,000 rows", files.long_cell, files.records, "a cell of more than 1 MiB"),
    _list("parquet: a cell of 30 kB in 1,000,000 rows", files.shared_cell, files.records, _MANY, slow=True),
    _list("parquet: pages of 40 MB, declared as 1 B", files.large_pages, files.records, _MUCH),
    _list("parquet: one row 500,000,000 times", files.equal_records, files.records, _MANY),
    _list("xlsx: 200,000 cells share 30 kB", files.shared_text, files.workbook, _MUCH, slow=True),
    _list("xlsx: a cell at XFD1048576", files.far_cell, files.workbook, "nearly all of them are empty"),
    _list(
        "xlsx: the same in other XML", files.other_far_cell, files.workbook, "nearly all of them are empty", slow=True
    ),
    _list("xlsx: a sheet of 2 GB", files.large_sheet, files.workbook, _MUCH),
    _list("xlsx: the same, declared as 300 B", files.lying_sheet, files.workbook, _MUCH, slow=True),
    _list("xlsx: shared texts of 2 GB", files.large_texts, files.workbook, _MUCH, slow=True),
]

# -- answers of the service

_IMAGE_SET: Final = {"imageSetId": files.ID, "versionId": "1", "imageSetState": "ACTIVE", "datastoreId": _DATASTORE}
_DENIED: Final = Answer(b'{"message":"no"}', 403, headers={"x-amzn-ErrorType": "AccessDeniedException"})
_STORE: Final = {"datastoreId": _DATASTORE, "datastoreName": "d", "datastoreStatus": "ACTIVE"}
_GOOD: Final = {
    _DATASTORE: Answer(json.dumps({"datastoreProperties": _STORE}).encode()),
    "getImageSet": Answer(json.dumps(_IMAGE_SET).encode()),
}
_APPLY: Final = ("apply", "list.csv", "--yes", "--retry-for", "1")


def _removal(folder: Path) -> None:
    """The value is not given, so that the metadata are read first."""
    (folder / "list.csv").write_text(f"image_set_id,action,attribute\n{files.ID},remove,StudyDescription\n")


def _answer(name: str, path: str, answer: Answer, says: str, *, slow: bool = False) -> Bomb:
    before = _GOOD if path == "getImageSetMetadata" else {}
    harmless = Trial(_APPLY, _removal, {**before, path: _DENIED})
    return Bomb(name, Trial(_APPLY, _removal, {**before, path: answer}), harmless, says, exit_code=4, slow=slow)


def _gigabyte() -> bytes:
    """Of metadata, which pack to a megabyte."""
    return gzip.compress(b'{"SchemaVersion":"1.1","Study":"') + gzip.compress(b"x" * 16 * files.MEGA) * 64


_LARGE: Final = "AnswerTooLargeError"
_ENDLESS: Final = Answer(ENDLESS, endless=True)
ANSWERS: Final = [
    _answer("answer: a megabyte of gzip", "getImageSetMetadata", Answer(_gigabyte()), _LARGE, slow=True),
    _answer("answer: endless metadata", "getImageSetMetadata", _ENDLESS, _LARGE),
    _answer(
        "answer: metadata nested 200,000 deep",
        "getImageSetMetadata",
        Answer(files.DEEP),
        "unreadable answer",
        slow=True,
    ),
    _answer("answer: endless body", _DATASTORE, _ENDLESS, _LARGE, slow=True),
    _answer("answer: endless error", _DATASTORE, Answer(ENDLESS, 500, endless=True), _LARGE, slow=True),
    _answer("answer: JSON nested 200,000 deep", _DATASTORE, Answer(files.DEEP), "unreadable answer", slow=True),
]

# -- what else may come from somebody else


def _written(name: str, content: bytes) -> Prepare:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(content)

    return write


def _json(name: str, words: tuple[str, ...], file: str, says: str, *, slow: bool = False) -> Bomb:
    return Bomb(name, Trial(words, _written(file, files.DEEP)), Trial(words, _written(file, b"[]")), says, slow=slow)


def _inventory(make: files.Maker) -> Prepare:
    def write(folder: Path) -> None:
        files.csv(folder / "list.csv")
        make(folder / "inventory.parquet")

    return write


_EMULATE: Final = ("emulate", "--port", "0", "--import", "dicom")
_WITH_INVENTORY: Final = ("plan", "list.csv", "-o", "plan", "--inventory", "inventory.parquet")
OTHERS: Final = [
    _json("plan: manifest nested 200,000 deep", ("apply", "p", "--yes"), "p/manifest.json", "nested too deep"),
    _json("run: run.json nested 200,000 deep", ("status", "r"), "r/run.json", "nested too deep", slow=True),
    Bomb(
        "inventory: one row 500,000,000 times",
        Trial(_WITH_INVENTORY, _inventory(files.equal_records)),
        Trial(_WITH_INVENTORY, _inventory(files.records)),
        _MANY,
        slow=True,
    ),
    Bomb(
        "dicom: 2 GB, deflated",
        Trial(_EMULATE, _made("dicom", files.deflated_dicom), until="Ctrl-C"),
        Trial(_EMULATE, _made("dicom", files.dicom), until="Ctrl-C"),
        "such as dicom/large.dcm: deflated, and unpacks to more than 100 times its size",
        exit_code=0,
    ),
    Bomb(
        "dicom: a frame of 1.6 GB, RLE",
        Trial(_EMULATE, _made("dicom", files.rle_dicom), until="Ctrl-C"),
        Trial(_EMULATE, _made("dicom", files.dicom), until="Ctrl-C"),
        "Imported 1 image set from dicom",
        exit_code=0,
    ),
]

BOMBS: Final = [*LISTS, *ANSWERS, *OTHERS]
