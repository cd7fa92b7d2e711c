"""Bring a database to the newest schema (Alembic)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from crew_pipeline.storage.database import Database, DatabaseUnavailableError

State = Literal["current", "behind", "ahead"]
"""Of a schema, as this version sees it."""

# One migration at a time, whoever starts it: the number is arbitrary but must not change.
_LOCK = 7_305_120_117


def _config(engine: Engine | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    return config


def migrate(db: Database) -> None:
    """Run the migrations that are missing; several processes may call it at once.

    Raises:
        DatabaseUnavailableError: this user may not change the tables.
    """
    with db.read() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            if pending(db):
                command.upgrade(_config(db.engine), "head")
        except ProgrammingError as error:
            if isinstance(error.orig, InsufficientPrivilege):
                raise DatabaseUnavailableError(
                    "The tables are those of an older version, and this user may not change them; run 'crew migrate' "
                    "with their owner in CREW_OWNER_DATABASE_URL."
                ) from error
            raise
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()


def pending(db: Database) -> bool:
    """Whether the database lacks migrations that this version has."""
    return state_of(db) == "behind"


def state_of(db: Database) -> State:
    """How the schema stands to this version. One that is ahead is a newer version's, which the one before it can work
    with while both run."""
    scripts = ScriptDirectory.from_config(_config())
    with db.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return "current"
    known = {revision.revision for revision in scripts.walk_revisions()}
    return "behind" if current is None or current in known else "ahead"
