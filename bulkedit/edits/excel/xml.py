"""Parses the XML of a workbook's parts, with expat."""

from __future__ import annotations

from xml.parsers import expat

from bulkedit.errors import EditListError


def elements(xml: bytes, *wanted: str) -> list[tuple[str, dict[str, str]]]:
    """Return names and attributes of all elements with one of these names, without prefixes. Raises EditListError."""
    found: list[tuple[str, dict[str, str]]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if (plain := local(name)) in wanted:
            found.append((plain, {local(key): text for key, text in attributes.items()}))

    reader = parser()
    reader.StartElementHandler = begin
    parse(reader, xml)
    return found


def parser() -> expat.XMLParserType:
    """Return a parser that refuses a DOCTYPE, because workbooks have none, and it could define entities."""
    made = expat.ParserCreate()
    made.buffer_text = True
    made.StartDoctypeDeclHandler = _no_doctype
    return made


def _no_doctype(*_: object) -> None:
    raise ValueError("DOCTYPE")


def parse(reader: expat.XMLParserType, xml: bytes) -> None:
    """Parse XML. Raises EditListError if it is not well-formed, or a handler raises ValueError."""
    try:
        reader.Parse(xml, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an unknown encoding
        pass  # their texts quote the workbook
    else:
        return
    raise unreadable()


def local(name: str) -> str:
    """Return a name without its prefix."""
    return name.rpartition(":")[2]


def is_true(text: str | None) -> bool:
    """Whether an attribute has a value that means true in a workbook."""
    return text in {"1", "true"}


def unreadable() -> EditListError:
    """Return the error for a file that is damaged or not a workbook."""
    return EditListError("the workbook cannot be read.", hint="Save it again, or save the sheet as CSV in UTF-8.")
