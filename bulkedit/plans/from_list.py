"""Makes a saved plan from an edit list: read, check, look up selectors, merge, estimate, save."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import polars as pl

from bulkedit import inventories, plans
from bulkedit._files import draft_file, new_id, target_of
from bulkedit._version import __version__
from bulkedit.client.pacing import parse_rate, parse_read_pace
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import ReadOptions, rows_without_edits
from bulkedit.edits import read as read_list
from bulkedit.edits.edit import in_order
from bulkedit.edits.frame_files import writing
from bulkedit.edits.notices import NOTICES, noticed, summed
from bulkedit.errors import BadRowsError, BulkeditError, EditListError, UsageError
from bulkedit.options.listing import Chains, LookUp, OnManyPatients
from bulkedit.options.shared import parse_datastore_id
from bulkedit.plans import look_up, unchecked
from bulkedit.plans.bad_rows import in_columns_of, with_reasons
from bulkedit.plans.bad_rows import refused as refused_list
from bulkedit.plans.chains import followed
from bulkedit.plans.listener import Listener
from bulkedit.plans.read_first import ReadCounters, compared_with_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.edits import EditList
    from bulkedit.options.listing import ListOptions
    from bulkedit.options.where import Where
    from bulkedit.plans import SavedPlan
    from bulkedit.plans.chains import Followed
    from bulkedit.plans.counts import NoticeRecord, PlanAbout, PlanCounts

UNNAMED: Final = "the frame"  # name of a list that is neither a file nor standard input
_WORKERS: Final = 16  # concurrent GetImageSet requests: enough for 25/s if an answer takes half a second


def reading(listing: ListOptions) -> ReadOptions:
    """Return the options of the list reader. Raises UsageError."""
    return ReadOptions(
        map=_mapping(listing.map or []),
        ignore=listing.ignore or [],
        empty=listing.empty,
        force=listing.force,
        unchecked=listing.unchecked,
        rules=dicom.RULES[listing.service_version],
        format=listing.format,
        numbers_are_text=listing.numbers_are_text,
        sheet=listing.sheet,
        hidden_rows=listing.hidden_rows,
        assigning_authority=listing.assigning_authority,
    )


def _planning(listing: ListOptions, form: str) -> plans.PlanningSettings:
    """Return the planner's settings for a list of this form. Raises UsageError."""
    if listing.delete_originals and not listing.via_copy:
        raise UsageError("`delete_originals` needs `via_copy`.")
    rules = dicom.RULES[listing.service_version]
    if listing.study_wide is plans.StudyWide.ON and not rules.study_wide:
        raise UsageError(
            f"the service of {rules.version} has no study-wide calls.",
            hint="Omit `study_wide`, or plan for a newer service: `service_version=2026`",
        )
    return plans.PlanningSettings(
        rules=rules,
        payload_limit=listing.payload_limit or rules.payload_limit,
        merge=not listing.no_merge,
        whole_rows=form == "call",
        contradictions=listing.on_contradiction,
        study_wide=listing.study_wide if rules.study_wide else plans.StudyWide.OFF,
        via_copy=plans.ViaCopy(delete_originals=listing.delete_originals) if listing.via_copy else None,
    )


def _quotas(listing: ListOptions) -> plans.Quotas:
    """Return the quotas for the estimate. Raises UsageError."""
    return plans.Quotas(current=parse_rate(listing.quota), raised=parse_rate(listing.raised_quota))


def check(listing: ListOptions) -> None:
    """Raise UsageError for an invalid option, before anything is read."""
    reading(listing), _planning(listing, "tidy"), _quotas(listing), parse_read_pace(listing.read_rate)
    if listing.condition is None:
        return
    inventories.condition_of(listing.condition)
    if listing.inventory is None:
        raise UsageError(
            "`condition` needs an inventory, because HealthImaging cannot search by conditions.",
            hint="Take an inventory (bulkedit inventory -o FILE) and plan with it: `inventory=FILE`",
        )


def _mapping(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError("`map` takes NAME=COLUMN.", hint="For example: `map=accession_number=Acc`")
    return {name.strip(): column for name, column in (pair.split("=", 1) for pair in pairs)}


def plan_list(
    source: str | io.BytesIO,
    datastore_id: str | None,
    listing: ListOptions,
    *,
    folder: Path | None,
    where: Where,
    listener: Listener | None = None,
) -> SavedPlan:
    """Read and check an edit list, look up its selectors, plan it and save the plan. Blocks. Raises as `planning`.

    Example: ``plan_list("edits.csv", DATASTORE_ID, ListOptions(), folder=None, where=Where()).counts["calls"]``
    """
    with planning(source, datastore_id, listing, folder=folder, where=where, listener=listener) as saved:
        pass
    return replace(saved, folder=target_of(saved.folder))


@contextmanager
def planning(
    source: str | io.BytesIO,
    datastore_id: str | None,
    listing: ListOptions,
    *,
    folder: Path | None,
    where: Where,
    listener: Listener | None = None,
) -> Iterator[SavedPlan]:
    """As `plan_list`, but the plan is a draft in the block, and is removed if that fails.

    ``source``: path of a file, ``-`` for standard input, or the bytes of a list without a name. ``datastore_id``: None
    if the list names it. ``folder``: new folder of the plan, ``plans/<id>`` if None. ``listener``: callbacks.

    Raises EditListError if the list cannot be read, BadRowsError if rows cannot be planned and `bad_rows` is not set,
    UsageError for options, PlanError if the folder exists, StorageError if the disk is full or faulty, and what
    `connect` raises if the service is called.
    """
    check(listing)
    if datastore_id:
        parse_datastore_id(datastore_id)
    listener = listener or Listener()
    file = io.BytesIO(sys.stdin.buffer.read()) if source == "-" else source
    source = source if isinstance(source, str) else UNNAMED
    found = _read(file, reading(listing), source)
    if found.applied or found.never_planned:
        listener.left_out(found.applied, found.never_planned)
    datastore_id = _datastore(datastore_id, found)
    settings = _planning(listing, found.form)
    made, about = _Planning(source, file, found, datastore_id, listing, settings, where, listener).made()
    folder = folder or Path("plans") / new_id(datetime.fromisoformat(about["created"]))
    with plans.saving(made, folder, about) as saved:
        yield saved


@dataclass(frozen=True, slots=True)
class _Planning:
    """Makes the plan of a list that was read."""

    source: str
    file: str | io.BytesIO
    found: EditList
    datastore_id: str
    listing: ListOptions
    settings: plans.PlanningSettings
    where: Where
    listener: Listener

    def made(self) -> tuple[plans.Plan, PlanAbout]:
        """Return the plan and its manifest. Raises as `plan_list`."""
        listing, settings = self.listing, self.settings
        chained = self._chained()
        selected, narrowed, looked_up = self._selected(chained)
        known = self._known(selected, looked_up)
        elsewhere = plans.other_series(selected.edits, look_up.series_of(looked_up.inventory))
        edits = _without_rows(selected.edits, elsewhere)
        also = look_up.unresolved(self.found.of_bad_rows, self.datastore_id, listing)
        refused = pl.concat([self.found.set_aside, also, chained.set_aside, selected.set_aside, elsewhere])
        made, bad = self._completed(edits, refused, known)
        counters = ReadCounters(0)
        if listing.skip_satisfied:
            good, counters = self._read_store(_without_rows(edits, bad))
            misplaced = self._misplaced(good)
            if misplaced.height:
                made, bad = self._completed(_without_rows(edits, misplaced), pl.concat([refused, misplaced]), known)
            made = _without_satisfied(made, _without_rows(good, bad), settings, known)
        inconsistent = plans.inconsistent_studies_of(made.edits, known)
        left_unchecked = unchecked.counted(made.edits.lazy())
        counts: PlanCounts = {
            **plans.estimate(made, _quotas(listing), inventory=looked_up.inventory, known=known).as_json(),
            "rows": self.found.rows,
            "set_aside": bad.get_column("row").n_unique(),
            "skipped": selected.skipped.get_column("row").n_unique(),
            "narrowed_rows": 0 if narrowed is None else narrowed.left_out.height,
            "narrowed_image_sets": 0 if narrowed is None else narrowed.image_sets,
            "searches": looked_up.counters.reads.requests,
            "edits_of_unknown_study": plans.edits_of_unknown_study(made.edits, known),
            "empty": self.found.idle.height,
            "already_satisfied": 0 if made.already_satisfied is None else made.already_satisfied.height,
            "image_sets_read": counters.read,
            "image_sets_not_read": counters.archived + counters.unread,
            "inconsistent_studies": inconsistent.drop_nulls("attribute").get_column("study").n_unique(),
            "unchecked_values": sum(left_unchecked.values()),
        }
        notices = [
            *look_up.narrowing(narrowed),
            self.found.notices,
            chained.notices,
            selected.notices,
            look_up.unknown_studies(looked_up),
            unchecked.notice_of(made.edits.lazy(), left_unchecked),
            _divided_rows(made, counts),
        ]
        about: PlanAbout = {
            **self._about(counts),
            "unchecked": left_unchecked,
            "warnings": plans.warnings(inconsistent),
            "notices": cast("list[NoticeRecord]", summed(notices).to_dicts()),
        }
        about["settings"]["narrowed"] = narrowed is not None  # not the condition, which may name patients
        left_out = [] if narrowed is None else [narrowed.left_out]
        unplanned = pl.concat([bad, selected.skipped, *left_out, rows_without_edits(self.found.idle)])
        return replace(made, set_aside=unplanned.sort("row", maintain_order=True)), about

    def _about(self, counts: PlanCounts) -> PlanAbout:
        settings, listing = self.settings, self.listing
        return {
            "tool": f"bulkedit {__version__}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "datastore_id": self.datastore_id,
            "list": {
                "name": self.source,
                "sha256": self.found.digest,
                "form": self.found.form,
                "rows": self.found.rows,
            },
            "settings": {
                "service_version": settings.rules.version,
                "payload_limit": settings.payload_limit,
                "force": listing.force,
                "unchecked": listing.unchecked,
                "merge": settings.merge,
                "study_wide": str(settings.study_wide),
                "via_copy": listing.via_copy,
                "skip_satisfied": listing.skip_satisfied,
            },
            "counts": counts,
        }

    def _chained(self) -> Followed:
        """Find the chains. A row with problems may be a link of one, which it is again when it is corrected."""
        found = self.found
        chained = followed(found.edits, self.listing.chains)
        if self.listing.chains is not Chains.FAIL or found.of_bad_rows.is_empty():
            return chained
        of_all = pl.concat([found.edits, found.of_bad_rows]).sort("row", maintain_order=True)
        return replace(chained, set_aside=followed(of_all, Chains.FAIL).set_aside)

    def _selected(
        self, chained: Followed
    ) -> tuple[inventories.Resolved, inventories.Narrowed | None, inventories.Lookup]:
        """Return what the rows name. If that cannot be looked up, and rows have problems, their problems are raised."""
        is_refused = self.found.set_aside.height > 0 and self.listing.bad_rows is None
        # a list that is refused anyway is refused without asking the service about the studies of its image sets
        listing = replace(self.listing, look_up=LookUp.NEVER) if is_refused else self.listing
        edits = _without_rows(chained.edits, chained.set_aside)
        try:
            return look_up.selected(
                edits, self.datastore_id, listing, self.settings, where=self.where, listener=self.listener
            )
        except BulkeditError:
            if is_refused:
                self._decide_bad_rows(pl.concat([self.found.set_aside, chained.set_aside]))
            raise

    def _known(self, selected: inventories.Resolved, looked_up: inventories.Lookup) -> pl.DataFrame | None:
        """Return what is known of the studies (`bulkedit.plans.KNOWN`). Raises UsageError if it is not enough."""
        known = look_up.studies_of(looked_up.inventory)
        if self.settings.via_copy is not None:
            known = look_up.with_primaries(selected.edits, known, self.datastore_id, self.listing, self.where)
        if self.settings.study_wide is plans.StudyWide.ON and plans.edits_of_unknown_study(selected.edits, known):
            raise UsageError(
                "the list names image sets whose study, or whether they are primary, is unknown.",
                where=self.source,
                likely="`study_wide=on` needs all image sets of each study.",
                hint="Take an inventory (bulkedit inventory -o FILE) and plan with it: `inventory=FILE`",
            )
        return known

    def _completed(
        self, edits: pl.DataFrame, refused: pl.DataFrame, known: pl.DataFrame | None
    ) -> tuple[plans.Plan, pl.DataFrame]:
        """Return the plan of these edits, and all rows that are set aside."""
        made = plans.make(edits, self.settings, known)
        bad = self._decide_bad_rows(pl.concat([refused, made.set_aside]))
        if not made.calls.height:
            raise BadRowsError("no row of the list can be planned.", where=self.source)
        return made, bad

    def _decide_bad_rows(self, problems: pl.DataFrame) -> pl.DataFrame:
        """Return the problems in order. Raises BadRowsError, or writes the rows to the file of `bad_rows`, if set."""
        bad = in_columns_of(self.found.form, problems).sort("row", maintain_order=True)
        if not bad.height:
            return bad
        rows = bad.get_column("row").unique()
        if self.listing.bad_rows is None:
            raise refused_list(self.found, bad, self.source)
        raw = self.found.raw
        if raw["row"].n_unique() < len(rows):
            # the reader has not kept rows that only the planner refuses, so they are read again
            if isinstance(self.file, io.BytesIO):
                self.file.seek(0)
            raw = read_list(self.file, replace(reading(self.listing), keep_rows=rows.to_list())).raw
        file = self.listing.bad_rows
        with writing("the rows set aside", file), draft_file(file, or_same=True) as target:
            with_reasons(raw, bad, set(reading(self.listing).map.values())).write_csv(target)
        self.listener.set_aside(bad, self.listing.bad_rows)
        return bad

    def _read_store(self, edits: pl.DataFrame) -> tuple[pl.DataFrame, ReadCounters]:
        """Return the edits in the order of application, compared with their image sets (`compared_with_store`)."""
        counters = ReadCounters(edits.get_column("image_set_id").n_unique())
        self.listener.will_read(counters)
        compared = compared_with_store(
            in_order(edits),
            datastore_id=self.datastore_id,
            read_rate=self.listing.read_rate,
            where=self.where,
            counters=counters,
            showing=self.listener.reading,
        )
        return compared, counters

    def _misplaced(self, good: pl.DataFrame) -> pl.DataFrame:
        """Return the rows (`SET_ASIDE`) that cannot be applied as the store is. ``good``: of `_read_store`."""
        seen = [plans.no_such_place(good)]
        if self.listing.on_many_patients is OnManyPatients.FAIL:
            seen.append(plans.of_several_issuers(good))
        return pl.concat(seen)


def _divided_rows(made: plans.Plan, counts: PlanCounts) -> pl.DataFrame:
    """Return a notice of the rows that are in several calls."""
    if not counts.get("rows_in_several_calls"):
        return NOTICES.to_frame()
    return noticed(
        plans.rows_in_several_calls(made),
        "rows-in-several-calls",
        pl.lit(value=True),
        "Cells of a row are in several calls, so the row can end partly applied.",
        hint="Each cell has its own outcome, so such a row can be in several result files.",
    )


def _read(file: str | io.BytesIO, options: ReadOptions, source: str) -> EditList:
    try:
        return read_list(file, options)
    except EditListError as error:
        if source == UNNAMED:
            error.where = (error.where or "").replace("standard input", UNNAMED)
        raise


def _without_rows(edits: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
    return edits.join(bad.select("row"), on="row", how="anti", maintain_order="left") if bad.height else edits


def _without_satisfied(
    made: plans.Plan, good: pl.DataFrame, settings: plans.PlanningSettings, known: pl.DataFrame | None
) -> plans.Plan:
    """Return the plan without the edits that are already satisfied and can be left out.

    ``made``: the plan with all edits; ``good``: its edits in the order of application, with ``already_satisfied``
    Boolean. `bulkedit.plans.can_leave_out` keeps every other edit plannable; if one is not, nothing is left out.
    """
    omitted = plans.can_leave_out(good, known, settings)
    good = good.drop("already_satisfied", "missing", "issuer")
    rest = plans.make(good.filter(~omitted), settings, known)
    if rest.set_aside.height:
        return made
    left_out = good.with_row_index("edit").filter(omitted)
    absent = {name: dtype for name, dtype in plans.PLANNED_EDITS.items() if name not in left_out.columns}
    left_out = left_out.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name != "sent"
    ).with_columns(sent=pl.lit(value=False))
    satisfied = left_out.select(plans.PLANNED_EDITS.names()).cast(plans.PLANNED_EDITS)
    return replace(rest, already_satisfied=satisfied)


def _datastore(given: str | None, found: EditList) -> str:
    named = found.datastore_id
    if given and named and given != named:
        raise UsageError(
            "the rows of the list name another data store than `datastore_id`.", hint="Omit `datastore_id`."
        )
    if not (datastore_id := given or named):
        raise UsageError("no data store is named.", hint="Name it: `datastore_id=ID`")
    return datastore_id
