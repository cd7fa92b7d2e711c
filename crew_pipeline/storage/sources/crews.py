"""Crews: where conversations come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.storage.conversations.clients import ensure_client

_NAME = re.compile(r"[^\x00-\x1f\x7f\"`;\\]{1,128}")
"""Whatever a database allows, but for what only somebody writes who is after something else."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FIELDS = ("id", "session_id", "message", "speaker", "text", "created_at")
"""What a history table can tell, by the names that a mapping of columns uses."""


class CrewError(ValueError):
    """A crew cannot be added or found; the message says why."""


@dataclass(frozen=True)
class HistorySource:
    """A crew with a history table.

    Attributes:
        source_env: environment variable that holds the address of the source database; unset: the application's own.
        columns: column by field, where it is not to be guessed.
        timezone: the client's own, where it has one.
    """

    crew_id: int
    client: str
    code: str
    source_env: str | None
    history_table: str
    columns: dict[str, str] = field(default_factory=dict)
    timezone: str | None = None


def ensure_crew(connection: Connection, client: str, code: str) -> int:
    """The id of a crew, made on first use."""
    crew_id = connection.scalar(
        text("SELECT id FROM crews WHERE client = :client AND code = :code"), {"client": client, "code": code}
    )
    if crew_id is None:
        ensure_client(connection, client)
        crew_id = connection.scalar(
            text(
                "INSERT INTO crews (client, code) VALUES (:client, :code) "
                "ON CONFLICT (client, code) DO UPDATE SET code = excluded.code RETURNING id"
            ),
            {"client": client, "code": code},
        )
    return int(crew_id)


def set_history(
    connection: Connection,
    client: str,
    code: str,
    source_env: str | None,
    table: str,
    columns: Mapping[str, str] | None = None,
) -> int:
    """Let a crew read its conversations from a history table.

    A new table or source is read from its beginning; what it shares with the old one is recognised.

    Raises:
        CrewError: a name holds quotes, semicolons or control characters, or the source is no variable.
    """
    checked_names(client, code, source_env, table, columns or {})
    crew_id = ensure_crew(connection, client, code)
    changed = connection.execute(
        text("""
            UPDATE crews SET source_env = :source_env, history_table = :table, columns = CAST(:columns AS jsonb),
                             active = true
            WHERE id = :id AND (source_env, history_table, columns, active)
                IS DISTINCT FROM (:source_env, :table, CAST(:columns AS jsonb), true)
        """),
        {
            "source_env": source_env,
            "table": table,
            "columns": orjson.dumps(dict(columns or {})).decode(),
            "id": crew_id,
        },
    ).rowcount
    if changed:
        connection.execute(
            text("UPDATE crew_discovery_state SET next_attempt_at = NULL WHERE crew_id = :id"), {"id": crew_id}
        )
    return crew_id


def checked_names(client: str, code: str, source_env: str | None, table: str, columns: Mapping[str, str]) -> None:
    """Let only names through that can be quoted safely and read back unharmed.

    Raises:
        CrewError: naming the first that cannot.
    """
    if not client.strip() or not code.strip() or "\x00" in client + code:
        raise CrewError("A client and a crew need a name each; give one that is not empty.")
    if not _NAME.fullmatch(table):
        raise CrewError(f"{table!r} is not a table name that can be read: it holds a quote, a semicolon or worse.")
    for name, column in columns.items():
        if name not in FIELDS:
            raise CrewError(f"{name!r} is no field of a history table; known are {', '.join(FIELDS)}.")
        if not _NAME.fullmatch(column):
            raise CrewError(f"{column!r} is not a column that can be read: it holds a quote, a semicolon or worse.")
    if source_env is not None and not _VARIABLE.fullmatch(source_env):
        raise CrewError(
            "The source is given by the name of an environment variable that holds its address, such as AGENTS_DB; "
            "put the address itself there and nowhere else."
        )


def deactivate(connection: Connection, client: str, code: str) -> bool:
    """Stop reading a crew's history table; returns whether it was read."""
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


_SOURCES = """
SELECT crews.id AS crew_id, client, code, source_env, history_table, columns,
       clients.timezone
FROM crews JOIN clients USING (client)
LEFT JOIN crew_discovery_state AS state ON state.crew_id = crews.id
WHERE crews.active AND clients.active AND history_table IS NOT NULL
  AND (CAST(:client AS text) IS NULL OR client = :client)
  AND (CAST(:code AS text) IS NULL OR code = :code)
  AND (NOT :due OR next_attempt_at IS NULL OR next_attempt_at <= now())
ORDER BY state.last_round_at NULLS FIRST, client, code
"""


def history_sources(
    connection: Connection, client: str | None = None, code: str | None = None, *, due: bool = False
) -> list[HistorySource]:
    """Active crews of active clients that have a history table, the one that waits longest first.

    Args:
        due: leave out those that have failed and are to be left alone for a while.
    """
    rows = connection.execute(text(_SOURCES), {"client": client, "code": code, "due": due})
    return [HistorySource(**row._mapping) for row in rows]
