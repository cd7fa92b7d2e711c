"""What a source line must be before it is let in; each refusal is one sentence with a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from crew_pipeline.discovery.moments import ANY_FORM, AmbiguousError, Times, read_moment
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations.ingest import SourceLine

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_POSITION = 2**63 - 1
_MAX_NAME_CHARS = 512


class RejectedLineError(ValueError):
    """A line of a source is not imported; the message says why."""


class LeftOutError(RejectedLineError):
    """A record of a source is no talk, and passed over: nothing is wrong with it; ``kinds`` says what it is."""

    def __init__(self, kinds: Mapping[str, int]) -> None:
        super().__init__(f"no talk: {', '.join(sorted(kinds))}")
        self.kinds = kinds


class NotYetError(RejectedLineError):
    """The time of a line lies ahead; it may be imported when it has come."""


@dataclass(frozen=True)
class Limits:
    """What bounds a line.

    Attributes:
        zone: time zone in which days begin.
        first_day: lines of earlier days have no partition.
        now: a line of a later day has no partition yet, and a wrong clock.
        max_text_chars: longest text.
        times: how the source writes its times.
    """

    zone: ZoneInfo
    first_day: date
    now: datetime
    max_text_chars: int = 100_000
    times: Times = ANY_FORM

    @property
    def earliest(self) -> datetime:
        """The first moment that is let in."""
        return datetime.combine(self.first_day, time.min, self.zone)

    @property
    def latest(self) -> datetime:
        """The end of today."""
        return datetime.combine(self.now.astimezone(self.zone).date() + timedelta(days=1), time.min, self.zone)


def limits_of(settings: Settings, now: datetime) -> Limits:
    """The bounds on a line that the settings ask for."""
    return Limits(settings.zone, settings.first_day, now, settings.max_text_chars)


def parse_moment(value: object, limits: Limits, name: str = "created_at") -> datetime:
    """A moment with a time zone; one without is read in the configured zone.

    Raises:
        RejectedLineError: it is no date and time that can be meant in one way, or lies outside the days that have
            partitions.
    """
    if isinstance(value, str):
        moment = _written(value, limits.times, name)
    elif isinstance(value, datetime):
        moment = value
    else:
        raise RejectedLineError(f"{name} must be a date and time like 2025-01-15T09:30:00Z, not {_kind(value)}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=limits.zone)
    if moment < limits.earliest:
        raise RejectedLineError(
            f"{name} {_short(moment.isoformat())} is before the first day, {limits.first_day}; "
            "set CREW_FIRST_DAY to an earlier one if it is right"
        )
    if moment >= limits.latest:
        raise NotYetError(
            f"{name} {_short(moment.isoformat())} lies in the future; correct the clock or the date, or import it then"
        )
    return moment


def _written(value: str, times: Times, name: str) -> datetime:
    try:
        return read_moment(value, times)
    except AmbiguousError:
        raise RejectedLineError(
            f"{name} {_short(value)} can be meant in two ways; say --day-first or --month-first, or --time-format"
        ) from None
    except (ValueError, KeyError, OverflowError):
        raise RejectedLineError(
            f"{name} {_short(value)} is not of the format {times.format}"
            if times.format
            else f"{name} {_short(value)} is no date and time; write it like 2025-01-15T09:30:00Z"
        ) from None


def parse_text(value: object, name: str, limit: int, variable: str | None = None) -> str:
    """A text that can be stored.

    Raises:
        RejectedLineError: it is no text, is too long, or holds characters that no database can keep.
    """
    if not isinstance(value, str):
        raise RejectedLineError(f"{name} must be a text, not {_kind(value)}")
    if len(value) > limit:
        raise RejectedLineError(
            f"{name} is {len(value):,} characters long; the limit is {limit:,}"
            + (f" ({variable} raises it)" if variable else "")
        )
    if "\x00" in value:
        raise RejectedLineError(f"{name} holds a NUL character; remove it from the source")
    if _SURROGATE.search(value):
        raise RejectedLineError(f"{name} holds half of a surrogate pair; export it again as valid UTF-8")
    return value


def parse_record(record: object, source_line: int, limits: Limits) -> SourceLine:
    """A line from an object with ``session_id``, ``line``, ``created_at``, ``speaker`` and ``text``.

    Raises:
        RejectedLineError: a field is missing or cannot be used.
    """
    if not isinstance(record, Mapping):
        raise RejectedLineError(f"expected a JSON object, found {_kind(record)}")
    missing = [name for name in ("session_id", "line", "created_at", "speaker", "text") if record.get(name) is None]
    if missing:
        raise RejectedLineError(f"{' and '.join(missing)} missing; every line needs it")
    session_id = parse_text(record["session_id"], "session_id", _MAX_NAME_CHARS)
    if not session_id.strip():
        raise RejectedLineError("session_id is empty; every line needs the name of its conversation")
    position = record["line"]
    if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position <= _MAX_POSITION:
        raise RejectedLineError(f"line must be a whole number from 0, not {_short(position)}")
    return SourceLine(
        session_id=session_id,
        position=position,
        spoken_at=parse_moment(record["created_at"], limits),
        speaker=parse_text(record["speaker"], "speaker", _MAX_NAME_CHARS),
        text=parse_text(record["text"], "text", limits.max_text_chars, "CREW_MAX_TEXT_CHARS"),
        source_line=source_line,
        time_inferred=record.get("time_inferred") is True,
    )


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
