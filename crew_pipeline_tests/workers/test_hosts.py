"""Several hosts over one Postgres and one Redis: one is cut off or dies in mid-run, one is added under load."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from dagster import DagsterRun, DagsterRunStatus

from benchmarks.hosts import Host, redis_command
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import DAGSTER_URL_VARIABLE, DATABASE_URL_VARIABLE, Databases, open_databases
from crew_pipeline_tests.cables import Cable, socket_of, through
from crew_pipeline_tests.conftest import bring, lines_at
from crew_pipeline_tests.deployments import (
    Deployed,
    deployed,
    free_port,
    launch_backfill,
    measured,
    rows,
    wait_until,
)
from crew_pipeline_tests.disturbed import check_everything, said

pytest.importorskip("dagster_celery")
pytest.importorskip("redis")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dagster-celery.yaml"
BACKFILLED = [f"2025-01-{day:02}" for day in range(1, 31)]
VISITED = [f"2025-03-{day:02}" for day in range(1, 5)]
KILLED = [f"2025-05-{day:02}" for day in range(1, 5)]
LINES = 300
CLAIM_TTL_S = 10
SEPARATE, BOTH = ("urgent", "dagster"), "urgent,dagster"


class Hosts:
    """The hosts beside the first, each behind a cable of its own, and what the first one runs."""

    def __init__(self, deployment: Deployed, databases: Databases, folder: Path, redis_port: int, api: str) -> None:
        self.deployment = deployment
        self.api = api
        self._databases = databases
        self._folder = folder
        self._redis_port = redis_port
        self._stack = ExitStack()
        self.added: list[Host] = []

    def add(self, name: str, *queues: str) -> tuple[Host, Cable]:
        """Start a host with a Celery worker for each of ``queues``; it is waited for elsewhere."""
        cable = self._stack.enter_context(Cable([socket_of(self._databases.application), str(self._redis_port)]))
        postgres, redis = cable.ports
        variables = {
            DATABASE_URL_VARIABLE: through(self._databases.application, postgres),
            DAGSTER_URL_VARIABLE: through(self._databases.dagster, postgres),
            "CREW_CELERY_BROKER_URL": f"redis://127.0.0.1:{redis}/0",
            "CREW_THREADS": "1",
        }
        host = Host(name, self._folder, EXAMPLE.read_text(), variables)
        self._stack.callback(host.stop)
        for names in queues:
            host.start_celery(names)
        self.added.append(host)
        return host, cable

    def run(self, run: DagsterRun) -> DagsterRun:
        """A run as it is now."""
        found = self.deployment.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found

    def close(self) -> None:
        self._stack.close()

    def at_work(self, db: Database, *among: Host) -> tuple[Host, DagsterRun] | None:
        """A run that one of these hosts executes in the background and that holds a claim."""
        for (token,) in rows(db, "SELECT token FROM day_claims WHERE ended_at IS NULL AND background"):
            run = self.deployment.instance.get_run_by_id(token)
            for host in among:
                if run is not None and f"[{task_of(run)}] received" in host.said():
                    return host, run
        return None


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with open_databases(load_settings(home=tmp_path_factory.mktemp("hosts"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def db(databases: Databases) -> Database:
    for number, day in enumerate([*BACKFILLED, *VISITED, *KILLED]):
        bring(databases.db, lines_at(day, f"talk of {day}", *said(number, LINES)), client="default")
    return databases.db


@pytest.fixture(scope="module")
def hosts(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """The first host: Redis, daemon and webserver, the dispatcher and the API."""
    redis_port, api_port = free_port(), free_port()
    folder = tmp_path_factory.mktemp("all")
    configuration = yaml.safe_load(EXAMPLE.read_text())
    configuration["run_monitoring"]["poll_interval_seconds"] = 5
    variables = {
        "CREW_CELERY_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "CREW_CLAIM_TTL_S": str(CLAIM_TTL_S),
        "CREW_BACKFILL_DAYS": "1",
        "CREW_CPU_SHARE_BUSINESS": "1",
        "CREW_CPU_SHARE_OUTSIDE": "1",
        "CREW_ON_DEMAND": "dagster",
    }
    with deployed(folder / "one", databases, configuration, **variables) as running:
        crew = ["env", f"CREW_DAGSTER_GRAPHQL_URL={running.url}", sys.executable, "-m", "crew_pipeline.cli"]
        running.processes.start("redis", redis_command(redis_port))
        running.processes.start("dispatcher", [*crew, "worker"])
        running.processes.start("api", [*crew, "api", "--port", str(api_port)])
        made = Hosts(running, databases, folder, redis_port, f"http://127.0.0.1:{api_port}")
        try:
            yield made
        finally:
            made.close()


def ready(db: Database, days: list[str]) -> bool:
    waiting = "SELECT 1 FROM data_items WHERE days_date = ANY(CAST(:days AS date[])) AND semantic_status <> 'completed'"
    open_claims = "SELECT 1 FROM day_claims WHERE ended_at IS NULL AND day = ANY(CAST(:days AS date[]))"
    return not rows(db, waiting, days=days) and not rows(db, open_claims, days=days)


def check_once(db: Database, days: list[str]) -> None:
    """Every day was made ready exactly once, none failed, and no claim is open."""
    documents = "SELECT day::text, count(*) FROM day_documents WHERE is_current AND day = ANY(CAST(:days AS date[])) "
    assert rows(db, documents + "GROUP BY 1 ORDER BY 1", days=days) == [(day, 1) for day in days]
    completed = (
        "SELECT day::text, count(*) FROM day_claims WHERE outcome = 'completed' AND day = ANY(CAST(:days AS date[])) "
    )
    assert rows(db, completed + "GROUP BY 1 ORDER BY 1", days=days) == [(day, 1) for day in days]
    assert rows(db, "SELECT day FROM day_claims WHERE outcome IN ('failed', 'retried') OR ended_at IS NULL") == []
    assert rows(db, "SELECT 1 FROM data_items WHERE semantic_status = 'failed'") == []
    assert rows(db, "SELECT 1 FROM day_events WHERE type = 'processing_failed'") == []


def task_of(run: DagsterRun) -> str:
    """The Celery task that a run is executed by."""
    return run.tags.get("dagster-celery/task_id", "none yet")


def outcome_of(db: Database, run: DagsterRun) -> str | None:
    """What became of a run's claim; None while it is open."""
    ((outcome,),) = rows(db, "SELECT outcome FROM day_claims WHERE token = :token", token=run.run_id)
    return None if outcome is None else str(outcome)


def test_a_host_is_cut_off_in_mid_run_and_one_is_added_under_load(hosts: Hosts, db: Database) -> None:
    two, _ = hosts.add("two", *SEPARATE)
    three, cable = hosts.add("three", *SEPARATE)
    for host in (two, three):
        wait_until(host.has_loaded, f"the workers of {host.name} have their models loaded")
    launch_backfill(hosts.deployment, BACKFILLED)

    def cut_off() -> DagsterRun | None:
        """A run that is under way behind the cut cable."""
        found = hosts.at_work(db, three)
        if found is None:
            return None
        cable.cut()
        time.sleep(1)
        if outcome_of(db, found[1]) is None:
            return found[1]
        cable.mend()
        return None

    lost = wait_until(cut_off, "three is cut off in mid-run")
    four, _ = hosts.add("four", BOTH)
    with measured("what visitors asked for while a host was cut off"):
        for day in VISITED:
            httpx.get(f"{hosts.api}/api/days/{day}/conversations", params={"wait_s": 0}, timeout=30).raise_for_status()
        wait_until(lambda: ready(db, VISITED), "what visitors asked for is ready")
    with measured("the rest of the backfill"):
        wait_until(lambda: ready(db, BACKFILLED), "the backfill is ready, with the day of the lost host")
    assert "succeeded" in four.said(), "the added host has taken its part"
    assert outcome_of(db, lost) == "overtaken"
    check_once(db, [*BACKFILLED, *VISITED])
    with measured("until the run of the lost host has ended"):
        wait_until(lambda: hosts.run(lost).status == DagsterRunStatus.FAILURE, "the run of the lost host has failed")
    cable.mend()
    wait_until(lambda: f"[{task_of(lost)}] succeeded" in three.said(), "the late run has ended")
    assert rows(db, "SELECT 1 FROM day_documents WHERE token = :token", token=lost.run_id) == []
    check_once(db, [*BACKFILLED, *VISITED])


def test_a_host_that_dies_in_mid_run_leaves_its_days_to_the_others(hosts: Hosts, db: Database) -> None:
    launch_backfill(hosts.deployment, KILLED)
    dead, lost = wait_until(lambda: hosts.at_work(db, *hosts.added), "a host is in mid-run")
    dead.signal(signal.SIGKILL)
    with measured("the days of a host that died"):
        wait_until(lambda: ready(db, KILLED), "its day is made by another")
    assert outcome_of(db, lost) == "overtaken"
    check_once(db, KILLED)
    check_everything(db)
