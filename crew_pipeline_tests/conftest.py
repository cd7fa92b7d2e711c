"""Real parts for the tests: an embedded Postgres, a fresh migrated database for each, Dagster on Postgres."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance
from dagster._core.storage.defs_state.base import DefsStateStorage
from sqlalchemy import create_engine, text

from crew_pipeline.days import claims, publishing
from crew_pipeline.days.planning import DayBatch
from crew_pipeline.dedup.document import build
from crew_pipeline.model import ClientDay, Folds, Trigger
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.instance import dagster_instance
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.runs import DayRunner, RunOutcome
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.conversations.ingest import CrewKey, IngestReport, SourceLine, ingest
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.database import Database, application_url, dagster_url, database_at, ensure_database
from crew_pipeline.storage.days import content
from crew_pipeline.storage.embedded import EmbeddedPostgres, embedded_postgres
from crew_pipeline.storage.migrate import migrate
from crew_pipeline.storage.roles import APPLICATION_ROLE, ensure_role
from crew_pipeline.storage.sources.crews import ensure_crew
from crew_pipeline_tests.histories import NOW, History

TODAY = NOW.date()
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

_numbers = itertools.count()

ENGINE = "engine-in-force"
Ready = Callable[..., str]
Run = Callable[..., RunOutcome]


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> None:
    """Settings of whoever runs the tests must not change what they find."""
    for name in list(os.environ):
        if name.startswith(("CREW_", "DAGSTER_")):
            del os.environ[name]
    os.environ["CREW_HOME"] = tempfile.mkdtemp(prefix="crew-tests-")


@pytest.fixture(autouse=True)
def _no_state_of_another_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster keeps the state storage of the instance that was opened last, also when it is closed; and one that is
    collected as garbage puts that of an earlier one in its place, in the middle of whatever runs then."""
    monkeypatch.setattr(DefsStateStorage, "get", staticmethod(lambda: None))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory for the session."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    """The embedded Postgres, with a migrated template database."""
    with embedded_postgres(home) as running:
        ensure_role(running.url("postgres"))
        ensure_database(running.url("postgres"), "template_crew")
        db = Database(running.url("template_crew"))
        migrate(db)
        db.close()
        yield running


@pytest.fixture
def database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    admin = create_engine(application_url(server.url("postgres")), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_crew"))
    url = server.url(name, APPLICATION_ROLE)
    yield url
    for closed in (False, True):
        database_at(url, closed=closed).close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def db(database_url: str) -> Database:
    """The pooled engine of a fresh database."""
    return database_at(database_url)


@pytest.fixture
def settings(home: Path, database_url: str) -> Settings:
    """Settings over a fresh database."""
    return load_settings(home=home, database_url=database_url)


@pytest.fixture(scope="session")
def instance(server: EmbeddedPostgres, home: Path) -> Iterator[DagsterInstance]:
    """A Dagster instance on Postgres with the shipped configuration."""
    ensure_database(server.url("postgres"), "dagster_tests")
    os.environ["DAGSTER_POSTGRES_URL"] = dagster_url(server.url("dagster_tests"))
    folder = home / "dagster"
    folder.mkdir()
    shutil.copyfile(shipped("dagster.yaml"), folder / "dagster.yaml")
    with dagster_instance(folder) as made:
        yield made


@pytest.fixture
def run_days(settings: Settings, database_url: str, instance: DagsterInstance) -> Run:
    """Run the day job over ``first`` to ``last``; keyword arguments as of ``DayRunner.run``, ``resources`` replaced."""

    def run(first: str, last: str | None = None, *, resources: dict[str, Any] | None = None, **more: Any) -> RunOutcome:
        overrides = {"database": DatabaseResource(url=database_url), **(resources or {})}
        runner = DayRunner(build_defs(settings, overrides), instance)
        batch = DayBatch(date.fromisoformat(first), date.fromisoformat(last or first), 1, 1, 1)
        return runner.run(batch, trigger=Trigger.COMMAND, **more)

    return run


@pytest.fixture(scope="session")
def external_url() -> Iterator[str]:
    """The address of a Postgres that is not the embedded one: the system's own, over TCP with a password."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL binaries of the system under /usr/lib/postgresql")
    binaries = found[-1].parent
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="crew-external-"))
    secret = folder / "password"
    secret.write_text("correct-horse")
    if user:
        shutil.chown(folder, user)
        shutil.chown(secret, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str | Path) -> None:
        subprocess.run([str(part) for part in command], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    data = folder / "data"
    run(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    run(binaries / "pg_ctl", "-w", "-D", data, "-o", options, "-l", folder / "log", "start")
    try:
        yield f"postgresql://postgres:correct-horse@127.0.0.1:{port}/postgres"
    finally:
        run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def lines_at(
    day: str, session: str, *said: tuple[str, str], first: int = 0, hour: int = 9, minute: int = 0
) -> list[SourceLine]:
    """Lines of one session, a minute apart: ``(speaker, text)`` each."""
    start = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(hours=hour, minutes=minute)
    return [
        SourceLine(session, first + number, start + timedelta(minutes=first + number), speaker, words, number + 1)
        for number, (speaker, words) in enumerate(said)
    ]


def bring(
    db: Database,
    lines: list[SourceLine],
    *,
    client: str = "acme",
    crew: str = "desk",
    zone: str = "UTC",
    today: date = TODAY,
    rest_h: float = 4,
) -> IngestReport:
    """Ingest lines in a transaction of their own."""
    with db.write() as connection:
        return ingest(
            connection,
            crew=CrewKey(client, crew, ensure_crew(connection, client, crew)),
            lines=lines,
            calendar=Calendar(zone, timedelta(hours=rest_h), today),
        )


def published(
    db: Database, day: str, client: str = "default", folds: Folds | None = None, fingerprint: str = ENGINE
) -> str:
    """Publish the document of a client's day, as a run does; ``folds`` as of ``dedup.document``."""
    client_day = ClientDay(client, date.fromisoformat(day))
    with db.write() as connection:
        token = f"token {connection.exec_driver_sql('SELECT gen_random_uuid()').scalar()}"
        assert claims.acquire(connection, client_day, token, 60)
        claims.begin(connection, client_day)
        made = build(
            client,
            content.conversations_of(connection, client_day),
            content.lines_of(connection, client_day),
            folds or {},
            fingerprint,
        )
        publishing.publish(connection, client_day, made, fingerprint, token)
    return made.version


@pytest.fixture
def make_ready(db: Database) -> Ready:
    """See ``published``."""
    return partial(published, db)


@pytest.fixture
def owner_url(database_url: str) -> str:
    """The same database for the owner of its tables, whom row security does not hold."""
    return (
        application_url(database_url)
        .set(username="postgres", drivername="postgresql")
        .render_as_string(hide_password=False)
    )


@pytest.fixture
def history(db: Database, settings: Settings, owner_url: str, monkeypatch: pytest.MonkeyPatch) -> History:
    """A history in the same server as the store; ``make`` creates its table."""
    monkeypatch.setenv("HISTORIES", owner_url)
    return History(db, settings, owner_url)


@pytest.fixture
def query(owner_url: str) -> Iterator[Callable[..., list[tuple[object, ...]]]]:
    """Run a SQL text as the owner of the tables, and return its rows as tuples."""
    owners_db = Database(owner_url)

    def run(statement: str, **values: object) -> list[tuple[object, ...]]:
        with owners_db.write() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    yield run
    owners_db.close()
