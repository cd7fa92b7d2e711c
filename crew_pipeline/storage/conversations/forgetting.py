"""Erasing lines and all that was made of them, in the caller's transaction.

What is made of a client's day is erased as a whole and made again from what is left; what is kept by text (vectors,
readings, verdicts) goes unless another line has the very same text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay, LineKey
from crew_pipeline.storage import tokens
from crew_pipeline.storage.conversations import tombstones
from crew_pipeline.storage.conversations.ingest import CrewKey, one_at_a_time, settle
from crew_pipeline.storage.conversations.parts import FIRST_ID, LATER_ID, Calendar
from crew_pipeline.storage.history import themes


class Scope(NamedTuple):
    """What of a client is to be forgotten: what all names that are given have in common; only the client: all of it."""

    client: str
    crew: str | None = None
    conversation: str | None = None
    line: LineKey | None = None
    first: date | None = None
    last: date | None = None

    @property
    def kind(self) -> str:
        """In a word."""
        if self.line is not None:
            return "line"
        if self.conversation is not None:
            return "conversation"
        if self.first is not None or self.last is not None:
            return "span"
        return "crew" if self.crew is not None else "client"

    @property
    def is_whole(self) -> bool:
        """Whether it is all of a crew or of a client, with its name."""
        return self.kind in ("crew", "client")


class NothingThereError(ValueError):
    """There is nothing of what was named; the message says so."""


class Erased(NamedTuple):
    """What was erased: rows by table, and the client's days that it changes."""

    rows: dict[str, int]
    days: list[date]


_CHOOSE = """
CREATE TEMP TABLE forgotten_lines ON COMMIT DROP AS
SELECT lines.conversation_id, lines.position, item.crew_id, item.client, code, session_id, days_date, speaker,
       spoken_at, text, times_inferred, CAST(NULL AS bigint) AS aside
FROM data_items AS item JOIN crews ON crews.id = item.crew_id JOIN lines ON lines.conversation_id = item.id
WHERE item.client = :client AND (CAST(:crew AS text) IS NULL OR code = :crew)
  AND (CAST(:conversation AS text) IS NULL OR item.id = :conversation)
  AND (CAST(:line AS bigint) IS NULL OR lines.position = :line)
  AND (CAST(:first AS date) IS NULL OR days_date >= :first) AND (CAST(:last AS date) IS NULL OR days_date <= :last)
"""

# What was kept aside when a source changed or withdrew it belongs to the part that it would stand in. Positions of
# some exports count up, so one alone does not tell that two lines are the same message.
_CHOOSE_ASIDE = """
INSERT INTO forgotten_lines
SELECT NULL, kept.position, kept.crew_id, client, code, kept.session_id, coalesce(owner.days_date, day), kept.speaker,
       kept.spoken_at, kept.text, inferred, kept.id
FROM (
    SELECT withdrawn_lines.*, client, code, (spoken_at AT TIME ZONE :zone)::date AS day, {first_id} AS first_id,
           coalesce((SELECT bool_or(times_inferred) FROM data_items AS item WHERE item.crew_id = withdrawn_lines.crew_id
                     AND item.session_id = withdrawn_lines.session_id), false) AS inferred
    FROM withdrawn_lines JOIN crews ON crews.id = withdrawn_lines.crew_id
    WHERE client = :client AND (CAST(:crew AS text) IS NULL OR code = :crew)
) AS kept
LEFT JOIN LATERAL (
    SELECT id, days_date FROM data_items AS item
    WHERE item.crew_id = kept.crew_id AND item.session_id = kept.session_id AND (
        item.days_date = kept.day
        OR (item.started_at <= kept.spoken_at + :rest AND item.ended_at >= kept.spoken_at - :rest))
    ORDER BY item.started_at > kept.spoken_at, item.started_at DESC LIMIT 1
) AS owner ON true
WHERE :is_whole
   OR (:kind = 'span' AND (CAST(:first AS date) IS NULL OR coalesce(owner.days_date, day) >= :first)
       AND (CAST(:last AS date) IS NULL OR coalesce(owner.days_date, day) <= :last))
   OR (:kind IN ('conversation', 'line') AND (CAST(:line AS bigint) IS NULL OR (
           kept.position = :line AND NOT EXISTS (SELECT 1 FROM forgotten_lines)))
       AND (owner.id = :conversation OR (owner.id IS NULL AND :conversation IN (first_id, {later_id}))))
   OR EXISTS (
       SELECT 1 FROM forgotten_lines AS gone
       WHERE gone.crew_id = kept.crew_id AND gone.speaker = kept.speaker AND (
           (gone.text = kept.text AND (gone.session_id = kept.session_id OR gone.spoken_at = kept.spoken_at))
           OR (gone.session_id = kept.session_id AND gone.position = kept.position
               AND gone.spoken_at = kept.spoken_at AND NOT inferred)))
"""

# The days' own rows; their lines follow.
_OF_DAYS = {
    "day_documents": "true",
    "preliminary_documents": "true",
    "semantic_clusters": "true",
    "day_comparisons": "true",
    "day_askings": "true",
    "day_events": "true",
    "theme_segments": "true",
    "theme_days": "true",
    "day_claims": "ended_at IS NOT NULL",
}

# Days that a conversation stood in before, and whose document has not been made anew since.
_STOOD_IN = """
SELECT day FROM day_documents AS document WHERE client = :client AND is_current AND EXISTS (
    SELECT 1 FROM unnest(CAST(:conversations AS text[])) AS erased (id)
    WHERE position(convert_to(erased.id, 'UTF8') IN document.body) > 0)
  AND (engine = '' OR EXISTS (SELECT 1 FROM data_items AS item WHERE item.client = document.client
                              AND item.days_date = document.day AND semantic_status <> 'completed')
       OR NOT EXISTS (SELECT 1 FROM data_items AS item WHERE item.client = document.client
                      AND item.days_date = document.day))
UNION
SELECT day FROM line_cluster_mapping WHERE client = :client AND conversation_id = ANY(:conversations)
"""

# What visitors said of words that nobody says any more; a standing text goes by the name of its speaker.
_SAID = """
AS said WHERE client = :client AND EXISTS (
    SELECT 1 FROM (VALUES (left_text), (right_text), (left_speaker), (right_speaker)) AS quoted (words)
    WHERE EXISTS (
        SELECT 1 FROM forgotten_lines AS gone
        WHERE strpos(gone.text, words) > 0 OR words IN (gone.speaker, 'standing text of ' || gone.speaker)
    ) AND NOT EXISTS (
        SELECT 1 FROM data_items AS item JOIN lines AS left_over ON conversation_id = item.id
        WHERE item.client = said.client AND (
            strpos(left_over.text, words) > 0
            OR words IN (left_over.speaker, 'standing text of ' || left_over.speaker))))
"""

_BY_TEXT = {
    "line_embeddings": "client = :client AND text_hash = ANY(CAST(:hashes AS bytea[]))",
    "pair_readings": "client = :client AND (left_hash = ANY(CAST(:hashes AS bytea[])) "
    "OR right_hash = ANY(CAST(:hashes AS bytea[])))",
}

Delete = Callable[..., None]


def choose(connection: Connection, scope: Scope, calendar: Calendar) -> list[ClientDay]:
    """Note in ``forgotten_lines`` which lines a scope names, those that were kept aside among them; nobody brings lines
    of the client until the transaction ends.

    Returns:
        Their days, newest first.

    Raises:
        NothingThereError: there are none.
    """
    _alone(connection, scope.client)
    values = {**_values(scope), "zone": calendar.zone, "rest": calendar.rest}
    connection.execute(text(_CHOOSE), values)
    chosen_aside = _CHOOSE_ASIDE.format(first_id=FIRST_ID, later_id=LATER_ID)
    connection.execute(text(chosen_aside), {**values, "kind": scope.kind, "is_whole": scope.is_whole})
    connection.execute(text("ANALYZE forgotten_lines"))
    days = connection.scalars(text("SELECT DISTINCT days_date FROM forgotten_lines ORDER BY 1 DESC")).all()
    if not days and not _named_itself(connection, scope):
        raise NothingThereError(f"{scope.client} has nothing of it; 'crew status' and the index name what there is.")
    return [ClientDay(scope.client, day) for day in days]


def _alone(connection: Connection, client: str) -> None:
    # Watermarks first, as a round of discovery locks them.
    connection.execute(
        text(
            "SELECT FROM crew_discovery_state JOIN crews ON crews.id = crew_id WHERE client = :client "
            "ORDER BY crew_id FOR UPDATE OF crew_discovery_state"
        ),
        {"client": client},
    )
    for row in connection.execute(
        text("SELECT code, id FROM crews WHERE client = :client ORDER BY id"), {"client": client}
    ).all():
        one_at_a_time(connection, CrewKey(client, row.code, row.id))


def _named_itself(connection: Connection, scope: Scope) -> bool:
    """Whether a crew or a client of this name is there, though it has said nothing."""
    there = {
        "crew": "SELECT 1 FROM crews WHERE client = :client AND code = :crew",
        "client": "SELECT 1 FROM clients WHERE client = :client",
    }
    asked = there.get(scope.kind)
    return asked is not None and connection.execute(text(asked), _values(scope)).first() is not None


def texts(connection: Connection, client: str) -> Iterator[tuple[str, str]]:
    """The speaker and text of each line of ``forgotten_lines`` whose text no other line of the client has."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT speaker, text FROM forgotten_lines AS gone WHERE NOT EXISTS (
                SELECT 1 FROM lines JOIN data_items AS item ON item.id = lines.conversation_id
                WHERE item.client = :client AND lines.text = gone.text AND NOT EXISTS (
                    SELECT 1 FROM forgotten_lines AS other WHERE other.conversation_id = lines.conversation_id
                      AND other.position = lines.position))
        """),
        {"client": client},
    )
    return ((row.speaker, row.text) for row in rows)


def erase(connection: Connection, scope: Scope, hashes: list[bytes], calendar: Calendar) -> Erased:
    """Erase the lines of ``forgotten_lines`` and what was made of them, and set up the tombstone.

    Args:
        hashes: by which what is kept by text is known; of texts that no other line of the client has.
    """
    rows: dict[str, int] = {}

    def delete(table: str, where: str, **values: Any) -> None:
        done = connection.execute(text(f"DELETE FROM {table} {where}"), {**_values(scope), **values})  # noqa: S608  constants
        rows[table] = rows.get(table, 0) + done.rowcount

    tombstones.add(connection, scope.kind, scope.client, scope.crew)
    touched = list(connection.scalars(text("SELECT DISTINCT conversation_id FROM forgotten_lines WHERE aside IS NULL")))
    days = _days_of(connection, scope.client, touched)
    delete(
        "lines",
        "USING forgotten_lines AS gone "
        "WHERE lines.conversation_id = gone.conversation_id AND lines.position = gone.position",
    )
    delete("withdrawn_lines", "USING forgotten_lines AS gone WHERE withdrawn_lines.id = gone.aside")
    # Why a row was refused may quote it.
    delete("refused_rows", "WHERE crew_id IN (SELECT crew_id FROM forgotten_lines)")
    delete("pair_feedback", _SAID)
    for table, where in _BY_TEXT.items():
        delete(table, f"WHERE {where}", hashes=hashes)
    if rows["line_embeddings"]:
        # A passage may stand in other lines as well, which have no vector of it now.
        connection.execute(text("UPDATE day_documents SET embedded_by = NULL WHERE client = :client"), _values(scope))
    for table, where in _OF_DAYS.items():
        whole = scope.kind == "client"
        delete(table, f"WHERE client = :client AND (:whole OR day = ANY(:days)) AND {where}", days=days, whole=whole)
    themes.lock(connection, scope.client)
    delete("theme_segments", "WHERE client = :client AND conversation_id = ANY(:touched)", touched=touched)
    delete("topics", "WHERE client = :client AND moved_from = ANY(:touched)", touched=touched)
    for table in ("points", "point_days"):
        delete(table, "WHERE client = :client AND day = ANY(:days)", days=days)
    delete("points", "WHERE client = :client AND conversation_id = ANY(:touched)", touched=touched)
    # Nobody can tell what of it was in these.
    for table in ("told_prose", "live_talks"):
        delete(table, "WHERE client = :client")
    # Words of what is gone may name themes; they are named again by what is left.
    connection.execute(text("UPDATE themes SET words = '{}' WHERE client = :client"), _values(scope))
    connection.execute(text("UPDATE topics SET words = '{}' WHERE client = :client"), _values(scope))
    # What was answered names sessions and titles.
    delete("api_answers", "WHERE client = :client")
    # Older versions may show what stood in a day then, wherever it stands now.
    delete("day_documents", "WHERE client = :client AND NOT is_current")
    settled = settle(connection, touched, scope.client, calendar)
    connection.execute(
        text(
            "UPDATE data_items SET semantic_status = 'pending', semantic_error = NULL "
            "WHERE client = :client AND days_date = ANY(:days) AND semantic_status <> 'queued'"
        ),
        {"client": scope.client, "days": days},
    )
    connection.execute(
        text("UPDATE clients SET forgotten_at = clock_timestamp() WHERE client = :client"), _values(scope)
    )
    if scope.is_whole:
        _forget_itself(scope, delete)
    if scope.kind == "client":
        tokens.close_client(connection, scope.client)
    connection.execute(text("DROP TABLE forgotten_lines"))
    return Erased({table: count for table, count in rows.items() if count}, sorted({*days, *settled.days}))


def _days_of(connection: Connection, client: str, conversations: list[str]) -> list[date]:
    """The days that lines stand in, or stood in as far as anything made of them is left."""
    stand = connection.scalars(text("SELECT DISTINCT days_date FROM forgotten_lines WHERE aside IS NULL")).all()
    stood = connection.scalars(text(_STOOD_IN), {"client": client, "conversations": conversations}).all()
    return sorted({*stand, *stood})


def _forget_itself(scope: Scope, delete: Delete) -> None:
    """Erase a crew itself, or a client, with all that bears its name."""
    own = "client = :client AND (CAST(:crew AS text) IS NULL OR code = :crew)"
    delete("data_items", f"USING crews WHERE crews.id = crew_id AND crews.{own}")
    delete("alerts", f"USING crews WHERE crews.{own} AND subject = client || '/' || code")
    delete("crews", f"WHERE {own}")
    if scope.kind == "client":
        for table in (
            "day_visits",
            "line_embeddings",
            "pair_readings",
            "pair_feedback",
            "day_claims",
            "day_events",
            "client_counters",
            "theme_states",
            "themes",
            "topics",
            "points",
            "point_days",
            "webhooks",
            "signing_keys",
            "api_tickets",
            "clients",
        ):
            delete(table, "WHERE client = :client")
        delete("api_tokens", "WHERE clients = ARRAY[:client]")


def _values(scope: Scope) -> dict[str, Any]:
    conversation, line = scope.line or (scope.conversation, None)
    return {
        "client": scope.client,
        "crew": scope.crew,
        "conversation": conversation,
        "line": line,
        "first": scope.first,
        "last": scope.last,
    }
