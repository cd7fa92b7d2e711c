"""Clients, and what each has set otherwise than the system."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import OperatingPoint
from crew_pipeline.settings import Settings


def ensure_client(connection: Connection, client: str) -> None:
    """Make a client on first use."""
    connection.execute(
        text("INSERT INTO clients (client) VALUES (:client) ON CONFLICT (client) DO NOTHING"), {"client": client}
    )


def folding_of(connection: Connection, client: str) -> OperatingPoint | None:
    """The client's own operating point, if it has one."""
    folding: OperatingPoint | None = connection.scalar(
        text("SELECT folding FROM clients WHERE client = :client"), {"client": client}
    )
    return folding


def set_folding(connection: Connection, client: str, folding: OperatingPoint | None) -> None:
    """Give a client an operating point of its own; None goes back to the system's."""
    ensure_client(connection, client)
    connection.execute(
        text("UPDATE clients SET folding = :folding WHERE client = :client"), {"client": client, "folding": folding}
    )


def settings_of(connection: Connection, settings: Settings, client: str, *, hold: bool = False) -> Settings:
    """The settings as they are for a client, which may have a time zone of its own.

    Args:
        hold: let nobody change it until the transaction ends.
    """
    return settings.in_zone(timezone_of(connection, client, hold=hold))


def timezone_of(connection: Connection, client: str, *, hold: bool = False) -> str | None:
    """The client's own time zone, if it has one; with ``hold`` it stays until the transaction ends."""
    asked = "SELECT timezone FROM clients WHERE client = :client"
    zone: str | None = connection.scalar(text(f"{asked} FOR SHARE" if hold else asked), {"client": client})
    return zone


def set_timezone(connection: Connection, client: str, zone: str | None) -> bool:
    """Give a client a time zone of its own; None goes back to the system's. Returns whether it had another.

    Its conversations stay in their days, see ``rezoning``.
    """
    ensure_client(connection, client)
    return bool(
        connection.execute(
            text("UPDATE clients SET timezone = :zone WHERE client = :client AND timezone IS DISTINCT FROM :zone"),
            {"client": client, "zone": zone},
        ).rowcount
    )


def timezones(connection: Connection) -> list[str]:
    """The time zones that clients have of their own."""
    return list(
        connection.scalars(text("SELECT DISTINCT timezone FROM clients WHERE timezone IS NOT NULL ORDER BY timezone"))
    )


def names(connection: Connection) -> list[str]:
    """Every client, by name."""
    return list(connection.scalars(text("SELECT client FROM clients ORDER BY client")))


def exists(connection: Connection, client: str) -> bool:
    """Whether a client is known."""
    found = connection.execute(text("SELECT 1 FROM clients WHERE client = :client"), {"client": client})
    return found.one_or_none() is not None


def set_active(connection: Connection, client: str, *, active: bool) -> None:
    """Let discovery read the client's crews, or not."""
    ensure_client(connection, client)
    connection.execute(
        text("UPDATE clients SET active = :active WHERE client = :client"), {"client": client, "active": active}
    )


class ClientInfo(NamedTuple):
    """A client and what it has."""

    client: str
    conversations: int
    days: int
    folding: OperatingPoint | None
    active: bool
    timezone: str | None


def list_all(connection: Connection) -> list[ClientInfo]:
    """Every client, by name."""
    rows = connection.execute(
        text("""
            SELECT client, coalesce(conversations, 0), coalesce(days, 0), folding, coalesce(active, true),
                   timezone
            FROM (SELECT client, count(*) AS conversations, count(DISTINCT days_date) AS days
                  FROM data_items GROUP BY client) AS having_some
            FULL JOIN clients USING (client) ORDER BY client
        """)
    )
    return [ClientInfo(*row) for row in rows]
