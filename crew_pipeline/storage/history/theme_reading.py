"""A client's themes as they are read: how much there is of each, where, and when."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

_OF = "theme_segments AS said JOIN topics ON topics.client = said.client AND topics.id = said.topic_id"
LOOSE = 0.4
"""Cosine with its topic's centre below which a segment belongs to it loosely."""


class ThemeRow(NamedTuple):
    """A theme, what there is of it, and the line that stands for it."""

    id: int
    kind: str
    name: str | None
    words: list[str]
    segments: int
    conversations: int
    days: int
    first_day: date | None
    last_day: date | None
    conversation_id: str | None
    position: int | None
    speaker: str | None
    text: str | None


class PartRow(NamedTuple):
    """A topic of a theme."""

    id: int
    words: list[str]
    is_pinned: bool
    segments: int


class SegmentShown(NamedTuple):
    """Where a theme is spoken of, and its lines: position, speaker and text of each."""

    day: date
    conversation_id: str
    first_position: int
    last_position: int
    topic_id: int
    near: float
    session_id: str
    title: str | None
    crew: str
    lines: list[Any]


def themes(connection: Connection, client: str, theme: int | None = None) -> list[ThemeRow]:
    """The themes that a client's days speak of, and those that a person has made; most conversations first."""
    rows = connection.execute(
        text(f"""
            WITH counted AS (
                SELECT theme_id, count(*) AS segments, count(DISTINCT conversation_id) AS conversations,
                       count(DISTINCT day) AS days, min(day) AS first_day, max(day) AS last_day
                FROM {_OF}
                WHERE said.client = :client AND (CAST(:theme AS bigint) IS NULL OR theme_id = :theme) GROUP BY theme_id
            )
            SELECT themes.id, kind, name, words, coalesce(segments, 0), coalesce(conversations, 0), coalesce(days, 0),
                   first_day, last_day, themes.conversation_id, themes.position, speaker, left(lines.text, 500)
            FROM themes LEFT JOIN counted ON theme_id = themes.id
            LEFT JOIN lines ON lines.conversation_id = themes.conversation_id AND lines.position = themes.position
            WHERE themes.client = :client AND (CAST(:theme AS bigint) IS NULL OR themes.id = :theme)
              AND merged_into IS NULL AND (segments IS NOT NULL OR kind <> 'found')
            ORDER BY conversations DESC NULLS LAST, themes.id
        """),  # noqa: S608 - a constant
        {"client": client, "theme": theme},
    )
    return [ThemeRow(*row) for row in rows]


def parts(connection: Connection, client: str) -> dict[int, list[PartRow]]:
    """The topics of each theme, the largest first."""
    rows = connection.execute(
        text(
            "SELECT theme_id, topics.id, words, is_pinned, count(said.topic_id) AS segments FROM topics "
            "LEFT JOIN theme_segments AS said ON said.client = topics.client AND said.topic_id = topics.id "
            "WHERE topics.client = :client GROUP BY topics.client, topics.id ORDER BY segments DESC, topics.id"
        ),
        {"client": client},
    )
    found: dict[int, list[PartRow]] = {}
    for theme, *row in rows:
        found.setdefault(theme, []).append(PartRow(*row))
    return found


def standing(connection: Connection, client: str, theme: int) -> int | None:
    """The theme of an id: itself, or the one that a person has put it in; None where there was never such a one."""
    found: int | None = connection.scalar(
        text("SELECT coalesce(merged_into, id) FROM themes WHERE client = :client AND id = :theme"),
        {"client": client, "theme": theme},
    )
    return found


def spoken_of(connection: Connection, client: str, first: date, last: date, most: int) -> list[tuple[int, int]]:
    """The themes that most conversations of some days speak of, and how many do; loose ones do not count."""
    rows = connection.execute(
        text(
            f"SELECT theme_id, count(DISTINCT conversation_id) AS conversations FROM {_OF} "  # noqa: S608 - a constant
            "WHERE said.client = :client AND near >= :loose AND day BETWEEN :first AND :last "
            "GROUP BY theme_id ORDER BY conversations DESC, theme_id LIMIT :most"
        ),
        {"client": client, "first": first, "last": last, "loose": LOOSE, "most": most},
    )
    return [(row[0], row[1]) for row in rows]


def timeline(connection: Connection, client: str, theme: int, by: str) -> list[tuple[date, int, int]]:
    """How many conversations speak of a theme, of how many there are: by the first day of each day, week or month in
    which there is any, ascending.

    Args:
        by: ``day``, ``week`` or ``month``.
    """
    rows = connection.execute(
        text(f"""
            SELECT date_trunc(:by, item.days_date)::date AS begins, count(*) FILTER (WHERE about.id IS NOT NULL),
                   count(*)
            FROM data_items AS item LEFT JOIN (
                SELECT DISTINCT conversation_id AS id FROM {_OF} WHERE said.client = :client AND theme_id = :theme
            ) AS about USING (id)
            WHERE item.client = :client AND item.line_count > 0 GROUP BY begins ORDER BY begins
        """),  # noqa: S608 - a constant
        {"client": client, "theme": theme, "by": by},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def talks(connection: Connection, client: str, zone: str) -> list[tuple[str, date, int]]:
    """All conversations: id, day, and the hour in which each began in the client's time zone."""
    rows = connection.execute(
        text(
            "SELECT id, days_date, extract(hour FROM started_at AT TIME ZONE :zone)::integer FROM data_items "
            "WHERE client = :client AND line_count > 0 ORDER BY id"
        ),
        {"client": client, "zone": zone},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def about(connection: Connection, client: str) -> dict[int, list[str]]:
    """The conversations that speak of each theme; where one belongs to it loosely only, it does not count."""
    rows = connection.execute(
        text(
            f"SELECT theme_id, array_agg(DISTINCT conversation_id) FROM {_OF} "  # noqa: S608 - a constant
            "WHERE said.client = :client AND near >= :loose GROUP BY theme_id ORDER BY theme_id"
        ),
        {"client": client, "loose": LOOSE},
    )
    return {row[0]: row[1] for row in rows}


def hours(connection: Connection, client: str, theme: int, zone: str) -> list[tuple[int, int, int]]:
    """How many conversations about a theme began in each weekday and hour: (0 is Monday, hour, conversations)."""
    rows = connection.execute(
        text(f"""
            SELECT extract(isodow FROM days_date)::integer - 1,
                   extract(hour FROM started_at AT TIME ZONE :zone)::integer, count(*)
            FROM data_items WHERE client = :client AND id IN (
                SELECT conversation_id FROM {_OF} WHERE said.client = :client AND theme_id = :theme)
            GROUP BY 1, 2 ORDER BY 1, 2
        """),  # noqa: S608 - a constant
        {"client": client, "theme": theme, "zone": zone},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def segments(
    connection: Connection, client: str, theme: int, before: tuple[date, str, int] | None, most: int
) -> list[SegmentShown]:
    """Where a theme is spoken of, newest day first.

    Args:
        before: day, conversation and first position of the last one that is known.
    """
    day, conversation, position = before or (None, None, None)
    rows = connection.execute(
        text(f"""
            SELECT said.day, said.conversation_id, said.first_position, said.last_position, topic_id, near, session_id,
                   title, code, (
                    SELECT coalesce(
                        jsonb_agg(jsonb_build_array(position, speaker, left(text, 2000)) ORDER BY position), '[]')
                    FROM lines WHERE conversation_id = said.conversation_id
                      AND position BETWEEN said.first_position AND said.last_position)
            FROM {_OF} JOIN data_items AS item ON item.id = said.conversation_id JOIN crews ON crews.id = crew_id
            WHERE said.client = :client AND theme_id = :theme
              AND (CAST(:day AS date) IS NULL OR (said.day, said.conversation_id, said.first_position)
                   < (CAST(:day AS date), :conversation, CAST(:position AS bigint)))
            ORDER BY said.day DESC, said.conversation_id DESC, said.first_position DESC LIMIT :most
        """),  # noqa: S608 - a constant
        {
            "client": client,
            "theme": theme,
            "day": day,
            "conversation": conversation,
            "position": position,
            "most": most,
        },
    )
    return [SegmentShown(*row) for row in rows]


def patterns(connection: Connection, client: str) -> dict[str, Any]:
    """What was noted of when themes are spoken of (``patterns``), and which together (``together``)."""
    found: dict[str, Any] | None = connection.scalar(
        text("SELECT patterns FROM theme_states WHERE client = :client"), {"client": client}
    )
    return found or {}
