"""The options for reading and planning an edit list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from bulkedit.client.pacing.rates import AUTO, DOCUMENTED, Operation, Rate
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Group, Option, check

RAISED: Final = Rate(5.0)  # a quota that is often requested for migrations
DEFAULT_QUOTA: Final = str(DOCUMENTED[Operation.UPDATE])
DEFAULT_RAISED_QUOTA: Final = str(RAISED)

EmptyCell = Literal["keep", "null", "remove"]
HiddenRows = Literal["include", "skip"]
ListFormat = Literal["csv", "csv.gz", "parquet", "jsonl", "jsonl.gz", "xlsx", "aws-cli", "hl7"]


class Contradictions(StrEnum):
    """What to do if two rows set one attribute to different values and neither says which applies."""

    FAIL = "fail"
    LAST = "last"  # the later row wins


class OnMissing(StrEnum):
    """What to do with a row that matches no image set."""

    FAIL = "fail"  # safe: a mistyped identifier is found before anything is sent
    SKIP = "skip"  # for lists that cover more than the data store


class OnMany(StrEnum):
    """What to do with a row that matches more than one image set."""

    FAIL = "fail"  # safe: an edit for one image set never reaches another
    ALL = "all"  # edit each of them


class OnManyPatients(StrEnum):
    """What to do with a row that matches image sets of more than one patient."""

    FAIL = "fail"  # safe: strangers never get one name
    ALL = "all"  # edit all of them, if `OnMany` is all too


class Chains(StrEnum):
    """What to do with rows that give an identifier which other rows change (A to B, and B to C)."""

    FAIL = "fail"  # safe: the list does not say whether A ends as B or as C
    FOLLOW = "follow"  # as C: rows also change the image sets that get the identifier which they name
    AS_WRITTEN = "as-written"  # as B: each row changes the image sets that have its identifier now


class LookUp(StrEnum):
    """Whether to find the studies of image sets that rows name by image_set_id."""

    AUTO = "auto"  # if an edit is at Patient or Study level, and the service can be reached
    NEVER = "never"  # rows that name image sets by id need no connection


class StudyWide(StrEnum):
    """When one call edits all primary image sets of a study (includeStudyImageSets)."""

    AUTO = "auto"  # if the list has the same edits for all of them; rows that cover only some are set aside
    ON = "on"  # for every study-level edit of any of them
    OFF = "off"  # only if a row asks for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The options for reading and planning an edit list."""

    map: Annotated[
        list[str] | None,
        Option("Read the field NAME from the column COLUMN of the file.", "NAME=COLUMN", group=Group.LIST),
    ] = None
    ignore: Annotated[
        list[str] | None,
        Option("Ignore this column of the file.", "COLUMN", ("--ignore-column",), group=Group.LIST),
    ] = None
    empty: Annotated[EmptyCell, Option("Meaning of an empty cell in a wide list.", group=Group.LIST)] = "keep"
    force: Annotated[
        bool,
        Option(
            "Allow edits that need force, which turns off the service's own checks. Values are still checked.",
            group=Group.LIST,
            config=Config.NEVER,
        ),
    ] = False
    unchecked: Annotated[
        bool,
        Option(
            "Leave out the check of values: plan values that break a rule of DICOM as they are. The plan counts them.",
            group=Group.LIST,
            config=Config.NEVER,
        ),
    ] = False
    service_version: shared.DocumentedService = shared.SERVICE
    format: Annotated[ListFormat | None, Option("Format of the file; default: from its suffix.", group=Group.LIST)] = (
        None
    )
    numbers_are_text: Annotated[
        bool,
        Option(
            "Take identifiers that the list has as numbers for text: none of them has lost leading zeros.",
            group=Group.LIST,
            config=Config.NEVER,
        ),
    ] = False
    sheet: Annotated[
        str | None,
        Option("The sheet of an Excel workbook; default: the first one that is not hidden.", "NAME", group=Group.LIST),
    ] = None
    hidden_rows: Annotated[
        HiddenRows | None,
        Option("Read rows that a spreadsheet hides (also by a filter), or leave them out.", group=Group.LIST),
    ] = None
    assigning_authority: Annotated[
        str | None,
        Option(
            "In HL7 messages, take the patient identifiers of this assigning authority (PID-3.4).",
            "NAME",
            group=Group.LIST,
        ),
    ] = None
    payload_limit: shared.PayloadLimit = None
    bad_rows: Annotated[
        Path | None,
        Option(
            "Set invalid rows aside, write them to this CSV file, and plan the others.",
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
            "If two rows set one attribute to different values: refuse both, or apply the later row.",
            group=Group.LIST,
        ),
    ] = Contradictions.FAIL
    inventory: shared.Inventory = None
    condition: shared.Condition = None
    on_missing: Annotated[
        OnMissing, Option("If a row matches no image set: refuse the row, or skip it.", group=Group.SELECT)
    ] = OnMissing.FAIL
    on_many: Annotated[
        OnMany, Option("If a row matches several image sets: refuse the row, or edit all of them.", group=Group.SELECT)
    ] = OnMany.FAIL
    on_many_patients: Annotated[
        OnManyPatients,
        Option(
            "If a row matches image sets of several patients: refuse the row, or edit all of them (with on_many=all).",
            group=Group.SELECT,
            config=Config.NEVER,
        ),
    ] = OnManyPatients.FAIL
    chains: Annotated[
        Chains,
        Option(
            "If a row gives an identifier that another row changes (A to B, B to C): refuse both; follow: A ends as C; "
            "as-written: each row changes the image sets that have its identifier now.",
            group=Group.SELECT,
        ),
    ] = Chains.FAIL
    primary_only: Annotated[bool, Option("Match primary image sets only.", group=Group.SELECT)] = False
    study_wide: Annotated[
        StudyWide,
        Option(
            "Edit all primary image sets of a study with one call: auto, if the list has the same edits for all of "
            "them; on, for any of them; off, only if a row asks for it.",
            group=Group.SELECT,
        ),
    ] = StudyWide.AUTO
    look_up: Annotated[
        LookUp,
        Option(
            "Find the studies of image sets that rows name by image_set_id to change Patient or Study attributes: "
            "auto, if the service can be reached and there are at most 10,000; never.",
            group=Group.SELECT,
        ),
    ] = LookUp.AUTO
    via_copy: shared.ViaCopy = False
    delete_originals: shared.DeleteOriginals = False
    skip_satisfied: Annotated[
        bool,
        Option(
            "Leave out edits that are already satisfied. Reads the metadata first: one GetImageSet and one "
            "GetImageSetMetadata per image set. Archived image sets are not read.",
            group=Group.SELECT,
            common=True,
        ),
    ] = False
    read_rate: shared.ReadRate = AUTO
    quota: Annotated[
        str,
        Option(
            "The account's quota of UpdateImageSetMetadata, for the estimate.", shared.RATE_UNIT, group=Group.ESTIMATE
        ),
    ] = DEFAULT_QUOTA
    raised_quota: Annotated[
        str,
        Option(
            "A higher quota, for comparison and for the text of a request to AWS.",
            shared.RATE_UNIT,
            group=Group.ESTIMATE,
        ),
    ] = DEFAULT_RAISED_QUOTA

    def __post_init__(self) -> None:
        check(self)
