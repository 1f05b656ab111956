"""`bulkedit plan`, and the planning half of `bulkedit apply`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import polars as pl

from bulkedit import __version__, dicom, editlist
from bulkedit import plan as plans
from bulkedit.cli import options as o
from bulkedit.cli.terminal import command, duration, err, json_line, out, plural, rows
from bulkedit.errors import BadRowsError, UsageError
from bulkedit.files import open_private
from bulkedit.pacing import Rate, parse_rate
from bulkedit.runs import new_id

if TYPE_CHECKING:
    from bulkedit.editlist import EditList
    from bulkedit.plan import Plan, SavedPlan

_SHOWN_PER_PROBLEM: Final = 5
_RAISED: Final = "5/s"  # a quota that AWS support grants for migrations, for comparison
_EMPTY: Final = ("keep", "null", "remove")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How the edit list of a command is to be read and planned."""

    map: list[str]
    ignore: list[str]
    empty: str
    force: bool
    rules: str
    format: str | None
    payload_limit: int | None
    bad_rows: Path | None

    def reading(self) -> editlist.ReadOptions:
        """The reader's options. Raises UsageError."""
        if self.empty not in _EMPTY:
            raise UsageError("--empty is keep, null or remove.")
        return editlist.ReadOptions(
            map=_mapping(self.map),
            ignore=self.ignore,
            empty=cast('Literal["keep", "null", "remove"]', self.empty),
            force=self.force,
            rules=self._rules(),
            format=self.format,
        )

    def planning(self) -> plans.Settings:
        """The planner's settings. Raises UsageError."""
        rules = self._rules()
        return plans.Settings(rules=rules, payload_limit=self.payload_limit or rules.payload_limit)

    def _rules(self) -> dicom.Rules:
        if self.rules not in dicom.RULES:
            raise UsageError(f"--rules is one of {', '.join(dicom.RULES)}.")
        return dicom.RULES[self.rules]


def _mapping(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError("--map is written NAME=COLUMN.", hint="For example: --map accession_number=Acc")
    return {name.strip(): column for name, column in (pair.split("=", 1) for pair in pairs)}


def plan(
    edits: o.Edits,
    datastore: o.DatastoreId = None,
    out_: o.Out = None,
    map_: o.Map = None,
    ignore: o.Ignore = None,
    empty: o.Empty = "keep",
    force: o.Force = False,
    rules: o.Rules = "2026",
    format_: o.Format = None,
    payload_limit: o.PayloadLimit = None,
    bad_rows: o.BadRows = None,
    as_json: o.AsJson = False,
) -> None:
    """Check an edit list and plan its calls. Sends nothing that writes.

    Example: bulkedit plan edits.csv -d 0123456789abcdef0123456789abcdef
    """
    listing = ListOptions(
        map=map_ or [],
        ignore=ignore or [],
        empty=empty,
        force=force,
        rules=rules,
        format=format_,
        payload_limit=payload_limit,
        bad_rows=bad_rows,
    )
    saved = plan_list(edits, datastore, listing, out_)
    if as_json:
        json_line(plan_line(saved))
        return
    show_plan(saved)
    out().print(f"\nTo apply it:  {command('apply', saved.folder)}")


def plan_list(source: str, datastore_id: str | None, listing: ListOptions, folder: Path | None) -> SavedPlan:
    """Read, check, plan and save. Raises EditListError and BadRowsError for the list, UsageError for the options."""
    found = editlist.read(sys.stdin.buffer if source == "-" else source, listing.reading())
    datastore_id = _datastore(datastore_id, found)
    settings = listing.planning()
    made = plans.make(found.edits.with_columns(image_set_id=pl.col("key")), settings)
    _settle_bad_rows(found, made, listing.bad_rows, source)
    if not made.calls.height:
        raise BadRowsError("no row of the list can be planned.", where=source)
    now = datetime.now(UTC)
    bad = _bad(found, made)
    counts = {**plans.estimate(made).as_json(), "rows": found.rows, "set_aside": bad.get_column("row").n_unique()}
    about: dict[str, Any] = {
        "tool": f"bulkedit {__version__}",
        "created": now.isoformat(timespec="seconds"),
        "datastore_id": datastore_id,
        "list": {"name": found.source, "sha256": found.digest, "form": found.form, "rows": found.rows},
        "settings": {"rules": settings.rules.age, "payload_limit": settings.payload_limit, "force": listing.force},
        "counts": counts,
    }
    return plans.save(plans.Plan(made.calls, made.edits, bad), folder or Path("plans") / new_id(now), about)


def _datastore(given: str | None, found: EditList) -> str:
    named = found.datastore_id
    if given and named and given != named:
        raise UsageError(
            "the rows of the list name another data store than --datastore.", hint="Leave --datastore out."
        )
    if not (datastore_id := given or named):
        raise UsageError("no data store is named.", hint="Give it: --datastore ID (or -d ID)")
    return datastore_id


def _bad(found: EditList, made: Plan) -> pl.DataFrame:
    return pl.concat([found.set_aside, made.set_aside]).sort("row", maintain_order=True)


def _settle_bad_rows(found: EditList, made: Plan, file: Path | None, source: str) -> None:
    """Refuse rows that cannot be planned, or write them away where --bad-rows accepts them."""
    bad = _bad(found, made)
    if not bad.height:
        return
    count = bad.get_column("row").n_unique()
    if file is None:
        raise BadRowsError(
            f"{plural(count, 'row')} of {found.rows:,} cannot be planned; nothing was sent.\n\n{problems_text(bad)}\n",
            where=source,
            hint="Mend the list, or go on without these rows: --bad-rows bad.csv",
        )
    table = _with_cells(bad, found)
    try:
        with open_private(file) as target:
            table.write_csv(target)
    except OSError as error:
        raise UsageError(f"the rows set aside cannot be written ({error.strerror}).", where=str(file)) from error
    err().print(f"{problems_text(bad)}\n")
    err().print(f"{plural(count, 'row')} set aside, written to {file} with the reasons.")
    if (bare := count - found.raw.height) > 0:
        err().print(f"{plural(bare, 'row')} of them without cells, because only planning found the fault.")


def _with_cells(bad: pl.DataFrame, found: EditList) -> pl.DataFrame:
    """Each row set aside with number and reasons, then its cells: an edit list again, once they are mended."""
    reasons = bad.group_by("row", maintain_order=True).agg(
        problem=pl.col("problem").unique(maintain_order=True).str.join(" "), hint=pl.col("hint").first()
    )
    cells = found.raw.drop("problem", "hint", strict=False)  # of an earlier file of rows set aside
    table = reasons.join(cells, on="row", how="left", maintain_order="left")
    own = "row of the file"  # what the file itself calls row goes before our numbers
    return table.drop("row").rename({own: "row"}) if own in table.columns else table


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
    return {"type": "plan", "plan": str(saved.folder), "datastore_id": saved.datastore_id, **saved.counts}


def show_plan(saved: SavedPlan) -> None:
    """What a plan will do, how long it takes and what it costs."""
    counts, listed = saved.counts, saved.manifest["list"]
    calls = counts["calls"]
    default = Rate(counts["rate_per_second"])
    raised = parse_rate(_RAISED)
    times = (
        f"{duration(counts['seconds'])} at {default} (the default quota), "
        f"{duration(plans.seconds_at(calls, raised))} at {raised}"
    )
    console = out()
    console.print(f"Plan {saved.folder} for data store {saved.datastore_id}")
    console.print(
        rows(
            [
                ("edits", f"{counts['edits']:,} from {plural(listed['rows'], 'row')} ({listed['form']})"),
                ("image sets", f"{counts['image_sets']:,}"),
                ("calls", f"{calls:,}, at most {counts['longest_lane']:,} of them one after another"),
                ("set aside", plural(counts["set_aside"], "row")),
                ("time", times),
                ("API cost", f"${counts['api_dollars']:,.4f}"),
            ]
        )
    )
