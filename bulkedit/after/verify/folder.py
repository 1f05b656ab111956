"""A verification as a folder: `RUN/verifications/<id>/`.

While it runs, `progress.jsonl` gets one line for each image set that was read, so that the same command continues after
a stop. At the end come `differences` and, with history, `kept`, each as Parquet and CSV, and `verification.json` with
the numbers. All files are 0600 and the folder is 0700. They contain values only on request.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Final, Self, TypedDict, cast

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_file, open_private, sha256_of, write_private_json
from bulkedit._json import object_in
from bulkedit.edits import frame_files
from bulkedit.edits.frame_files import writing
from bulkedit.edits.result_files import guarded
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit._json import JsonObject
    from bulkedit.options.verify import VerifyOptions
    from bulkedit.runs.folder import Run

FORMAT: Final = 1
FOLDER: Final = "verifications"
_ABOUT: Final = "begun.json"
_PROGRESS: Final = "progress.jsonl"
_RESULT: Final = "verification.json"
_ROW_GROUP: Final = 65_536

_PLACE: Final[dict[str, pl.DataType]] = {
    "row": pl.UInt32(),  # as in the edit list
    "edit_id": pl.String(),
    "image_set_id": pl.String(),
    "action": pl.String(),
    "level": pl.String(),
    "series_uid": pl.String(),
    "instance_uid": pl.String(),
    "attribute": pl.String(),
    "call": pl.UInt32(),
}
# one row per applied edit that an image set does not have
DIFFERENCES: Final = pl.Schema(
    {
        **_PLACE,
        "difference": pl.String(),  # a value of `bulkedit.edits.compare.Difference`
        "origin": pl.String(),  # `later writer`, `run`, or `unknown` if the version of the run cannot be read
        "other_run": pl.String(),  # of a later writer: the run of the user that it was, if that is proven; else null
        "version": pl.UInt32(),  # made by the run
        "latest": pl.UInt32(),  # the version that was read; null if the image set is gone
        "expected": pl.String(),  # JSON text; this and `found` only with `include_values`, else null
        "found": pl.String(),
    }
)
# one row per applied edit whose former value, instance or series is in older versions
KEPT: Final = pl.Schema({**_PLACE, "versions": pl.List(pl.UInt32()), "primary": pl.Boolean()})

_LINE: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "differences": pl.List(pl.Struct(dict(DIFFERENCES))),
        "kept": pl.List(pl.Struct(dict(KEPT))),
    }
)


_LINE_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "image_set_id": (str,),
    **dict.fromkeys(("matching", "superseded", "siblings"), (int,)),
    **dict.fromkeys(("differences", "kept"), (list,)),
}


class CheckedLine(TypedDict):
    """The findings of one image set, as a line of the progress file."""

    image_set_id: str
    matching: int
    superseded: int
    siblings: int  # image sets of the study that the run's edits do not name
    differences: list[JsonObject]  # rows of `DIFFERENCES`
    kept: list[JsonObject]  # rows of `KEPT`


class VerificationAbout(TypedDict):
    """Facts about a verification."""

    run: str
    plan_digest: str
    datastore_id: str
    read_at: float  # epoch seconds
    of_image_sets: int
    sample: str | None
    archived: int  # image sets that were not read


class VerificationCounts(TypedDict):
    """`Counts` as JSON."""

    image_sets: int
    matching: int
    superseded: int
    differences: int
    by_later_writers: int
    by_run: int
    kept: int


class VerificationSummary(VerificationAbout, VerificationCounts):
    """`verification.json`: numbers, and the SHA-256 of each file."""

    seed: int
    files: dict[str, str]


@dataclass(slots=True)
class Counts:
    """Numbers of the findings so far, in edits unless noted."""

    image_sets: int = 0  # image sets read
    matching: int = 0
    superseded: int = 0  # by a later edit of the run
    differences: int = 0
    by_later_writers: int = 0  # of the differences
    by_run: int = 0
    kept: int = 0  # whose former value is in older versions

    def add(self, line: CheckedLine) -> None:
        """Add an image set."""
        self.matching += line["matching"]
        self.superseded += line["superseded"]
        self.image_sets += 1 + line["siblings"]
        self.differences += len(line["differences"])
        self.by_later_writers += sum(one["origin"] == "later writer" for one in line["differences"])
        self.by_run += sum(one["origin"] == "run" for one in line["differences"])
        self.kept += len(line["kept"])


class VerifyFolder:
    """A verification that is under way, or was interrupted."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.counts = Counts()
        self.done: set[str] = set()  # image sets that were read
        self._file: IO[bytes] | None = None

    @classmethod
    def open(cls, run: Run, name: str, options: VerifyOptions, events: int) -> Self:
        """Continue an interrupted verification with the same options, or begin a new one.

        ``events``: a number that grows while the run works; a verification of an earlier state is not continued.
        """
        wanted = {"format": FORMAT, "events": events, **options.as_json()}
        if not options.fresh:
            for folder in reversed(received.subfolders(run.folder / FOLDER)):
                about = _read(folder / _ABOUT)
                same = about is not None and {**about, "seed": None} == {**wanted, "seed": None}
                if about is None or not same or received.there(folder / _RESULT):
                    continue
                received.require(about, {"seed": (int,)}, str(folder / _ABOUT))
                seed = int(str(about["seed"]))
                if options.seed in {None, seed}:
                    found = cls(folder, seed)
                    found._take_up()
                    return found
        folder = run.folder / FOLDER / name
        seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
        received.require_folder(folder.parent)
        with writing("the verification", folder):
            folder.mkdir(mode=0o700, parents=True)
            write_private_json(folder / _ABOUT, {**wanted, "seed": seed})
        return cls(folder, seed)

    def _take_up(self) -> None:
        path = self.folder / _PROGRESS
        if not received.there(path):
            return
        whole = 0
        with received.opened_to_write(path) as file:
            for text in file:
                if not text.endswith(b"\n"):
                    break  # cut short when the process was killed
                whole += len(text)
                line = _line_of(text, str(path))
                self.done.add(line["image_set_id"])
                self.counts.add(line)
            file.truncate(whole)

    def add(self, line: CheckedLine) -> None:
        """Save the findings of one image set."""
        with writing("the verification", self.folder):
            if self._file is None:
                self._file = received.opened_to_write(self.folder / _PROGRESS)
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
        self.done.add(line["image_set_id"])
        self.counts.add(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def finish(self, about: VerificationAbout, *, history: bool) -> Verification:
        """Write the files of a finished verification. ``about``: facts for `verification.json`."""
        self.close()
        files = {"differences": DIFFERENCES, **({"kept": KEPT} if history else {})}
        with writing("the verification", self.folder):
            if not (path := self.folder / _PROGRESS).exists():
                open_private(path).close()
            digests: dict[str, str] = {}
            for name, schema in files.items():
                digests |= self._write(name, schema)
            counted = cast("VerificationCounts", asdict(self.counts))
            result: VerificationSummary = {**about, **counted, "seed": self.seed, "files": digests}
            write_private_json(self.folder / _RESULT, result)
            path.unlink()
            (self.folder / _ABOUT).unlink()
        return Verification(self.folder, result)

    def _write(self, name: str, schema: pl.Schema) -> dict[str, str]:
        received.require_file(self.folder / _PROGRESS)
        lines = pl.scan_ndjson(self.folder / _PROGRESS, schema=_LINE)
        rows = lines.select(pl.col(name).explode(empty_as_null=False)).unnest(name).select(schema.names())
        rows = rows.cast(schema).sort("row", "image_set_id", maintain_order=True)
        parquet, csv = self.folder / f"{name}.parquet", self.folder / f"{name}.csv"
        with draft_file(parquet, replace=True) as file:
            rows.sink_parquet(file, row_group_size=_ROW_GROUP)
        flat = pl.scan_parquet(parquet, glob=False)
        if name == "kept":
            flat = flat.with_columns(pl.col("versions").cast(pl.List(pl.String)).list.join(" "))
        with draft_file(csv, replace=True) as file:
            guarded(flat).sink_csv(file)
        return {path.name: sha256_of(path) for path in (parquet, csv)}


@dataclass(frozen=True, slots=True)
class Verification:
    """A finished verification."""

    folder: Path
    summary: VerificationSummary

    def differences(self) -> pl.LazyFrame:
        """Applied edits that an image set does not have: columns `DIFFERENCES`, sorted by row."""
        return frame_files.parquet(self.folder / "differences.parquet", DIFFERENCES)

    def kept(self) -> pl.LazyFrame:
        """Edits whose former values are in older versions: columns `KEPT`. Empty without `history`."""
        path = self.folder / "kept.parquet"
        return frame_files.parquet(path, KEPT) if received.there(path) else pl.LazyFrame(schema=KEPT)


def _line_of(text: bytes, where: str) -> CheckedLine:
    """A line of the progress file. Raises ReceivedError."""
    line = received.json_object(text, where)
    received.require(line, _LINE_KINDS, where)
    differences = line["differences"]
    for one in differences if isinstance(differences, list) else ():
        received.require({"a difference": one}, {"a difference": (dict,)}, where)
        received.require(object_in(one), {"origin": (str,)}, where)
    return cast("CheckedLine", line)


def load(folder: Path) -> Verification:
    """Open the folder of a finished verification. Raises UsageError."""
    result = _read(folder / _RESULT)
    if result is None:
        raise UsageError("this is not the folder of a finished verification.", where=str(folder))
    received.require(result, dict.fromkeys(("differences", "image_sets"), (int,)), str(folder / _RESULT))
    return Verification(folder, cast("VerificationSummary", result))


def _read(path: Path) -> JsonObject | None:
    """The JSON object in a file; None if there is no file. Raises ReceivedError."""
    try:
        return received.read_json(path)
    except FileNotFoundError:
        return None
