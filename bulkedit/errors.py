"""The errors that a user can cause or meet.

An error says what is wrong, where, the likely cause, and what to type. Its class has the exit code. The docstring of
the class is the default text. No text contains the value of an edit or of metadata.

Texts name an option by its field in the options' dataclass, in backticks, with a value if one is needed:
`service_version=2026`. Library users read them so; the command line replaces them with flags (`worded`).
"""

import importlib.util
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from bulkedit._printable import printable

if TYPE_CHECKING:
    import polars as pl

EXIT_OK = 0
EXIT_NOT_ALL_APPLIED = 1
EXIT_USAGE = 2
EXIT_BUDGET = 3
EXIT_FATAL = 4
EXIT_STOPPED = 5
EXIT_STALE_PLAN = 6
EXIT_DIFFERENCE = 7
EXIT_INTERRUPTED = 130


def worded(text: str, flags: Mapping[str, str]) -> str:
    """Replace the options in a text with flags: `service_version=2026` becomes --service-version 2026.

    ``flags``: field name to flag. Other words in backticks stay.
    """

    def flag(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name not in flags:
            return found[0]
        return flags[name] if value in {None, "True"} else f"{flags[name]} {value}"

    return re.sub(r"`([a-z_]+)(?:=([^`]+))?`", flag, text)


class BulkeditError(Exception):
    """bulkedit cannot continue."""

    exit_code: ClassVar[int] = EXIT_FATAL

    def __init__(
        self,
        what: str | None = None,
        *,
        where: str | None = None,
        likely: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what or (type(self).__doc__ or "").strip()
        self.where = where
        self.likely = likely
        self.hint = hint
        super().__init__(self.what)

    def __str__(self) -> str:
        head = f"{printable(self.where)}: {self.what}" if self.where else self.what
        return "\n".join(line for line in (head, self.likely, self.hint) if line)


class UnsupportedSystemError(BulkeditError, ImportError):
    """bulkedit does not run on this system."""


def require_posix() -> None:
    """Raises UnsupportedSystemError on Windows, which has neither flock nor the modes of private files."""
    if importlib.util.find_spec("fcntl") is None:
        raise UnsupportedSystemError(
            "bulkedit does not run on Windows.",
            likely="It needs file locks and private files as Linux and macOS have them.",
            hint="Install it in the Windows Subsystem for Linux: wsl --install",
        )


class UsageError(BulkeditError):
    """The arguments are invalid."""

    exit_code = EXIT_USAGE


class EditListError(UsageError):
    """The edit list cannot be read."""


class BadRowsError(EditListError):
    """The edit list has invalid rows; nothing was sent."""

    def __init__(
        self,
        what: str | None = None,
        *,
        problems: "pl.DataFrame | None" = None,
        rows: int = 0,
        **texts: str | None,
    ) -> None:
        """``problems``: every problem of every row, columns `bulkedit.edits.SET_ASIDE`; ``rows``: those of the list."""
        super().__init__(what, **texts)
        self.problems = problems
        self.rows = rows


class ProfileError(UsageError):
    """The de-identification profile cannot be used."""


class KeyFileError(UsageError):
    """The key cannot be read."""


class MetadataError(UsageError):
    """The metadata document cannot be read."""


class ReceivedError(UsageError):
    """A file in this folder was not written by bulkedit."""


class PlanError(UsageError):
    """The plan cannot be read."""


class StalePlanError(BulkeditError):
    """The plan has changed since it was made."""

    exit_code = EXIT_STALE_PLAN


class BudgetSpentError(BulkeditError):
    """More edits failed than `max_errors` allows."""

    exit_code = EXIT_BUDGET


class CredentialsError(BulkeditError):
    """No AWS credentials were found."""


class AccessError(BulkeditError):
    """AWS denied access."""


class DatastoreError(BulkeditError):
    """The data store does not exist in this account and region."""


class EndpointError(BulkeditError):
    """The service could not be reached."""


class UntrustedServerError(EndpointError):
    """The server's certificate could not be verified."""


class StoppedError(BulkeditError):
    """The operation was stopped before it finished."""

    exit_code = EXIT_INTERRUPTED


class OutputError(BulkeditError):
    """Standard output cannot be written, and the command has no other result."""


class StorageError(BulkeditError):
    """A file cannot be written: the disk is full, read-only or damaged."""


class LedgerError(BulkeditError):
    """The ledger cannot be read or written."""


class UnprovenLedgerError(LedgerError):
    """The ledger does not contain everything that the run has done."""

    def __init__(
        self,
        what: str | None = None,
        *,
        where: str | None = None,
        likely: str | None = None,
        hint: str | None = None,
        state: str = "damaged",
    ) -> None:
        """``state``: one of `bulkedit.runs.ledger.LedgerState`."""
        super().__init__(what, where=where, likely=likely, hint=hint)
        self.state = state


class LedgerLockedError(LedgerError):
    """Another program has locked the ledger."""


class RunHeldError(LedgerError):
    """Another process is working on this run, or seems to."""
