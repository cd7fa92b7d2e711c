"""Source databases: found by an environment variable, read-only, with a time limit on every statement."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from crew_pipeline.storage.database import Database, application_url
from crew_pipeline.storage.migrations.schema import Base
from crew_pipeline.storage.sources.crews import HistorySource

_CONNECT_WITHIN_S = 5
_SQLITE_STEPS = 100_000
_ENGINES_KEPT = 64


class SourceError(RuntimeError):
    """The source of a crew cannot be read; the message names table or variable and holds no credentials."""


@contextmanager
def opened(source: HistorySource, own: Database, statement_timeout_s: float) -> Iterator[Connection]:
    """A read-only connection to the source of a crew, closed for good afterwards.

    Args:
        own: the application's database, whose server is read where the crew names no variable.
        statement_timeout_s: longest time of one statement.

    Raises:
        SourceError: the environment variable is unset or holds no address that can be used.
    """
    engine = source_engine(source, own, statement_timeout_s)
    if _is_own_table(source.history_table) and _same_database(engine.url, application_url(own.url)):
        raise SourceError(
            f"{source.history_table} is a table of this application or of its server, and no history table; "
            f"name the table that the agents of {source.code} write."
        )
    with engine.connect() as connection:
        yield connection


def source_engine(source: HistorySource, own: Database, statement_timeout_s: float) -> Engine:
    """An engine for one crew's source; nothing can be written through it, and no connection is kept.

    Raises:
        SourceError: as of ``opened``.
    """
    url = application_url(own.url) if source.source_env is None else _url_in(source)
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "").expanduser()
        if not url.database or url.database == ":memory:" or not path.is_file():
            raise SourceError(f"{source.source_env} names no SQLite file that is there; check its path.")
        return _sqlite(path.absolute(), statement_timeout_s)
    try:
        return _server(url, statement_timeout_s)
    except ImportError as error:
        raise SourceError(
            f"{source.source_env} needs the driver {error.name}; install it beside crew-pipeline."
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise _unusable(source) from None


def _is_own_table(name: str) -> bool:
    """Whether a name may be that of a table that holds all clients' lines, or what the server knows of itself."""
    *schema, table = (part.strip('"').lower() for part in name.split("."))
    of_server = bool({"pg_catalog", "information_schema", "pg_toast"} & {*schema}) or table.startswith("pg_")
    return of_server or table == "alembic_version" or table in Base.metadata.tables


def _same_database(one: URL, other: URL) -> bool:
    """Whether two addresses lead to one database, as far as they tell."""

    def place(url: URL) -> tuple[object, ...]:
        return url.get_backend_name(), url.host or url.query.get("host"), url.port or 5432, url.database

    return place(one) == place(other)


@lru_cache(maxsize=_ENGINES_KEPT)
def _server(url: URL, statement_timeout_s: float) -> Engine:
    """An engine that is kept, so that rounds need not compile their statements anew."""
    if url.get_backend_name() == "postgresql":
        return _engine(url, connect_args=_postgres_arguments(url, int(statement_timeout_s * 1000)))
    if url.get_backend_name() not in {"mysql", "mariadb"}:
        return _engine(url)
    within = {"connect_timeout": _CONNECT_WITHIN_S, "read_timeout": max(1, int(statement_timeout_s))}
    engine = _engine(url, connect_args=within)
    event.listen(engine, "connect", _mysql_read_only)
    return engine


def _url_in(source: HistorySource) -> URL:
    assert source.source_env is not None
    address = os.environ.get(source.source_env)
    if not address:
        raise SourceError(
            f"{source.source_env} is not set; put the address of the source database of {source.code} there."
        )
    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise _unusable(source) from None
    if "@" in (url.host or ""):
        # Half of the password would be taken for the host, and told with every error.
        raise SourceError(f"The password in {source.source_env} has an @ in it; write it as %40.")
    if url.drivername in {"mysql", "mariadb"}:
        url = url.set(drivername=f"{url.drivername}+pymysql")
    return url


def _engine(url: URL | str, **more: Any) -> Engine:
    """An engine whose errors hold no values."""
    return create_engine(url, poolclass=NullPool, hide_parameters=True, **more)


def _unusable(source: HistorySource) -> SourceError:
    return SourceError(
        f"{source.source_env} holds no address that can be used; write it like postgresql://… or sqlite:///…"
    )


def _postgres_arguments(url: URL, milliseconds: int) -> dict[str, Any]:
    given = url.query.get("options", "")
    options = f"{given if isinstance(given, str) else ' '.join(given)} -c default_transaction_read_only=on"
    return {
        "options": f"{options} -c statement_timeout={milliseconds} -c timezone=UTC -c jit=off".strip(),
        "connect_timeout": _CONNECT_WITHIN_S,
        "tcp_user_timeout": milliseconds + 1000 * _CONNECT_WITHIN_S,
        "application_name": "crew-discovery",
    }


def _mysql_read_only(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.execute("SET time_zone = '+00:00'")


@lru_cache(maxsize=_ENGINES_KEPT)
def _sqlite(path: Path, statement_timeout_s: float) -> Engine:
    address = f"{path.as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=_CONNECT_WITHIN_S)
        connection.execute("PRAGMA query_only = ON")
        # What is not UTF-8 comes as lone surrogates, which are refused row by row.
        connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        return connection

    # This address is never connected to; it only tells sources apart.
    engine = _engine(URL.create("sqlite", database=str(path)), creator=connect)
    event.listen(engine, "before_cursor_execute", partial(_limit_sqlite, statement_timeout_s))
    return engine


def _limit_sqlite(seconds: float, connection: Connection, *_: Any) -> None:
    """Let a statement run no longer than this; SQLite asks now and then whether it may go on."""
    until = time.monotonic() + seconds
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: time.monotonic() > until, _SQLITE_STEPS)
