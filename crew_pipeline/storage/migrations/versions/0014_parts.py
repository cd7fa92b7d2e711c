"""conversations that go on for days are one for each day; those that are there are parted."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

from crew_pipeline.settings import load_settings

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LAST = "greatest of its lines"
ID = "20 hex digits over client, crew and session"
PART_ID = f"{ID}, and its day where it is not the session's first part"

# As ``storage/conversations/parts.py`` does it, as it was at the time of this migration, for all conversations at once.
PLACE = """
CREATE TEMP TABLE placed_lines ON COMMIT DROP AS
WITH long AS (
    SELECT id FROM data_items
    WHERE ended_at - started_at >= :rest
      AND (started_at AT TIME ZONE :zone)::date <> (ended_at AT TIME ZONE :zone)::date
), gaps AS (
    SELECT conversation_id, position, spoken_at, spoken_at - lag(spoken_at) OVER in_time >= :rest AS rested
    FROM long JOIN lines ON conversation_id = long.id
    WINDOW in_time AS (PARTITION BY conversation_id ORDER BY spoken_at, position)
), stretches AS (
    SELECT *, count(*) FILTER (WHERE rested) OVER (
        PARTITION BY conversation_id ORDER BY spoken_at, position) AS stretch
    FROM gaps
), days AS (
    SELECT *, (min(spoken_at) OVER (PARTITION BY conversation_id, stretch) AT TIME ZONE :zone)::date AS day
    FROM stretches
), firsts AS (
    SELECT *, min(day) OVER (PARTITION BY conversation_id) AS first_day FROM days
)
SELECT conversation_id, position, spoken_at, day,
       substr(encode(sha256(convert_to(conversation_id || to_char(day, ' YYYY-MM-DD'), 'UTF8')), 'hex'), 1, 20) AS part
FROM firsts WHERE day <> first_day
"""

ADD = """
INSERT INTO data_items
    (id, client, crew_id, session_id, title, days_date, started_at, ended_at, times_inferred, from_history,
     source_deleted_at, line_count, content_hash)
SELECT part, client, crew_id, session_id, title, day, min(spoken_at), max(spoken_at), times_inferred, from_history,
       source_deleted_at, 0, ''
FROM placed_lines JOIN data_items AS item ON item.id = conversation_id
GROUP BY part, day, item.id ORDER BY part
"""

MOVE = """
UPDATE lines SET conversation_id = part FROM placed_lines AS placed
WHERE lines.conversation_id = placed.conversation_id AND lines.position = placed.position
"""

SETTLE = """
UPDATE data_items AS item
SET started_at = whole.started_at, ended_at = whole.ended_at, line_count = whole.line_count,
    first_position = whole.first_position, last_position = whole.last_position, content_hash = whole.content_hash,
    semantic_status = 'pending', semantic_error = NULL, updated_at = now()
FROM (
    SELECT conversation_id, min(spoken_at) AS started_at, max(spoken_at) AS ended_at, count(*) AS line_count,
           min(position) AS first_position, max(position) AS last_position,
           sha256(string_agg(
               sha256(convert_to(concat_ws(E'\\x1f', position, extract(epoch FROM spoken_at), speaker, text), 'UTF8')),
               ''::bytea ORDER BY position
           )) AS content_hash
    FROM lines
    WHERE conversation_id IN (SELECT conversation_id FROM placed_lines UNION SELECT part FROM placed_lines)
    GROUP BY conversation_id
) AS whole
WHERE item.id = whole.conversation_id
"""


def upgrade() -> None:
    op.add_column(
        "data_items",
        sa.Column("last_position", sa.BigInteger(), nullable=False, server_default=sa.text("0"), comment=LAST),
    )
    op.alter_column("data_items", "id", comment=PART_ID, existing_comment=ID)
    op.drop_constraint("data_items_crew_id_session_id_key", "data_items")
    op.create_index("data_items_session", "data_items", ["crew_id", "session_id", "days_date"])
    connection = op.get_bind()
    connection.exec_driver_sql(
        "UPDATE data_items SET last_position = last FROM ("
        "SELECT conversation_id, max(position) AS last FROM lines GROUP BY conversation_id) AS whole "
        "WHERE id = conversation_id"
    )
    settings = load_settings()
    values = {"zone": settings.timezone, "rest": timedelta(hours=settings.rest_h)}
    connection.execute(sa.text(PLACE), values)
    for statement in (ADD, MOVE, SETTLE):
        connection.execute(sa.text(statement))
    connection.exec_driver_sql("DROP TABLE placed_lines")


def downgrade() -> None:
    # Parts would be conversations of one session, which an older version cannot tell apart: they become whole again.
    connection = op.get_bind()
    connection.exec_driver_sql(
        "CREATE TEMP TABLE wholes ON COMMIT DROP AS SELECT id, first_value(id) OVER (PARTITION BY crew_id, session_id "
        "ORDER BY days_date) AS whole FROM data_items"
    )
    connection.exec_driver_sql(
        "UPDATE lines SET conversation_id = whole FROM wholes WHERE conversation_id = id AND id <> whole"
    )
    connection.exec_driver_sql(
        "UPDATE data_items SET ended_at = spoken.ended_at, line_count = spoken.lines, semantic_status = 'pending', "
        "content_hash = '' FROM (SELECT conversation_id, max(spoken_at) AS ended_at, count(*) AS lines FROM lines "
        "GROUP BY conversation_id) AS spoken WHERE id = conversation_id AND id IN ("
        "SELECT whole FROM wholes WHERE id <> whole)"
    )
    connection.exec_driver_sql(
        "DELETE FROM data_items USING wholes WHERE data_items.id = wholes.id AND wholes.id <> whole"
    )
    op.drop_index("data_items_session", "data_items")
    op.create_unique_constraint("data_items_crew_id_session_id_key", "data_items", ["crew_id", "session_id"])
    op.alter_column("data_items", "id", comment=ID, existing_comment=PART_ID)
    op.drop_column("data_items", "last_position")
