"""The migrations build the same tables on the embedded and on another Postgres, whoever starts them and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from crew_pipeline.storage.database import Database, DatabaseUnavailableError, application_url, ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline.storage.migrate import _config, migrate, pending
from crew_pipeline.storage.migrations.schema import Base


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
