"""What a client's day holds: its conversations and their lines, as they came."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay, Conversation, Line

_POSITION = re.compile(r"[0-9]{1,9}")


class Discovered(NamedTuple):
    """A line together with its conversation, as one statement sees them."""

    conversation_id: str
    position: int
    speaker: str
    spoken_at: datetime
    text: str
    session_id: str
    crew: str
    title: str | None
    started_at: datetime
    ended_at: datetime
    times_inferred: bool
    content_hash: bytes


def discovered_of(connection: Connection, client_day: ClientDay) -> list[Discovered]:
    """The lines of a client's day with their conversations, read by one statement, so that all fit together."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, speaker, spoken_at, text, session_id, code, title, started_at, "
            "ended_at, times_inferred, content_hash FROM lines JOIN data_items AS item ON item.id = conversation_id "
            "JOIN crews ON crews.id = crew_id "
            "WHERE item.client = :client AND days_date = :day ORDER BY conversation_id, position"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Discovered(*row) for row in rows]


def conversations_of(connection: Connection, client_day: ClientDay) -> list[Conversation]:
    """The conversations of a client's day."""
    rows = connection.execute(
        text(
            "SELECT item.id, session_id, code, title, started_at, ended_at, times_inferred FROM data_items AS item "
            "JOIN crews ON crews.id = crew_id WHERE item.client = :client AND days_date = :day "
            "ORDER BY started_at, item.id"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Conversation(*row) for row in rows]


def lines_of(connection: Connection, client_day: ClientDay) -> list[Line]:
    """The lines of a client's day, conversation by conversation in the order of their source."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, speaker, spoken_at, text FROM lines "
            "JOIN data_items AS item ON item.id = conversation_id "
            "WHERE client = :client AND days_date = :day ORDER BY conversation_id, position"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Line(*row) for row in rows]


def version_of(connection: Connection, client_day: ClientDay) -> str:
    """What changes whenever a day's conversations or lines do: 32 hexadecimal digits."""
    version: str = connection.execute(
        text(
            "SELECT md5(coalesce(string_agg(ROW(item.id, session_id, code, title, started_at, ended_at, "
            "times_inferred, content_hash)::text, '' ORDER BY item.id), '')) FROM data_items AS item "
            "JOIN crews ON crews.id = crew_id WHERE item.client = :client AND days_date = :day"
        ),
        {"client": client_day.client, "day": client_day.day},
    ).scalar_one()
    return version


def day_of(connection: Connection, client: str, conversation_id: str, position: str) -> date | None:
    """The day of a client's line, given its conversation and its position in decimal digits."""
    if not _POSITION.fullmatch(position):
        return None
    day: date | None = connection.scalar(
        text(
            "SELECT days_date FROM lines JOIN data_items AS item ON item.id = conversation_id "
            "WHERE item.client = :client AND item.id = :conversation_id AND position = :position"
        ),
        {"client": client, "conversation_id": conversation_id, "position": int(position)},
    )
    return day
