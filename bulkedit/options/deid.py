"""The options of a de-identification."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from bulkedit.client.pacing.rates import AUTO
from bulkedit.errors import UsageError
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Group, Option, check, require_together

_SUFFIXES: Final = (".csv", ".parquet")
SHIPPED: Final = ("basic", "research-dates-shifted", "research-dates-kept", "minimal-phi")  # profiles
ENVIRONMENT: Final = "BULKEDIT_DEID_KEY"  # the variable with the secret key, if no file has it
_deid = partial(Option, prefix="DEID_")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidOptions:
    """The options of a de-identification.

    Exactly one of these selects the image sets: everything, select (or select_file), inventory alone, or source.
    """

    deid_profile: Annotated[
        str | None,
        Option(
            f"The de-identification profile. One of {', '.join(SHIPPED)}, or your own file.",
            "NAME|FILE.toml",
            group=Group.DEID,
            common=True,
        ),
    ] = None
    key: Annotated[
        Path | None,
        _deid(
            f"File with the secret key for the pseudonyms. Default: the key in {ENVIRONMENT}.",
            "FILE",
            variables=("DEID_KEY_FILE",),
            group=Group.DEID,
            common=True,
            config=Config.OWN,
        ),
    ] = None
    mapping: Annotated[
        Path | None,
        _deid(
            "CSV file with your own pseudonyms: columns patient_id and pseudonym.",
            "FILE",
            group=Group.DEID,
            config=Config.OWN,
        ),
    ] = None
    reidentification_map: Annotated[
        Path | None,
        _deid(
            "Write the original of each pseudonym to this file, encrypted with --map-key.",
            "FILE",
            variables=("DEID_MAP",),
            group=Group.DEID,
            config=Config.NEVER,
        ),
    ] = None
    map_key: Annotated[
        Path | None,
        _deid(
            "File with the Fernet key that encrypts the re-identification map.",
            "FILE",
            group=Group.DEID,
            config=Config.OWN,
        ),
    ] = None
    everything: Annotated[
        bool,
        _deid(
            "All image sets of the data store.", flags=("--all",), group=Group.WHICH, common=True, config=Config.NEVER
        ),
    ] = False
    select: Annotated[
        tuple[str, ...],
        _deid(
            "Image sets with this value, such as patient_id=@ids.txt. Repeatable. SELECTOR=@FILE reads one value per "
            "line from a file, SELECTOR=@- from stdin; typed values can be seen with `ps` and in the shell's history. "
            f"Selectors: {', '.join(shared.SELECTORS)}.",
            "SELECTOR=VALUE",
            group=Group.WHICH,
            common=True,
            config=Config.NEVER,
        ),
    ] = ()
    select_file: Annotated[
        Path | None,
        _deid(
            "CSV file with one column, named like a selector: select the image sets with these values.",
            "FILE",
            group=Group.WHICH,
            config=Config.NEVER,
        ),
    ] = None
    inventory: shared.Inventory = None
    source: Annotated[
        tuple[Path, ...],
        _deid(
            "Read metadata documents from files or folders (JSON, also gzipped) instead of a data store.",
            "PATH",
            ("--from",),
            group=Group.WHICH,
            config=Config.NEVER,
        ),
    ] = ()
    via_copy: shared.ViaCopy = False
    payload_limit: shared.PayloadLimit = None
    force_needed_only: Annotated[
        bool,
        _deid(
            "Use force only for edits that need it. Needs more calls, because forced edits are sent separately.",
            group=Group.DEID,
        ),
    ] = False
    service_version: shared.DocumentedService = shared.SERVICE
    read_rate: shared.ReadRate = AUTO
    read_archived: shared.ReadArchived = False
    fresh: Annotated[
        bool, Option("Start again, and replace an existing edit list.", common=True, config=Config.NEVER)
    ] = False

    def __post_init__(self) -> None:
        check(self)
        require_together(self, ("reidentification_map", "map_key"))

    def check_for(self, file: Path, datastore_id: str | None) -> None:
        """Raises UsageError for options that contradict each other. To be called before anything is read."""
        if self.deid_profile is None:
            raise UsageError(
                "no de-identification profile is given.",
                hint=f"Give one: `deid_profile={SHIPPED[0]}`, or your own file.",
            )
        if file.suffix not in _SUFFIXES:
            raise UsageError(
                "the edit list must be a .parquet or .csv file.", where=str(file), hint="Name it FILE.parquet."
            )
        chosen = bool(self.select) or self.select_file is not None
        alone = chosen or (self.inventory is not None and not self.everything)
        if [self.everything, alone, bool(self.source)].count(True) != 1:
            raise UsageError(
                "which image sets? Give one of `everything=True`, `select` or `select_file`, `inventory`, `source`.",
                hint="An inventory may be combined with a selection: `select=patient_id=…` `inventory=FILE`",
            )
        if not self.source and datastore_id is None:
            raise UsageError("no data store is named.", hint="Give it: `datastore_id=ID`")
        if datastore_id:
            shared.parse_datastore_id(datastore_id)
