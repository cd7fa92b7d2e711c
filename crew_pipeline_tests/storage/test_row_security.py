"""The database itself keeps clients apart: with the application's own user, whatever SQL is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from crew_pipeline.model import ClientDay
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database, database_at, libpq_url
from crew_pipeline.storage.days import documents
from crew_pipeline.storage.migrations.schema import Base
from crew_pipeline_tests.conftest import ENGINE, Run, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]

SHARED = {
    "alerts", "health_samples", "workers",  # of the system
    "tombstones", "tombstone_covers", "tombstone_secret",  # hashes of what was forgotten
}  # fmt: skip
"""Tables that hold nothing that says whose it is."""


@pytest.fixture
def full(db: Database, run_days: Run) -> Database:
    """Two clients with the same talk, made ready, and what else there is of clients."""
    for client in ("acme", "rival"):
        said = [("Ann", "the printer on the second floor is broken again"), ("Ben", "please call the service"),
                ("Ann", "the printer on the second floor is broken again")]  # fmt: skip
        bring(db, lines_at("2025-01-15", "a", *said), client=client)
        with db.write() as connection:
            tokens.create(connection, client)
            tokens.make_ticket(connection, client, None, timedelta(hours=1))
    assert run_days("2025-01-15").success
    return db


@pytest.fixture
def raw(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection of the application's user that goes round the application."""
    with psycopg.connect(libpq_url(database_url), autocommit=True) as connection:
        yield connection


def tables_of_clients() -> list[str]:
    return sorted({*Base.metadata.tables} - SHARED)


def count(connection: psycopg.Connection[tuple[object, ...]], table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[call-overload]
    assert row is not None
    return int(row[0])


def test_every_table_that_holds_a_clients_data_is_guarded(query: Query) -> None:
    guarded = query("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity ORDER BY 1")
    assert [name for (name,) in guarded] == tables_of_clients()


def test_the_applications_user_owns_nothing_and_is_held_by_it(query: Query) -> None:
    assert query(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'crew_app'"
    ) == [(False, False, False, False)]
    assert query("SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = 'crew_app'") == [(0,)]


@pytest.mark.usefixtures("full")
def test_who_names_no_client_sees_nothing(raw: psycopg.Connection[tuple[object, ...]]) -> None:
    for table in tables_of_clients():
        assert count(raw, table) == 0, table
    raw.execute("SELECT set_config('crew.client', '', false)")
    assert count(raw, "lines") == 0


@pytest.mark.usefixtures("full")
def test_who_names_a_client_sees_that_clients_rows_alone(
    raw: psycopg.Connection[tuple[object, ...]], query: Query
) -> None:
    raw.execute("SELECT set_config('crew.client', 'acme', false)")
    for table in tables_of_clients():
        # Both have the same, so that half of it is one's where no column says whose it is.
        named = "client" in Base.metadata.tables[table].columns
        counted = "count(*) FILTER (WHERE client = 'acme')" if named else "count(*) / 2"
        assert [(count(raw, table),)] == query(f"SELECT {counted} FROM {table}"), table
    assert raw.execute("SELECT DISTINCT client FROM data_items").fetchall() == [("acme",)]
    for write in (
        "INSERT INTO clients (client) VALUES ('other')",
        "INSERT INTO day_events (client, day, type, payload) VALUES ('rival', '2025-01-15', 'x', '{}')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            raw.execute(write)  # type: ignore[arg-type]
    assert raw.execute("UPDATE lines SET text = 'changed'").rowcount == 3
    assert raw.execute("DELETE FROM data_items WHERE client = 'rival'").rowcount == 0
    assert query("SELECT count(*) FROM lines WHERE text <> 'changed'") == [(3,)]


def test_the_schema_is_not_the_applications_to_change(raw: psycopg.Connection[tuple[object, ...]]) -> None:
    for statement in (
        "ALTER TABLE lines DISABLE ROW LEVEL SECURITY",
        "DROP POLICY crew_client ON lines",
        "TRUNCATE lines",
        "UPDATE alembic_version SET version_num = 'x'",
        "CREATE TABLE mine (id int)",
        "SET ROLE postgres",
        "SELECT * FROM pg_authid",
        "COPY lines TO PROGRAM 'cat'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            raw.execute(statement)  # type: ignore[arg-type]


def test_a_closed_door_shows_a_clients_rows_only_narrowed_to_it(full: Database, database_url: str) -> None:
    closed = database_at(database_url, closed=True)
    with closed.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM lines")) == 0
    for client in ("acme", "rival"):
        with closed.as_client(client).read() as connection:
            assert connection.scalars(text("SELECT client FROM data_items")).all() == [client]
    with closed.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM lines")) == 0
    with pytest.raises(ProgrammingError), closed.as_client("acme").write() as connection:
        connection.execute(text("INSERT INTO clients (client) VALUES ('other')"))
    # Work across clients goes on as before, also after it was narrowed.
    with full.as_client("acme").read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM data_items")) == 1
    with full.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM data_items")) == 2


def test_short_questions_of_many_clients_over_few_connections_never_mix(full: Database, database_url: str) -> None:
    async def ask() -> list[tuple[str, str]]:
        closed, found = database_at(database_url, closed=True), []
        await closed.open_in_loop()
        try:

            async def one(client: str) -> None:
                client_day = ClientDay(client, date(2025, 1, 15))
                stored = await documents.current_in_loop(closed.as_client(client), client_day, ENGINE, "")
                other = ClientDay("rival" if client == "acme" else "acme", client_day.day)
                assert await documents.current_in_loop(closed.as_client(client), other, ENGINE, "") is None
                assert stored is not None
                assert stored.body is not None
                found.append((client, stored.body.decode()))

            await asyncio.gather(*(one(client) for client in ("acme", "rival") * 40))
            assert await closed.row("SELECT count(*) FROM lines", {}) == (0,)
        finally:
            await closed.close_in_loop()
        return found

    for client, body in asyncio.run(ask()):
        assert f'"client":"{client}"' in body
        assert ("acme" in body) == (client == "acme")
