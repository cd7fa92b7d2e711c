"""History tables for the tests, in real databases, in the shapes that are found in the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from crew_pipeline.discovery.discover import discover
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import set_history

NOW = datetime(2025, 1, 20, 12, 0, tzinfo=UTC)

SHAPES = {
    "timed": "id bigserial PRIMARY KEY, session_id text NOT NULL, message jsonb NOT NULL, "
    "created_at timestamptz DEFAULT '2025-01-15T09:00:00Z'",
    "n8n": "id serial PRIMARY KEY, session_id varchar(255) NOT NULL, message jsonb NOT NULL",
    "langchain": "id serial PRIMARY KEY, session_id uuid NOT NULL, message jsonb NOT NULL, "
    "created_at timestamptz NOT NULL DEFAULT '2025-01-15T09:00:00Z'",
    "plain": "session_id text, speaker text, text text, created_at timestamptz",
}


@dataclass
class History:
    """A history table in a Postgres, and the crew that reads it."""

    db: Database
    settings: Settings
    url: str
    name: str = "told"

    def make(self, shape: str = "timed", *, also: str = "") -> History:
        self.sql(f"CREATE TABLE {self.name} ({SHAPES[shape]}); {also}")
        with self.db.write() as connection:
            set_history(connection, "acme", "agents", "HISTORIES", self.name)
        return self

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def say(self, session: str, *texts: str, at: str = "2025-01-15T09:00:00Z") -> None:
        """Add messages of a session to a table of shape ``timed``."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            self.say_in(connection, session, *texts, at=at)

    def say_in(
        self, connection: psycopg.Connection[Any], session: str, *texts: str, at: str = "2025-01-15T09:00:00Z"
    ) -> None:
        for words in texts:
            connection.execute(
                f"INSERT INTO {self.name} (session_id, message, created_at) VALUES (%s, %s, %s)",
                (session, json.dumps({"type": "human", "content": words}), at),
            )

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own whose work becomes visible when the caller commits."""
        with psycopg.connect(self.url) as connection:
            yield connection

    def discover(self, **changes: Any) -> CrewReport:
        """One round; settings may be changed for it."""
        chosen = self.settings.model_copy(update=changes)
        (report,) = discover(self.db, chosen, NOW, "acme")
        assert report.error is None
        return report

    def texts(self, session: str | None = None) -> list[str]:
        """The stored texts, of one session or of all, in order."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT text FROM lines JOIN data_items ON id = conversation_id "
                "WHERE %s::text IS NULL OR session_id = %s ORDER BY position, session_id",
                (session, session),
            ).fetchall()
        return [row[0] for row in rows]
