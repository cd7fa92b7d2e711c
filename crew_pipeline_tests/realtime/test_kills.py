"""A worker that is killed or told to stop in the middle of a day loses nothing and leaves nothing stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from crew_pipeline.settings import load_settings
from crew_pipeline.storage import invariants, queue
from crew_pipeline.storage.access import Databases, open_databases
from crew_pipeline.storage.claims import Unit
from crew_pipeline.storage.progress import estimated_seconds
from crew_pipeline_tests.conftest import bring, lines_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNIT = Unit("default", date(2025, 1, 15))
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    with open_databases(load_settings(home=tmp_path)) as opened:
        yield opened


@pytest.fixture
def start_worker(databases: Databases, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        environment = {
            **os.environ, **databases.environment(),
            "CREW_HOME": str(tmp_path), "CREW_CLAIM_TTL_S": "5", "CREW_POLL_S": "0.5",
        }  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "crew_pipeline.cli", "worker-process"], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def ask_for_a_long_day(engine: Engine) -> None:
    said = [
        (f"speaker {n % 7}", f"line {n} says something about the {'very ' * (n % 9)}slow export") for n in range(1_500)
    ]
    for session in range(15):
        part = said[session * 100 : (session + 1) * 100]
        bring(engine, lines_at("2025-01-15", f"s{session}", *part, hour=session), client="default")
    with engine.begin() as connection:
        queue.request(connection, UNIT)


def wait_for(engine: Engine, condition: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.scalar(text(condition)):
                return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {condition}")


def check_everything(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("SELECT DISTINCT semantic_status FROM data_items")).all() == [("completed",)]
        assert connection.scalar(text("SELECT count(*) FROM day_claims WHERE ended_at IS NULL")) == 0
        token = connection.scalar(text("SELECT token FROM day_documents WHERE is_current"))
        assert invariants.broken_documents(connection, [UNIT.day], token) == []
        assert invariants.unexplained_clusters(connection, [UNIT]) == []
        assert invariants.strayed_lines(connection, [UNIT]) == []
        assert estimated_seconds(connection, 1_000) > 0


EMBEDDING = "SELECT count(*) >= 512 FROM line_embeddings"
COMPLETED = "SELECT bool_and(semantic_status = 'completed') FROM data_items"


def test_a_killed_workers_day_is_finished_by_the_next_without_embedding_twice(
    databases: Databases, start_worker: Start
) -> None:
    engine = databases.engine
    ask_for_a_long_day(engine)
    first = start_worker()
    wait_for(engine, EMBEDDING)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with engine.connect() as connection:
        assert not connection.scalar(text(COMPLETED))
        before = connection.execute(text("SELECT text_hash, xmin::text FROM line_embeddings")).all()
    start_worker()
    wait_for(engine, COMPLETED)
    wait_for(engine, "SELECT count(*) = 0 FROM day_claims WHERE ended_at IS NULL")
    check_everything(engine)
    with engine.connect() as connection:
        after = set(connection.execute(text("SELECT text_hash, xmin::text FROM line_embeddings")).all())
        assert set(before) <= after
        outcomes = [
            row.outcome for row in connection.execute(text("SELECT outcome FROM day_claims ORDER BY claimed_at"))
        ]
    assert outcomes == ["overtaken", "completed"]


def test_a_worker_that_is_told_to_stop_finishes_its_day_first(databases: Databases, start_worker: Start) -> None:
    engine = databases.engine
    ask_for_a_long_day(engine)
    worker = start_worker()
    wait_for(engine, EMBEDDING)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    check_everything(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM workers")) == 0
        assert connection.scalar(text("SELECT count(*) FROM day_claims")) == 1
