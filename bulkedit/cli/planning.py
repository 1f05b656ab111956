"""`bulkedit plan`, and the planning half of `bulkedit apply`."""

from __future__ import annotations

import io
import random
import sys
import textwrap
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import anyio
import polars as pl

from bulkedit import __version__, dicom, editlist
from bulkedit import inventory as inventories
from bulkedit import planner as plans
from bulkedit.aws import Connection, connect
from bulkedit.cli import options as o
from bulkedit.cli.progress import showing
from bulkedit.cli.terminal import command, duration, err, json_line, out, plural, print_rows, say
from bulkedit.errors import BadRowsError, UsageError
from bulkedit.files import open_private
from bulkedit.outcome import Refused
from bulkedit.pacing import AUTO, DOCUMENTED, Auto, Operation, Rate, pacer, parse_pace, parse_rate
from bulkedit.reading import Reader
from bulkedit.runs import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.editlist import EditList
    from bulkedit.planner import SavedPlan

DEFAULT_QUOTA: Final = str(plans.Quotas().current)
DEFAULT_RAISED_QUOTA: Final = str(plans.Quotas().raised)
DEFAULT_READ_RATE: Final = AUTO
_SHOWN_PER_PROBLEM: Final = 5
_LONG_S: Final = 3600.0  # a plan that takes longer is worth a request for a higher quota
_EMPTY: Final = ("keep", "null", "remove")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How the edit list of a command is to be read and planned; names and defaults are those of the flags."""

    map: list[str] | None = None
    ignore: list[str] | None = None
    empty: str = "keep"
    force: bool = False
    rules: str = "2026"
    format: str | None = None
    payload_limit: int | None = None
    bad_rows: Path | None = None
    no_merge: bool = False
    on_contradiction: str = "fail"
    inventory: Path | None = None
    on_missing: str = "fail"
    on_many: str = "fail"
    primary_only: bool = False
    study_wide: str = "auto"
    via_copy: bool = False
    delete_originals: bool = False
    read_rate: str = DEFAULT_READ_RATE
    quota: str = DEFAULT_QUOTA
    raised_quota: str = DEFAULT_RAISED_QUOTA

    def reading(self) -> editlist.ReadOptions:
        """The reader's options. Raises UsageError."""
        return editlist.ReadOptions(
            map=_mapping(self.map or []),
            ignore=self.ignore or [],
            empty=cast('Literal["keep", "null", "remove"]', _one_of("--empty", self.empty, _EMPTY)),
            force=self.force,
            rules=self._rules(),
            format=self.format,
        )

    def selecting(self) -> inventories.ResolveOptions:
        """Which image sets a row may mean. Raises UsageError."""
        return inventories.ResolveOptions(
            on_missing=inventories.OnMissing(_one_of("--on-missing", self.on_missing, inventories.OnMissing)),
            on_many=inventories.OnMany(_one_of("--on-many", self.on_many, inventories.OnMany)),
            primary_only=self.primary_only,
        )

    def planning(self, form: str) -> plans.Settings:
        """The planner's settings for a list of this form. Raises UsageError."""
        if self.delete_originals and not self.via_copy:
            raise UsageError("--delete-originals goes with --via-copy.")
        rules = self._rules()
        contradictions = _one_of("--on-contradiction", self.on_contradiction, plans.Contradictions)
        study_wide = plans.StudyWide(_one_of("--study-wide", self.study_wide, plans.StudyWide))
        if study_wide is plans.StudyWide.ON and not rules.study_wide:
            raise UsageError(
                f"the service of {rules.age} has no study-wide calls.",
                hint="Leave --study-wide out, or plan for a newer service: --rules 2026",
            )
        return plans.Settings(
            rules=rules,
            payload_limit=self.payload_limit or rules.payload_limit,
            merge=not self.no_merge,
            whole_rows=form == "call",
            contradictions=plans.Contradictions(contradictions),
            study_wide=study_wide if rules.study_wide else plans.StudyWide.OFF,
            via_copy=plans.ViaCopy(delete_originals=self.delete_originals) if self.via_copy else None,
        )

    def quotas(self) -> plans.Quotas:
        """What to estimate with. Raises UsageError."""
        return plans.Quotas(current=parse_rate(self.quota), raised=parse_rate(self.raised_quota))

    def check(self) -> None:
        """Raises UsageError for a flag that is not understood, before anything is read."""
        self.reading(), self.selecting(), self.planning("tidy"), self.quotas(), read_pace(self.read_rate)

    def _rules(self) -> dicom.Rules:
        return dicom.RULES[_one_of("--rules", self.rules, dicom.RULES)]


def _one_of(flag: str, word: str, words: Iterable[str]) -> str:
    if word not in set(words):
        raise UsageError(f"{flag} is one of {', '.join(words)}.")
    return word


def _mapping(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError("--map is written NAME=COLUMN.", hint="For example: --map accession_number=Acc")
    return {name.strip(): column for name, column in (pair.split("=", 1) for pair in pairs)}


def plan(
    edits: o.Edits,
    datastore: o.DatastoreId = None,
    out_: o.Out = None,
    region: o.Region = None,
    profile: o.AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    map_: o.Map = None,
    ignore: o.Ignore = None,
    empty: o.Empty = "keep",
    force: o.Force = False,
    rules: o.Rules = "2026",
    format_: o.Format = None,
    payload_limit: o.PayloadLimit = None,
    bad_rows: o.BadRows = None,
    no_merge: o.NoMerge = False,
    on_contradiction: o.OnContradiction = "fail",
    inventory: o.Inventory = None,
    on_missing: o.OnMissing = "fail",
    on_many: o.OnMany = "fail",
    primary_only: o.PrimaryOnly = False,
    study_wide: o.StudyWide = "auto",
    via_copy: o.ViaCopy = False,
    delete_originals: o.DeleteOriginals = False,
    read_rate: o.ReadRate = DEFAULT_READ_RATE,
    quota: o.Quota = DEFAULT_QUOTA,
    raised_quota: o.RaisedQuota = DEFAULT_RAISED_QUOTA,
    as_json: o.AsJson = False,
) -> None:
    """Check an edit list and plan its calls. Sends nothing that writes.

    Example: bulkedit plan edits.csv -d 0123456789abcdef0123456789abcdef
    """
    listing = ListOptions(
        map=map_,
        ignore=ignore,
        empty=empty,
        force=force,
        rules=rules,
        format=format_,
        payload_limit=payload_limit,
        bad_rows=bad_rows,
        no_merge=no_merge,
        on_contradiction=on_contradiction,
        inventory=inventory,
        on_missing=on_missing,
        on_many=on_many,
        primary_only=primary_only,
        study_wide=study_wide,
        via_copy=via_copy,
        delete_originals=delete_originals,
        read_rate=read_rate,
        quota=quota,
        raised_quota=raised_quota,
    )
    where = {"region": region, "profile": profile, "endpoint_url": endpoint_url}
    saved = plan_list(edits, datastore, listing, out_, where)
    if as_json:
        json_line(plan_line(saved))
        return
    show_plan(saved)
    out().print(f"\nTo apply it:  {apply_command(saved)}")


def plan_list(
    source: str, datastore_id: str | None, listing: ListOptions, folder: Path | None, where: dict[str, Any]
) -> SavedPlan:
    """Read, check, look selectors up, plan and save. ``where``: region, profile and endpoint_url of the data store.

    Raises EditListError and BadRowsError for the list, UsageError for the options, and what `connect` raises where
    selectors have to be searched for.
    """
    listing.check()
    file = io.BytesIO(sys.stdin.buffer.read()) if source == "-" else source
    found = editlist.read(file, listing.reading())
    _say_left_out(found)
    datastore_id = _datastore(datastore_id, found)
    settings = listing.planning(found.form)
    selected, looked_up = _selected(found.edits, datastore_id, listing, settings, where)
    known = _known(looked_up.inventory)
    if settings.via_copy is not None:
        known = _with_primaries(selected.edits, known, datastore_id, listing, where)
    if settings.study_wide is plans.StudyWide.ON and plans.beyond_knowledge(selected.edits, known):
        raise UsageError(
            "which image sets are primary, and of which studies, is not known of all that the list names.",
            where=source,
            likely="--study-wide on needs to know all image sets of a study.",
            hint="Take an inventory (bulkedit inventory -o FILE) and plan with it: --inventory FILE",
        )
    made = plans.make(selected.edits, settings, known)
    bad = pl.concat([found.set_aside, selected.set_aside, made.set_aside]).sort("row", maintain_order=True)
    _settle_bad_rows(found, bad, listing, file, source)
    if not made.calls.height:
        raise BadRowsError("no row of the list can be planned.", where=source)
    now = datetime.now(UTC)
    counts = {
        **plans.estimate(made, listing.quotas(), inventory=looked_up.inventory, known=known).as_json(),
        "rows": found.rows,
        "set_aside": bad.get_column("row").n_unique(),
        "skipped": selected.skipped.get_column("row").n_unique(),
        "searches": looked_up.tally.searches,
        "beyond_knowledge": plans.beyond_knowledge(made.edits, known),
        "empty": found.idle.height,
    }
    about: dict[str, Any] = {
        "tool": f"bulkedit {__version__}",
        "created": now.isoformat(timespec="seconds"),
        "datastore_id": datastore_id,
        "list": {"name": found.source, "sha256": found.digest, "form": found.form, "rows": found.rows},
        "settings": {
            "rules": settings.rules.age,
            "payload_limit": settings.payload_limit,
            "force": listing.force,
            "merge": settings.merge,
            "study_wide": str(settings.study_wide),
            "via_copy": listing.via_copy,
        },
        "counts": counts,
    }
    unplanned = pl.concat([bad, selected.skipped, editlist.asking_nothing(found.idle)]).sort("row", maintain_order=True)
    return plans.save(plans.Plan(made.calls, made.edits, unplanned), folder or Path("plans") / new_id(now), about)


def _selected(
    edits: pl.DataFrame, datastore_id: str, listing: ListOptions, settings: plans.Settings, where: dict[str, Any]
) -> tuple[inventories.Resolved, inventories.Lookup]:
    """The image sets that the rows name, and what was found out about them.

    Asks the service only where rows name them otherwise than by id and there is no inventory file.
    """
    selecting = listing.selecting()
    if listing.inventory is not None:
        found = inventories.lookup_in_file(listing.inventory, edits, datastore_id)
    elif (edits.get_column("selector") != "image_set_id").any():
        found = anyio.run(_looked_up, edits, datastore_id, listing, settings, where)
    else:
        nothing = pl.DataFrame(schema=inventories.INVENTORY)
        found = inventories.Lookup(nothing, "none", inventories.Tally(), whole_studies=False)
    return inventories.resolve(edits, found.inventory, selecting), found


def _say_left_out(found: EditList) -> None:
    """Which lines of a result file are not planned again."""
    if found.applied:
        err().print(
            f"{plural(found.applied, 'line')} left out: applied already. To plan them too: --ignore-column outcome"
        )
    if found.planless:
        err().print(f"{plural(found.planless, 'line')} left out: set aside when first planned; mend them in your list.")


async def _looked_up(
    edits: pl.DataFrame, datastore_id: str, listing: ListOptions, settings: plans.Settings, where: dict[str, Any]
) -> inventories.Lookup:
    paced = pacer(read_pace(listing.read_rate), random.SystemRandom())
    watched = inventories.Tally()

    def watch(tally: inventories.Tally) -> None:
        nonlocal watched
        watched = tally

    def numbers() -> str:
        return (
            f"looking image sets up: {watched.searches:,} searches · {watched.image_sets:,} image sets · "
            f"{watched.throttled:,} throttled"
        )

    async with connect(Connection(datastore_id=datastore_id, **where)) as client, showing(numbers):
        found = await inventories.lookup(client, edits, datastore_id=datastore_id, pacer=paced, watch=watch)
        if settings.study_wide is plans.StudyWide.OFF:
            return found
        meant = inventories.resolve(edits, found.inventory, listing.selecting()).edits.filter(plans.is_top())
        return await inventories.complete_studies(client, found, meant, pacer=paced, watch=watch)


def _known(inventory: pl.DataFrame) -> pl.DataFrame | None:
    """What an inventory tells of studies (`bulkedit.planner.KNOWN`)."""
    study = inventories.trimmed("study_instance_uid")
    return inventory.select("image_set_id", "primary", study=study) if inventory.height else None


def _with_primaries(
    edits: pl.DataFrame, known: pl.DataFrame | None, datastore_id: str, listing: ListOptions, where: dict[str, Any]
) -> pl.DataFrame | None:
    """What is known, and of those with edits of a UID whether they are primary (GetImageSet where it must be asked)."""
    told = [] if known is None else known.filter(pl.col("primary").is_not_null()).get_column("image_set_id").to_list()
    open_ = [one for one in plans.wanting(edits).to_list() if one not in set(told)]
    if not open_:
        return known
    asked = anyio.run(_primaries, open_, datastore_id, listing, where)
    kept = pl.DataFrame(schema=plans.KNOWN) if known is None else known.filter(~pl.col("image_set_id").is_in(open_))
    return pl.concat([kept.select(plans.KNOWN.names()).cast(plans.KNOWN), asked])


async def _primaries(ids: list[str], datastore_id: str, listing: ListOptions, where: dict[str, Any]) -> pl.DataFrame:
    found: list[tuple[str, None, bool | None]] = []
    rate = read_pace(listing.read_rate, Operation.GET)
    rates = {Operation.GET: rate if isinstance(rate, Rate) else DOCUMENTED[Operation.GET]}
    async with connect(Connection(datastore_id=datastore_id, **where)) as client:
        reader = Reader(client, rates, random.SystemRandom())
        for image_set_id in ids:
            answer = await reader.image_set(image_set_id)
            found.append((image_set_id, None, None if isinstance(answer, Refused) else answer.primary))
    return pl.DataFrame(found, schema=plans.KNOWN, orient="row")


def read_pace(text: str, operation: Operation = Operation.SEARCH) -> Rate | Auto:
    """What ``--read-rate`` means for an operation. Raises UsageError.

    A rate is that of searches and GetImageSet; other reads, and bursts, keep the proportions of the documented quotas.
    """
    documented = DOCUMENTED[operation]
    given = parse_pace(text, documented)
    if isinstance(given, Auto):
        return given
    factor = given.per_second / DOCUMENTED[Operation.GET].per_second
    return Rate(documented.per_second * factor, max(1.0, documented.burst * factor))


def _datastore(given: str | None, found: EditList) -> str:
    named = found.datastore_id
    if given and named and given != named:
        raise UsageError(
            "the rows of the list name another data store than --datastore.", hint="Leave --datastore out."
        )
    if not (datastore_id := given or named):
        raise UsageError("no data store is named.", hint="Give it: --datastore ID (or -d ID)")
    return datastore_id


def _settle_bad_rows(
    found: EditList, bad: pl.DataFrame, listing: ListOptions, file: str | io.BytesIO, source: str
) -> None:
    """Refuse rows that cannot be planned, or write them away where --bad-rows accepts them."""
    if not bad.height:
        return
    rows_ = bad.get_column("row").unique()
    count = len(rows_)
    if listing.bad_rows is None:
        raise BadRowsError(
            f"{plural(count, 'row')} of {found.rows:,} cannot be planned; nothing was sent.\n\n{problems_text(bad)}\n",
            where=source,
            hint="Mend the list, or go on without these rows: --bad-rows bad.csv",
        )
    raw = found.raw
    if raw.height < count:
        # rows that only the planner found wanting: the reader is asked for them once more
        if isinstance(file, io.BytesIO):
            file.seek(0)
        raw = editlist.read(file, replace(listing.reading(), keep_rows=rows_.to_list())).raw
    try:
        with open_private(listing.bad_rows) as target:
            raw.write_csv(target)
    except OSError as error:
        raise UsageError(
            f"the rows set aside cannot be written ({error.strerror}).", where=str(listing.bad_rows)
        ) from error
    err().print(f"{problems_text(bad)}\n")
    err().print(f"{plural(count, 'row')} set aside, written to {listing.bad_rows}.")


def problems_text(bad: pl.DataFrame) -> str:
    """Problems (`SET_ASIDE`), those of one kind together, with the advice once."""
    parts = []
    for (_,), same in bad.group_by(["code"], maintain_order=True):
        shown = same.head(_SHOWN_PER_PROBLEM)
        lines = [f"Row {row['row']:,}: {row['problem']}" for row in shown.iter_rows(named=True)]
        if (more := same.height - shown.height) > 0:
            lines.append(f"… and {more:,} more like these.")
        lines += [text for text in (same.item(0, "likely"), same.item(0, "hint")) if text]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def plan_line(saved: SavedPlan) -> dict[str, Any]:
    """The JSON line of type ``plan``."""
    return {
        "type": "plan",
        "plan": str(saved.folder),
        "datastore_id": saved.datastore_id,
        **saved.counts,
        "quota_request": plans.quota_request(saved.counts, saved.datastore_id),
    }


def apply_command(saved: SavedPlan) -> str:
    """What to type to apply a plan."""
    agreed = ("--delete-originals",) if saved.counts.get("originals_deleted") else ()
    return command("apply", saved.folder, *agreed)


def _recipes_text(counts: dict[str, Any]) -> str:
    text = (
        f"{plural(counts['via_copy'], 'image set')}: {counts['copies']:,} CopyImageSet, {counts['deletions']:,} "
        f"DeleteImageSet; storage of the copies at least ${counts['copy_dollars_at_least']:,.2f}. "
    )
    if deleted := counts["originals_deleted"]:
        return text + f"{plural(deleted, 'original')} deleted for good (--delete-originals): not to be undone"
    return text + "Originals are kept"


def show_plan(saved: SavedPlan) -> None:
    """What a plan will do, how long it takes and what it costs."""
    counts, listed = saved.counts, saved.manifest["list"]
    aside = plural(counts["set_aside"], "row")
    if counts["skipped"]:
        aside += f", and {plural(counts['skipped'], 'row')} skipped that name nothing in the data store"
    if counts["empty"]:
        aside += f", and {plural(counts['empty'], 'row')} that ask for nothing"
    console = out()
    say(console, f"Plan {saved.folder} for data store {saved.datastore_id}")
    print_rows(
        [
            ("edits", f"{counts['edits']:,} from {plural(listed['rows'], 'row')} ({listed['form']})"),
            ("image sets", f"{counts['image_sets']:,}" + _studies_text(counts)),
            ("calls", _calls_text(counts)),
            *([("via copy", _recipes_text(counts))] if counts.get("via_copy") else []),
            ("set aside", aside),
            ("time", _time_text(counts)),
            ("API cost", f"${counts['api_dollars']:,.4f}"),
            ("storage cost", _tier_text(counts)),
        ]
    )
    # the plan of a revert has no such edits
    beyond = counts.get("beyond_knowledge", 0)
    if beyond and saved.manifest["settings"].get("study_wide") == plans.StudyWide.AUTO:
        edits = plural(beyond, "Patient- or Study-level edit")
        console.print(f"\n{edits} of image sets whose studies are not known. One call a study: --inventory FILE")
    if counts["seconds"] > _LONG_S and counts["raised_seconds"] < counts["seconds"]:
        console.print("\nTo ask AWS for a higher quota (Service Quotas, or a support case), you may write:\n")
        console.print(textwrap.indent(textwrap.fill(plans.quota_request(counts, saved.datastore_id), 100), "  "))


def _calls_text(counts: dict[str, Any]) -> str:
    kinds = {
        "by merging": counts["saved_by_merging"],
        "by study-wide calls": counts["saved_by_study_wide"],
        "by rows that later ones replace": counts["saved_by_superseding"],
    }
    saved = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count > 0)
    text = f"{counts['calls']:,}, at most {counts['longest_lane']:,} one after another"
    return f"{text}; saved: {saved}" if saved else text


def _studies_text(counts: dict[str, Any]) -> str:
    return "" if counts["studies"] is None else f" of {plural(counts['studies'], 'study', 'studies')}"


def _time_text(counts: dict[str, Any]) -> str:
    current = Rate(counts["rate_per_second"])
    which = "the default quota" if current == DOCUMENTED[Operation.UPDATE] else "the quota"
    return (
        f"{duration(counts['seconds'])} at {current} ({which}), "
        f"{duration(counts['raised_seconds'])} at {Rate(counts['raised_rate_per_second'])}"
    )


def _tier_text(counts: dict[str, Any]) -> str:
    """What it costs that an update moves an archived image set to the frequent tier."""
    archived, unknown = counts["archived_image_sets"], counts["unknown_tier_image_sets"]
    if archived is None:
        return "not known: --inventory tells which image sets are archived"
    text = "none: no image set is archived"
    if archived:
        text = (
            f"at least ${counts['tier_dollars_at_least']:,.2f} (${counts['tier_dollars_per_gb']:.3f}/GB): "
            f"{archived:,} archived, moved to the frequent tier for 30 days"
        )
    return f"{text}; of {unknown:,} the tier is not known" if unknown else text
