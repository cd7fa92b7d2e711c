"""How visitors were served: requests for days that were hits, stale or misses, and how long they took, by the hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text

Kind = Literal["hit", "stale", "miss"]
KINDS: tuple[Kind, ...] = ("hit", "stale", "miss")
KEPT = timedelta(days=90)


class Visits(NamedTuple):
    """Requests of one kind, and their time together (ms)."""

    visits: int
    milliseconds: float


def add(connection: Connection, visits: Mapping[tuple[str, Kind], Visits]) -> None:
    """Count requests, by client and kind, into the present hour; what is older than 90 days is forgotten."""
    connection.execute(
        text("""
            INSERT INTO day_visits AS known (client, kind, hour, visits, milliseconds)
            SELECT client, kind, date_trunc('hour', now()), visits, milliseconds
            FROM unnest(CAST(:clients AS text[]), CAST(:kinds AS text[]), CAST(:counts AS bigint[]),
                        CAST(:times AS double precision[])) AS told (client, kind, visits, milliseconds)
            ON CONFLICT (client, kind, hour) DO UPDATE
                SET visits = known.visits + excluded.visits, milliseconds = known.milliseconds + excluded.milliseconds
        """),
        {
            "clients": [client for client, _ in visits],
            "kinds": [kind for _, kind in visits],
            "counts": [counted.visits for counted in visits.values()],
            "times": [counted.milliseconds for counted in visits.values()],
        },
    )
    connection.execute(text("DELETE FROM day_visits WHERE hour < now() - :kept"), {"kept": KEPT})


def since(connection: Connection, back: timedelta, client: str | None = None) -> dict[Kind, Visits]:
    """Requests from ``back`` ago until now, by kind."""
    rows = connection.execute(
        text(
            "SELECT kind, sum(visits) AS visits, sum(milliseconds) AS milliseconds FROM day_visits "
            "WHERE hour > now() - :back AND (CAST(:client AS text) IS NULL OR client = :client) GROUP BY kind"
        ),
        {"back": back, "client": client},
    )
    by_kind = {row.kind: Visits(int(row.visits), float(row.milliseconds)) for row in rows}
    return {kind: by_kind.get(kind, Visits(0, 0.0)) for kind in KINDS}


def by_day(connection: Connection, back: timedelta) -> list[tuple[date, dict[Kind, int]]]:
    """Requests of each kind, day by day (UTC), oldest first; days without any are left out."""
    rows = connection.execute(
        text(
            "SELECT (hour AT TIME ZONE 'UTC')::date AS day, kind, sum(visits)::bigint AS visits FROM day_visits "
            "WHERE hour > now() - :back GROUP BY 1, 2 ORDER BY 1"
        ),
        {"back": back},
    )
    found: dict[date, dict[Kind, int]] = {}
    for day, kind, visits in rows:
        found.setdefault(day, dict.fromkeys(KINDS, 0))[kind] = visits
    return list(found.items())


def instant_share(visits: Mapping[Kind, Visits]) -> float | None:
    """The share of requests that were answered at once, hits and stale ones; None without requests."""
    everything = sum(counted.visits for counted in visits.values())
    return None if not everything else (visits["hit"].visits + visits["stale"].visits) / everything
