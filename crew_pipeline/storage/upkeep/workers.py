"""Warm workers: who is alive."""

from __future__ import annotations

import os

from sqlalchemy import Connection, text

ALIVE_WITHIN_S = 30


def name_of(pid: int) -> str:
    """What a worker process of this machine is called."""
    return f"{os.uname().nodename}-{pid}"


def beat(connection: Connection, worker: str, resident_mb: int) -> None:
    """Say that ``worker`` lives."""
    connection.execute(
        text(
            "INSERT INTO workers (id, resident_mb) VALUES (:id, :mb) "
            "ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), resident_mb = excluded.resident_mb"
        ),
        {"id": worker, "mb": resident_mb},
    )
    connection.execute(text("DELETE FROM workers WHERE heartbeat_at < now() - interval '1 hour'"))


def leave(connection: Connection, worker: str) -> None:
    """Say that ``worker`` stops."""
    connection.execute(text("DELETE FROM workers WHERE id = :id"), {"id": worker})


def alive(connection: Connection) -> int:
    """How many workers had a heartbeat lately."""
    count = connection.scalar(
        text("SELECT count(*) FROM workers WHERE heartbeat_at > now() - make_interval(secs => :within)"),
        {"within": ALIVE_WITHIN_S},
    )
    return int(count or 0)


def is_alive(connection: Connection, worker: str) -> bool:
    """Whether a worker had a heartbeat lately."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM workers WHERE id = :id "
                "AND heartbeat_at > now() - make_interval(secs => :s))"
            ),
            {"id": worker, "s": ALIVE_WITHIN_S},
        )
    )


def freshest_age_s(connection: Connection) -> float | None:
    """The age of the newest heartbeat of all workers (s); None where there is none."""
    age_s = connection.scalar(text("SELECT extract(epoch FROM now() - max(heartbeat_at)) FROM workers"))
    return None if age_s is None else float(age_s)
