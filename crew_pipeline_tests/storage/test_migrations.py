"""The migrations build the same tables on the embedded and on another Postgres, whoever starts them and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.database import Database, DatabaseUnavailableError, application_url, ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline.storage.migrate import _config, migrate, pending, state_of
from crew_pipeline.storage.migrations.schema import Base
from crew_pipeline_tests.conftest import bring, lines_at

DUMP = Path(__file__).parent / "version_0_4.sql"


@pytest.fixture(params=["embedded", "external"])
def empty(request: pytest.FixtureRequest, server: EmbeddedPostgres) -> Iterator[Database]:
    url = server.url("postgres") if request.param == "embedded" else request.getfixturevalue("external_url")
    ensure_database(url, "migrations")
    db = Database(application_url(url).set(database="migrations").render_as_string(hide_password=False))
    yield db
    db.close()
    admin = create_engine(application_url(url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE migrations WITH (FORCE)"))
    admin.dispose()


def test_the_tables_are_those_of_the_models(empty: Database) -> None:
    assert pending(empty)
    migrate(empty)
    assert not pending(empty)
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_tables_and_indexes_of_the_design_are_there(empty: Database) -> None:
    migrate(empty)
    found = set(inspect(empty.engine).get_table_names())
    assert found >= {
        "crews", "crew_discovery_state", "data_items", "lines", "line_embeddings", "semantic_clusters",
        "line_cluster_mapping", "day_documents", "day_events",
    }  # fmt: skip
    indexes = {index["name"] for index in inspect(empty.engine).get_indexes("data_items")}
    assert indexes >= {"data_items_queue", "data_items_status_by_day", "data_items_recently_processed"}


def test_going_down_and_up_again_leaves_nothing_behind(empty: Database) -> None:
    migrate(empty)
    downgrade(_config(empty.engine), "base")
    assert inspect(empty.engine).get_table_names() == ["alembic_version"]
    migrate(empty)
    assert not pending(empty)


def test_tables_of_a_newer_version_are_worked_with_and_told(empty: Database) -> None:
    migrate(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    migrate(empty)
    assert state_of(empty) == "ahead"
    assert not pending(empty)


def test_who_may_not_change_the_tables_is_told_who_may(empty: Database) -> None:
    migrate(empty)
    downgrade(_config(empty.engine), "0020")
    with empty.write() as connection:
        connection.execute(text("DROP ROLE IF EXISTS crew_test_guest"))
        connection.execute(text("CREATE ROLE crew_test_guest LOGIN PASSWORD 'guest'"))
        connection.execute(text("GRANT SELECT ON alembic_version TO crew_test_guest"))
    url = application_url(empty.url).set(username="crew_test_guest", password="guest")
    guest = Database(url.render_as_string(hide_password=False))
    try:
        with pytest.raises(DatabaseUnavailableError, match="crew migrate"):
            migrate(guest)
    finally:
        guest.close()
        with empty.write() as connection:
            connection.execute(text("DROP OWNED BY crew_test_guest"))
            connection.execute(text("DROP ROLE crew_test_guest"))


def test_several_processes_may_migrate_at_once(empty: Database) -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            migrate(empty)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not pending(empty)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnavailableError, match="does not answer") as caught:
        ensure_database("postgresql://user:hunter2@127.0.0.1:1/postgres", "x")
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def of_version_0_4(server: EmbeddedPostgres) -> Iterator[Database]:
    """The store of an installation of version 0.4.0: two days that are ready, and a channel that goes on for months."""
    url = server.url("postgres")
    ensure_database(url, "older")
    db = Database(application_url(url).set(database="older").render_as_string(hide_password=False))
    with db.write() as connection:
        connection.exec_driver_sql(DUMP.read_text().replace("%", "%%"))
    yield db
    db.close()
    admin = create_engine(application_url(url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE older WITH (FORCE)"))
    admin.dispose()


LINES = (
    "SELECT session_id, position, speaker, spoken_at, text FROM lines JOIN data_items ON id = conversation_id "
    "ORDER BY 1, 2"
)
DOCUMENTS = "SELECT day, version, body FROM day_documents WHERE is_current ORDER BY day"
CONVERSATIONS = "SELECT session_id, days_date::text, line_count, semantic_status FROM data_items ORDER BY 1, 2"


def test_a_store_of_version_0_4_loses_nothing_and_keeps_its_documents(of_version_0_4: Database) -> None:
    def read(statement: str) -> list[tuple[object, ...]]:
        with of_version_0_4.read() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    lines, documents = read(LINES), read(DOCUMENTS)
    ids = dict(read("SELECT session_id, id FROM data_items"))  # type: ignore[arg-type]
    migrate(of_version_0_4)
    assert not pending(of_version_0_4)
    assert read(LINES) == lines
    assert read(DOCUMENTS) == documents
    assert read(CONVERSATIONS) == [
        ("general", "2025-03-03", 3, "pending"),
        ("general", "2025-03-04", 1, "pending"),
        ("general", "2025-06-11", 1, "pending"),
        ("support-1", "2025-01-15", 3, "completed"),
        ("support-2", "2025-01-15", 1, "completed"),
    ]
    firsts = read("SELECT DISTINCT ON (session_id) session_id, id FROM data_items ORDER BY session_id, days_date")
    assert dict(firsts) == ids  # type: ignore[arg-type]


def test_parts_that_a_migration_made_are_those_that_lines_would_make(of_version_0_4: Database) -> None:
    columns = "id, session_id, days_date, started_at, ended_at, line_count, first_position, last_position, content_hash"

    def conversations() -> list[tuple[object, ...]]:
        with of_version_0_4.read() as connection:
            rows = connection.execute(text(f"SELECT {columns} FROM data_items ORDER BY id"))
            return [tuple(row) for row in rows]

    migrate(of_version_0_4)
    migrated = conversations()
    with of_version_0_4.read() as connection:
        rows = connection.execute(text(LINES)).all()
    with of_version_0_4.write() as connection:
        connection.execute(text("TRUNCATE data_items CASCADE"))
    again = [SourceLine(row[0], row[1], row[3], row[2], row[4], number) for number, row in enumerate(rows)]
    bring(of_version_0_4, again, client="default")
    assert conversations() == migrated


@pytest.mark.parametrize("others", [(), ("rival",)])
def test_what_was_kept_for_one_client_stays_and_what_was_for_several_is_made_again(
    empty: Database, others: tuple[str, ...]
) -> None:
    """Vectors and readings had no client; where there are several, nobody knows whose they were."""
    migrate(empty)
    for client in ("acme", *others):
        bring(empty, lines_at("2025-01-15", "a", ("Ann", "hello")), client=client)
    downgrade(_config(empty.engine), "0023")
    with empty.write() as connection:
        connection.execute(text("INSERT INTO line_embeddings (model, text_hash, vector) VALUES ('m', 'h', 'v')"))
        connection.execute(text("INSERT INTO pair_readings VALUES ('reader', 'a', 'b', 0, 0, 0, 0)"))
    migrate(empty)
    with empty.read() as connection:
        kept = [
            list(connection.scalars(text(f"SELECT client FROM {table}")))
            for table in ("line_embeddings", "pair_readings")
        ]
    assert kept == ([[], []] if others else [["acme"], ["acme"]])
