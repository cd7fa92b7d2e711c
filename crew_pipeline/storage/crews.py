"""Crews: where conversations come from, and what the last discovery of each saw."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, text

_NAME = re.compile(r"^[a-z0-9_]+$")


class CrewError(ValueError):
    """A crew cannot be added or found; the message says why."""


@dataclass(frozen=True)
class HistorySource:
    """A crew with a history table.

    Attributes:
        source_env: environment variable that holds the address of the source database; unset: the application's own.
    """

    crew_id: int
    client: str
    code: str
    source_env: str | None
    history_table: str


def ensure_crew(connection: Connection, client: str, code: str) -> int:
    """The id of a crew, made on first use."""
    found = connection.scalar(
        text("SELECT id FROM crews WHERE client = :client AND code = :code"), {"client": client, "code": code}
    )
    if found is None:
        found = connection.scalar(
            text(
                "INSERT INTO crews (client, code) VALUES (:client, :code) "
                "ON CONFLICT (client, code) DO UPDATE SET code = excluded.code RETURNING id"
            ),
            {"client": client, "code": code},
        )
    return int(found)


def set_history(connection: Connection, client: str, code: str, source_env: str | None, table: str) -> int:
    """Let a crew read its conversations from a history table.

    Raises:
        CrewError: the table's name holds anything but lower-case letters, digits and underscores.
    """
    if not _NAME.fullmatch(table):
        raise CrewError(f"{table!r} is not a table name that can be read: use lower-case letters, digits and _ only.")
    crew_id = ensure_crew(connection, client, code)
    connection.execute(
        text("UPDATE crews SET source_env = :source_env, history_table = :table, active = true WHERE id = :id"),
        {"source_env": source_env, "table": table, "id": crew_id},
    )
    return crew_id


def deactivate(connection: Connection, client: str, code: str) -> bool:
    """Stop reading a crew's history table; whether there was one that was read."""
    return (
        connection.execute(
            text(
                "UPDATE crews SET active = false WHERE client = :client AND code = :code AND active "
                "AND history_table IS NOT NULL"
            ),
            {"client": client, "code": code},
        ).rowcount
        == 1
    )


def history_sources(connection: Connection, client: str | None = None) -> list[HistorySource]:
    """Active crews that have a history table, by client and code."""
    rows = connection.execute(
        text(
            "SELECT id AS crew_id, client, code, source_env, history_table FROM crews WHERE active "
            "AND history_table IS NOT NULL AND (CAST(:client AS text) IS NULL OR client = :client) "
            "ORDER BY client, code"
        ),
        {"client": client},
    )
    return [HistorySource(**row._mapping) for row in rows]


def record_discovery(connection: Connection, source: HistorySource, sessions: int, error: str | None) -> None:
    """Note how a discovery of a crew ended."""
    connection.execute(
        text("""
            INSERT INTO crew_discovery_state AS state
                (crew_id, histories_table_name, last_discovered_at, last_session_count, consecutive_failures,
                 last_error)
            VALUES (:crew_id, :table, now(), :sessions, CASE WHEN :failed THEN 1 ELSE 0 END, :error)
            ON CONFLICT (crew_id) DO UPDATE SET
                histories_table_name = excluded.histories_table_name,
                last_discovered_at = CASE WHEN :failed THEN state.last_discovered_at ELSE now() END,
                last_session_count =
                    CASE WHEN :failed THEN state.last_session_count ELSE excluded.last_session_count END,
                consecutive_failures = CASE WHEN :failed THEN state.consecutive_failures + 1 ELSE 0 END,
                last_error = excluded.last_error, updated_at = now()
        """),
        {
            "crew_id": source.crew_id,
            "table": source.history_table,
            "sessions": sessions,
            "error": error,
            "failed": error is not None,
        },
    )
