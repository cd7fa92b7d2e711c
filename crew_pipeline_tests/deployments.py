"""A Dagster deployment of real processes for the tests: webserver, daemon, and whatever its run launcher needs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import yaml
from dagster import DagsterInstance, DagsterRun, RunsFilter
from fastapi.testclient import TestClient
from sqlalchemy import text

from crew_pipeline.api.app import create_app
from crew_pipeline.days import requests
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.deployment.graphql import Deployment
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.instance import dagster_instance
from crew_pipeline.settings import Settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import Databases
from crew_pipeline.workers.dispatcher import DagsterMaker
from crew_pipeline.workers.worker import Worker
from crew_pipeline_tests.conftest import bring, lines_at

logger = logging.getLogger(__name__)

PATIENCE_S = 240.0
ASSETS = ["discovered_conversations", "line_embeddings", "semantic_clusters", "day_document"]
MODULE = ["-w", str(shipped("workspace.yaml"))]

REPOSITORY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""


def wait_until(happened: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    """Look until ``happened`` gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = happened()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Log how long the block took; nothing is asserted."""
    started = time.monotonic()
    yield
    logger.info("%s: %.1f s", what, time.monotonic() - started)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Processes of a test, each in a group of its own, with its output in a file."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> None:
        """Start a process under a name."""
        with self.log(name).open("ab") as output:
            self._running[name] = subprocess.Popen(
                command, env=self._environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def log(self, name: str) -> Path:
        """Where its output is."""
        return self._folder / f"{name}.log"

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal the process and all that it started."""
        os.killpg(self._running[name].pid, number)

    def stop(self, name: str) -> int:
        """Stop a process; its exit status."""
        process = self._running.pop(name)
        for number in (signal.SIGCONT, signal.SIGTERM):
            _signal_group(process, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        _signal_group(process, signal.SIGKILL)
        return process.wait()

    def stop_all(self) -> None:
        """Stop every process, the last one first."""
        for name in reversed(list(self._running)):
            self.stop(name)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


class Deployed:
    """A running deployment.

    Attributes:
        url: its GraphQL.
        processes: ``webserver`` and ``daemon``, and what the test adds.
        instance: its Dagster instance.
    """

    def __init__(self, processes: Processes, port: int, instance: DagsterInstance) -> None:
        self._port = port
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.processes = processes
        self.instance = instance

    def start_webserver(self) -> None:
        """Start it and wait until it answers."""
        command = ["dagster_webserver", "-h", "127.0.0.1", "-p", str(self._port), *MODULE]
        self.processes.start("webserver", [sys.executable, "-m", *command])
        wait_until(self.answers, "the webserver answers")

    def start_daemon(self) -> None:
        """Start it; runs wait in the queue until it is up."""
        self.processes.start("daemon", [sys.executable, "-m", "dagster._daemon", "run", *MODULE])

    def answers(self) -> bool:
        """Whether the webserver does."""
        try:
            return httpx.get(self.url.replace("graphql", "server_info"), timeout=5).is_success
        except httpx.HTTPError:
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that a GraphQL query gives."""
        answer = httpx.post(self.url, json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def deployed(folder: Path, databases: Databases, configuration: dict[str, Any], **variables: str) -> Iterator[Deployed]:
    """A deployment over the databases, with ``configuration`` as its ``dagster.yaml``."""
    home = folder / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    environment = {
        **databases.environment(),
        "CREW_HOME": str(folder),
        "CREW_ENABLE_BACKGROUND_JOBS": "false",
        "DAGSTER_HOME": str(home),
        **variables,
    }
    processes = Processes(folder, environment)
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with dagster_instance(home) as instance:
            running = Deployed(processes, free_port(), instance)
            running.start_daemon()
            running.start_webserver()
            yield running
    finally:
        processes.stop_all()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def launch_as_the_ui(deployment: Deployed, day: str) -> str:
    """Materialize the assets of a day in the UI: its run has no tag of ours."""
    (repository,) = deployment.ask(REPOSITORY)["repositoriesOrError"]["nodes"]
    params = {
        "selector": {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in ASSETS],
        },
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day}]},
    }
    launched = deployment.ask(LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def launch_backfill(deployment: Deployed, days: list[str]) -> str:
    """Ask for a backfill of all assets over some days, which the daemon executes."""
    params = {"assetSelection": [{"path": [name]} for name in ASSETS], "partitionNames": days}
    launched = deployment.ask(BACKFILL, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


@contextmanager
def dispatching(settings: Settings, databases: Databases) -> Iterator[None]:
    """What ``crew worker`` runs, in a thread."""
    with Deployment(settings.dagster_graphql_url) as there:
        maker = DagsterMaker(settings, databases.db, there)
        worker = Worker(settings, databases.db, maker, fingerprint_of(settings))
        thread = threading.Thread(target=worker.serve)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(timeout=60)
            assert not thread.is_alive()


@contextmanager
def reading(settings: Settings, databases: Databases) -> Iterator[TestClient]:
    """A reader of the API."""
    app = create_app(settings, databases.application, fingerprint_of(settings))
    with TestClient(app, base_url="http://localhost") as api:
        yield api


def runs_of(deployment: Deployed, client_day: ClientDay) -> list[DagsterRun]:
    """The runs that were launched for a client's day, oldest first."""
    tags = {"crew/client": client_day.client, "dagster/partition": client_day.day.isoformat()}
    return list(reversed(deployment.instance.get_runs(RunsFilter(tags=tags))))


def bring_day(db: Database, day: str, client: str = "default", said: str = "the export of report") -> ClientDay:
    """A day in which two lines say the same."""
    lines = [
        ("Ann", f"{said} {day} times out"),
        ("Bo", "ok"),
        ("Ann", f"{said} {day} times out!"),
        ("Di", "thanks a lot"),
    ]
    bring(db, lines_at(day, f"session of {day}", *lines), client=client)
    return ClientDay(client, date.fromisoformat(day))


def ask_for(db: Database, client_day: ClientDay, *, force: bool = False) -> None:
    """Ask for a day as the API does."""
    with db.write() as connection:
        assert requests.request(connection, client_day, force=force)


def rows(db: Database, statement: str, **values: object) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with db.write() as connection:
        result = connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


def completed(db: Database, client_day: ClientDay) -> bool:
    """Whether a day's document is there and nobody works at the day any more."""
    return rows(
        db,
        """
        SELECT bool_and(semantic_status = 'completed') AND NOT EXISTS (
            SELECT 1 FROM day_claims WHERE client = :client AND day = :day AND ended_at IS NULL)
        FROM data_items WHERE client = :client AND days_date = :day
        """,
        client=client_day.client,
        day=client_day.day,
    ) == [(True,)]


def told(db: Database, client_day: ClientDay) -> list[tuple[str, str]]:
    """The events of a day in order, with the stage of each; repeats left out."""
    found = rows(
        db,
        """
        SELECT type, coalesce(payload->>'stage', '') FROM day_events
        WHERE client = :client AND day = :day ORDER BY seq
        """,
        client=client_day.client,
        day=client_day.day,
    )
    return [one for number, one in enumerate(found) if not number or found[number - 1] != one]


def body(db: Database, client_day: ClientDay) -> bytes:
    """The document in force."""
    ((found,),) = rows(
        db,
        "SELECT body FROM day_documents WHERE client = :client AND day = :day AND is_current",
        client=client_day.client,
        day=client_day.day,
    )
    return bytes(found)


def read(api: TestClient, day: str) -> dict[str, Any]:
    """What a reader gets who waits for a day until it is there."""

    def ready() -> dict[str, Any] | None:
        answer = api.get(f"/api/days/{day}/conversations", params={"wait_s": 30})
        content: dict[str, Any] = answer.json()
        return content if answer.status_code == 200 else None

    found: dict[str, Any] = wait_until(ready, f"{day} is ready")
    return found
