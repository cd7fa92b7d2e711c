"""What the benchmarks rest on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from benchmarks import scaling
from benchmarks.simulated_clock import simulated_clock
from crew_pipeline.days import claims
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import application_url, database_at, ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline.storage.migrate import migrate
from crew_pipeline_tests.conftest import bring, lines_at

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture
def empty_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The address of a database without tables."""
    name = f"clock_{next(_numbers)}"
    ensure_database(server.url("postgres"), name)
    yield server.url(name)
    database_at(server.url(name)).close()
    admin = create_engine(application_url(server.url("postgres")), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_the_database_follows_the_simulated_clock_in_statements_defaults_and_functions(empty_url: str) -> None:
    with simulated_clock(empty_url, START) as clock:
        db = database_at(empty_url)
        migrate(db)
        for moment in (START, START + timedelta(days=3), START - timedelta(days=200)):
            clock.move_to(moment)
            assert datetime.now(UTC) == moment
            bring(db, lines_at("2025-01-15", moment.isoformat(), ("Ann", "one")))
            with db.write() as connection:
                assert connection.execute(text("SELECT now(), clock_timestamp()")).one() == (moment, moment)
                created = "SELECT created_at, updated_at FROM data_items WHERE session_id = :session"
                row = connection.execute(text(created), {"session": moment.isoformat()}).one()
                assert row == (moment, moment)


def test_a_claim_expires_by_the_simulated_clock(empty_url: str) -> None:
    client_day = ClientDay("acme", date(2025, 1, 15))
    with simulated_clock(empty_url, START) as clock:
        db = database_at(empty_url)
        migrate(db)
        with db.write() as connection:
            assert claims.acquire(connection, client_day, "one", 60) == "new"
            assert claims.acquire(connection, client_day, "other", 60) is None
        clock.move_to(START + timedelta(seconds=61))
        with db.write() as connection:
            assert claims.acquire(connection, client_day, "other", 60) == "new"


def test_a_day_of_any_size_is_one_day_whose_lines_follow_each_other() -> None:
    made = list(scaling.records([("a", "kim1", "one"), ("b", "kim2", "two"), ("a", "kim1", "three")] * 700))
    assert {record["created_at"][:10] for record in made} == {scaling.START.date().isoformat()}
    assert [record["created_at"] for record in made] == sorted(record["created_at"] for record in made)
    for session in ("a", "b"):
        numbers = [record["line"] for record in made if record["session_id"] == session]
        assert numbers == list(range(len(numbers)))


def test_long_talk_is_long_and_of_one_subject() -> None:
    talk = scaling.long_talk(30)
    assert all(40 <= len(words.split()) <= 100 for _, _, words in talk)
    assert all("the printer" in words for _, _, words in talk)
