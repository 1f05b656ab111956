"""Which image sets to read: selectors and keys from the command line, from files and from standard input."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import polars as pl

from bulkedit._concurrency import for_each
from bulkedit.client.reader import ATTEMPTS
from bulkedit.client.responses import Refusal, Refused
from bulkedit.deid.record import SELECTION
from bulkedit.edits.edit import SELECTORS
from bulkedit.errors import AccessError, EndpointError, UsageError

if TYPE_CHECKING:
    from bulkedit.client.reader import Reader
    from bulkedit.client.responses import ImageSet
    from bulkedit.errors import BulkeditError

_STDIN: Final = "@-"
_WORKERS: Final = 16  # image sets asked at once: at 25/s enough for answers that take half a second
_HOW: Final = (
    "Put one value on each line. A value that itself begins with @ goes into a file too: --select SELECTOR=@FILE"
)


def selected(texts: list[str], table: Path | None, standard_input: IO[bytes]) -> pl.DataFrame:
    """Selectors and keys, each pair once: columns ``selector`` and ``key``, both String. Reads standard input if asked.

    ``texts``: SELECTOR=VALUE, SELECTOR=@FILE (one value on each line) or SELECTOR=@- (the same from standard input).
    ``table``: a CSV file with one column that is named by a selector. Raises UsageError, also if a file has no value:
    an empty selection would mean all image sets.
    """
    pairs: list[tuple[str, str]] = []
    if sum(text.endswith(f"={_STDIN}") for text in texts) > 1:
        raise UsageError("standard input can be read once only.", hint="Give one --select SELECTOR=@-")
    for text in texts:
        selector, found, value = text.partition("=")
        if not found or selector not in SELECTORS or value in {"", "@"}:
            raise UsageError(
                "--select is written SELECTOR=VALUE, SELECTOR=@FILE or SELECTOR=@-.",
                hint=f"Selectors: {', '.join(SELECTORS)}.",
            )
        values = _values(value, standard_input) if value.startswith("@") else [value]
        pairs += [(selector, one) for one in values]
    if table is not None:
        pairs += _of_table(table)
    schema = {"selector": pl.String, "key": pl.String}
    return pl.DataFrame(pairs, schema=schema, orient="row").unique(maintain_order=True)


def _values(source: str, standard_input: IO[bytes]) -> list[str]:
    """The lines of a file or of standard input, without blanks around them; blank lines are left out."""
    where = "standard input" if source == _STDIN else source[1:]
    try:
        content = standard_input.read() if source == _STDIN else Path(where).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"the values of --select cannot be read ({reason}).", where=where, hint=_HOW) from error
    except UnicodeDecodeError as error:
        raise UsageError("the values of --select are not UTF-8 text.", where=where, hint="Save it as UTF-8.") from error
    values = [line.strip() for line in text.splitlines() if line.strip()]
    if not values:
        raise UsageError("there is no value for --select.", where=where, hint=_HOW)
    return values


def _of_table(file: Path) -> list[tuple[str, str]]:
    try:
        frame = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or "it is no CSV"
        raise UsageError(f"the selection cannot be read ({reason}).", where=str(file)) from error
    names = [name for name in frame.columns if name in SELECTORS]
    if len(names) != 1:
        raise UsageError(
            "it needs one column named by a selector.", where=str(file), hint=f"One of {', '.join(SELECTORS)}."
        )
    keys = frame.get_column(names[0]).drop_nulls()
    if not keys.len():
        raise UsageError("the selection has no value.", where=str(file), hint="Put one value on each line.")
    return [(names[0], key) for key in keys]


async def selected_by_id(reader: Reader, ids: list[str]) -> pl.DataFrame:
    """What GetImageSet tells of image sets that are named by id: columns `SELECTION`, in the order of ``ids``.

    Moves no image set out of the archive. Raises UsageError for an id that the data store does not have, AccessError
    for an image set that these credentials may not read, EndpointError for any other refusal, and what `Reader` raises.
    """
    found: dict[str, ImageSet] = {}

    async def ask(image_set_id: str) -> None:
        answer = await reader.image_set(image_set_id)
        if isinstance(answer, Refused):
            raise _unselected(image_set_id, answer)
        found[image_set_id] = answer

    await for_each(ask, ids, at_once=_WORKERS)
    told = [found[one] for one in ids]
    rows = [(one.image_set_id, one.version, one.primary, one.storage_tier) for one in told]
    return pl.DataFrame(rows, schema=SELECTION, orient="row")


def _unselected(image_set_id: str, refused: Refused) -> BulkeditError:
    """Why an image set that is named by id cannot be read."""
    match refused.kind:
        case Refusal.NOT_FOUND | Refusal.INVALID:
            return UsageError(
                "an image set that is selected by its id is not in the data store.",
                where=image_set_id,
                likely="The id is mistyped, or the image set is in another data store.",
                hint="To pass over what is not there, select from an inventory: --inventory FILE",
            )
        case Refusal.ACCESS_DENIED:
            return AccessError(
                f"AWS denied access to an image set that is selected by its id ({refused.code}).",
                where=image_set_id,
                likely="The role lacks medical-imaging:GetImageSet, or a policy denies it for this image set.",
                hint="Have it allowed, or leave this image set out of the selection.",
            )
        case Refusal.CONFLICT:
            return EndpointError(
                f"an image set is not ready to be read ({refused.code}, {ATTEMPTS} times in a row).",
                where=image_set_id,
                likely="The service is still at work on it.",
                hint="Give the same command again later.",
            )
        case _:
            return EndpointError(f"the service refused GetImageSet ({refused.code}).", where=image_set_id)
