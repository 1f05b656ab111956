"""How an edit list is read and planned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from bulkedit.client.pacing.rates import AUTO, DOCUMENTED, Operation, Rate
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Group, Option, check

RAISED: Final = Rate(5.0)  # a quota that migrations ask for, to compare with
DEFAULT_QUOTA: Final = str(DOCUMENTED[Operation.UPDATE])
DEFAULT_RAISED_QUOTA: Final = str(RAISED)

EmptyCell = Literal["keep", "null", "remove"]
ListFormat = Literal["csv", "csv.gz", "parquet", "jsonl", "jsonl.gz", "xlsx"]


class Contradictions(StrEnum):
    """What to do where two rows want different things of one attribute and neither says which comes last."""

    FAIL = "fail"
    LAST = "last"  # the later row wins


class OnMissing(StrEnum):
    """What to do with a row that names nothing in the data store."""

    FAIL = "fail"  # the safe one: a mistyped identifier is found before anything is sent
    SKIP = "skip"  # for lists that are wider than the data store


class OnMany(StrEnum):
    """What to do with a row that names more than one image set."""

    FAIL = "fail"  # the safe one: an edit meant for one image set never reaches another
    ALL = "all"  # edit each of them


class StudyWide(StrEnum):
    """When a call includes the other primary image sets of the study."""

    AUTO = "auto"  # where the list asks the same of all of them; what asks for less is set aside
    ON = "on"  # whatever the list asks of one of them
    OFF = "off"  # where a row says so itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How an edit list is to be read and planned."""

    map: Annotated[
        list[str] | None, Option("A column of the file that goes by another name.", "NAME=COLUMN", group=Group.LIST)
    ] = None
    ignore: Annotated[
        list[str] | None,
        Option("A column of the file to leave out.", "COLUMN", ("--ignore-column",), group=Group.LIST),
    ] = None
    empty: Annotated[EmptyCell, Option("What an empty cell of a wide list means.", group=Group.LIST)] = "keep"
    force: Annotated[
        bool,
        Option(
            "Send edits that the service makes only with force; it switches its checks off.",
            group=Group.LIST,
            config=Config.NEVER,
        ),
    ] = False
    service_version: shared.DocumentedService = shared.SERVICE
    format: Annotated[
        ListFormat | None, Option("The file's format, where its suffix does not tell.", group=Group.LIST)
    ] = None
    payload_limit: shared.PayloadLimit = None
    bad_rows: Annotated[
        Path | None,
        Option(
            "Go on without rows that cannot be understood. They are written to this CSV file.",
            "FILE",
            group=Group.LIST,
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    no_merge: Annotated[bool, Option("One call per row.", group=Group.LIST)] = False
    on_contradiction: Annotated[
        Contradictions,
        Option(
            "Where two rows want different things of one attribute: refuse them, or let the later row win.",
            group=Group.LIST,
        ),
    ] = Contradictions.FAIL
    inventory: shared.Inventory = None
    on_missing: Annotated[
        OnMissing, Option("What to do with a row that names nothing in the data store.", group=Group.SELECT)
    ] = OnMissing.FAIL
    on_many: Annotated[
        OnMany, Option("What to do with a row that names more than one image set.", group=Group.SELECT)
    ] = OnMany.FAIL
    primary_only: Annotated[bool, Option("Let rows mean primary image sets only.", group=Group.SELECT)] = False
    study_wide: Annotated[
        StudyWide,
        Option(
            "One call for all primary image sets of a study: where the list asks the same of all of them (auto), "
            "whatever it asks of one of them (on), or only where a row says so (off).",
            group=Group.SELECT,
        ),
    ] = StudyWide.AUTO
    via_copy: shared.ViaCopy = False
    delete_originals: shared.DeleteOriginals = False
    skip_satisfied: Annotated[
        bool,
        Option(
            "Leave out edits that hold already. The metadata of the image sets is read first: one GetImageSet and one "
            "GetImageSetMetadata an image set. Archived ones are not read.",
            group=Group.SELECT,
            common=True,
        ),
    ] = False
    read_rate: shared.ReadRate = AUTO
    quota: Annotated[
        str,
        Option(
            "The account's quota of UpdateImageSetMetadata, to estimate with.", shared.RATE_UNIT, group=Group.ESTIMATE
        ),
    ] = DEFAULT_QUOTA
    raised_quota: Annotated[
        str,
        Option("A quota to compare with, and to word a request to AWS for.", shared.RATE_UNIT, group=Group.ESTIMATE),
    ] = DEFAULT_RAISED_QUOTA

    def __post_init__(self) -> None:
        check(self)
