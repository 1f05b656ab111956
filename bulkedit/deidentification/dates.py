"""Shifts dates and times by an offset of the patient: intervals stay, calendar dates do not.

The VRs DA, TM, DT and AS are defined in PS3.5 section 6.2. Each function returns None if the text is not valid for its
VR, so that the caller can replace it. Parts that the text omits (a day, seconds) are omitted in the result too.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

_DATE: Final = re.compile(r"([0-9]{4})(?:(\.?)([0-9]{2})(?:\2([0-9]{2}))?)?")
_TIME: Final = re.compile(r"([0-9]{2})(?:(:?)([0-9]{2})(?:\2([0-9]{2})(\.[0-9]{1,6})?)?)?")
_DATETIME: Final = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(\.[0-9]{1,6})?)?)?)?)?)?([+-][0-9]{4})?"
)
_AGE: Final = re.compile(r"([0-9]{3})([DWMY])")
_OLDEST: Final = {"D": 32_872, "W": 4_696, "M": 1_079, "Y": 89}  # below 90 years
CAPPED_AGE: Final = "090Y"
_CACHED: Final = 65_536
_PADDING: Final = " \0"


class Shift(NamedTuple):
    """An offset in whole days, and in seconds of a day (0: times do not change)."""

    days: int
    seconds: int = 0

    @property
    def span(self) -> timedelta:
        """Days and seconds as one interval."""
        return timedelta(self.days, self.seconds)


def date(text: str, shift: Shift) -> str | None:
    """Shift a DA without a matching TM by whole days."""
    read = _day(text)
    if read is None:
        return None
    number, length = read
    moved = _written(number + shift.days)
    return None if moved is None else moved[:length]


@functools.lru_cache(maxsize=_CACHED)
def _day(text: str) -> tuple[int, int] | None:
    """The ordinal of the first day of a DA, and its number of digits. Cached, as many patients share dates."""
    parts = _DATE.fullmatch(text.rstrip(_PADDING))
    first = None if parts is None else _moved(parts[1], parts[3], parts[4], timedelta())
    if parts is None or first is None:
        return None
    return first.toordinal(), 8 if parts[4] else 6 if parts[3] else 4


@functools.lru_cache(maxsize=_CACHED)
def _written(number: int) -> str | None:
    """The DA of an ordinal; None if it is outside the calendar."""
    try:
        day = datetime.fromordinal(number)
    except (ValueError, OverflowError):
        return None
    return f"{day.year:04}{day.month:02}{day.day:02}"


def time(text: str, shift: Shift) -> str | None:
    """Shift a TM without a matching DA within the day."""
    if not shift.seconds:
        return text if _is_time(text) else None
    return _moved_time(text, shift.seconds)


@functools.lru_cache(maxsize=_CACHED)
def _is_time(text: str) -> bool:
    parts = _TIME.fullmatch(text.rstrip(_PADDING))
    return parts is not None and _clock(parts) is not None


@functools.lru_cache(maxsize=_CACHED)
def _moved_time(text: str, seconds: int) -> str | None:
    parts = _TIME.fullmatch(text.rstrip(_PADDING))
    begin = None if parts is None else _clock(parts)
    if parts is None or begin is None:
        return None
    return _time_text((datetime(2000, 1, 1) + begin + timedelta(seconds=seconds)), parts)  # noqa: DTZ001


@functools.lru_cache(maxsize=_CACHED)
def pair(date_text: str, time_text: str, shift: Shift) -> tuple[str | None, str | None]:
    """Shift a DA and its TM as one moment, past midnight if necessary.

    If only one of them is valid, it is shifted alone.
    """
    day = _DATE.fullmatch(date_text.rstrip(_PADDING))
    clock = _TIME.fullmatch(time_text.rstrip(_PADDING))
    offset = None if clock is None else _clock(clock)
    if not shift.seconds or day is None or clock is None or offset is None or day[4] is None:
        return date(date_text, shift), time(time_text, shift)
    moved = _moved(day[1], day[3], day[4], offset + shift.span)
    if moved is None:
        return None, None
    return _date_text(moved, day), _time_text(moved, clock)


@functools.lru_cache(maxsize=_CACHED)
def datetime_(text: str, shift: Shift) -> str | None:
    """Shift a DT; its fraction and UTC offset are kept. A DT without an hour is shifted by whole days."""
    parts = _DATETIME.fullmatch(text.rstrip(_PADDING))
    if parts is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = parts.groups()
    if zone is not None and not (int(zone[1:3]) <= 14 and int(zone[3:]) < 60):
        return None
    try:
        clock = timedelta(hours=_below(hour, 24), minutes=_below(minute, 60), seconds=_below(second, 61))
    except ValueError:
        return None
    moved = _moved(year, month, day, clock + (shift.span if hour else timedelta(shift.days)))
    if moved is None:
        return None
    shown = [f"{moved.year:04}"]
    for given, number in zip(
        (month, day, hour, minute, second),
        (moved.month, moved.day, moved.hour, moved.minute, moved.second),
        strict=True,
    ):
        if given is not None:
            shown.append(f"{number:02}")
    return "".join(shown) + (fraction or "") + (zone or "")


def age(text: str) -> str | None:
    """Cap an AS: ages above 89 years become 090Y, as the HIPAA safe harbor requires."""
    bare = text.strip(_PADDING)
    parts = _AGE.fullmatch(bare)
    if parts is None:
        return None
    return CAPPED_AGE if int(parts[1]) > _OLDEST[parts[2]] else text


def _moved(year: str, month: str | None, day: str | None, by: timedelta) -> datetime | None:
    """The start of a date, shifted; None if the date is not valid, or the result is outside the calendar."""
    try:
        return datetime(int(year), int(month or 1), int(day or 1)) + by  # noqa: DTZ001 - DICOM's local time
    except (ValueError, OverflowError):
        return None


def _date_text(moved: datetime, parts: re.Match[str]) -> str:
    """A DA with the parts of the original, without the dots of ACR-NEMA."""
    whole = f"{moved.year:04}{moved.month:02}{moved.day:02}"
    return whole if parts[4] else whole[:6] if parts[3] else whole[:4]


def _time_text(moved: datetime, parts: re.Match[str]) -> str:
    whole = f"{moved.hour:02}{moved.minute:02}{moved.second:02}"
    return (whole if parts[4] else whole[:4] if parts[3] else whole[:2]) + (parts[5] or "")


def _clock(parts: re.Match[str]) -> timedelta | None:
    try:
        return timedelta(
            hours=_below(parts[1], 24), minutes=_below(parts[3], 60), seconds=_below(parts[4], 61)
        )  # 60: a leap second
    except ValueError:
        return None


def _below(text: str | None, limit: int) -> int:
    number = int(text or 0)
    if number >= limit:
        raise ValueError
    return number
