"""A plan on disk. Its manifest is read without the frames, and polars is imported only when a frame is needed."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import TYPE_CHECKING, Final, cast

from bulkedit import _received as received
from bulkedit._files import sha256_of
from bulkedit._json import object_in
from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.errors import PlanError, ReceivedError, StalePlanError
from bulkedit.plans.calls import Lane, PlannedCall
from bulkedit.plans.counts import Estimate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    import polars as pl

    from bulkedit._json import JsonObject
    from bulkedit.plans.counts import NoticeRecord, PlanCounts, PlanManifest, WarningRecord

FORMAT: Final = 4
MANIFEST: Final = "manifest.json"
AGAIN: Final = "Make a new one: bulkedit plan EDITS -d DATASTORE"
FILES: Final = ("calls.parquet", "edits.parquet", "set_aside.parquet")
SATISFIED: Final = "already_satisfied.parquet"
_BATCH: Final = 2_048
_SHORT: Final = 16  # hex digits
_FIELDS: Final = [field.name for field in fields(PlannedCall)]
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "digest": (str,),
    "datastore_id": (str,),
    "settings": (dict,),
    "list": (dict,),
    "counts": (dict,),
    "files": (dict,),
}
# required numbers: those of the estimate, and those of the list
_NUMBERS: Final[dict[str, tuple[type, ...]]] = {
    **{
        field.name: (float, NoneType) if "None" in str(field.type) else (float,)
        for field in fields(Estimate)
        if field.default is MISSING
    },
    **dict.fromkeys(("rows", "set_aside", "skipped", "empty"), (int,)),
}
_WARNING: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("code", "problem", "likely", "hint"), (str,)),
    "rows": (list,),
    "more": (int,),
}
_NOTICE: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("code", "text"), (str,)),
    **dict.fromkeys(("column", "hint"), (str, NoneType)),
    "rows": (int,),
    "first": (int, NoneType),
}


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan on disk that was found complete and unchanged."""

    folder: Path
    manifest: PlanManifest

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the manifest without its time, and so of the digests of all files."""
        return self.manifest["digest"]

    @property
    def short_digest(self) -> str:
        """The first 16 digits of `digest`."""
        return self.digest[:_SHORT]

    @property
    def datastore_id(self) -> str:
        """The data store of the plan."""
        return self.manifest["datastore_id"]

    @property
    def created(self) -> str | None:
        """When it was made, as an ISO time; None if the manifest does not tell."""
        return self.manifest.get("created")

    @property
    def counts(self) -> PlanCounts:
        """Counts of edits, image sets, calls and rows set aside, with the estimate (`bulkedit.plans.counts`)."""
        return self.manifest["counts"].copy()

    def calls(self) -> pl.LazyFrame:
        """Columns `CALLS`."""
        return _scan(self.folder / "calls.parquet")

    def edits(self) -> pl.LazyFrame:
        """Columns `PLANNED_EDITS`."""
        return _scan(self.folder / "edits.parquet")

    def edits_of(self, call: int) -> pl.DataFrame:
        """The edits of one call (`PLANNED_EDITS`). They are adjacent, so only their row groups are read."""
        return self.edits().filter(call=call).collect()

    @property
    def warnings(self) -> list[WarningRecord]:
        """Effects that the user may not intend: code, problem, likely, hint, rows and more."""
        return list(self.manifest.get("warnings", []))

    @property
    def unchecked(self) -> dict[str, int]:
        """How many values break a rule of DICOM and are planned unchecked, by attribute."""
        return dict(self.manifest.get("unchecked", {}))

    @property
    def notices(self) -> list[NoticeRecord]:
        """What the list does that is planned, but may not be meant: code, column, text, hint, rows and first."""
        return list(self.manifest.get("notices", []))

    @property
    def payload_limit(self) -> int:
        """Limit of each attributes document, in bytes."""
        return self.manifest["settings"]["payload_limit"]

    def set_aside(self) -> pl.LazyFrame:
        """Rows of the list without edits in the plan, and why: columns `SET_ASIDE`.

        Includes rows that match no image set (`--on-missing skip`) and rows whose cells are all empty.
        """
        return _scan(self.folder / "set_aside.parquet")

    def already_satisfied(self) -> pl.LazyFrame:
        """Edits that were already satisfied when the plan was made: columns `PLANNED_EDITS`, with ``call`` null.

        They are not sent.
        """
        if SATISFIED not in self.manifest["files"]:
            return self.edits().clear()
        return _scan(self.folder / SATISFIED)

    def lanes(self, *, batch: int = _BATCH) -> Iterator[list[Lane]]:
        """Yield the lanes in order, in lists of about ``batch`` calls, so that memory does not grow with the plan."""
        waiting: list[PlannedCall] = []
        offset = 0
        while rows := self.calls().slice(offset, batch).select(_FIELDS).collect().rows():
            offset += len(rows)
            waiting += [PlannedCall(*row) for row in rows]
            last = waiting[-1].lane
            whole = [call for call in waiting if call.lane != last]
            waiting = waiting[len(whole) :]
            yield _grouped(whole)
        yield _grouped(waiting)

    def lanes_with(self, calls: Collection[int]) -> list[Lane]:
        """Return the complete lanes of these calls, in order."""
        if not calls:
            return []
        import polars as pl

        numbers = self.calls().filter(pl.col("call").is_in(sorted(calls))).select("lane").unique()
        rows = self.calls().join(numbers, on="lane", how="semi").sort("call").select(_FIELDS).collect().rows()
        return _grouped([PlannedCall(*row) for row in rows])


def _scan(path: Path) -> pl.LazyFrame:
    import polars as pl  # the import takes longer than the rest of `status`

    return pl.scan_parquet(path, glob=False)


def _grouped(calls: list[PlannedCall]) -> list[Lane]:
    return [Lane(number, tuple(group)) for number, group in itertools.groupby(calls, key=lambda call: call.lane)]


def digest_of(manifest: Mapping[str, object]) -> str:
    """Return the SHA-256 of a manifest, without its digest and time, as JSON with sorted keys and no spaces.

    The time is left out so that two people who plan the same list get the same digest.
    """
    stated = {name: value for name, value in manifest.items() if name not in {"digest", "created"}}
    return hashlib.sha256(json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_manifest(folder: Path) -> SavedPlan:
    """Open a plan folder and check the digests of its files, but not their content.

    Raises PlanError, ReceivedError and StalePlanError, as `bulkedit.plans.load`.
    """
    try:
        manifest = _read_manifest(folder)
    except ReceivedError as error:
        error.hint = error.hint or AGAIN
        raise
    _require_unchanged(folder, manifest)
    return SavedPlan(folder, manifest)


def _read_manifest(folder: Path) -> PlanManifest:
    path = folder / MANIFEST
    try:
        manifest = received.read_json(path)
    except OSError as error:
        raise PlanError(
            f"this is not a plan: its {MANIFEST} cannot be read ({error.strerror}).",
            where=str(folder),
            hint="Make one: bulkedit plan EDITS -d DATASTORE",
        ) from error
    if manifest.get("format") != FORMAT:
        raise PlanError(
            "this plan was made by another version of bulkedit, which uses other columns.",
            where=str(folder),
            hint="Plan the list again.",
        )
    _require_kinds(manifest, str(path))
    return cast("PlanManifest", manifest)


def _require_kinds(manifest: JsonObject, where: str) -> None:
    """Raise ReceivedError if a field of the manifest is missing or has another type."""
    received.require(
        {"warnings": [], "notices": [], "unchecked": {}, **manifest},
        {**_KINDS, "warnings": (list,), "notices": (list,), "unchecked": (dict,)},
        where,
    )
    unchecked = object_in(manifest, "unchecked")
    received.require(unchecked, dict.fromkeys(unchecked, (int,)), where)
    counts, files, warnings = object_in(manifest, "counts"), object_in(manifest, "files"), manifest.get("warnings")
    received.require(object_in(manifest, "settings"), {"payload_limit": (int,)}, where)
    received.require(object_in(manifest, "list"), {"form": (str,), "rows": (int,), "sha256": (str,)}, where)
    received.require(counts, {**dict.fromkeys(counts, (float, NoneType)), **_NUMBERS}, where)
    for warning in warnings if isinstance(warnings, list) else ():
        received.require({"a warning": warning}, {"a warning": (dict,)}, where)
        received.require(object_in(warning), _WARNING, where)
    notices = manifest.get("notices")
    for notice in notices if isinstance(notices, list) else ():
        received.require({"a notice": notice}, {"a notice": (dict,)}, where)
        received.require(object_in(notice), _NOTICE, where)
    if not re.fullmatch(IMAGE_SET_ID, str(manifest["datastore_id"])):
        raise ReceivedError("datastore_id is not the id of a data store.", where=where)
    received.require(files, dict.fromkeys(files, (dict,)), where)
    for name, about in files.items():
        if name not in (*FILES, SATISFIED):
            # any other name could be a path outside of the folder, so it is never opened
            raise ReceivedError(
                f"it names {name!a:.80}, which is not a file of a plan.",
                where=where,
                likely="The plan was changed by hand.",
                hint=AGAIN,
            )
        received.require(object_in(about), {"rows": (int,), "sha256": (str,)}, where)


def _require_unchanged(folder: Path, manifest: PlanManifest) -> None:
    files = manifest["files"]
    for name in (*FILES, *([SATISFIED] if SATISFIED in files else [])):
        there = name in files and received.there(folder / name)
        if not there or sha256_of(folder / name) != files[name]["sha256"]:
            raise StalePlanError(
                f"{name} is not the file that was planned.",
                where=str(folder),
                likely="The file was changed by hand. To change a plan, plan the list again.",
                hint=AGAIN,
            )
    if manifest["digest"] != digest_of(manifest):
        raise StalePlanError(
            f"{MANIFEST} has been changed: its digest differs.",
            where=str(folder),
            likely="The file was changed by hand. To change a plan, plan the list again.",
            hint=AGAIN,
        )
