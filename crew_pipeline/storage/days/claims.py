"""Claims as rows of ``day_claims``: at most one of a client's day is open. Who may do what with one is decided in
``days.claims``. Beside it, ``storage.evidence.verdicts`` notes in a claim which wishes its day is folded by.

Times are the database's. A claim that expires later than its time to live allows was made before the clock was set
back, and counts as expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import takewhile
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClaimOutcome, ClientDay

_RUNS_REMEMBERED = 50
_FAILURES = {ClaimOutcome.RETRIED, ClaimOutcome.OVERTAKEN}

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
  AND (CAST(:days AS date[]) IS NULL OR day = ANY(:days)) ORDER BY client, day
"""


def acquire(
    connection: Connection, client_day: ClientDay, token: str, ttl_s: int, lines: int = 0, *, background: bool = False
) -> Literal["new", "held"] | None:
    """Claim a client's day for ``token``; a claim that it holds already is prolonged.

    Args:
        background: the claim yields to a visitor who waits, and does not make others yield.

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
    """Whether a visitor waits for what this background claim holds."""
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
    """Pass the claim of ``token`` on to ``to``; returns whether ``token`` still held it."""
    values = {"client": client_day.client, "day": client_day.day, "token": token, "to": to, "ttl": ttl_s}
    return connection.scalar(text(_HAND_OVER), values) is not None


def prolong(connection: Connection, token: str, ttl_s: int) -> int:
    """Keep all claims of ``token`` alive; returns how many."""
    return connection.execute(
        text(
            "UPDATE day_claims SET expires_at = now() + make_interval(secs => :ttl), ttl_s = :ttl "
            "WHERE token = :token AND ended_at IS NULL"
        ),
        {"token": token, "ttl": ttl_s},
    ).rowcount


def want(connection: Connection, client_day: ClientDay) -> bool:
    """Tell the background run at a client's day that a visitor waits; returns whether this call was the first to."""
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
    """Whether ``stamp`` is that of the content which this claim computes from; the first one given is kept."""
    settled = connection.scalar(
        text(
            "UPDATE day_claims SET content_stamp = coalesce(content_stamp, :stamp) "
            "WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL RETURNING content_stamp"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token, "stamp": stamp},
    )
    return bool(settled == stamp)


def finish(connection: Connection, client_day: ClientDay, token: str, outcome: ClaimOutcome) -> None:
    """Close a claim; the row stays as history."""
    connection.execute(
        text(
            "UPDATE day_claims SET ended_at = now(), outcome = :outcome "
            "WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token, "outcome": outcome},
    )


def failures_in_a_row(connection: Connection, client_day: ClientDay) -> int:
    """How many of the last claims of a client's day failed or died, one after the other.

    Claims that yielded, paused or were given back are passed over; those from before the content changed, or before
    somebody asked for another try, do not count. A day that was set aside begins anew when it is asked for again.
    """
    rows = connection.execute(
        text(
            "SELECT outcome FROM day_claims WHERE client = :client AND day = :day "
            "AND outcome NOT IN ('yielded', 'paused', 'released') AND ended_at > coalesce((SELECT max(updated_at) "
            "FROM data_items WHERE client = :client AND days_date = :day), '-infinity') ORDER BY ended_at DESC LIMIT 20"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return sum(1 for _ in takewhile(lambda row: row.outcome in _FAILURES, rows))


def taken(connection: Connection, token: str, day: date) -> list[ClientDay]:
    """The clients' days of a day that ``token`` has claimed, whatever became of them."""
    rows = connection.execute(
        text("SELECT client, day FROM day_claims WHERE token = :token AND day = :day ORDER BY client"),
        {"token": token, "day": day},
    )
    return [ClientDay(*row) for row in rows]


def released(connection: Connection, token: str) -> list[ClientDay]:
    """What was taken from ``token`` without being made, because somebody cancelled its run or a step lacked what it
    needs; of those the days that nobody has made ready since."""
    rows = connection.execute(
        text(
            "SELECT client, day FROM day_claims AS claim WHERE token = :token AND outcome = 'released' AND EXISTS ("
            "SELECT 1 FROM data_items AS item WHERE item.client = claim.client AND item.days_date = claim.day "
            "AND item.semantic_status <> 'completed') ORDER BY day, client"
        ),
        {"token": token},
    )
    return [ClientDay(*row) for row in rows]


def lives(connection: Connection, token: str) -> bool:
    """Whether a claim of ``token`` is still kept alive."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM day_claims WHERE token = :token AND ended_at IS NULL "
                "AND claim_lives(expires_at, ttl_s))"
            ),
            {"token": token},
        )
    )


def silent(connection: Connection, tokens: Sequence[str]) -> set[str]:
    """Those of some tokens of which a claim has died, and that have kept or taken nothing since for as long as one
    lives."""
    rows = connection.execute(
        text(
            "SELECT token FROM day_claims WHERE token = ANY(:tokens) GROUP BY token "
            "HAVING bool_or(ended_at IS NULL OR outcome = 'overtaken') "
            "AND NOT bool_or(ended_at IS NULL AND claim_lives(expires_at, ttl_s)) "
            "AND max(greatest(claimed_at, expires_at - make_interval(secs => ttl_s), "
            "CASE WHEN outcome <> 'overtaken' THEN ended_at END) + make_interval(secs => ttl_s)) < now()"
        ),
        {"tokens": list(tokens)},
    )
    return {row.token for row in rows}


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


class OpenClaim(NamedTuple):
    """An open claim, for telling progress.

    Attributes:
        lines: of the day, when it was claimed.
        spent_s: since then.
    """

    lines: int
    spent_s: float


def at_work(connection: Connection, client_day: ClientDay, token: str) -> OpenClaim | None:
    """The claim of ``token`` on a client's day, locked until the transaction ends; None where it has none."""
    row = connection.execute(
        text(
            "SELECT line_count, extract(epoch FROM clock_timestamp() - claimed_at)::float8 AS spent "
            "FROM day_claims WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL "
            "FOR UPDATE"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token},
    ).one_or_none()
    return None if row is None else OpenClaim(row.line_count, row.spent)


def is_open(connection: Connection, client_day: ClientDay) -> bool:
    """Whether a live claim holds a client's day."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM day_claims WHERE client = :client AND day = :day "
                "AND ended_at IS NULL AND claim_lives(expires_at, ttl_s))"
            ),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def seconds_per_line(connection: Connection) -> float | None:
    """What a line took in the runs that finished last; None where there was none."""
    per_line = connection.scalar(
        text("""
            SELECT sum(seconds) / nullif(sum(lines), 0) FROM (
                -- A run over several days holds all of them for as long as it takes; one in the background rests.
                SELECT extract(epoch FROM max(ended_at) - min(claimed_at)) AS seconds, sum(line_count) AS lines
                FROM day_claims
                WHERE outcome = 'completed' AND line_count > 0 AND ended_at > now() - interval '7 days'
                GROUP BY token ORDER BY bool_or(background), max(ended_at) DESC LIMIT :runs
            ) AS runs
        """),
        {"runs": _RUNS_REMEMBERED},
    )
    return None if per_line is None else float(per_line)
