"""Points: the sentences that a client's summaries rest on. Their words are read from the lines, which they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days.queue import Work

Grid = NDArray[np.int8]

KEY, DECISION, TASK, QUESTION = "key", "decision", "task", "question"
KINDS = (KEY, DECISION, TASK, QUESTION)


class PointRow(NamedTuple):
    """A point as it is kept.

    Attributes:
        start, end: where its sentence stands in the line (code points).
        weight: how much of its conversation it stands for.
        certainty: that it is of its kind.
        vector: int8 (dimension,).
    """

    conversation_id: str
    position: int
    start: int
    end: int
    kind: str
    weight: int
    certainty: float
    times: int
    vector: Grid


class Point(NamedTuple):
    """A point as it is read: with its sentence and where that stands."""

    day: date
    conversation_id: str
    position: int
    start: int
    end: int
    kind: str
    weight: int
    certainty: float
    times: int
    speaker: str
    spoken_at: datetime
    text: str
    session_id: str
    title: str | None
    crew: str
    vector: Grid


class Within(NamedTuple):
    """Which points are meant; what is None does not count.

    Attributes:
        first, last: days.
        theme: those that stand in its segments.
    """

    first: date | None = None
    last: date | None = None
    conversation_id: str | None = None
    theme: int | None = None


class Due(NamedTuple):
    """A document whose points are to be chosen: its version, and whose vectors its texts have."""

    version: str
    model: str


_DUE = """
FROM day_documents AS document LEFT JOIN point_days AS known USING (client, day)
WHERE is_current AND starts_with(embedded_by, :model)
  AND (known.version, known.made_by) IS DISTINCT FROM (document.version, embedded_by || :how)
"""


def due(connection: Connection, client_day: ClientDay, model: str, how: str) -> Due | None:
    """The document of a client's day, where it has vectors and its points are not known.

    Args:
        model: with whose name the ids of vectors begin.
        how: in which way points are chosen now.
    """
    row = connection.execute(
        text(f"SELECT document.version, embedded_by {_DUE} AND client = :client AND day = :day"),
        {**client_day._asdict(), "model": model, "how": how},
    ).one_or_none()
    return Due(*row) if row is not None else None


def is_gone(connection: Connection, client_day: ClientDay) -> bool:
    """Whether there are points of a day that has no document any more."""
    return bool(
        connection.scalar(text(f"SELECT EXISTS ({_GONE} AND client = :client AND day = :day)"), client_day._asdict())
    )


_GONE = """
SELECT client, day, 0, 0, 0 FROM point_days AS known WHERE NOT EXISTS (
    SELECT FROM day_documents AS document WHERE document.client = known.client AND document.day = known.day
      AND is_current)
"""


def days_without(connection: Connection, model: str, how: str, most: int) -> list[Work]:
    """Days whose points are not those of their document, of any client, newest first."""
    rows = connection.execute(
        text(
            f"SELECT * FROM (SELECT client, day, 0, conversation_count, line_count {_DUE} UNION ALL {_GONE}) AS found "  # noqa: S608
            "ORDER BY day DESC, client LIMIT :most"
        ),
        {"model": model, "how": how, "most": most},
    )
    return [Work(*row) for row in rows]


def replace_day(
    connection: Connection, client_day: ClientDay, version: str | None, made_by: str, rows: Sequence[PointRow]
) -> None:
    """Put a day's points in the place of those that are there.

    Args:
        version: of the document they are from; None where there is none any more.
    """
    values: dict[str, Any] = client_day._asdict()
    connection.execute(text("DELETE FROM points WHERE client = :client AND day = :day"), values)
    if version is None:
        connection.execute(text("DELETE FROM point_days WHERE client = :client AND day = :day"), values)
        return
    connection.execute(
        text(
            "INSERT INTO point_days (client, day, version, made_by) VALUES (:client, :day, :version, :made_by) "
            "ON CONFLICT (client, day) DO UPDATE SET version = excluded.version, made_by = excluded.made_by"
        ),
        {**values, "version": version, "made_by": made_by},
    )
    if rows:
        columns = dict(zip(PointRow._fields, map(list, zip(*rows, strict=True)), strict=True))
        connection.execute(text(_INSERT), {**values, **columns, "vector": [row.vector.tobytes() for row in rows]})


# A conversation that has come from another day takes the place of what stands there still.
_INSERT = """
INSERT INTO points (client, day, conversation_id, position, first_character, last_character, kind, weight, certainty,
                    times, vector)
SELECT :client, :day, * FROM unnest(
    CAST(:conversation_id AS text[]), CAST(:position AS bigint[]), CAST(:start AS integer[]), CAST(:end AS integer[]),
    CAST(:kind AS text[]), CAST(:weight AS integer[]), CAST(:certainty AS double precision[]),
    CAST(:times AS integer[]), CAST(:vector AS bytea[]))
ON CONFLICT (client, conversation_id, position, first_character) DO UPDATE SET
    day = excluded.day, last_character = excluded.last_character, kind = excluded.kind, weight = excluded.weight,
    certainty = excluded.certainty, times = excluded.times, vector = excluded.vector
"""

_COLUMNS = """day, conversation_id, position, first_character, last_character, kind, weight, certainty, times, speaker,
spoken_at, said, session_id, title, code, vector"""
_READ = """
SELECT point.day, point.conversation_id, point.position, first_character, last_character, kind, weight, certainty,
       times, speaker, spoken_at, substr(text, first_character + 1, last_character - first_character) AS said,
       session_id, title, code, vector
FROM points AS point JOIN lines USING (conversation_id, position)
JOIN data_items AS item ON item.id = point.conversation_id AND item.client = point.client
JOIN crews ON crews.id = crew_id
WHERE point.client = :client
  AND (CAST(:first AS date) IS NULL OR point.day >= :first) AND (CAST(:last AS date) IS NULL OR point.day <= :last)
  AND (CAST(:conversation AS text) IS NULL OR point.conversation_id = :conversation)
  AND (CAST(:theme AS bigint) IS NULL OR EXISTS (
      SELECT FROM theme_segments AS said JOIN topics ON topics.client = said.client AND topics.id = topic_id
      WHERE said.client = point.client AND said.conversation_id = point.conversation_id AND theme_id = :theme
        AND point.position BETWEEN said.first_position AND said.last_position))
"""


def read(connection: Connection, client: str, within: Within, most: int) -> list[Point]:
    """The points that are meant, in the order in which they were said; of each kind the ``most`` most certain and
    weightiest."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY certainty DESC, "  # noqa: S608 - constants
            f"weight DESC, spoken_at, conversation_id, position, first_character) AS place FROM ({_READ}) AS meant) "
            "AS ranked WHERE place <= :most ORDER BY spoken_at, conversation_id, position, first_character"
        ),
        _values(client, within) | {"most": most},
    ).all()
    return [_point(row) for row in rows]


def _point(row: Any) -> Point:
    return Point(*row)._replace(vector=np.frombuffer(row[-1], np.int8))


def _values(client: str, within: Within) -> dict[str, Any]:
    return {
        "client": client,
        "first": within.first,
        "last": within.last,
        "conversation": within.conversation_id,
        "theme": within.theme,
    }


class Extent(NamedTuple):
    """What a summary is of: days that are ready and those that are not in it yet, conversations and lines."""

    days: int
    missing: int
    conversations: int
    lines: int


def extent(connection: Connection, client: str, within: Within) -> Extent:
    """How much was said in the days or the conversation that are meant."""
    row = connection.execute(
        text(
            "SELECT count(DISTINCT days_date), "
            "count(DISTINCT days_date) FILTER (WHERE known.day IS NULL), count(*), coalesce(sum(line_count), 0) "
            "FROM data_items AS item LEFT JOIN point_days AS known "
            "ON known.client = item.client AND known.day = days_date "
            "WHERE item.client = :client AND line_count > 0 "
            "AND (CAST(:first AS date) IS NULL OR days_date >= :first) "
            "AND (CAST(:last AS date) IS NULL OR days_date <= :last) "
            "AND (CAST(:conversation AS text) IS NULL OR item.id = :conversation)"
        ),
        _values(client, within),
    ).one()
    return Extent(int(row[0]), int(row[1]), int(row[2]), int(row[3]))


def speakers(connection: Connection, conversations: Sequence[str]) -> dict[str, list[str]]:
    """Who speaks in each of some conversations."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, array_agg(DISTINCT speaker ORDER BY speaker) FROM lines "
            "WHERE conversation_id = ANY(:conversations) GROUP BY conversation_id"
        ),
        {"conversations": list(conversations)},
    )
    return {row[0]: row[1] for row in rows}


class Earlier(NamedTuple):
    """Points without their words, newest first.

    Attributes:
        keys: conversation, position and first character of each.
        kinds: of each.
        vectors: int8 (n, dimension).
    """

    keys: list[tuple[str, int, int]]
    kinds: list[str]
    vectors: Grid


class Before(NamedTuple):
    """Which points count as said before; what is None does not count.

    Attributes:
        moment, day: they were said before it.
        session: they are not of it: its crew, where that is known, and id.
    """

    moment: datetime | None = None
    day: date | None = None
    session: tuple[str | None, str] | None = None


def earlier(connection: Connection, client: str, before: Before, most: int) -> Earlier:
    """The newest points that count as said before."""
    crew, session_id = before.session or (None, None)
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, first_character, kind, vector FROM points "
            "JOIN data_items AS item ON item.id = conversation_id AND item.client = points.client "
            "JOIN crews ON crews.id = crew_id JOIN lines USING (conversation_id, position) "
            "WHERE points.client = :client AND (CAST(:moment AS timestamptz) IS NULL OR spoken_at < :moment) "
            "AND (CAST(:day AS date) IS NULL OR day < :day) "
            "AND NOT (CAST(:session AS text) IS NOT NULL AND session_id = :session "
            "AND (CAST(:crew AS text) IS NULL OR code = :crew)) "
            "ORDER BY day DESC, conversation_id, position, first_character LIMIT :most"
        ),
        {
            "client": client,
            "moment": before.moment,
            "day": before.day,
            "crew": crew,
            "session": session_id,
            "most": most,
        },
    ).all()
    vectors = np.frombuffer(b"".join(row[4] for row in rows), np.int8).reshape(len(rows), -1) if rows else _NO_VECTORS
    return Earlier([(row[0], row[1], row[2]) for row in rows], [row[3] for row in rows], vectors)


def begins(connection: Connection, client: str, conversation_id: str) -> Before:
    """What counts as said before a conversation: before it began, in other sessions."""
    row = connection.execute(
        text(
            "SELECT started_at, code, session_id FROM data_items AS item JOIN crews ON crews.id = crew_id "
            "WHERE item.client = :client AND item.id = :id"
        ),
        {"client": client, "id": conversation_id},
    ).one_or_none()
    return Before() if row is None else Before(row.started_at, None, (row.code, row.session_id))


_NO_VECTORS: Grid = np.zeros((0, 0), np.int8)


def at(connection: Connection, client: str, keys: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int, int], Point]:
    """Some points, by conversation, position and first character, as far as they are there."""
    if not keys:
        return {}
    conversations, positions, starts = map(list, zip(*keys, strict=True))
    rows = connection.execute(
        text(
            f"{_READ} AND (point.conversation_id, point.position, first_character) IN "  # noqa: S608 - constants
            "(SELECT * FROM unnest(CAST(:conversations AS text[]), CAST(:positions AS bigint[]), "
            "CAST(:starts AS integer[])))"
        ),
        _values(client, Within()) | {"conversations": conversations, "positions": positions, "starts": starts},
    )
    found = [_point(row) for row in rows]
    return {(point.conversation_id, point.position, point.start): point for point in found}
