"""Days that readers ask for are made by the runs of a Dagster deployment: real processes, the default run launcher."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
import yaml

from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.deployment.graphql import Deployment
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.runs import DayRunner
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline.storage.evidence import invariants
from crew_pipeline.storage.opening import Databases, open_databases
from crew_pipeline.workers.dispatcher import DagsterMaker
from crew_pipeline.workers.warm import WarmMaker, warm_up
from crew_pipeline_tests.deployments import (
    Deployed,
    ask_for,
    body,
    bring_day,
    completed,
    deployed,
    dispatching,
    launch_as_the_ui,
    launch_backfill,
    measured,
    read,
    reading,
    rows,
    runs_of,
    told,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with open_databases(load_settings(home=tmp_path_factory.mktemp("deployed"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def db(databases: Databases) -> Database:
    return databases.db


@pytest.fixture(scope="module")
def deployment(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The shipped configuration, looking at its queue as often as a deployment does that readers wait for."""
    configuration = yaml.safe_load(shipped("dagster.yaml").read_text())
    configuration["run_coordinator"]["config"] = {"dequeue_interval_seconds": 1}
    with deployed(tmp_path_factory.mktemp("home"), databases, configuration) as running:
        yield running


@pytest.fixture
def settings(databases: Databases, deployment: Deployed) -> Settings:
    return load_settings(
        database_url=databases.application,
        on_demand="dagster",
        dagster_graphql_url=deployment.url,
        memory_limit_mb=8192,
        poll_s=0.5,
        on_demand_retries=1,
        background_retries=0,
    )


def check_tables(db: Database, client_day: ClientDay) -> None:
    ((token,),) = rows(db, "SELECT token FROM day_documents WHERE client = :client AND day = :day AND is_current",
                       client=client_day.client, day=client_day.day)  # fmt: skip
    with db.read() as connection:
        assert invariants.broken_documents(connection, [client_day], token) == []
        assert invariants.unexplained_clusters(connection, [client_day]) == []
        assert invariants.strayed_lines(connection, [client_day]) == []


def outcomes(db: Database, client_day: ClientDay) -> list[str]:
    found = rows(db, "SELECT outcome FROM day_claims WHERE client = :client AND day = :day ORDER BY claimed_at",
                 client=client_day.client, day=client_day.day)  # fmt: skip
    return [outcome for (outcome,) in found]


def test_readers_get_days_that_runs_of_the_deployment_made_as_a_warm_worker_makes_them(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    client_days = [bring_day(db, day) for day in ("2025-01-15", "2025-01-16")]
    with dispatching(settings, databases), reading(settings, databases) as api:
        ask_for(db, client_days[1])
        with measured("by the default run launcher, two days at once"):
            first = read(api, "2025-01-15")
        assert first["data"][0]["hidden_count"] == 1
        for client_day in client_days:
            wait_until(lambda client_day=client_day: completed(db, client_day), f"{client_day.day} is made")
            again = api.get(f"/api/days/{client_day.day}/conversations").json()
            assert again["metadata"]["cache_hit"] is True
    for client_day in client_days:
        (run,) = runs_of(deployment, client_day)
        assert run.tags["crew/trigger"] == "on-demand"
        assert run.tags["dagster-celery/queue"] == "urgent"
        assert int(run.tags["dagster/priority"]) > 3
        assert rows(db, "SELECT token, outcome FROM day_claims WHERE day = :day", day=client_day.day) == [
            (run.run_id, "completed")
        ]
        check_tables(db, client_day)
    runner = DayRunner(build_defs(settings), deployment.instance)
    warm = WarmMaker(settings, db, runner)
    warm_up(runner.tools(db).scorer)
    by_run = body(db, client_days[0])
    ask_for(db, client_days[0], force=True)
    make_urgent(warm, settings, db)
    assert body(db, client_days[0]) == by_run
    other = bring_day(db, "2025-01-15", "warm", said="the import of data")
    ask_for(db, other)
    with measured("by a warm worker on this machine"):
        make_urgent(warm, settings, db)
    assert told(db, other) == told(db, client_days[1])


def make_urgent(maker: WarmMaker | DagsterMaker, settings: Settings, db: Database) -> None:
    with db.read() as connection:
        (work,) = queue.work(connection, fingerprint_of(settings), which="urgent")
    assert maker.make(work)


def test_a_run_that_fails_is_tried_again_and_then_its_day_is_set_aside(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    client_day = bring_day(db, "2025-02-02")
    owner = databases.owners_db
    rows(owner, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$")
    # As a run notes what it computes from, which is before anything that is one client's alone.
    rows(
        owner,
        "CREATE TRIGGER refuse BEFORE UPDATE OF content_stamp ON day_claims FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    try:
        with dispatching(settings, databases), reading(settings, databases) as api:
            ask_for(db, client_day)
            failed = "SELECT 1 FROM data_items WHERE days_date = :day AND semantic_status = 'failed'"
            wait_until(lambda: rows(db, failed, day=client_day.day), "the day is set aside")
            assert api.get(f"/api/days/{client_day.day}/conversations").status_code == 500
    finally:
        rows(owner, "DROP TRIGGER refuse ON day_claims")
    assert outcomes(db, client_day) == ["retried", "failed"]
    assert [run.is_failure for run in runs_of(deployment, client_day)] == [True, True]


DISPATCHER = """
import logging, sys
from crew_pipeline.workers.dispatcher import run_dispatcher
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.opening import open_databases
logging.basicConfig(level="INFO")
settings = load_settings(on_demand="dagster", dagster_graphql_url=sys.argv[1])
with open_databases(settings) as databases:
    status = run_dispatcher(settings, databases)
print("torch was imported" if "torch" in sys.modules else "no torch")
sys.exit(status)
"""


def test_a_request_is_served_once_the_webserver_is_back_by_a_process_without_a_model(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    client_day = bring_day(db, "2025-02-03")
    processes = deployment.processes
    processes.stop("webserver")
    ask_for(db, client_day)
    processes.start("dispatcher", [sys.executable, "-c", DISPATCHER, deployment.url])
    log = processes.log("dispatcher")
    wait_until(lambda: "start dagster-webserver" in log.read_text(), "the dispatcher says what is missing")
    deployment.start_webserver()
    wait_until(lambda: completed(db, client_day), "the day is made")
    assert processes.stop("dispatcher") == 0
    assert "no torch" in log.read_text()
    assert len(runs_of(deployment, client_day)) == 1


def test_a_day_of_a_dispatcher_that_died_is_made_by_the_next_and_the_late_run_leaves_it_alone(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    client_day = bring_day(db, "2025-02-04")
    ask_for(db, client_day)
    deployment.processes.signal("daemon", signal.SIGSTOP)
    with Deployment(settings.dagster_graphql_url) as there:
        make_urgent(DagsterMaker(settings, db, there), settings, db)
        rows(db, "UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE ended_at IS NULL")
        make_urgent(DagsterMaker(settings, db, there), settings, db)
    deployment.processes.signal("daemon", signal.SIGCONT)
    late, timely = (run.run_id for run in runs_of(deployment, client_day))
    wait_until(lambda: all(run.is_finished for run in runs_of(deployment, client_day)), "both runs have ended")
    assert all(run.is_success for run in runs_of(deployment, client_day))
    claimed = rows(db, "SELECT token, outcome FROM day_claims WHERE day = :day ORDER BY claimed_at", day=client_day.day)
    assert [outcome for _, outcome in claimed] == ["overtaken", "completed"]
    assert claimed[1][0] == timely
    assert rows(db, "SELECT token FROM day_documents WHERE day = :day", day=client_day.day) == [(timely,)]
    assert late not in [token for token, _ in claimed]
    check_tables(db, client_day)


def test_what_is_materialized_from_the_ui_and_by_a_backfill_is_served_at_once(
    deployment: Deployed, databases: Databases, settings: Settings, db: Database
) -> None:
    by_hand = bring_day(db, "2025-03-01")
    by_backfill = [bring_day(db, day) for day in ("2025-03-02", "2025-03-03", "2025-03-04")]
    with measured("materialized from the UI"):
        launch_as_the_ui(deployment, "2025-03-01")
        wait_until(lambda: completed(db, by_hand), "the day of the UI is made")
    with measured("by a backfill over three days"):
        launch_backfill(deployment, [client_day.day.isoformat() for client_day in by_backfill])
        for client_day in by_backfill:
            wait_until(
                lambda client_day=client_day: completed(db, client_day), f"the backfill has made {client_day.day}"
            )
    with reading(settings, databases) as api:
        for client_day in (by_hand, *by_backfill):
            content = api.get(f"/api/days/{client_day.day}/conversations").json()
            assert content["metadata"]["cache_hit"] is True
            assert content["data"][0]["hidden_count"] == 1
            check_tables(db, client_day)
            assert outcomes(db, client_day) == ["completed"]
    kinds = [told(db, client_day) for client_day in (by_hand, *by_backfill)]
    assert all(one == kinds[0] for one in kinds)
    assert {kind for kind, _ in kinds[0]} >= {"processing_started", "processing_progress", "processing_completed"}
