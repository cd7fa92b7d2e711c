"""Claims: whoever computes a client's day claims it first, and every write of results is fenced by the claim's token.

A claim is a row. At most one of a day is open; one without a heartbeat expires and is overtaken, and its token can
never claim that day again, so an overtaken run cannot write over what came after it. The token is the Dagster run id.
A background claim yields to a reader who waits. Moments are the database's; a claim that expires later than its time to
live allows was made before the clock was set back, and counts as expired.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import takewhile
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import emit


class Patience(NamedTuple):
    """How often a client's day is tried again before it is set aside.

    Attributes:
        at_once: tries that follow the first without a pause, while a reader waits.
        later: tries in the background after those.
        backoff_s: pause before the first of these (s); it doubles each time, to six hours at most.
    """

    at_once: int = 2
    later: int = 3
    backoff_s: float = 600

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """As the settings say."""
        return cls(settings.on_demand_retries, settings.background_retries, settings.retry_backoff_s)

    def pause(self, failures: int) -> float | None:
        """Seconds until the next try after so many failures in a row; None where the day is set aside."""
        if failures > self.at_once + self.later:
            return None
        if failures <= self.at_once:
            return 0.0
        return float(min(self.backoff_s * 2 ** (failures - self.at_once - 1), _LONGEST_PAUSE_S))


_LONGEST_PAUSE_S = 6 * 3600

_OVERTAKE = """
UPDATE day_claims
SET ended_at = now(), outcome = CASE WHEN claim_lives(expires_at, ttl_s) THEN 'yielded' ELSE 'overtaken' END
WHERE client = :client AND day = :day AND ended_at IS NULL AND token <> :token
  AND (NOT claim_lives(expires_at, ttl_s) OR (NOT :background AND background AND wanted_at IS NOT NULL))
"""
_CLAIM = """
INSERT INTO day_claims (client, day, token, expires_at, ttl_s, line_count, background)
VALUES (:client, :day, :token, now() + make_interval(secs => :ttl), :ttl, :lines, :background)
ON CONFLICT DO NOTHING RETURNING token
"""
_PROLONG = """
UPDATE day_claims SET expires_at = now() + make_interval(secs => :ttl), ttl_s = :ttl
WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL RETURNING token
"""
_HAND_OVER = """
UPDATE day_claims SET token = :to, expires_at = now() + make_interval(secs => :ttl), ttl_s = :ttl
WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL RETURNING token
"""

_HELD = """
SELECT client, day FROM day_claims WHERE token = :token AND ended_at IS NULL
  AND (CAST(:days AS date[]) IS NULL OR day = ANY(:days)) ORDER BY day, client
"""


def acquire(
    connection: Connection, client_day: ClientDay, token: str, ttl_s: int, lines: int = 0, *, background: bool = False
) -> Literal["new", "held"] | None:
    """Claim a client's day for ``token``; claiming again what one holds prolongs it.

    Args:
        background: the claim yields to a reader who waits, and does not make others yield.

    Returns:
        ``new`` for a claim that was made now, ``held`` for one that was prolonged, None where somebody else holds it or
        where this token was overtaken there before.
    """
    values = {
        "client": client_day.client,
        "day": client_day.day,
        "token": token,
        "ttl": ttl_s,
        "lines": lines,
        "background": background,
    }
    connection.execute(text(_OVERTAKE), values)
    if connection.scalar(text(_CLAIM), values):
        return "new"
    return "held" if connection.scalar(text(_PROLONG), values) else None


def wanted(connection: Connection, client_day: ClientDay, token: str) -> bool:
    """Whether a reader waits for what this background claim holds."""
    return bool(
        connection.scalar(
            text(
                "SELECT wanted_at IS NOT NULL FROM day_claims "
                "WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL"
            ),
            {"client": client_day.client, "day": client_day.day, "token": token},
        )
    )


def hand_over(connection: Connection, client_day: ClientDay, token: str, to: str, ttl_s: int) -> bool:
    """Let another token go on with the claim of ``token``; whether ``token`` still held it."""
    values = {"client": client_day.client, "day": client_day.day, "token": token, "to": to, "ttl": ttl_s}
    return connection.scalar(text(_HAND_OVER), values) is not None


def prolong(connection: Connection, token: str, ttl_s: int) -> int:
    """Beat for all claims of ``token``; how many it still holds."""
    return connection.execute(
        text(
            "UPDATE day_claims SET expires_at = now() + make_interval(secs => :ttl), ttl_s = :ttl "
            "WHERE token = :token AND ended_at IS NULL"
        ),
        {"token": token, "ttl": ttl_s},
    ).rowcount


def want(connection: Connection, client_day: ClientDay) -> bool:
    """Tell the background run that works at a client's day that a reader waits; whether this call was the first to."""
    return bool(
        connection.execute(
            text(
                "UPDATE day_claims SET wanted_at = now() WHERE client = :client AND day = :day AND ended_at IS NULL "
                "AND background AND wanted_at IS NULL AND claim_lives(expires_at, ttl_s)"
            ),
            {"client": client_day.client, "day": client_day.day},
        ).rowcount
    )


def held(
    connection: Connection, token: str, days: Sequence[date] | None = None, *, lock: bool = False
) -> list[ClientDay]:
    """What ``token`` still holds, in order; with ``lock`` nobody can overtake it before the transaction ends."""
    rows = connection.execute(
        text(_HELD + " FOR UPDATE" if lock else _HELD),
        {"token": token, "days": None if days is None else list(days)},
    )
    return [ClientDay(*row) for row in rows]


def settle_stamp(connection: Connection, client_day: ClientDay, token: str, stamp: bytes) -> bool:
    """Whether ``stamp`` is that of the content which this claim computes from; the first one given becomes it."""
    found = connection.scalar(
        text(
            "UPDATE day_claims SET content_stamp = coalesce(content_stamp, :stamp) "
            "WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL RETURNING content_stamp"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token, "stamp": stamp},
    )
    return bool(found == stamp)


def finish(connection: Connection, client_day: ClientDay, token: str, outcome: str) -> None:
    """Close a claim; the row stays as history."""
    connection.execute(
        text(
            "UPDATE day_claims SET ended_at = now(), outcome = :outcome "
            "WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token, "outcome": outcome},
    )


def fail(
    connection: Connection, client_day: ClientDay, token: str, error: str, patience: Patience, *, at_once: bool = False
) -> None:
    """A try at a client's day has failed: it is tried again at once, later, or set aside with its error.

    Args:
        at_once: a reader waits, so that the first tries follow each other; else there is a pause before each.
    """
    if client_day not in held(connection, token, [client_day.day], lock=True):
        return
    at_once = at_once or wanted(connection, client_day, token)
    pause = patience.pause(failures_in_a_row(connection, client_day) + 1)
    if at_once and pause == 0:
        set_status(connection, client_day, "queued", of=("processing",))
        finish(connection, client_day, token, "retried")
    else:
        _set_back(connection, client_day, token, error, pause, patience, "retried")


def give_up(connection: Connection, client_day: ClientDay, token: str, error: str, patience: Patience) -> None:
    """Not try a client's day, which ``token`` has claimed, after what became of those that tried before.

    Args:
        error: to be told where none of them told one.
    """
    told = connection.scalar(
        text(
            "SELECT payload->>'error' FROM day_events WHERE client = :client AND day = :day "
            "AND type = 'processing_failed' ORDER BY seq DESC LIMIT 1"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    pause = patience.pause(failures_in_a_row(connection, client_day))
    _set_back(connection, client_day, token, told or error, pause, patience, "released")


def _set_back(
    connection: Connection,
    client_day: ClientDay,
    token: str,
    error: str,
    pause: float | None,
    patience: Patience,
    outcome: str,
) -> None:
    again = None if pause is None else max(pause, patience.backoff_s)
    set_status(connection, client_day, "failed", of=("processing", "queued"), error=error, retry_in_s=again)
    told = {"error": error, **({"retry_in_s": again} if again is not None else {})}
    emit(connection, client_day.client, client_day.day, "processing_failed", told, token)
    finish(connection, client_day, token, "failed" if again is None else outcome)


def give_back(
    connection: Connection,
    token: str,
    *,
    only: ClientDay | None = None,
    status: str = "pending",
    outcome: str = "released",
) -> list[ClientDay]:
    """Return what ``token`` still holds, or ``only`` one day of it, to the queue with ``status``; what it was.

    A day that a reader waits for is ``queued`` in any case.
    """
    client_days = [
        client_day for client_day in held(connection, token, lock=True) if only is None or client_day == only
    ]
    _lock_rows(connection, client_days)
    for client_day in client_days:
        set_status(
            connection, client_day, "queued" if wanted(connection, client_day, token) else status, of=("processing",)
        )
        finish(connection, client_day, token, outcome)
    return client_days


def pause(connection: Connection, client_day: ClientDay, token: str, done: str) -> None:
    """Return a client's day to the queue in the middle, behind others that wait; readers are told what is done."""
    if client_day in give_back(connection, token, only=client_day, status="queued", outcome="paused"):
        told = {
            "stage": "queued",
            "progress": 0.0,
            "message": f"{done}; others go first",
            "estimated_remaining_s": None,
        }
        emit(connection, client_day.client, client_day.day, "processing_progress", told, token)


def settle_failure(
    connection: Connection, token: str, error: str, patience: Patience, *, at_once: bool = False
) -> None:
    """A run ended in failure: so has every day that it still held. See ``fail``."""
    client_days = held(connection, token, lock=True)
    _lock_rows(connection, client_days)
    for client_day in client_days:
        fail(connection, client_day, token, error, patience, at_once=at_once)


def _lock_rows(connection: Connection, client_days: Sequence[ClientDay]) -> None:
    """Lock the conversations of several days in one order, that of imports: day by day it would be another."""
    if len(client_days) > 1:
        connection.execute(
            text("""
                SELECT id FROM data_items
                JOIN unnest(CAST(:clients AS text[]), CAST(:days AS date[])) AS held (client, day)
                    ON data_items.client = held.client AND days_date = held.day
                ORDER BY id FOR UPDATE OF data_items
            """),
            {
                "clients": [client_day.client for client_day in client_days],
                "days": [client_day.day for client_day in client_days],
            },
        )


def set_status(
    connection: Connection,
    client_day: ClientDay,
    status: str,
    *,
    of: Sequence[str] | None = None,
    error: str | None = None,
    retry_in_s: float | None = None,
) -> int:
    """Set the status of a client's day's conversations (of those in one of the statuses ``of``); how many there were.

    Rows are locked in order of id, here and in imports, so that the two never wait for each other.

    Args:
        retry_in_s: when a failed day is tried again by itself (s from now); None: not at all.
    """
    return connection.execute(
        text("""
            WITH locked AS (
                SELECT id FROM data_items WHERE client = :client AND days_date = :day
                    AND (CAST(:of AS text[]) IS NULL OR semantic_status = ANY(:of))
                ORDER BY id FOR UPDATE
            )
            UPDATE data_items SET semantic_status = :status, semantic_error = :error,
                retry_at = now() + make_interval(secs => CAST(:retry_in AS double precision)),
                semantic_processed_at = CASE WHEN :status = 'completed' THEN now() ELSE semantic_processed_at END
            FROM locked WHERE data_items.id = locked.id
                AND (CAST(:of AS text[]) IS NULL OR semantic_status = ANY(:of))
        """),
        {
            "client": client_day.client,
            "day": client_day.day,
            "of": None if of is None else list(of),
            "status": status,
            "error": error,
            "retry_in": retry_in_s,
        },
    ).rowcount


def failures_in_a_row(connection: Connection, client_day: ClientDay) -> int:
    """How many of the last claims of a client's day failed or died, one after the other.

    What yielded, paused or was given back tells nothing, and what was before the content changed, or before somebody
    asked for another try, counts no more. A day that was set aside begins anew when it is asked for again.
    """
    rows = connection.execute(
        text(
            "SELECT outcome FROM day_claims WHERE client = :client AND day = :day "
            "AND outcome NOT IN ('yielded', 'paused', 'released') AND ended_at > coalesce((SELECT max(updated_at) "
            "FROM data_items WHERE client = :client AND days_date = :day), '-infinity') ORDER BY ended_at DESC LIMIT 20"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return sum(1 for _ in takewhile(lambda row: row.outcome in {"retried", "overtaken"}, rows))


def lives(connection: Connection, token: str) -> bool:
    """Whether somebody still beats for a claim of ``token``."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM day_claims WHERE token = :token AND ended_at IS NULL "
                "AND claim_lives(expires_at, ttl_s))"
            ),
            {"token": token},
        )
    )


def overtaken_tokens(connection: Connection, client_day: ClientDay) -> list[str]:
    """The tokens of claims on a client's day that died lately."""
    rows = connection.execute(
        text(
            "SELECT token FROM day_claims WHERE client = :client AND day = :day AND outcome = 'overtaken' "
            "AND ended_at > now() - interval '1 day' ORDER BY ended_at"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [row.token for row in rows]


@contextmanager
def heartbeat(db: Database, token: str, ttl_s: int) -> Iterator[None]:
    """Keep the claims of ``token`` alive from a thread while the block computes.

    A beat that fails is tried again at the next; the claim outlives two of them.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(ttl_s / 3):
            try:
                with db.write() as connection:
                    prolong(connection, token, ttl_s)
            except SQLAlchemyError:
                continue

    thread = threading.Thread(target=beat, name=f"heartbeat-{token[:8]}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def last_ended(connection: Connection, most: int) -> list[dict[str, object]]:
    """The claims that ended last, newest first."""
    rows = connection.execute(
        text("""
            SELECT to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS ended_at, day::text AS day,
                   client, outcome, token AS run_id,
                   round(extract(epoch FROM ended_at - claimed_at)::numeric, 1)::float8 AS seconds
            FROM day_claims WHERE ended_at IS NOT NULL ORDER BY day_claims.ended_at DESC LIMIT :most
        """),
        {"most": most},
    )
    return [dict(row._mapping) for row in rows]
