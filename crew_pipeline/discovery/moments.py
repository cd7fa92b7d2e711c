"""Moments as people and programs write them. What can be meant in one way is read; what can be meant in two is refused,
with the way to say which."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?(?:\s*(?P<zone>UTC|GMT|Z|[+-]\d{2}(?::?\d{2})?))?"
)
_DATES = (
    r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})",
    r"(?P<one>\d{1,2})(?P<mark>[-/.])(?P<two>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})",
    r"(?:[A-Za-z]{2,9},?\s+)?(?P<day>\d{1,2})\.?[\s-](?P<named>[A-Za-z]{3})[a-z]*\.?,?[\s-](?P<year>\d{4}|\d{2})",
    r"(?:[A-Za-z]{2,9},?\s+)?(?P<named>[A-Za-z]{3})[a-z]*\.?\s(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s(?P<year>\d{4})",
)
_FORMS = [re.compile(rf"{date}(?:(?:,?\s+(?:at\s+)?|T|,){_TIME})?") for date in _DATES]
_MONTHS_A_YEAR, _HALF_A_DAY_H = 12, 12


class Times(NamedTuple):
    """How a source writes its times.

    Attributes:
        format: as of ``datetime.strptime``; None: any form that can be meant in one way.
        day_first: whether 02/03/2025 is the second of March; None: it is refused.
    """

    format: str | None = None
    day_first: bool | None = None


ANY_FORM = Times()


class AmbiguousError(ValueError):
    """A moment can be meant in two ways."""


def read_moment(written: str, times: Times) -> datetime:
    """A moment, without a time zone where none is written.

    Raises:
        AmbiguousError: day and month may stand in either order.
        ValueError: it is none.
    """
    bare = written.strip()
    if times.format is not None:
        return datetime.strptime(bare, times.format)  # noqa: DTZ007 - the caller knows the zone
    try:
        return datetime.fromisoformat(bare)
    except ValueError:
        return _in_other_forms(bare, times)


def _in_other_forms(bare: str, times: Times) -> datetime:
    for form in _FORMS:
        match = form.fullmatch(bare)
        if match:
            found = match.groupdict()
            year, month, day = _date_of(found, times)
            return datetime(year, month, day, *_time_of(found), tzinfo=_zone_of(found["zone"]))
    raise ValueError("no date and time")


def _date_of(found: dict[str, str], times: Times) -> tuple[int, int, int]:
    if "named" in found:
        century = 0 if len(found["year"]) > len("25") else 2000
        return century + int(found["year"]), _MONTHS[found["named"].lower()], int(found["day"])
    if "one" not in found:
        return int(found["year"]), int(found["month"]), int(found["day"])
    one, two, year = int(found["one"]), int(found["two"]), found["year"]
    day_first = times.day_first
    if day_first is None and len(year) > len("25"):
        # With dots the day stands first everywhere; and there is no thirteenth month.
        day_first = True if found["mark"] == "." or one > _MONTHS_A_YEAR else False if two > _MONTHS_A_YEAR else None
    if day_first is None:
        raise AmbiguousError("day and month may stand in either order")
    century = 0 if len(year) > len("25") else 2000
    return century + int(year), *((two, one) if day_first else (one, two))


def _time_of(found: dict[str, str]) -> tuple[int, int, int, int]:
    if found["hour"] is None:
        return 0, 0, 0, 0
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= _HALF_A_DAY_H:
            raise ValueError("no hour of half a day")
        hour = hour % _HALF_A_DAY_H + (_HALF_A_DAY_H if found["half"].lower() == "p" else 0)
    microseconds = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    return hour, int(found["minute"]), int(found["second"] or 0), microseconds


def _zone_of(written: str | None) -> timezone | None:
    if written is None:
        return None
    if written[0] not in "+-":
        return UTC
    digits = written[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if written[0] == "-" else offset)
