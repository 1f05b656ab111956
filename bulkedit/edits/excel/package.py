"""The package of a workbook: its sheets and their states, its number formats, and a small package of one sheet.

fastexcel gets the small package, so it reads the sheet that was chosen, and all that it reads has been checked before.
The small package has no styles: numbers then stay numbers, also those that a spreadsheet shows as dates.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from bulkedit.edits.excel.limits import check_parts
from bulkedit.edits.excel.number_formats import formats_of
from bulkedit.edits.excel.plain import plain_texts
from bulkedit.edits.excel.xml import elements, is_true, unreadable
from bulkedit.errors import EditListError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.edits.excel.number_formats import NumberFormat

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SMALL: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>'
    '<sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
_OTHER_KINDS: Final = {
    "macrosheet": "a sheet of macros",
    "chartsheet": "a chart",
    "dialogsheet": "a dialog",
}
_SHOWN_NAMES: Final = 20


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn what zipfile raises for a damaged package into an EditListError; its text may quote the package."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, RuntimeError):
        damaged = True  # NotImplementedError, for an unknown compression, is a RuntimeError
    else:
        damaged = False
    if damaged:
        raise unreadable()


class Sheet(NamedTuple):
    """A sheet of a workbook."""

    name: str
    hidden: bool
    kind: str  # last word of the type of its relationship: worksheet, chartsheet, …
    part: str | None  # its path in the package

    @property
    def described(self) -> str:
        """The name in quotes, and whether it is hidden or no table."""
        notes = [note for note in ("hidden" if self.hidden else "", _OTHER_KINDS.get(self.kind, "")) if note]
        return f"'{self.name}'" + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True, slots=True)
class Workbook:
    """What a workbook says about its sheets, and the parts to read."""

    sheets: list[Sheet]
    starts_in_1904: bool  # whether day 0 of its dates is 1904-01-01
    recomputed: bool  # whether a spreadsheet computes all formulas when it opens the workbook
    formats: list[NumberFormat]  # by cell style
    shared_texts: bytes | None  # XML
    _data: bytes = field(repr=False)
    _names: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> Workbook:
        """Read the parts of a workbook, except its sheets. Raises EditListError."""
        with _readable():
            check_parts(data)
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return cls._of(data, archive)

    @classmethod
    def _of(cls, data: bytes, archive: zipfile.ZipFile) -> Workbook:
        names = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
        main = _main_part(archive, names)
        xml = _part(archive, names, main)
        targets = _related(archive, names, main)
        if xml is None:
            raise unreadable()
        found = elements(xml, "sheet", "workbookPr", "calcPr")
        sheets = [
            Sheet(
                at.get("name", ""),
                at.get("state", "visible") != "visible",
                *targets.get(at.get("id", ""), ("", None)),
            )
            for name, at in found
            if name == "sheet"
        ]
        parts = dict(targets.values())
        texts = _part(archive, names, parts.get("sharedstrings"))
        return cls(
            sheets=sheets,
            starts_in_1904=any(is_true(at.get("date1904")) for name, at in found if name == "workbookPr"),
            recomputed=any(is_true(at.get("fullCalcOnLoad")) for name, at in found if name == "calcPr"),
            formats=formats_of(_part(archive, names, parts.get("styles"))),
            shared_texts=None if texts is None else plain_texts(texts),
            _data=data,
            _names=names,
        )

    def chosen(self, wanted: str | None) -> Sheet:
        """Return the sheet with a name, or the first one that is visible. Raises EditListError and UsageError."""
        if wanted is not None:
            same = [sheet for sheet in self.sheets if sheet.name == wanted]
            similar = [sheet for sheet in self.sheets if sheet.name.strip().casefold() == wanted.strip().casefold()]
            found = same or similar
            if len(found) != 1:
                raise UsageError("the workbook has no sheet with the name given as `sheet`.", hint=self.sheets_told())
            if found[0].kind != "worksheet":
                raise UsageError(f"the sheet {found[0].described} has no cells.", hint=self.sheets_told())
            return found[0]
        visible = [sheet for sheet in self.sheets if not sheet.hidden and sheet.kind == "worksheet"]
        if not self.sheets:
            raise unreadable()
        if not visible:
            raise EditListError("all sheets of the workbook are hidden, or have no cells.", hint=self.sheets_told())
        return visible[0]

    def sheets_told(self) -> str:
        """Return a hint: the names of the sheets, and the option that chooses one."""
        return f"Its sheets are {named(self.sheets)}. To choose one: `sheet=NAME`"

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return len(self._data)

    def without_parts(self) -> Workbook:
        """Return the workbook without its content, which may be large."""
        return replace(self, shared_texts=None, _data=b"")

    def xml_of(self, sheet: Sheet) -> bytes:
        """Return the XML of a sheet. Raises EditListError."""
        with _readable(), zipfile.ZipFile(io.BytesIO(self._data)) as archive:
            xml = _part(archive, self._names, sheet.part)
        if xml is None:
            raise unreadable()
        return xml

    def package_of(self, xml: bytes) -> bytes:
        """Return a package with one sheet, which has this XML."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name, text in _SMALL.items():
                archive.writestr(name, text)
            archive.writestr("xl/worksheets/sheet1.xml", xml)
            if self.shared_texts is not None:
                archive.writestr("xl/sharedStrings.xml", self.shared_texts)
        return target.getvalue()


def named(sheets: list[Sheet]) -> str:
    """Return the names of sheets for a text."""
    shown = ", ".join(sheet.described for sheet in sheets[:_SHOWN_NAMES])
    return shown + (f" and {len(sheets) - _SHOWN_NAMES} more" if len(sheets) > _SHOWN_NAMES else "")


def _main_part(archive: zipfile.ZipFile, names: dict[str, str]) -> str:
    """Return the path of the workbook's part. Raises EditListError if the package is of another kind."""
    kinds = dict(_related(archive, names, "").values())
    main = kinds.get("officedocument") or "xl/workbook.xml"
    if main.endswith(".bin"):
        raise _other("a binary workbook (.xlsb)")
    if main.lower() not in names:
        if "mimetype" in names and "content.xml" in names:
            raise _other("an OpenDocument file (.ods)")
        raise EditListError(
            "the file is no Excel workbook.",
            likely="It may be another kind of zip archive, or damaged.",
            hint="Save the list as .xlsx, or as CSV in UTF-8.",
        )
    if main.startswith(("word/", "ppt/")):
        raise _other("a document of another Office program")
    return main


def _other(what: str) -> EditListError:
    return EditListError(
        f"the file is {what}, not xlsx.", hint="Open it in a spreadsheet, and save it as .xlsx, or as CSV in UTF-8."
    )


def _related(archive: zipfile.ZipFile, names: dict[str, str], part: str) -> dict[str, tuple[str, str | None]]:
    """Return the relationships of a part (of the package, if empty): id -> last word of the type, and path."""
    folder, name = posixpath.split(part)
    xml = _part(archive, names, posixpath.join(folder, "_rels", f"{name}.rels"))
    if xml is None:
        return {}
    return {
        at.get("Id", ""): (at.get("Type", "").rpartition("/")[2].lower(), _target(folder, at))
        for _, at in elements(xml, "Relationship")
    }


def _target(folder: str, attributes: dict[str, str]) -> str | None:
    target = attributes.get("Target")
    if target is None or attributes.get("TargetMode") == "External":
        return None
    return posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")


def _part(archive: zipfile.ZipFile, names: dict[str, str], part: str | None) -> bytes | None:
    name = names.get(part.lower()) if part else None
    return None if name is None else archive.read(name)
