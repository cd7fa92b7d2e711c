"""Lines that a source pushes itself, instead of being read: taken in at once, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from crew_pipeline.discovery.records import Limits, RejectedLineError, limits_of, parse_record, parse_text
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.conversations.ingest import (
    CrewKey,
    IngestReport,
    SourceLine,
    SourceTraits,
    behind_the_last,
    ingest,
    one_at_a_time,
)
from crew_pipeline.storage.conversations.parts import calendar_of
from crew_pipeline.storage.sources import crews

MOST_LINES = 5_000
"""That one call may bring."""
_MOST_TOLD = 20
_NAME_CHARS = 512
_FIELDS = {"crew", "session_id", "title", "lines"}
_LINE_FIELDS = {"line", "speaker", "text", "created_at"}


class PushError(ValueError):
    """What was pushed cannot be taken in; nothing of it was.

    Attributes:
        errors: sentences about single fields and lines.
    """

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = list(errors)


class ReadElsewhereError(ValueError):
    """The crew's conversations are read from a history table."""


class Push(NamedTuple):
    """What is pushed: lines of a session.

    Attributes:
        lines: as they came, each an object.
        is_numbered: whether every line has the source's own number; if none has, they go on after the last one.
    """

    crew: str
    session_id: str
    title: str | None
    lines: list[Mapping[str, Any]]
    is_numbered: bool


def read(body: bytes) -> Push:
    """What a body holds.

    Raises:
        PushError: it is no JSON, or a field is missing or wrong.
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PushError([f"the body is no JSON in UTF-8 ({error})"]) from None
    if not isinstance(told, dict):
        raise PushError(["the body must be an object with crew, session_id and lines"])
    errors = [
        f"{name[:60]!r} is no field; there are {', '.join(sorted(_FIELDS))}" for name in sorted({*told} - _FIELDS)
    ]
    names = {name: _name(told, name, errors) for name in ("crew", "session_id")}
    title = told.get("title")
    if title is not None:
        title = _text(title, "title", errors)
    lines = told.get("lines")
    if not isinstance(lines, list) or not lines or len(lines) > MOST_LINES:
        errors.append(f"lines must be a list of 1 to {MOST_LINES:,} objects")
        lines = []
    numbered = [isinstance(line, dict) and line.get("line") is not None for line in lines]
    if any(numbered) and not all(numbered):
        errors.append("either every line has a number (line) or none")
    if errors:
        raise PushError(errors[:_MOST_TOLD])
    return Push(names["crew"], names["session_id"], title, lines, all(numbered))


def take_in(connection: Connection, settings: Settings, client: str, push: Push, now: datetime) -> IngestReport:
    """Write what is pushed, in the caller's transaction.

    A line that is there already under its number is changed where it says something else, as in any import; what it
    said before is kept aside.

    Raises:
        PushError: a line cannot be used.
        ReadElsewhereError: the crew's conversations are read from a history table.
    """
    if crews.history_sources(connection, client, push.crew):
        raise ReadElsewhereError(
            f"The conversations of {push.crew} are read from a history table; push to a crew of another name."
        )
    crew = CrewKey(client, push.crew, crews.ensure_crew(connection, client, push.crew))
    own = clients.settings_of(connection, settings, client, hold=True)
    one_at_a_time(connection, crew)
    first = 0 if push.is_numbered else behind_the_last(connection, crew, push.session_id)
    return ingest(
        connection,
        crew=crew,
        lines=_lines(push, first, limits_of(own, now)),
        calendar=calendar_of(connection, settings, client, now),
        source=SourceTraits(titles={push.session_id: push.title} if push.title else {}),
    )


def _lines(push: Push, first: int, limits: Limits) -> list[SourceLine]:
    lines, errors = [], []
    for number, told in enumerate(push.lines):
        try:
            lines.append(_line(push.session_id, told, first + number, number, limits))
        except RejectedLineError as error:
            errors.append(f"lines[{number}]: {error}")
    if errors:
        raise PushError(errors[:_MOST_TOLD])
    return lines


def _line(session_id: str, told: object, position: int, number: int, limits: Limits) -> SourceLine:
    if not isinstance(told, Mapping):
        raise RejectedLineError("every line must be an object with speaker and text")
    if unknown := sorted({*told} - _LINE_FIELDS):
        raise RejectedLineError(f"{str(unknown[0])[:60]!r} is no field; there are {', '.join(sorted(_LINE_FIELDS))}")
    record = {
        "session_id": session_id,
        "line": position,
        **{name: told[name] for name in told if told[name] is not None},
    }
    if "created_at" not in record:
        # It was said about now; sent again, it keeps the time that it came first.
        record |= {"created_at": limits.now, "time_inferred": True}
    return parse_record(record, number, limits)


def _name(told: Mapping[str, object], name: str, errors: list[str]) -> str:
    value = _text(told.get(name), name, errors)
    if not value.strip() or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        errors.append(f"{name} must be a name of 1 to {_NAME_CHARS} characters, none of them a control character")
    return value


def _text(value: object, name: str, errors: list[str]) -> str:
    try:
        return parse_text(value, name, _NAME_CHARS)
    except RejectedLineError as error:
        errors.append(str(error))
        return "-"
