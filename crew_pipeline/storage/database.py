"""Connections to the application's Postgres."""

from __future__ import annotations

from functools import lru_cache

from psycopg.errors import DuplicateDatabase, UniqueViolation
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

DRIVER = "postgresql+psycopg"


class DatabaseUnavailableError(RuntimeError):
    """The database does not answer; the message says what to do and holds no password."""


def application_url(url: str) -> URL:
    """``url`` with the application's driver (psycopg 3)."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername=DRIVER)


def dagster_url(url: str) -> str:
    """``url`` with the driver that dagster-postgres works with (psycopg2); with psycopg 3 its NOTIFY fails."""
    parsed = make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg2")
    return parsed.render_as_string(hide_password=False)


def libpq_url(url: str) -> str:
    """``url`` as psycopg itself takes it."""
    return application_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@lru_cache(maxsize=8)
def engine_for(url: str) -> Engine:
    """The pooled engine of ``url`` in this process; sessions run in UTC."""
    return create_engine(
        application_url(url),
        pool_size=5,
        max_overflow=10,
        pool_pre_ping=True,
        connect_args={"options": "-c timezone=UTC -c jit=off", "application_name": "crew"},
    )


def unavailable(url: str) -> DatabaseUnavailableError:
    """The error to raise when the server of ``url`` does not answer."""
    return DatabaseUnavailableError(
        f"The Postgres at {application_url(url).host or 'the local socket'} does not answer or refuses the user; check "
        "that it runs and that CREW_DATABASE_URL is right."
    )


def ensure_database(server_url: str, name: str) -> None:
    """Create database ``name`` on the server unless it is there.

    Raises:
        DatabaseUnavailableError: the server does not answer.
    """
    engine = create_engine(application_url(server_url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
            if not found:
                connection.execute(text(f"CREATE DATABASE {connection.dialect.identifier_preparer.quote(name)}"))
    except OperationalError as error:
        raise unavailable(server_url) from error
    except (IntegrityError, ProgrammingError) as error:
        # Another process that starts at the same time has made it since the look above.
        if not isinstance(error.orig, (UniqueViolation, DuplicateDatabase)):
            raise
    finally:
        engine.dispose()
