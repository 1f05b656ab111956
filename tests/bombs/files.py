"""Files that are small, and unpack to far more than memory, and harmless ones of the same formats."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests.bombs import parquet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Maker = Callable[[Path], None]

ID: Final = "a" * 32
MEGA: Final = 2**20
HEAD: Final = b"image_set_id,attribute,value\n"
BEGIN: Final = f"{ID},StudyDescription,".encode()
OBJECT: Final = f'{{"image_set_id":"{ID}","attribute":"StudyDescription","value":"CT"}}\n'.encode()
DEEP: Final = b"[" * 200_000 + b"]" * 200_000

# -- text


def csv(path: Path) -> None:
    path.write_bytes(HEAD + BEGIN + b"CT\n")


def csv_gz(path: Path) -> None:
    path.write_bytes(gzip.compress(HEAD + BEGIN + b"CT\n"))


def jsonl(path: Path) -> None:
    path.write_bytes(OBJECT)


def jsonl_gz(path: Path) -> None:
    path.write_bytes(gzip.compress(OBJECT))


def _gzipped(path: Path, begin: bytes, piece: bytes, times: int) -> None:
    """A gzip file of a beginning and a piece again and again; members of gzip may follow one another."""
    path.write_bytes(gzip.compress(begin) + gzip.compress(piece) * times)


def _wide(columns: int) -> bytes:
    names = [f"00{group:02x}10{element:02x}" for group in range(0x11, 0xFF, 2) for element in range(256)]
    return ",".join(["image_set_id", *names[: columns - 1]]).encode() + b"\n"


def blank_lines_gz(path: Path) -> None:
    """4 GB of lines, each of which is a row of 40 cells."""
    _gzipped(path, _wide(40), b"\n" * 16 * MEGA, 256)


def blank_lines(path: Path) -> None:
    path.write_bytes(_wide(400) + b"\n" * 4 * MEGA)


def endless_line(path: Path) -> None:
    _gzipped(path, HEAD + BEGIN, b"x" * 16 * MEGA, 256)


def endless_object(path: Path) -> None:
    _gzipped(path, OBJECT[:-4], b"x" * 16 * MEGA, 256)


def equal_rows(path: Path) -> None:
    """100,000,000 rows."""
    _gzipped(path, HEAD, (BEGIN + b"CT\n") * 250_000, 400)


def columns(path: Path) -> None:
    """Each row has 1,000,000 cells."""
    path.write_bytes(b"image_set_id" + b",PatientName" * 1_000_000 + b"\n" + (b"," * 1_000_000 + b"\n") * 20)


def empty_cells(path: Path) -> None:
    """16 million cells, of rows that are set aside."""
    path.write_bytes(_wide(6_000) + (b"x" + b"," * 5_999 + b"\n") * 2_700)


def few_empty_cells(path: Path) -> None:
    """1.6 million such cells."""
    path.write_bytes(_wide(6_000) + (b"x" + b"," * 5_999 + b"\n") * 270)


def nested_line(path: Path) -> None:
    path.write_bytes(OBJECT + OBJECT.replace(b'"CT"', DEEP))


def keys(path: Path) -> None:
    """Each line has one of 5,900 keys: as a table, 600 million cells."""
    path.write_bytes(OBJECT + b"".join(b'{"k%d":"x"}\n' % (number % 5_900) for number in range(100_000)))


# -- Parquet


def _list_of(value: bytes, *, lying: bool = False) -> list[parquet.Column]:
    return [
        parquet.Column("image_set_id", ID.encode()),
        parquet.Column("attribute", b"StudyDescription"),
        parquet.Column("value", value, lying),
    ]


def records(path: Path) -> None:
    parquet.write(path, _list_of(b"CT"), 1)


def long_cell(path: Path) -> None:
    """10 MB that are in the file once, and that 1,000,000 rows refer to."""
    parquet.write(path, _list_of(b"x" * 10 * MEGA), 1_000_000)


def shared_cell(path: Path) -> None:
    """The same with 30 kB, which could be a value."""
    parquet.write(path, _list_of(b"x" * 30_000), 1_000_000)


def large_pages(path: Path) -> None:
    """100 pages of 40 MB, of which the file's metadata say that they have a byte."""
    parquet.write(path, _list_of(b"x" * 40 * MEGA, lying=True), 1, groups=100)


def equal_records(path: Path) -> None:
    """500,000,000 rows in 500 bytes."""
    parquet.write(path, _list_of(b"CT"), 500_000_000)


# -- Excel

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SHEET: Final = "xl/worksheets/sheet1.xml"
_TEXTS: Final = "xl/sharedStrings.xml"
_PARTS: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets><sheet name="S" sheetId="1" '
    'r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="r2" Type="{_RELATIONS}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
}
_LIST: Final = '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
_ROW: Final = '<row r="2"><c r="A2" t="s"><v>2</v></c><c r="B2" t="s"><v>3</v></c></row>'


def _sheet(rows: str) -> str:
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{_LIST}{_ROW}{rows}</sheetData></worksheet>'


def _texts(*more: str) -> str:
    texts = "".join(f"<si><t>{text}</t></si>" for text in ("image_set_id", "PatientName", ID, "DOE", *more))
    return f'<sst xmlns="{_MAIN}">{texts}</sst>'


def workbook(path: Path, rows: str = "", *texts: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (_PARTS | {_SHEET: _sheet(rows), _TEXTS: _texts(*texts)}).items():
            archive.writestr(name, content)


def shared_text(path: Path) -> None:
    """200,000 cells that share a text of 30 kB."""
    rows = (f'<row r="{row}"><c r="A{row}" t="s"><v>4</v></c></row>' for row in range(3, 200_003))
    workbook(path, "".join(rows), "x" * 30_000)


def far_cell(path: Path) -> None:
    workbook(path, '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>')


def other_far_cell(path: Path) -> None:
    """In XML that is not as spreadsheets write it."""
    workbook(path, "<row r='1048576'><c t='n' r='XFD1048576'><v>1</v></c></row>")


def large_sheet(path: Path) -> None:
    _workbook_with(path, _SHEET, _sheet("@"), b"<row/>")


def large_texts(path: Path) -> None:
    _workbook_with(path, _TEXTS, _texts("@"), b"x")


def lying_sheet(path: Path) -> None:
    """Its entry says that the sheet has as many bytes as it has without what is in the middle."""
    _workbook_with(path, _SHEET, _sheet("@"), b"<row/>", lying=True)


def _workbook_with(path: Path, large: str, content: str, piece: bytes, *, lying: bool = False) -> None:
    """A workbook of which one part has 2 GB in place of the @."""
    begin, end = content.encode().split(b"@")
    block = piece * (16 * MEGA // len(piece))
    times = 128
    size = len(begin) + len(end) + (0 if lying else len(block) * times)
    other = {_SHEET: _sheet(""), _TEXTS: _texts()} | _PARTS
    parts = {name: (_deflated(text.encode()), len(text)) for name, text in other.items() if name != large}
    parts[large] = _deflated(begin, block, times, end), size
    entries, directory = b"", b""
    for name, (packed, unpacked) in parts.items():
        text = other[name].encode() if name != large else b""  # of the large part the checksum is wrong
        sizes = struct.pack("<IIIHH", zlib.crc32(text), len(packed), unpacked, len(name), 0)
        common = struct.pack("<HHHHH", 20, 0, zipfile.ZIP_DEFLATED, 0, 0) + sizes
        place = struct.pack("<HHHII", 0, 0, 0, 0, len(entries))
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common + place + name.encode()
        entries += b"PK\x03\x04" + common + name.encode() + packed
    count = len(parts)
    last = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(entries), 0)
    path.write_bytes(entries + directory + b"PK\x05\x06" + last)


def _deflated(begin: bytes, block: bytes = b"", times: int = 0, end: bytes = b"") -> bytes:
    """A deflated text with a block in it again and again, which is packed once."""
    packed = b""
    for text, count in ((begin, 1), (block, times)):
        packing = zlib.compressobj(9, wbits=-15)
        packed += (packing.compress(text) + packing.flush(zlib.Z_FULL_FLUSH)) * count
    packing = zlib.compressobj(9, wbits=-15)
    return packed + packing.compress(end) + packing.flush()


# -- DICOM


def dicom(folder: Path) -> None:
    folder.mkdir()
    (folder / "small.dcm").write_bytes(_deflated_dicom(b"\0" * 64, 1))


def deflated_dicom(folder: Path) -> None:
    """2 GB of pixels."""
    folder.mkdir()
    (folder / "large.dcm").write_bytes(_deflated_dicom(b"\0" * 16 * MEGA, 128))


def rle_dicom(folder: Path) -> None:
    """A frame of 1.6 GB, all of it zeros, in 25 MB (PS3.5 annex G: two bytes for 128)."""
    folder.mkdir()
    image, side = _image("1.2.840.10008.1.2.5"), 40_000
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.BitsAllocated, image.BitsStored, image.HighBit = 1, 8, 8, 7
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * (side * side // 128)
    image.PixelData = encapsulate([frame])
    image["PixelData"].VR = "OB"
    pydicom.dcmwrite(folder / "large.dcm", image, enforce_file_format=True)


def _image(syntax: str) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.1")
    meta.TransferSyntaxUID = UID(syntax)
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.0"
    return image


def _deflated_dicom(block: bytes, times: int) -> bytes:
    image = _image("1.2.840.10008.1.2.1.99")
    file = io.BytesIO()
    pydicom.dcmwrite(file, image, enforce_file_format=True)
    begin = file.getvalue()
    packed_at = 144 + int(pydicom.dcmread(io.BytesIO(begin)).file_meta.FileMetaInformationGroupLength)
    elements = zlib.decompress(begin[packed_at:], -15)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, len(block) * times)
    return begin[:packed_at] + _deflated(elements + pixels, block, times)
