"""Where the databases are: the embedded Postgres of the data directory, or the server that the settings name."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage import embedded
from crew_pipeline.storage.database import Database, dagster_url, database_at, ensure_database, unavailable
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline.storage.migrate import migrate
from crew_pipeline.storage.roles import APPLICATION_ROLE, ensure_role, hand_over

DATABASE_URL_VARIABLE = "CREW_DATABASE_URL"
DAGSTER_URL_VARIABLE = "DAGSTER_POSTGRES_URL"


@dataclass(frozen=True)
class Databases:
    """Addresses of the two databases.

    Attributes:
        application: ``postgresql://…`` of the tables.
        dagster: the same server's database for Dagster's own storage, with the driver that Dagster needs.
        embedded: the embedded server, where it is used.
        owner: address of the application's database for whoever owns its tables; where it is the application itself,
            None.
    """

    application: str
    dagster: str
    embedded: EmbeddedPostgres | None = None
    owner: str | None = None

    @property
    def db(self) -> Database:
        """The door to the application's database."""
        return database_at(self.application)

    @property
    def owners_db(self) -> Database:
        """The door of the tables' owner: for migrations, backups, and what else only an owner may do."""
        return database_at(self.owner or self.application)

    def revive(self) -> bool:
        """Restart the embedded server if it died; returns whether it had. A server of your own is left alone.

        Raises:
            EmbeddedPostgresError: it does not come up.
        """
        return self.embedded is not None and self.embedded.revive()

    def environment(self) -> dict[str, str]:
        """The variables by which other processes find both."""
        return {DATABASE_URL_VARIABLE: self.application, DAGSTER_URL_VARIABLE: self.dagster}


@contextmanager
def open_databases(settings: Settings, *, prepare: bool = True) -> Iterator[Databases]:
    """Both databases, made and migrated on first use; the embedded server is left when the block ends.

    Raises:
        EmbeddedPostgresError: the embedded server does not start.
        DatabaseUnavailableError: the configured server does not answer.
    """
    if settings.database_url:
        application = settings.database_url
        base = make_url(application)
        dagster = os.environ.get(DAGSTER_URL_VARIABLE) or dagster_url(
            base.set(database=f"{base.database}_dagster").render_as_string(hide_password=False)
        )
        databases = Databases(application, dagster, owner=settings.owner_database_url)
        if prepare:
            _prepare(databases)
        yield databases
        return
    with embedded.embedded_postgres(settings.home_path) as server:
        databases = Databases(
            server.url(embedded.APPLICATION_DATABASE, APPLICATION_ROLE),
            dagster_url(server.url(embedded.DAGSTER_DATABASE, APPLICATION_ROLE)),
            server,
            server.url(embedded.APPLICATION_DATABASE),
        )
        if prepare:
            _prepare_embedded(databases, server)
        try:
            yield databases
        finally:
            databases.db.close()


@lru_cache(maxsize=1)
def joined_embedded_url(home: str) -> str:
    """The application's database on the embedded server of ``home``, which is joined for the rest of this process."""
    stack = ExitStack()
    url = stack.enter_context(open_databases(load_settings(home=home, database_url=None))).application
    atexit.register(stack.close)
    return url


def _prepare_embedded(databases: Databases, server: EmbeddedPostgres) -> None:
    """Both databases and the application's user, who owns Dagster's and none of the application's own tables."""
    administrator = server.url("postgres")
    ensure_role(administrator)
    for name in (embedded.APPLICATION_DATABASE, embedded.DAGSTER_DATABASE):
        ensure_database(administrator, name)
    hand_over(server.url(embedded.DAGSTER_DATABASE), embedded.DAGSTER_DATABASE)
    migrate(databases.owners_db)


def _prepare(databases: Databases) -> None:
    for url in (databases.owner or databases.application, databases.dagster):
        if name := make_url(url).database:
            _ensure_reachable(url, name)
    migrate(databases.owners_db)


def _ensure_reachable(url: str, name: str) -> None:
    """Connect to ``url``; where the database is missing, create it through the server's maintenance database."""
    try:
        with database_at(url).read():
            return
    except OperationalError as error:
        if "does not exist" not in str(error.orig):
            raise unavailable(url) from error
    ensure_database(make_url(url).set(database="postgres").render_as_string(hide_password=False), name)
