"""Conversations that never end, in parts: what was said on a day stands in that day.

A session whose talk rests and goes on is a row of stretches; those that begin on the same day are one *part* of it, a
conversation of its own in the store. A talk across midnight is one stretch, so it stays whole. The first part has the
id that the session alone would have; the id of a later one follows from that and its day, so ids are the same for any
order of arrival. Where the first part was forgotten on request, nothing bears its id any more.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients, tombstones


class Calendar(NamedTuple):
    """How moments become days.

    Attributes:
        zone: IANA time zone in which days begin.
        rest: how long nothing is said until what follows is a stretch of its own.
        today: for the priority of what arrives.
    """

    zone: str
    rest: timedelta
    today: date


def calendar_of(connection: Connection, settings: Settings, client: str, now: datetime) -> Calendar:
    """The calendar of a client, whose time zone stays as it is until the transaction ends."""
    own = clients.settings_of(connection, settings, client, hold=True)
    return Calendar(own.timezone, timedelta(hours=own.rest_h), now.astimezone(own.zone).date())


FIRST_ID = "substr(encode(sha256(convert_to(concat_ws(E'\\x1f', client, code, session_id), 'UTF8')), 'hex'), 1, 20)"
"""SQL: the id of a session's first part."""
LATER_ID = "substr(encode(sha256(convert_to(first_id || to_char(day, ' YYYY-MM-DD'), 'UTF8')), 'hex'), 1, 20)"
"""SQL: the id of the part of a later ``day`` (date)."""

RETIRED = tombstones.is_retired("first_id")
"""SQL: whether the conversation of ``first_id`` was forgotten, so that no other may bear its name."""

# Most sessions have one part and were said on one day; there is nothing to look for.
_MAY_HAVE_PARTS = """
SELECT touched.id FROM data_items AS touched WHERE id = ANY(:touched) AND (
    EXISTS (
        SELECT 1 FROM data_items AS other
        WHERE other.crew_id = touched.crew_id AND other.session_id = touched.session_id AND other.id <> touched.id)
    OR (SELECT (min(spoken_at) AT TIME ZONE :zone)::date <> (max(spoken_at) AT TIME ZONE :zone)::date
        FROM lines WHERE conversation_id = touched.id))
"""

# Where a line has come, changed or gone, only parts within a rest of it, and those of days that they reach into, can
# come to hold other lines; and whichever is the first.
_NEAR = """
CREATE TEMP TABLE near_parts ON COMMIT DROP AS
WITH touched AS (
    SELECT item.crew_id, item.session_id, least(min(item.started_at), min(spoken_at)) AS begun,
           greatest(max(item.ended_at), max(spoken_at)) AS ended
    FROM data_items AS item LEFT JOIN lines ON conversation_id = item.id
    WHERE item.id = ANY(:touched)
    GROUP BY item.crew_id, item.session_id, item.id
), sessions AS (
    SELECT crew_id, session_id, min(client) AS client, min(code) AS code,
           range_agg(tstzrange(begun - :rest, ended + :rest, '[]')) AS spans,
           range_agg(daterange((begun AT TIME ZONE :zone)::date, (ended AT TIME ZONE :zone)::date, '[]')) AS days
    FROM touched JOIN crews ON crews.id = crew_id GROUP BY crew_id, session_id
), identified AS (
    SELECT sessions.*, {first_id} AS first_id, earliest.id AS earliest FROM sessions LEFT JOIN LATERAL (
        SELECT id FROM data_items AS item
        WHERE item.crew_id = sessions.crew_id AND item.session_id = sessions.session_id
          AND EXISTS (SELECT 1 FROM lines WHERE conversation_id = item.id)
        ORDER BY days_date, id LIMIT 1
    ) AS earliest ON true
)
SELECT item.id, item.crew_id, item.session_id, identified.client, first_id, {retired} AS retired
FROM identified JOIN data_items AS item USING (crew_id, session_id)
WHERE tstzrange(item.started_at, item.ended_at, '[]') && spans OR item.days_date <@ days
   OR item.id IN (first_id, earliest)
"""

_PLACE = """
CREATE TEMP TABLE placed_lines ON COMMIT DROP AS
WITH gaps AS (
    SELECT near_parts.crew_id, near_parts.session_id, near_parts.client, first_id, retired, conversation_id, position,
           spoken_at, spoken_at - lag(spoken_at) OVER in_time >= :rest AS rested
    FROM near_parts JOIN lines ON conversation_id = near_parts.id
    WINDOW in_time AS (PARTITION BY near_parts.crew_id, near_parts.session_id ORDER BY spoken_at, position)
), stretches AS (
    SELECT *, count(*) FILTER (WHERE rested) OVER (
        PARTITION BY crew_id, session_id ORDER BY spoken_at, position) AS stretch
    FROM gaps
), days AS (
    SELECT *, (min(spoken_at) OVER (PARTITION BY crew_id, session_id, stretch) AT TIME ZONE :zone)::date AS day
    FROM stretches
), firsts AS (
    SELECT *, min(day) OVER (PARTITION BY crew_id, session_id) AS first_day FROM days
)
SELECT conversation_id, position, crew_id, session_id, client, spoken_at, day,
       CASE WHEN day = first_day AND NOT retired THEN first_id ELSE {later_id} END AS part
FROM firsts
"""

_ADD_PARTS = """
INSERT INTO data_items
    (id, client, crew_id, session_id, title, days_date, started_at, ended_at, times_inferred, from_history, line_count,
     content_hash)
SELECT part, placed.client, placed.crew_id, placed.session_id, min(item.title), day, min(placed.spoken_at),
       max(placed.spoken_at), bool_or(item.times_inferred), bool_or(item.from_history), 0, ''
FROM placed_lines AS placed JOIN data_items AS item ON item.id = conversation_id
WHERE part <> conversation_id
GROUP BY part, placed.client, placed.crew_id, placed.session_id, day ORDER BY part
ON CONFLICT (id) DO NOTHING
"""

_MOVE = """
WITH moved AS (
    UPDATE lines SET conversation_id = part FROM placed_lines AS placed
    WHERE lines.conversation_id = placed.conversation_id AND lines.position = placed.position
      AND part <> placed.conversation_id
    RETURNING placed.conversation_id AS before, part
)
SELECT before AS id FROM moved UNION SELECT part FROM moved
"""


def regroup(connection: Connection, touched: Collection[str], calendar: Calendar) -> set[str]:
    """Have every line of the sessions of some conversations stand in the part that it belongs to.

    Args:
        touched: ids of conversations whose lines have come, changed or gone.

    Returns:
        These, and all others that hold other lines now; some may hold none.
    """
    asked = {"touched": sorted(touched), "zone": calendar.zone}
    several = connection.scalars(text(_MAY_HAVE_PARTS), asked).all()
    if not several:
        return set(touched)
    values = {**asked, "touched": several, "rest": calendar.rest}
    connection.execute(text(_NEAR.format(first_id=FIRST_ID, retired=RETIRED)), values)
    connection.execute(text("ANALYZE near_parts"))
    connection.execute(text(_PLACE.format(later_id=LATER_ID)), values)
    connection.execute(text("ANALYZE placed_lines"))
    connection.execute(text(_ADD_PARTS))
    moved = set(connection.scalars(text(_MOVE)))
    connection.execute(text("DROP TABLE near_parts, placed_lines"))
    return {*touched, *moved}


class Linked(NamedTuple):
    """A conversation that is a part of a session, and the parts before and after it: ids and days, where there are."""

    id: str
    before: str | None
    before_day: date | None
    after: str | None
    after_day: date | None


def linked_on(connection: Connection, client_day: ClientDay) -> list[Linked]:
    """The conversations of a client's day that go on from another day, or on another day, by id."""
    rows = connection.execute(
        text("""
            SELECT item.id, before.id AS before, before.days_date AS before_day, after.id AS after,
                   after.days_date AS after_day
            FROM data_items AS item
            LEFT JOIN LATERAL (
                SELECT id, days_date FROM data_items AS other WHERE other.crew_id = item.crew_id
                  AND other.session_id = item.session_id AND other.days_date < item.days_date
                ORDER BY days_date DESC LIMIT 1) AS before ON true
            LEFT JOIN LATERAL (
                SELECT id, days_date FROM data_items AS other WHERE other.crew_id = item.crew_id
                  AND other.session_id = item.session_id AND other.days_date > item.days_date
                ORDER BY days_date LIMIT 1) AS after ON true
            WHERE item.client = :client AND item.days_date = :day AND (before.id IS NOT NULL OR after.id IS NOT NULL)
            ORDER BY item.id
        """),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Linked(*row) for row in rows]
