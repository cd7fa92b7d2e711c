"""Real runs of a real deployment that are told to stop, in the UI, by their time, or by a signal.

They stop, no run is a success whose days are not ready, no day counts as failed, and what was finished stays.
"""

from __future__ import annotations

import logging
import os
import random
import re
import signal
from collections.abc import Iterator
from datetime import date

import psutil
import pytest
import yaml
from dagster import DagsterRunStatus

from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.tags import DAY_JOB, day_config
from crew_pipeline.settings import load_settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import Databases, open_databases
from crew_pipeline_tests.conftest import bring, lines_at
from crew_pipeline_tests.deployments import (
    ASSETS,
    LAUNCH,
    REPOSITORY,
    Deployed,
    deployed,
    launch_backfill,
    rows,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

logger = logging.getLogger(__name__)

DAYS = [f"2025-01-{day:02}" for day in range(10, 18)]
ENDINGS = 60
MAX_RUNTIME_S = 4
TERMINATE = """
mutation($runId: String!) {
  terminateRun(runId: $runId) { __typename ... on TerminateRunFailure { message } }
}
"""


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with open_databases(load_settings(home=tmp_path_factory.mktemp("terminated"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def db(databases: Databases) -> Database:
    made = random.Random(7)
    things = ["the printer", "our invoice export", "the mail server", "this form", "the lift", "her laptop", "the gate"]
    acts = ["does not work again", "is broken once more", "was repaired at last", "needs a new part", "is too slow"]
    for day in DAYS:
        said = [
            (made.choice(("Ann", "Bo", "Cy")), f"{made.choice(things)} {made.choice(acts)} in room {number % 41}")
            for number in range(250)
        ]
        for client in ("acme", "rival"):
            bring(databases.db, lines_at(day, f"talk of {day}", *said), client=client)
    return databases.db


@pytest.fixture(scope="module")
def deployment(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The shipped configuration, but one that looks more often."""
    configuration = yaml.safe_load(shipped("dagster.yaml").read_text())
    configuration["run_coordinator"]["config"] = {"dequeue_interval_seconds": 1}
    configuration["run_monitoring"] |= {"poll_interval_seconds": 2, "cancel_timeout_seconds": 20}
    with deployed(tmp_path_factory.mktemp("home"), databases, configuration) as running:
        yield running


def launch(deployment: Deployed, **tags: str) -> str:
    """A run of the day job over all the days, ready or not."""
    (repository,) = deployment.ask(REPOSITORY)["repositoriesOrError"]["nodes"]
    whole = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1], **tags}
    params = {
        "selector": {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
            "jobName": DAY_JOB,
            "assetSelection": [{"path": [name]} for name in ASSETS],
        },
        "runConfigData": day_config(force=True),
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in whole.items()]},
    }
    launched = deployment.ask(LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def status_of(deployment: Deployed, run_id: str) -> DagsterRunStatus:
    run = deployment.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def process_of(deployment: Deployed, run_id: str) -> int | None:
    """The process that executes a run, as its log tells."""
    for entry in deployment.instance.all_logs(run_id):
        if found := re.search(r"\(pid: (\d+)\)", entry.message or ""):
            return int(found[1])
    return None


def has_come_to(db: Database, run_id: str, published: int) -> bool:
    """Whether a run is at work and has published so many clients' days."""
    counted = "SELECT count(*) FILTER (WHERE outcome = 'completed'), count(*) FROM day_claims WHERE token = :token"
    ((done, claimed),) = rows(db, counted, token=run_id)
    return bool(claimed) and done >= published


def ended(deployment: Deployed, run_id: str) -> bool:
    return status_of(deployment, run_id) in {
        DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED,
    }  # fmt: skip


def not_ready(db: Database) -> list[tuple[str, str]]:
    return rows(
        db,
        "SELECT DISTINCT client, days_date::text FROM data_items WHERE semantic_status <> 'completed' ORDER BY 1, 2",
    )


def check(deployment: Deployed, db: Database, run_id: str, what: str) -> DagsterRunStatus:
    """What must hold of a run that has ended, however it was ended."""
    wait_until(lambda: ended(deployment, run_id), f"{run_id} ends after {what}", 90)
    status = status_of(deployment, run_id)
    published = rows(
        db, "SELECT day::text FROM day_claims WHERE token = :token AND outcome = 'completed'", token=run_id
    )
    if status == DagsterRunStatus.SUCCESS:
        assert not_ready(db) == [], what
        assert len(published) == 2 * len(DAYS), what
    process = process_of(deployment, run_id)
    if process is not None:
        wait_until(lambda: not psutil.pid_exists(process) or _is_dead(process), f"its process ends after {what}", 60)
    open_claims = "SELECT day FROM day_claims WHERE token = :token AND ended_at IS NULL"
    wait_until(lambda: not rows(db, open_claims, token=run_id), f"its claims are given back after {what}", 90)
    assert rows(db, "SELECT count(*) FROM data_items WHERE semantic_status = 'failed'") == [(0,)], what
    assert rows(db, "SELECT count(*) FROM day_events WHERE type = 'processing_failed'") == [(0,)], what
    logger.info("%s: %s, %d published", what, status.value, len(published))
    return status


def _is_dead(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_sixty_runs_that_are_told_to_stop_stop_and_none_is_a_success_that_is_none(
    deployment: Deployed, db: Database
) -> None:
    chance = random.Random(20251130)
    statuses: list[DagsterRunStatus] = []
    for number in range(ENDINGS):
        how = ("in the UI", "by a signal", "by its time")[number % 3]
        run_id = launch(deployment, **({"dagster/max_runtime": str(MAX_RUNTIME_S)} if how == "by its time" else {}))
        what = f"ending {number}, {how}"
        # Ended when so many of its sixteen clients' days are published, whatever the machine makes of a second.
        published = chance.randrange(13)
        if how != "by its time" and chance.random() < 0.9:
            wait_until(
                lambda run_id=run_id, published=published: (
                    has_come_to(db, run_id, published) or ended(deployment, run_id)
                ),
                f"{what} has come to {published} days",
                90,
            )
        if how == "in the UI":
            deployment.ask(TERMINATE, runId=run_id)
        elif how == "by a signal":
            process = wait_until(lambda run_id=run_id: process_of(deployment, run_id), f"{what} has a process", 90)
            if not ended(deployment, run_id):
                _terminate(process)
        statuses.append(check(deployment, db, run_id, what))
    assert len(statuses) == ENDINGS
    assert statuses.count(DagsterRunStatus.SUCCESS) < ENDINGS / 2, "most should have been hit at work"
    last = launch(deployment)
    assert check(deployment, db, last, "left alone") == DagsterRunStatus.SUCCESS


def _terminate(process: int) -> None:
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return


def test_a_backfill_that_is_cancelled_leaves_what_it_has_finished_and_fails_no_day(
    deployment: Deployed, db: Database
) -> None:
    rows(db, "UPDATE data_items SET semantic_status = 'pending'")
    backfill = launch_backfill(deployment, DAYS)
    wait_until(
        lambda: rows(db, "SELECT 1 FROM day_claims WHERE ended_at IS NULL LIMIT 1"), "a day of the backfill is in work"
    )
    cancelled = deployment.ask(
        "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }", id=backfill
    )
    assert cancelled["cancelPartitionBackfill"]["__typename"] == "CancelBackfillSuccess"
    for run in deployment.instance.get_runs():
        if run.tags.get("dagster/backfill") == backfill:
            check(deployment, db, run.run_id, "a cancelled backfill")
    finished = [ClientDay(client, date.fromisoformat(str(day))) for client, day in rows(
        db, "SELECT DISTINCT client, days_date FROM data_items WHERE semantic_status = 'completed'")]  # fmt: skip
    waiting = not_ready(db)
    assert len(finished) + len(waiting) == 2 * len(DAYS)
