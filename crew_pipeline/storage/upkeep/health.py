"""How the system was at a moment: what waits, who lives, how runs ended, and what its machine had left."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage.upkeep import workers

_RUNS_OVER = timedelta(hours=1)


class Machine(NamedTuple):
    """What a machine had left, and what only Dagster knows.

    Attributes:
        cpu_percent: of all cores together, 0 to 100.
        disk_free_mb: where the data directory is; None where there is none.
        daemon_heartbeat_age_s: of Dagster's daemon, wherever it runs; None where it has never beaten.
    """

    host: str
    cpu_percent: float
    memory_free_mb: int
    disk_free_mb: int | None
    daemon_heartbeat_age_s: float | None


class Queue(NamedTuple):
    """Clients' days that wait for somebody to work at them.

    Attributes:
        days_asked: those that a visitor or an operator has asked for.
        oldest_day: the earliest of them.
        waiting_since: since when the longest-waiting conversation waits.
        longest_wait_s: how long that is (s), by the database's clock; 0 where none waits.
        days_failed: days with a conversation that has failed; they do not wait.
    """

    days_waiting: int
    conversations_waiting: int
    days_asked: int
    oldest_day: date | None
    waiting_since: datetime | None
    longest_wait_s: float
    days_failed: int


class Sample(NamedTuple):
    """The system at a moment; the fields are those of ``Queue`` and ``Machine``.

    Attributes:
        workers: warm workers that are alive.
        worker_heartbeat_age_s: of the freshest; None where there is none.
        runs_ended: claims of days that ended within the hour before.
        runs_failed: of these, those that failed or died.
    """

    taken_at: datetime
    host: str
    days_waiting: int
    conversations_waiting: int
    days_asked: int
    oldest_day: date | None
    waiting_since: datetime | None
    days_failed: int
    workers: int
    worker_heartbeat_age_s: float | None
    daemon_heartbeat_age_s: float | None
    cpu_percent: float
    memory_free_mb: int
    disk_free_mb: int | None
    runs_ended: int
    runs_failed: int

    @property
    def longest_wait_s(self) -> float:
        """How long the longest-waiting conversation had waited (s); 0 where none waited."""
        return (self.taken_at - self.waiting_since).total_seconds() if self.waiting_since else 0.0


# A conversation that was ready and is asked for again has waited since it was ready at the earliest. Rows whose run
# died silently wait as well.
_QUEUE = """
WITH unfinished AS (
    SELECT client, days_date AS day, semantic_status AS status,
           semantic_status IN ('pending', 'queued') OR semantic_status = 'processing' AND NOT EXISTS (
               SELECT 1 FROM day_claims AS claim WHERE claim.client = item.client AND claim.day = item.days_date
                 AND claim.ended_at IS NULL AND claim_lives(claim.expires_at, claim.ttl_s)) AS waits,
           greatest(updated_at, semantic_processed_at) AS since
    FROM data_items AS item WHERE semantic_status <> 'completed'
)
SELECT count(DISTINCT (client, day)) FILTER (WHERE waits), count(*) FILTER (WHERE waits),
       count(DISTINCT (client, day)) FILTER (WHERE status = 'queued'),
       min(day) FILTER (WHERE waits), min(since) FILTER (WHERE waits),
       coalesce(extract(epoch FROM now() - min(since) FILTER (WHERE waits)), 0)::float8,
       count(DISTINCT (client, day)) FILTER (WHERE status = 'failed')
FROM unfinished
"""

_RUNS = """
SELECT count(*), count(*) FILTER (WHERE outcome IN ('failed', 'retried', 'overtaken'))
FROM day_claims WHERE ended_at > now() - :over
"""

_COLUMNS = """taken_at, host, days_waiting, conversations_waiting, days_asked, oldest_day, waiting_since, days_failed,
    workers, worker_heartbeat_age_s, daemon_heartbeat_age_s, cpu_percent, memory_free_mb, disk_free_mb, runs_ended,
    runs_failed"""

_RECORD = f"""
INSERT INTO health_samples ({_COLUMNS})
VALUES (now(), :host, :days_waiting, :conversations_waiting, :days_asked, :oldest_day, :waiting_since, :days_failed,
        :workers, :worker_heartbeat_age_s, :daemon_heartbeat_age_s, :cpu_percent, :memory_free_mb, :disk_free_mb,
        :runs_ended, :runs_failed)
RETURNING {_COLUMNS}
"""  # noqa: S608  constants


def queue(connection: Connection) -> Queue:
    """What waits, of all clients."""
    return Queue(*connection.execute(text(_QUEUE)).one())


def record(connection: Connection, machine: Machine, unless_within: timedelta | None = None) -> Sample | None:
    """Take a sample of the system, with what was measured of the machine.

    Args:
        unless_within: take none where a younger one exists; however many ask at once, one takes it.

    Returns:
        The sample; None where a younger one exists.
    """
    if unless_within is not None:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('health_samples', 0))"))
        if not due(connection, unless_within):
            return None
    ended, failed = connection.execute(text(_RUNS), {"over": _RUNS_OVER}).one()
    row = connection.execute(
        text(_RECORD),
        {
            **machine._asdict(),
            **queue(connection)._asdict(),
            "workers": workers.alive(connection),
            "worker_heartbeat_age_s": workers.freshest_age_s(connection),
            "runs_ended": ended,
            "runs_failed": failed,
        },
    ).one()
    return Sample(*row)


def due(connection: Connection, after: timedelta) -> bool:
    """Whether the newest sample is older than ``after``, or there is none."""
    return not connection.scalar(
        text("SELECT EXISTS (SELECT 1 FROM health_samples WHERE taken_at > now() - :after)"), {"after": after}
    )


def newest(connection: Connection, most: int) -> list[Sample]:
    """The samples that were taken last, newest first."""
    rows = connection.execute(
        text(f"SELECT {_COLUMNS} FROM health_samples ORDER BY taken_at DESC, id DESC LIMIT :most"),  # noqa: S608
        {"most": most},
    )
    return [Sample(*row) for row in rows]


def over(connection: Connection, back: timedelta, most: int) -> list[Sample]:
    """Samples from ``back`` ago until now, oldest first; of more than ``most`` every second, third, … one."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM ("  # noqa: S608  a constant
            "SELECT *, row_number() OVER (ORDER BY taken_at DESC, id DESC) AS number, count(*) OVER () AS many "
            "FROM health_samples WHERE taken_at > now() - :back"
            ") AS recent WHERE (number - 1) % greatest(1, ceil(many / CAST(:most AS numeric))::int) = 0 "
            "ORDER BY taken_at, id"
        ),
        {"back": back, "most": most},
    )
    return [Sample(*row) for row in rows]


def newest_with_age(connection: Connection) -> tuple[Sample, float] | None:
    """The sample that was taken last and how old it is (s), by the database's clock; None where there is none."""
    samples = newest(connection, 1)
    if not samples:
        return None
    age = connection.scalar(text("SELECT extract(epoch FROM now() - :then)"), {"then": samples[0].taken_at})
    return samples[0], float(age or 0.0)
