"""The user that the application is in the embedded Postgres: it owns nothing, and row security holds for it."""

from __future__ import annotations

from psycopg import sql
from psycopg.errors import DuplicateObject, UniqueViolation
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from crew_pipeline.storage.database import Database, application_url

APPLICATION_ROLE = "crew_app"

_OWNED = """
SELECT format('ALTER %s %I.%I OWNER TO %I', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname,
              CAST(:role AS text))
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = 'public' AND relkind IN ('r', 'p', 'S') AND pg_get_userbyid(relowner) <> :role
  AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i'))
"""


def ensure_role(server_url: str) -> None:
    """Make the application's user, without any right to begin with; several processes may at once.

    Args:
        server_url: by which an administrator of the server connects.
    """
    engine = create_engine(application_url(server_url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            known = text("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :role)")
            if connection.scalar(known, {"role": APPLICATION_ROLE}):
                return
            create = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS").format(sql.Identifier(APPLICATION_ROLE))
            connection.exec_driver_sql(create.as_string())
    except (IntegrityError, ProgrammingError) as error:
        if not isinstance(error.orig, (DuplicateObject, UniqueViolation)):
            raise
    finally:
        engine.dispose()


_GRANTS = (
    f"GRANT USAGE ON SCHEMA public TO {APPLICATION_ROLE}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APPLICATION_ROLE}",
    f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {APPLICATION_ROLE}",
    f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APPLICATION_ROLE}",
)


def grant_to_application(connection: Connection) -> None:
    """Let the application's user work with the tables, where the server has that user."""
    known = text("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :role)")
    if connection.scalar(known, {"role": APPLICATION_ROLE}):
        for statement in _GRANTS:
            connection.exec_driver_sql(statement)


def grant(owners_db: Database) -> None:
    """``grant_to_application``, by the owner of the tables."""
    with owners_db.write() as connection:
        grant_to_application(connection)


def hand_over(database_url: str, name: str) -> None:
    """Let the application's user own a database and all that is in it (Dagster's, whose tables Dagster makes itself).

    Args:
        database_url: of that database, as an administrator of the server.
    """
    engine = create_engine(application_url(database_url))
    try:
        with engine.begin() as connection:
            _hand_over(connection, name)
    finally:
        engine.dispose()


def _hand_over(connection: Connection, name: str) -> None:
    owner = connection.scalar(
        text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name"), {"name": name}
    )
    if owner == APPLICATION_ROLE:
        return
    # Two that start at once: the later one finds it done.
    connection.execute(text("SELECT pg_advisory_xact_lock(7305120118)"))
    for statement in connection.scalars(text(_OWNED), {"role": APPLICATION_ROLE}).all():
        connection.exec_driver_sql(statement)
    to = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(APPLICATION_ROLE))
    connection.exec_driver_sql(to.as_string())
