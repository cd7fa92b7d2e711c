"""Bring a database to the newest schema (Alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from crew_pipeline.storage.database import Database

# One migration at a time, whoever starts it: the number is arbitrary but must not change.
_LOCK = 7_305_120_117


def _config(engine: Engine | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    return config


def migrate(db: Database) -> None:
    """Run the migrations that are missing; several processes may call it at once."""
    with db.read() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            if pending(db):
                command.upgrade(_config(db.engine), "head")
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()


def pending(db: Database) -> bool:
    """Whether the database lacks migrations that this version has."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    with db.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() != head
