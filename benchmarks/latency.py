"""How long it takes from a row in a history table to its ready day, and from a launch in the Dagster UI to its end.

With all of ``crew up`` at work, and with the parts of both.

A short conversation between a customer and an agent arrives line by line and ends with a farewell; of its crew some are
known from the days before.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.common import empty_home, free_port, opened_store, options, progress, report, running
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.sources.crews import set_history

CREW, CLIENT = "desk", "default"
SAID = (
    ("customer", "Hello, the heating in room four does not come on."),
    ("agent", "I am sorry to hear that. Is the red lamp on?"),
    ("customer", "Yes, the red lamp is on."),
    ("agent", "Then press the button below it for ten seconds."),
    ("customer", "It works now, thank you."),
    ("agent", "You are welcome. Goodbye!"),
)
APART_S = 2.0
LONGEST_S = 240.0
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
RUN = """
query($id: ID!) {
  runOrError(runId: $id) { ... on Run { status creationTime startTime endTime } }
}
"""
REPOSITORY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"


def main() -> None:
    """Measure both a few times; every figure is the median of them."""
    chosen = options(__doc__ or "")
    rounds = 1 if chosen.quick else 3
    with empty_home(CREW_FIRST_DAY="2025-01-01") as settings:
        source = settings.home_path / "desk.sqlite"
        os.environ["DESK_DB"] = f"sqlite:///{source}"
        prepare(source)
        api, dagster = free_port(), free_port()
        with opened_store(settings) as databases:
            with databases.db.write() as connection:
                set_history(connection, CLIENT, CREW, "DESK_DB", "chats", {})
            command = ["-m", "crew_pipeline.cli", "up", "--port", str(api), "--dagster-port", str(dagster)]
            progress("starting everything")
            with running(command, f"http://127.0.0.1:{api}/readyz"):
                url = f"http://127.0.0.1:{dagster}/graphql"
                measured = measure(settings, databases, source, url, rounds)
    report(measured, as_json=chosen.json)


def measure(settings: Settings, databases: Databases, source: Path, url: str, rounds: int) -> dict[str, Any]:
    """Rows first, then launches."""
    settle(databases.db)
    rows = []
    for number in range(rounds):
        progress(f"a conversation arrives ({number + 1} of {rounds})")
        rows.append(row_to_ready(databases.db, source, f"now-{number}"))
    launches = []
    for number in range(rounds):
        progress(f"a launch in the UI ({number + 1} of {rounds})")
        launches.append(launched(url))
    content: dict[str, Any] = {
        "row_to_ready_s": _median([sum(parts.values()) for parts in rows]),
        **{name: _median([parts[name] for parts in rows]) for name in ("tick_s", "queue_s", "start_s", "work_s")},
        "launch_to_finished_s": _median([sum(parts.values()) for parts in launches]),
        **{f"launch_{name}": _median([parts[name] for parts in launches]) for name in ("queue_s", "start_s", "work_s")},
        "rounds": rounds,
        "lines": len(SAID),
    }
    return content


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def prepare(source: Path) -> None:
    """A table with some conversations of yesterday."""
    with sqlite3.connect(source) as connection:
        connection.execute(
            "CREATE TABLE chats (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT, created_at TEXT)"
        )
        yesterday = datetime.now(UTC) - timedelta(days=1)
        for number in range(8):
            for place, said in enumerate(SAID):
                _write(connection, f"before-{number}", yesterday + timedelta(seconds=4 * place), *said)


def _write(connection: sqlite3.Connection, session: str, moment: datetime, speaker: str, words: str) -> None:
    connection.execute(
        "INSERT INTO chats (session_id, message, created_at) VALUES (?, ?, ?)",
        (session, json.dumps({"type": speaker, "content": words}), moment.isoformat()),
    )


def settle(db: Database) -> None:
    """Wait until what was there before is ready."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        with db.read() as connection:
            waiting = "SELECT count(*) FILTER (WHERE semantic_status <> 'completed'), count(*) FROM data_items"
            left, there = connection.execute(text(waiting)).one()
        if there and not left:
            return
        time.sleep(0.5)
    raise SystemExit("what was there before is not ready in time")


_PARTS = """
SELECT item.created_at AS stored, claim.claimed_at AS claimed, claim.ended_at AS ended, claim.token AS run
FROM data_items AS item
JOIN day_claims AS claim ON claim.client = item.client AND claim.day = item.days_date AND outcome = 'completed'
WHERE item.session_id = :session AND item.semantic_status = 'completed' AND claim.ended_at > item.updated_at
ORDER BY claim.ended_at LIMIT 1
"""


def row_to_ready(db: Database, source: Path, session: str) -> dict[str, float]:
    """Seconds from the last row of a conversation to its day: until it is stored, its run is asked for, that has begun,
    and the day is made."""
    for said in SAID:
        with sqlite3.connect(source) as connection:
            _write(connection, session, datetime.now(UTC), *said)
        last = datetime.now(UTC)
        time.sleep(APART_S)
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        with db.read() as connection:
            whole = connection.scalar(text("SELECT line_count FROM data_items WHERE session_id = :session"),
                                      {"session": session})  # fmt: skip
            row = connection.execute(text(_PARTS), {"session": session}).one_or_none() if whole == len(SAID) else None
        if row is not None:
            asked = created(row.run)
            stored = max(last, row.stored)
            moments = [last, stored, max(stored, asked or row.claimed), row.claimed, row.ended]
            names = ("tick_s", "queue_s", "start_s", "work_s")
            return {
                name: max(0.0, (after - before).total_seconds())
                for name, before, after in zip(names, moments, moments[1:], strict=False)
            }
        time.sleep(0.2)
    raise SystemExit(f"the day of {session} is not ready in time")


def created(run_id: str) -> datetime | None:
    """When a run was asked for, as Dagster has it."""
    from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
    from crew_pipeline.settings import load_settings

    with dagster_instance(prepare_home(load_settings())) as instance:
        record = instance.get_run_record_by_id(run_id)
    return record and record.create_timestamp.replace(tzinfo=UTC)


def launched(url: str) -> dict[str, float]:
    """Seconds of a run that is launched in the UI over one ready day: in the queue, until it has begun, at work."""
    (repository,) = ask(url, REPOSITORY)["repositoriesOrError"]["nodes"]
    assets = ("discovered_conversations", "line_embeddings", "semantic_clusters", "day_document")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    params = {
        "selector": {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
            "jobName": "materialize_days",
            "assetSelection": [{"path": [asset]} for asset in assets],
        },
        "runConfigData": {"ops": {"make_days": {"config": {"force": True}}}},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": yesterday}]},
    }
    asked = time.time()
    run_id = ask(url, LAUNCH, params=params)["launchRun"]["run"]["runId"]
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        run = ask(url, RUN, id=run_id)["runOrError"]
        if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}:
            begun, ended = run["startTime"], run["endTime"]
            taken = run["creationTime"]
            return {"queue_s": max(0.0, taken - asked), "start_s": begun - taken, "work_s": ended - begun}
        time.sleep(0.2)
    raise SystemExit(f"run {run_id} does not end in time")


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """What Dagster's GraphQL answers."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        data: dict[str, Any] = json.load(response)["data"]
    return data


if __name__ == "__main__":
    main()
