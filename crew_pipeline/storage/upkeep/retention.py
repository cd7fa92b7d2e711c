"""Taking out what is no longer needed, a batch at a time, by the database's clock.

Every function deletes at most ``most`` rows in the caller's transaction, oldest first, and returns how many. Rows
that another transaction has locked are passed over, so that two may clean at once and neither waits for anybody.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

# A follower reads on from the events of a day that is in work or waits, however old they are.
_EVENTS = """
WITH due AS MATERIALIZED (
    SELECT id FROM day_events AS event
    WHERE created_at < now() - :kept
      AND NOT EXISTS (
          SELECT 1 FROM data_items AS item WHERE item.client = event.client AND item.days_date = event.day
            AND semantic_status IN ('pending', 'queued', 'processing'))
      AND NOT EXISTS (
          SELECT 1 FROM day_claims AS claim
          WHERE claim.client = event.client AND claim.day = event.day AND ended_at IS NULL)
    ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM day_events USING due WHERE day_events.id = due.id
"""

_DOCUMENTS = """
WITH due AS MATERIALIZED (
    SELECT client, day, version FROM day_documents WHERE NOT is_current AND processed_at < now() - :kept
    ORDER BY processed_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM day_documents AS gone USING due
WHERE gone.client = due.client AND gone.day = due.day AND gone.version = due.version
"""

# Failures in a row are counted from the newest claim back to one that was completed or set aside; older claims do not
# count.
_CLAIMS = """
WITH due AS MATERIALIZED (
    SELECT client, day, token FROM day_claims AS old
    WHERE ended_at < now() - :kept AND EXISTS (
        SELECT 1 FROM day_claims AS later WHERE later.client = old.client AND later.day = old.day
          AND later.ended_at > old.ended_at AND later.outcome IN ('completed', 'failed'))
    ORDER BY ended_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM day_claims AS gone USING due
WHERE gone.client = due.client AND gone.day = due.day AND gone.token = due.token
"""

_ROUNDS = """
WITH due AS MATERIALIZED (
    SELECT id FROM crew_discovery_rounds WHERE started_at < now() - :kept
    ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM crew_discovery_rounds AS gone USING due WHERE gone.id = due.id
"""

_ALERTS = """
WITH due AS MATERIALIZED (
    SELECT id FROM alerts WHERE resolved_at < now() - :kept ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM alerts AS gone USING due WHERE gone.id = due.id
"""

_SAMPLES = """
WITH due AS MATERIALIZED (
    SELECT id FROM health_samples WHERE taken_at < now() - :kept ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM health_samples AS gone USING due WHERE gone.id = due.id
"""

_ANSWERS = """
WITH due AS MATERIALIZED (
    SELECT client, key FROM api_answers WHERE created_at < now() - interval '1 day'
    ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM api_answers AS gone USING due WHERE gone.client = due.client AND gone.key = due.key
"""

_ASKINGS = """
WITH due AS MATERIALIZED (
    SELECT client, day FROM day_askings WHERE asked_at < now() - interval '1 day'
    ORDER BY asked_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM day_askings AS gone USING due WHERE gone.client = due.client AND gone.day = due.day
"""

_TALKS = """
WITH due AS MATERIALIZED (
    SELECT client, session_id FROM live_talks WHERE updated_at < now() - interval '1 day'
    ORDER BY updated_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM live_talks AS gone USING due WHERE gone.client = due.client AND gone.session_id = due.session_id
"""

_PROSE = """
WITH due AS MATERIALIZED (
    SELECT client, key FROM told_prose WHERE told_at < now() - :kept
    ORDER BY told_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM told_prose AS gone USING due WHERE gone.client = due.client AND gone.key = due.key
"""

_DELIVERIES = """
WITH due AS MATERIALIZED (
    SELECT id FROM webhook_deliveries WHERE coalesce(delivered_at, dead_at) < now() - :kept
    ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM webhook_deliveries AS gone USING due WHERE gone.id = due.id
"""

_PRELIMINARY = """
WITH due AS MATERIALIZED (
    SELECT client, day FROM preliminary_documents AS made
    WHERE NOT EXISTS (
        SELECT 1 FROM day_claims AS claim
        WHERE claim.client = made.client AND claim.day = made.day AND claim.token = made.token
          AND ended_at IS NULL AND claim_lives(expires_at, ttl_s))
    ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM preliminary_documents AS gone USING due WHERE gone.client = due.client AND gone.day = due.day
"""


def drop_old_events(connection: Connection, kept: timedelta, most: int) -> int:
    """Events older than ``kept`` of days that nobody works at and that do not wait."""
    return _delete(connection, _EVENTS, kept, most)


def drop_superseded_documents(connection: Connection, kept: timedelta, most: int) -> int:
    """Documents older than ``kept`` that another version has replaced."""
    return _delete(connection, _DOCUMENTS, kept, most)


def drop_old_claims(connection: Connection, kept: timedelta, most: int) -> int:
    """Claims that ended longer ago than ``kept``; the newest of a client's day and its failures in a row stay."""
    return _delete(connection, _CLAIMS, kept, most)


def drop_old_rounds(connection: Connection, kept: timedelta, most: int) -> int:
    """Records of rounds of discovery older than ``kept``; the sums over all of them stay."""
    return _delete(connection, _ROUNDS, kept, most)


def drop_resolved_alerts(connection: Connection, kept: timedelta, most: int) -> int:
    """Alerts that were resolved longer ago than ``kept``."""
    return _delete(connection, _ALERTS, kept, most)


def drop_old_samples(connection: Connection, kept: timedelta, most: int) -> int:
    """Samples of the system's health older than ``kept``."""
    return _delete(connection, _SAMPLES, kept, most)


def drop_old_deliveries(connection: Connection, kept: timedelta, most: int) -> int:
    """Messages to webhooks that were delivered or given up longer ago than ``kept``."""
    return _delete(connection, _DELIVERIES, kept, most)


def drop_lost_preliminaries(connection: Connection, most: int) -> int:
    """Preliminary results whose claim has ended or died: nobody is shown them."""
    return connection.execute(text(_PRELIMINARY), {"most": most}).rowcount


def drop_old_answers(connection: Connection, most: int) -> int:
    """Answers to requests that name themselves, which are not sent again after a day."""
    return connection.execute(text(_ANSWERS), {"most": most}).rowcount


def drop_old_talks(connection: Connection, most: int) -> int:
    """Talk that was posted as it went on, a day after its last line."""
    return connection.execute(text(_TALKS), {"most": most}).rowcount


def drop_old_prose(connection: Connection, kept: timedelta, most: int) -> int:
    """What was told in prose; it is told again where somebody asks."""
    return _delete(connection, _PROSE, kept, most)


def drop_old_askings(connection: Connection, most: int) -> int:
    """Requests for days that nobody has taken within a day."""
    return connection.execute(text(_ASKINGS), {"most": most}).rowcount


def now(connection: Connection) -> datetime:
    """The moment, by the database's clock."""
    moment = connection.scalar(text("SELECT now()"))
    assert isinstance(moment, datetime)
    return moment


def _delete(connection: Connection, statement: str, kept: timedelta, most: int) -> int:
    return connection.execute(text(statement), {"kept": kept, "most": most}).rowcount
