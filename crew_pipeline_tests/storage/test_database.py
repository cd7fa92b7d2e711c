"""The one door to the database: nobody opens a connection elsewhere, and a client's transactions carry its name."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from crew_pipeline.storage.database import Database, does_not_answer, is_unanswered

PACKAGE = Path(__file__).resolve().parents[2] / "crew_pipeline"
OPENERS = {
    "create_engine", "create_async_engine", "AsyncConnectionPool", "ConnectionPool",
    "psycopg.connect", "Connection.connect", "AsyncConnection.connect", "db.engine",
}  # fmt: skip
MAY_OPEN = {
    "storage/database.py",
    "storage/opening.py",  # hands the addresses to the door
    "storage/roles.py",  # the administrator of the embedded server
    "storage/migrate.py",  # the migrations work with the engine itself
    "discovery/sources.py",  # the databases of others, read-only
}
WRITES_SQL = {
    "storage",
    "discovery/compare.py", "discovery/scan.py", "discovery/table.py", "discovery/sources.py",  # of others' tables
    "upkeep/doctor.py",  # asks the server what it is
}  # fmt: skip


def client_of(connection: Connection) -> str | None:
    return connection.scalar(text("SELECT current_setting('crew.client', true)"))


def modules() -> list[tuple[str, ast.Module]]:
    return [(str(path.relative_to(PACKAGE)), ast.parse(path.read_text())) for path in sorted(PACKAGE.rglob("*.py"))]


def names_used(tree: ast.Module) -> set[str]:
    """Every name that a module uses, alone and with what stands before its dot."""
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
            holder = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            used.add(f"{holder.lstrip('_')}.{node.attr}")
    return used


def test_nobody_opens_a_connection_but_the_door() -> None:
    opening = {name for name, tree in modules() if OPENERS & names_used(tree)}
    assert opening <= MAY_OPEN


def test_sql_stands_in_storage_alone() -> None:
    writing = set()
    for name, tree in modules():
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy"
            for alias in node.names
        }
        if "text" in imported and not any(name.startswith(place) for place in WRITES_SQL):
            writing.add(name)
    assert writing == set()


def test_a_clients_transactions_carry_its_name_and_nobody_elses_do(db: Database) -> None:
    acme = db.as_client("acme")
    with acme.read() as connection:
        assert client_of(connection) == "acme"
    with acme.write() as connection:
        assert client_of(connection) == "acme"
    for _ in range(3):
        with db.read() as connection:
            assert not client_of(connection)
    assert asyncio.run(acme.reading(client_of)) == "acme"
    assert asyncio.run(db.as_client("o'hara").writing(client_of)) == "o'hara"


def test_what_is_read_with_is_rolled_back_and_what_is_written_with_is_kept(db: Database) -> None:
    count, insert = text("SELECT count(*) FROM clients"), text("INSERT INTO clients (client) VALUES ('acme')")
    with db.read() as connection:
        connection.execute(insert)
    with db.read() as connection:
        assert connection.scalar(count) == 0
    with pytest.raises(IntegrityError), db.write() as connection:
        connection.execute(text("INSERT INTO clients (client) VALUES ('acme'), ('acme')"))
    with db.write() as connection:
        assert connection.scalar(count) == 0
        connection.execute(insert)
    with db.read() as connection:
        assert connection.scalar(count) == 1


def test_a_row_is_asked_for_in_an_event_loop_and_comes_back_after_its_connections_were_killed(db: Database) -> None:
    async def ask_twice() -> list[object]:
        await db.open_in_loop()
        try:
            asked = [await db.row("SELECT %(number)s::int", {"number": 1})]
            with db.write() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            return [*asked, await db.row("SELECT %(number)s::int", {"number": 2})]
        finally:
            await db.close_in_loop()

    assert asyncio.run(ask_twice()) == [(1,), (2,)]


def test_a_database_that_does_not_answer_is_known_however_its_error_is_wrapped() -> None:
    gone = OperationalError("SELECT 1", {}, Exception("gone"))
    wrapped = RuntimeError("a step failed")
    wrapped.__cause__ = gone
    assert is_unanswered(gone)
    assert does_not_answer(wrapped)
    assert not is_unanswered(wrapped)
    assert not does_not_answer(ValueError("wrong"))
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(OperationalError) as caught, away.read():
        pass
    assert does_not_answer(caught.value)


def test_a_host_that_is_cut_off_is_noticed_within_a_minute(external_url: str) -> None:
    """Else its connections keep their locks for as long as the system has it, which is hours."""
    db = Database(external_url)
    with db.read() as connection:
        told = {
            name: connection.scalar(text(f"SELECT current_setting('{name}')"))
            for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
        }
    db.close()
    assert told == {
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
