"""Parses the XML of a workbook's parts, with expat."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Callable


def elements(xml: bytes, *wanted: str) -> list[tuple[str, dict[str, str]]]:
    """Return names and attributes of all elements with one of these names, without prefixes. Raises EditListError."""
    found: list[tuple[str, dict[str, str]]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if (plain := local(name)) in wanted:
            found.append((plain, {local(key): text for key, text in attributes.items()}))

    parse(xml, begin=begin)
    return found


def parse(
    xml: bytes,
    *,
    begin: Callable[[str, dict[str, str]], None] | None = None,
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Parse XML, and call ``begin`` and ``end`` for each element, and ``text`` for what is between them.

    A DOCTYPE is refused, because workbooks have none, and it could define entities. Raises EditListError if the XML is
    not well-formed, or a callback raises ValueError.
    """
    reader = expat.ParserCreate()
    reader.buffer_text = True
    reader.StartDoctypeDeclHandler = _no_doctype
    reader.StartElementHandler = begin
    reader.EndElementHandler = end
    reader.CharacterDataHandler = text
    try:
        reader.Parse(xml, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an unknown encoding
        pass  # their texts quote the workbook
    else:
        return
    raise unreadable()


def _no_doctype(*_: object) -> None:
    raise ValueError("DOCTYPE")


def local(name: str) -> str:
    """Return a name without its prefix."""
    return name.rpartition(":")[2]


def is_true(text: str | None) -> bool:
    """Whether an attribute has a value that means true in a workbook."""
    return text in {"1", "true"}


def unreadable() -> EditListError:
    """Return the error for a file that is damaged or not a workbook."""
    return EditListError("the workbook cannot be read.", hint="Save it again, or save the sheet as CSV in UTF-8.")
