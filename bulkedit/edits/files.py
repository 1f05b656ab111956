"""Opens an edit list: its format by name, a check of its first bytes, and the digest of its content."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, cast

from bulkedit.edits.bounds import TEXT_FLOOR, Growth
from bulkedit.errors import EditListError, UsageError

if TYPE_CHECKING:
    from bulkedit.edits.options import ReadOptions

_SUFFIXES: Final = {
    ".csv": "csv",
    ".csv.gz": "csv.gz",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".sh": "aws-cli",
    ".xlsm": "xlsx",
    ".hl7": "hl7",
}
_NOT_READ: Final = {
    ".xls": "It is an Excel workbook of the old kind.",
    ".xlsb": "It is a binary Excel workbook.",
    ".ods": "It is an OpenDocument spreadsheet.",
}
_AS_WORKBOOK: Final = "Open it in a spreadsheet, and save it as .xlsx."
_TEXTS: Final = (".txt", ".tsv", ".tab", ".dat", ".psv")  # suffixes of tables in text
FORMATS: Final = tuple(dict.fromkeys(_SUFFIXES.values()))
# The container of old workbooks, and of encrypted new ones (MS-CFB); the names of its streams are UTF-16.
_CONTAINER: Final = b"\xd0\xcf\x11\xe0"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")  # MS-OFFCRYPTO 2.3.4.4
_OLD_BOOKS: Final = tuple(name.encode("utf-16-le") for name in ("Workbook", "Book"))
_OF_UTF_16: Final = frozenset({"csv", "jsonl"})
_LITTLE, _BIG = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
_WITHOUT_MAGIC: Final = frozenset({"csv", "jsonl", "aws-cli", "hl7"})  # which have no first bytes of their own
# first bytes, their meaning, and the formats that begin with them
_MAGIC: Final[tuple[tuple[bytes, str, tuple[str, ...]], ...]] = (
    (b"PAR1", "Parquet", ("parquet",)),
    (b"PK\x03\x04", "an Excel workbook or another zip archive", ("xlsx",)),
    (b"\x1f\x8b", "gzip", ("csv.gz", "jsonl.gz")),
    (_CONTAINER, "an Excel workbook of the old kind", ()),
    (b"<", "HTML or XML", ()),
    (_LITTLE, "text in UTF-16", tuple(sorted(_OF_UTF_16))),
    (_BIG, "text in UTF-16", tuple(sorted(_OF_UTF_16))),
)
_SAVE_AGAIN: Final = {
    "text in UTF-16": "Save it again in UTF-8; Excel calls that CSV UTF-8.",
    "HTML or XML": _AS_WORKBOOK,
}
_LONGEST_MAGIC: Final = 4
_CHUNK: Final = 16 * 2**20


class Hashing:
    """A stream that computes the SHA-256 of its bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.count = 0  # bytes read so far
        self.begin = self._fetch(_LONGEST_MAGIC)  # the first bytes; `read` returns them again
        self._buffered = self.begin

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, fewer only at the end of the stream."""
        if not self._buffered:
            return self._fetch(size)
        data, self._buffered = self._buffered, b""
        if 0 <= size < len(data):
            data, self._buffered = data[:size], data[size:]
            return data
        return data + self._fetch(size if size < 0 else size - len(data))

    def _fetch(self, size: int) -> bytes:
        data = self._stream.read(size)
        while 0 < len(data) < size and (more := self._stream.read(size - len(data))):
            data += more  # a pipe may return less than asked for
        self._sha256.update(data)
        self.count += len(data)
        return data

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def digest(self) -> str:
        """Read the rest of the stream, and return the SHA-256 of all of it, in hex."""
        while self.read(_CHUNK):
            pass
        return self._sha256.hexdigest()


class _Gunzipped:
    """An unpacked gzip stream. Raises EditListError if it is damaged or unpacks to far more than its size."""

    def __init__(self, stream: Hashing) -> None:
        self._file = gzip.GzipFile(fileobj=cast("IO[bytes]", stream))
        self._growth = Growth(lambda: stream.count, TEXT_FLOOR)

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise EditListError(
                "the compressed file is damaged or cut short.", hint="Copy it again, or pack it again with gzip."
            ) from None
        self._growth.add(len(data))
        return data


class _OfUtf16:
    """A stream of UTF-16 with its mark, as Excel saves "Unicode text", read as UTF-8."""

    def __init__(self, stream: Hashing) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-16")()

    def read(self, size: int = -1) -> bytes:
        text = ""
        while not text:
            data = self._stream.read(size)
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError:
                raise EditListError(
                    "it begins as text in UTF-16, and is not.",
                    likely="The file may be cut short or damaged.",
                    hint="Save the list again as CSV UTF-8.",
                ) from None
            if not data:
                break
        return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Source:
    """An opened edit list."""

    format: str
    path: Path | None  # None for a stream, which can be read once
    hashing: Hashing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close a file; the caller closes a stream."""
        if self.path:
            self.hashing.close()

    @property
    def text(self) -> IO[bytes]:
        """The bytes of a text format, unpacked."""
        if self.format.endswith(".gz"):
            return cast("IO[bytes]", _Gunzipped(self.hashing))
        if self.format in _OF_UTF_16 and self.hashing.begin.startswith((_LITTLE, _BIG)):
            return cast("IO[bytes]", _OfUtf16(self.hashing))
        return cast("IO[bytes]", self.hashing)


def opened(source: str | Path | IO[bytes], options: ReadOptions) -> Source:
    """Open a file or use a stream, and check that its first bytes fit its format.

    Raises EditListError for the file, UsageError for an unknown format.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    format_ = options.format or (_format_of(path) if path else "csv")
    if format_ not in FORMATS:
        raise UsageError("the format is unknown.", hint=f"The formats are {', '.join(FORMATS)}.")
    hashing = Hashing(_open(path) if path else cast("IO[bytes]", source))
    try:
        _check_encryption(hashing, format_)
        _check_magic(hashing.begin, format_)
    except EditListError:
        if path:
            hashing.close()
        raise
    return Source(format_, path, hashing)


def _open(path: Path) -> IO[bytes]:
    if path.is_fifo() or path.is_socket() or path.is_char_device():
        raise EditListError(
            "it is a pipe or a device, not a file.",
            hint="Pass its content on standard input: - instead of its name.",
        )
    try:
        return path.open("rb")
    except FileNotFoundError:
        what = "there is no such file."
    except IsADirectoryError:
        what = "it is a folder, not a file."
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or type(error).__name__}."
    raise EditListError(what)


def _format_of(path: Path) -> str:
    name = path.name.lower()
    if path.is_dir():
        raise EditListError("it is a folder, not a file.")
    for suffix, format_ in _SUFFIXES.items():
        if name.endswith(suffix):
            return format_
    suffix = path.suffix.lower()
    likely, hint = _NOT_READ.get(suffix), _AS_WORKBOOK
    if suffix == ".json":
        likely, hint = "A JSON document is not JSON lines.", "Write one object per line: jq -c '.[]' FILE > edits.jsonl"
    elif suffix in _TEXTS:
        likely, hint = "It may be CSV.", "Read it as CSV: `format=csv`"
    elif likely is None:
        hint = f"Rename it to one of {', '.join(_SUFFIXES)}, or set `format`."
    raise EditListError("its suffix is unknown.", likely=likely, hint=hint)


def _check_encryption(stream: Hashing, format_: str) -> None:
    """Refuse a container that has an encrypted workbook, or is named like a new workbook, and has no old one."""
    if stream.begin != _CONTAINER:
        return
    is_old, is_encrypted, end = False, False, b""
    while not is_encrypted and (piece := stream.read(_CHUNK)):
        looked_at = end + piece
        is_encrypted = _ENCRYPTED in looked_at
        is_old = is_old or any(name in looked_at for name in _OLD_BOOKS)
        end = looked_at[-len(_ENCRYPTED) :]
    if is_encrypted or (format_ == "xlsx" and not is_old):
        raise EditListError(
            "the file is encrypted: it opens only with a password.",
            hint="Open it in a spreadsheet, and save it without a password.",
        )


def _check_magic(begin: bytes, format_: str) -> None:
    if not begin:
        raise EditListError("the file is empty.", hint="An edit list has at least one row.")
    found = next((known for known in _MAGIC if begin.startswith(known[0])), None)
    binary = format_ not in _WITHOUT_MAGIC
    if found and format_ not in found[2]:
        hint = _SAVE_AGAIN.get(found[1], "Rename it with the right suffix, or save it again.")
        raise EditListError(f"the file is {found[1]}, not {format_}.", hint=hint)
    if binary and not found:
        raise EditListError(
            f"the file is not {format_}.",
            likely="It may be a text file with another suffix, or cut short.",
            hint="Rename it with the right suffix, or export it again.",
        )
