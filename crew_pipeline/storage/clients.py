"""What a client has set otherwise than the system."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.dedup.pair_model import Point


def folding_of(connection: Connection, client: str) -> Point | None:
    """The client's own operating point, if it has one."""
    found: Point | None = connection.scalar(
        text("SELECT folding FROM client_settings WHERE client = :client"), {"client": client}
    )
    return found


def set_folding(connection: Connection, client: str, folding: Point | None) -> None:
    """Give a client an operating point of its own; None goes back to the system's."""
    if folding is None:
        connection.execute(text("DELETE FROM client_settings WHERE client = :client"), {"client": client})
        return
    connection.execute(
        text(
            "INSERT INTO client_settings (client, folding) VALUES (:client, :folding) "
            "ON CONFLICT (client) DO UPDATE SET folding = excluded.folding"
        ),
        {"client": client, "folding": folding},
    )


class ClientInfo(NamedTuple):
    """A client and what it has."""

    client: str
    conversations: int
    days: int
    folding: Point | None


def list_all(connection: Connection) -> list[ClientInfo]:
    """Every client that has conversations or a setting, by name."""
    rows = connection.execute(
        text("""
            SELECT client, coalesce(conversations, 0), coalesce(days, 0), folding
            FROM (SELECT client, count(*) AS conversations, count(DISTINCT days_date) AS days
                  FROM data_items GROUP BY client) AS having_some
            FULL JOIN client_settings USING (client) ORDER BY client
        """)
    )
    return [ClientInfo(*row) for row in rows]
