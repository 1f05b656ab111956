"""HL7 v2 messages as a tidy list: changes of patients (ADT^A08, A31), merges and changed identifiers (A40, A47, …).

A message is a row, by its number in the file; it has one line of the tidy form for each attribute. python-hl7 splits
messages into fields. What a message says beyond the attributes of HealthImaging is counted in notices.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import IO, Any, Final

from bulkedit.edits.bounds import check_problems
from bulkedit.edits.hl7 import fields
from bulkedit.edits.hl7.fields import FieldError
from bulkedit.edits.hl7.stream import MOST_KEPT, RawMessage, messages
from bulkedit.edits.notices import of_file
from bulkedit.edits.problems import one
from bulkedit.edits.table import MadeTable
from bulkedit.errors import EditListError, UsageError

_HEADER: Final = ("edit_id", "order", "patient_id", "attribute", "value")
_UPDATES: Final = {"A08", "A31"}
_MERGES: Final = {"A18", "A30", "A34", "A36", "A40", "A46", "A47"}  # old identifier in MRG-1, new one in PID-3
_READ: Final = {"PID": {1, 3, 5, 7, 8}, "MRG": {1}}
_ELSEWHERE: Final = {  # events that people may expect
    **dict.fromkeys(("A35", "A41", "A42", "A49", "A50", "A51"), "is about an account or a visit, not about a patient"),
    **dict.fromkeys(("A43", "A44", "A45"), "moves a part of what belongs to a patient"),
    **dict.fromkeys(("A24", "A37"), "links patients, which HealthImaging does not"),
    **dict.fromkeys(("A23", "A29"), "deletes a patient or a visit"),
}
_REGISTERED: Final = (100, 101, 109, 110, 144, 127, 126, 138, 148)  # ISO-IR numbers of 8859/1 to 8859/9
_CODECS: Final = {  # table 0211, as MSH-18 has it
    **dict.fromkeys(("", "ASCII", "ISO IR6"), "ascii"),
    **{f"8859/{n}": f"iso8859_{n}" for n in (*range(1, 10), 15)},
    **{f"ISO IR{number}": f"iso8859_{n}" for n, number in enumerate(_REGISTERED, 1)},
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
}
_SETS: Final = "UNICODE UTF-8, ASCII, 8859/1 and others"
_ESCAPES: Final = {"F": 1, "S": 3, "T": 4, "R": 2}  # -> position in the separators of python-hl7


class Hl7Messages(MadeTable):
    """A file of messages. The rows are messages, numbered from 1."""

    def __init__(self, stream: IO[bytes], assigning_authority: str | None) -> None:
        """``assigning_authority``: of the identifiers that are PatientID in the data store; None: of any."""
        super().__init__(_HEADER)
        _require_library()
        self.several_a_row = True
        self._authority = assigning_authority
        self._time = ""  # of the last message that has one
        self._left_out: Counter[str] = Counter()  # texts of notices
        self._fields: Counter[tuple[str, int]] = Counter()  # segment and number
        for message in messages(stream):
            self._take(message)
        if self.is_empty:
            raise EditListError("the file has no message.", hint="An edit list has at least one row.")
        self._say()

    def _take(self, raw: RawMessage) -> None:
        try:
            message = _Message(raw)
            self._note_time(message)
            lines = self._lines_of(message)
        except _MessageError as error:
            self.problems.append(one(raw.number, error.code, str(error), error.column, hint=error.hint))
            check_problems(len(self.problems), raw.line, "messages")
            lines = [(None,) * len(_HEADER)]
        else:
            self._left_out.update(message.left_out)
            self._fields.update(message.fields_left_out())
        self.add(raw.number, *lines)

    def _lines_of(self, message: _Message) -> list[tuple[str | None, ...]]:
        event = message.event()
        new = message.read("PID", 3, "patient_id", partial(self._identifier, like=None))
        selected, values = new, {}
        if event in _MERGES:
            selected = message.read("MRG", 1, "patient_id", partial(self._identifier, like=new))
            _check_merge(message, selected, new)
            values = {"PatientID": new.value}
        values |= message.demographics()
        if not values:
            raise _MessageError("no-edit", f"the message in line {message.line:,} changes nothing that is kept here.")
        # messages are events one after another, so the later one wins
        common = (message.control_id, str(message.number), selected.value)
        return [(*common, attribute, value or None) for attribute, value in values.items()]

    def _note_time(self, message: _Message) -> None:
        """Notice a message that was made before the one in front of it."""
        time = message.time()
        if time and self._time and time < self._time:
            message.left_out.add(_NOT_IN_ORDER)
        self._time = time or self._time

    def _identifier(self, field: list[fields.Repetition], clean: Any, like: fields.Identifier | None) -> Any:  # noqa: ANN401
        return fields.chosen(field, clean, self._authority, like)

    def _say(self) -> None:
        """Say what the messages have beyond the attributes that can be set."""
        for text, hint in _NOTICES.items():
            if count := self._left_out[text]:
                self.notices.append(of_file("hl7-left-out", text, hint=hint, rows=count))
        if self._fields:
            names = ", ".join(f"{name}-{number}" for name, number in sorted(self._fields))
            text = f"Fields without an attribute that is kept for patients are left out: {names}."
            self.notices.append(of_file("hl7-left-out", text, rows=max(self._fields.values())))


_OTHER_SEGMENTS: Final = "Segments other than PID and MRG are left out."
_OTHER_NAMES: Final = "Names of other types, such as aliases, are left out; the legal name is used."
_TIME_OF_BIRTH: Final = "The time of birth in PID-7 is left out; the date is used."
_NOT_PRODUCTION: Final = "MSH-11 says that messages are for tests or training."
_NOT_IN_ORDER: Final = (
    "Messages are not in the order of their times (MSH-7); they are applied in the order of the file."
)
_NOTICES: Final[dict[str, str | None]] = {
    _NOT_IN_ORDER: "Sort the file, if the later message has to win.",
    _NOT_PRODUCTION: "Make sure that they are of this data store.",
    _OTHER_SEGMENTS: None,
    _OTHER_NAMES: None,
    _TIME_OF_BIRTH: None,
}


class _MessageError(ValueError):
    """A message that makes no edits: the code of the problem, its text, and what to do."""

    def __init__(self, code: str, text: str, hint: str | None = None, column: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint
        self.column = column


class _Message:
    """A message whose fields can be read. Raises _MessageError."""

    def __init__(self, raw: RawMessage) -> None:
        self.number, self.line = raw.number, raw.line
        self.left_out: set[str] = {_OTHER_SEGMENTS} if raw.others else set()  # texts of notices
        if raw.kept > MOST_KEPT:
            raise self._error("hl7-form", f"its segments MSH, EVN, PID and MRG have more than {MOST_KEPT:,} bytes.")
        if raw.broken is not None:
            raise self._error("hl7-form", f"line {raw.broken:,} is not a segment.", _SEGMENTS)
        header = raw.segments[0][1]
        separator = header[3:4]
        cells = header.split(separator) if separator else []
        if not _are_separators(separator, cells[1] if len(cells) > 1 else b""):
            raise self._error("hl7-form", "MSH-1 and MSH-2 are not five different marks.", "HL7 writes them as |^~\\&")
        self._codec = self._codec_of(cells[17] if len(cells) > 17 else b"")
        self._parse(raw)
        self.control_id = self._header(10)[:64] or None

    def _parse(self, raw: RawMessage) -> None:
        import hl7

        try:
            texts = [line.decode(self._codec) for _, line in raw.segments]
        except UnicodeDecodeError:
            raise self._error(
                "hl7-charset",
                "the message has bytes that its character set in MSH-18 does not have.",
                f"Fill MSH-18 with the character set of the sender: {_SETS}. Empty is ASCII.",
            ) from None
        if any("\0" in text for text in texts):
            raise self._error("hl7-charset", "the message has a NUL byte.", "Export it in UTF-8.")
        try:
            parsed = hl7.parse("\r".join(texts) + "\r")
        except Exception:  # noqa: BLE001 - python-hl7 raises several, and their texts quote the message
            raise self._error("hl7-form", "the message cannot be split into fields.", _SEGMENTS) from None
        self._escape = re.compile(rf"{re.escape(parsed.esc)}(?:([^{re.escape(parsed.esc)}]*){re.escape(parsed.esc)})?")
        self._marks = parsed.separators
        self._mark = parsed.esc
        self._segments = [(line, segment) for (line, _), segment in zip(raw.segments, parsed, strict=True)]

    def _codec_of(self, cell: bytes) -> str:
        name = cell.decode("ascii", "replace").strip().upper()
        # often written ISO-8859-1, or ISO-IR 100 as in DICOM
        name = re.sub(r"^ISO[ _-]?IR[ _-]?", "ISO IR", re.sub(r"^(?:ISO[ _-]?)?8859[-/_]", "8859/", name))
        if name not in _CODECS:
            raise self._error(
                "hl7-charset", "MSH-18 names a character set that is not supported.", f"Supported are {_SETS}."
            )
        return _CODECS[name]

    def _error(self, code: str, text: str, hint: str | None = None, column: str | None = None) -> _MessageError:
        return _MessageError(code, f"message in line {self.line:,}: {text}", hint, column)

    # -- fields

    def event(self) -> str:
        """Return the trigger event."""
        kind, event = self._header(9, 1), self._header(9, 2)
        if not event and kind == "ADT":
            event = next((_tree(segment, 1)[0][0][0] for _, segment in self._segments if _is(segment, "EVN")), "")
        if kind != "ADT" or event not in {*_UPDATES, *_MERGES}:
            known = re.fullmatch("A[0-9]{2}", event) and kind == "ADT"
            text = f"ADT^{event} {_ELSEWHERE.get(event, 'is not a change of a patient')}." if known else _NOT_ADT
            raise self._error("hl7-event", text)
        if self._header(11, 1) in {"T", "D"}:
            self.left_out.add(_NOT_PRODUCTION)
        return event

    def time(self) -> str:
        """Return the time of the message (MSH-7) as digits that can be compared; empty if it has none."""
        found = re.match("[0-9]{8,14}", self._header(7))
        return found[0].ljust(14, "0") if found else ""

    def read(self, segment: str, number: int, column: str, reading: Any) -> Any:  # noqa: ANN401 - what it returns
        """Return what a function makes of a field: its repetitions, and a function that resolves escapes."""
        line, found = self._only(segment)
        try:
            return reading(_tree(found, number), self._clean)
        except FieldError as error:
            text = f"{segment}-{number} in line {line:,} {error}"
            raise _MessageError(error.code, text, error.hint, column) from None

    def demographics(self) -> dict[str, str]:
        """Return the attributes that PID sets, with their values; empty text empties an attribute."""
        readings = {"PatientName": (5, self._name), "PatientBirthDate": (7, self._date), "PatientSex": (8, self._sex)}
        _, segment = self._only("PID")
        found = {
            attribute: self.read("PID", number, attribute, reading)
            for attribute, (number, reading) in readings.items()
            if _is_filled(segment, number)
        }
        return {attribute: value for attribute, value in found.items() if value is not None}

    def _name(self, field: list[fields.Repetition], clean: Any) -> str | None:  # noqa: ANN401
        found, others = fields.name(field, clean)
        if others:
            self.left_out.add(_OTHER_NAMES)
        return found

    def _date(self, field: list[fields.Repetition], clean: Any) -> str:  # noqa: ANN401
        if not (text := fields.single(field, clean)):
            return ""
        found, has_time = fields.birth_date(text)
        if has_time:
            self.left_out.add(_TIME_OF_BIRTH)
        return found

    def _sex(self, field: list[fields.Repetition], clean: Any) -> str:  # noqa: ANN401
        text = fields.single(field, clean)
        return fields.sex(text) if text else ""

    def fields_left_out(self) -> set[tuple[str, int]]:
        """Return the filled fields that are not used."""
        return {
            (name, number)
            for name, read in _READ.items()
            for _, segment in self._segments
            if _is(segment, name)
            for number in range(1, len(segment))
            if number not in read and _is_filled(segment, number)
        }

    def _only(self, name: str) -> tuple[int, Any]:
        found = [(line, segment) for line, segment in self._segments if _is(segment, name)]
        if len(found) != 1:
            what = "several segments" if found else "no segment"
            raise self._error("hl7-form", f"it has {what} {name}.", "Write one message for each patient.")
        return found[0]

    def _header(self, number: int, component: int = 1) -> str:
        parts = _tree(self._segments[0][1], number)[0]
        return parts[component - 1][0].strip() if len(parts) >= component else ""

    def _clean(self, text: str) -> str:
        """Resolve the escape sequences of a text. Raises FieldError."""
        return self._escape.sub(self._unescaped, text) if self._mark in text else text

    def _unescaped(self, found: re.Match[str]) -> str:
        sequence = found[1] or ""
        if sequence in _ESCAPES:
            return str(self._marks[_ESCAPES[sequence]])
        if sequence == "E":
            return str(self._mark)
        if re.fullmatch("X(?:[0-9A-Fa-f]{2})+", sequence):
            try:
                return bytes.fromhex(sequence[1:]).decode(self._codec)
            except UnicodeDecodeError:
                pass
        raise FieldError(
            "hl7-value", "has an escape sequence that a value cannot hold.", "Formatting has no place in an attribute."
        )


_SEGMENTS: Final = "A segment begins with its name and the mark of MSH-1, such as PID|, and has no line ends inside."
_NOT_ADT: Final = "it is not an ADT message of an event that changes a patient."


def _check_merge(message: _Message, old: fields.Identifier, new: fields.Identifier) -> None:
    if old.value == new.value:
        raise _MessageError(
            "hl7-identifier",
            f"message in line {message.line:,}: MRG-1 and PID-3 name the same identifier.",
            "Delete the message, if nothing is to change.",
            "patient_id",
        )
    if old.authority and new.authority and not old.is_of(new.authority):
        raise _MessageError(
            "hl7-identifier",
            f"message in line {message.line:,}: MRG-1 and PID-3 are of different assigning authorities.",
            "Set PatientID and IssuerOfPatientID in a tidy list, if that is meant.",
            "patient_id",
        )


def _are_separators(separator: bytes, encoding: bytes) -> bool:
    """Whether MSH-1 and MSH-2 are marks: since 2.7 there may be one more, for truncation."""
    marks = separator + encoding
    return (
        len(marks) in {5, 6}
        and len(set(marks)) == len(marks)
        and all(33 <= mark < 127 and not chr(mark).isalnum() for mark in marks)
    )


def _is(segment: Any, name: str) -> bool:  # noqa: ANN401 - of python-hl7, which has no types
    return str(segment[0]) == name


def _is_filled(segment: Any, number: int) -> bool:  # noqa: ANN401
    return len(segment) > number and bool(str(segment[number]).strip(" "))


def _tree(segment: Any, number: int) -> list[fields.Repetition]:  # noqa: ANN401
    """Return a field as its repetitions. python-hl7 leaves out levels that a field does not use."""
    field = segment[number] if len(segment) > number else [""]
    return [[[part] if isinstance(part, str) else list(part) for part in _parts(repetition)] for repetition in field]


def _parts(repetition: Any) -> Any:  # noqa: ANN401
    return [repetition] if isinstance(repetition, str) else repetition


def _require_library() -> None:
    try:
        import hl7  # noqa: F401
    except ImportError:
        raise UsageError("reading HL7 needs another package.", hint="pip install 'bulkedit[hl7]'") from None
