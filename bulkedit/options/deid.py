"""What to de-identify, and how."""

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
ENVIRONMENT: Final = "BULKEDIT_DEID_KEY"  # the variable with the secret key, if it is in no file
_deid = partial(Option, prefix="DEID_")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidOptions:
    """What to de-identify, and how.

    One of four says which image sets: everything, select (or select_file), inventory alone, or source.
    """

    deid_profile: Annotated[
        str | None,
        Option(
            f"The de-identification profile. It is {', '.join(SHIPPED)}, or a file of your own.",
            "NAME|FILE.toml",
            group=Group.DEID,
            common=True,
        ),
    ] = None
    key: Annotated[
        Path | None,
        _deid(
            f"The file with the secret key of the pseudonyms. Without it the key is in {ENVIRONMENT}.",
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
            "A CSV file with the columns patient_id and pseudonym, for pseudonyms of your own.",
            "FILE",
            group=Group.DEID,
            config=Config.OWN,
        ),
    ] = None
    reidentification_map: Annotated[
        Path | None,
        _deid(
            "Write which original is behind each pseudonym, encrypted with --map-key.",
            "FILE",
            variables=("DEID_MAP",),
            group=Group.DEID,
            config=Config.NEVER,
        ),
    ] = None
    map_key: Annotated[
        Path | None,
        _deid(
            "The file with the Fernet key that encrypts the re-identification map.",
            "FILE",
            group=Group.DEID,
            config=Config.OWN,
        ),
    ] = None
    everything: Annotated[
        bool,
        _deid("All of the data store.", flags=("--all",), group=Group.WHICH, common=True, config=Config.NEVER),
    ] = False
    select: Annotated[
        tuple[str, ...],
        _deid(
            "Those that a selector names, such as patient_id=@ids.txt. May be given several times. SELECTOR=@FILE "
            "takes the lines of a file, SELECTOR=@- those of standard input: `ps` shows what is typed, and shells keep "
            f"it. Selectors: {', '.join(shared.SELECTORS)}.",
            "SELECTOR=VALUE",
            group=Group.WHICH,
            common=True,
            config=Config.NEVER,
        ),
    ] = ()
    select_file: Annotated[
        Path | None,
        _deid(
            "A CSV file with one column, named by a selector: the image sets that its cells name.",
            "FILE",
            group=Group.WHICH,
            config=Config.NEVER,
        ),
    ] = None
    inventory: shared.Inventory = None
    source: Annotated[
        tuple[Path, ...],
        _deid(
            "Metadata documents from files or folders (JSON, also gzipped) instead of a data store.",
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
            "Give force only to the edits that need it. It takes more calls: forced and unforced ones are apart.",
            group=Group.DEID,
        ),
    ] = False
    service_version: shared.DocumentedService = shared.SERVICE
    read_rate: shared.ReadRate = AUTO
    read_archived: shared.ReadArchived = False
    fresh: Annotated[
        bool, Option("Begin again, and replace an edit list that is there.", common=True, config=Config.NEVER)
    ] = False

    def __post_init__(self) -> None:
        check(self)
        require_together(self, ("reidentification_map", "map_key"))

    def check_for(self, file: Path, datastore_id: str | None) -> None:
        """Raises UsageError for options that do not go together, before anything is read."""
        if self.deid_profile is None:
            raise UsageError(
                "no de-identification profile is named.",
                hint=f"Give it: `deid_profile={SHIPPED[0]}`, or a file of your own.",
            )
        if file.suffix not in _SUFFIXES:
            raise UsageError("the edit list is a Parquet or CSV file.", where=str(file), hint="Name it FILE.parquet.")
        chosen = bool(self.select) or self.select_file is not None
        alone = chosen or (self.inventory is not None and not self.everything)
        if [self.everything, alone, bool(self.source)].count(True) != 1:
            raise UsageError(
                "say which image sets: `everything=True`, `select` or `select_file`, `inventory`, or `source`; one of "
                "them.",
                hint="A selection may be looked up in an inventory: `select=patient_id=…` `inventory=FILE`",
            )
        if not self.source and datastore_id is None:
            raise UsageError("no data store is named.", hint="Give it: `datastore_id=ID`")
