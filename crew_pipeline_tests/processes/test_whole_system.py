"""``crew up`` as a whole: whatever of it is killed, every day is made, and nobody has to lend a hand."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest
from dagster_graphql import DagsterGraphQLClient
from sqlalchemy import text

from crew_pipeline.model import ClientDay
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.opening import Databases, open_databases
from crew_pipeline_tests.conftest import bring, lines_at
from crew_pipeline_tests.disturbed import check_everything, holds, said, wait_for, wait_until_all_is_done

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FIRST = date(2025, 1, 1)
SIGNS = {
    "worker": "worker-process",
    "api": "crew_pipeline.cli api",
    "daemon": "dagster._daemon",
    "webserver": "dagster_webserver",
    "run": "multiprocessing.spawn import spawn_main",
}


@dataclass
class System:
    """A running ``crew up``."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    dagster_port: int
    databases: Databases

    def parts(self, name: str) -> list[psutil.Process]:
        """The processes of one part of it."""
        if name == "postgres":
            lock = self.home / "postgres" / "postmaster.pid"
            with suppress(psutil.NoSuchProcess, FileNotFoundError, IndexError):
                return [psutil.Process(int(lock.read_text().splitlines()[0]))]
            return []
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            command = " ".join(process.info["cmdline"] or [])
            if SIGNS[name] in command and process.info["status"] != psutil.STATUS_ZOMBIE and self.owns(process):
                found.append(process)
        return found

    def owns(self, process: psutil.Process) -> bool:
        """Whether a process is one of this system."""
        with suppress(psutil.Error):
            return process.environ().get("CREW_HOME") == str(self.home)
        return False

    def kill(self, name: str) -> bool:
        """Kill one part without a word; whether it was there."""
        found = self.parts(name)
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return bool(found)

    def get(self, path: str) -> tuple[int, dict[str, object]]:
        """Status and content of an answer; (0, {}) where there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=40) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (urllib.error.URLError, OSError, json.JSONDecodeError):
            return 0, {}

    def ready(self) -> bool:
        """Whether all of it answers."""
        status, found = self.get("/readyz")
        well = status == 200 and found["dependencies"] == {"database": "ok", "migrations": "ok", "worker": "ok"}
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.dagster_port}/server_info", timeout=10):
                return well and bool(self.parts("daemon"))
        except (urllib.error.URLError, OSError):
            return False

    def launch(self, day: date) -> None:
        """Have a day materialized by a run of the deployment, as somebody does in the Dagster UI."""
        client = DagsterGraphQLClient("127.0.0.1", port_number=self.dagster_port)
        client.submit_job_execution("materialize_days", tags={"dagster/partition": day.isoformat()})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    home = tmp_path_factory.mktemp("crew")
    options = {
        "claim_ttl_s": 5, "poll_s": 0.5, "retry_backoff_s": 2, "background_retries": 8, "on_demand_retries": 4,
        "memory_limit_mb": 4096, "threads": 1, "first_partition": FIRST.isoformat(),
    }  # fmt: skip
    environment = {**os.environ, **{f"CREW_{name.upper()}": str(value) for name, value in options.items()}}
    port, dagster_port = free_port(), free_port()
    command = ["up", "--port", str(port), "--dagster-port", str(dagster_port), "--data-dir", str(home)]
    output = home.with_suffix(".out")
    with output.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "crew_pipeline.cli", *command],
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdout=written,
        )
    with open_databases(load_settings(home=home)) as databases:
        made = System(process, home, port, dagster_port, databases)
        # What it prints once it has seen all of its parts ready; from then on they are only kept alive.
        wait_for(lambda: "The Dagster UI" in output.read_text(), "crew up has started everything", 300)
        wait_for(made.ready, "everything is ready", 300)
        yield made
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0
        assert [one for name in SIGNS for one in made.parts(name)] == []


def arrive(system: System, day: date, session: str, count: int = 40) -> None:
    bring(
        system.databases.db,
        lines_at(day.isoformat(), session, *said(zlib.crc32(session.encode()), count)),
        client="default",
    )


@pytest.mark.parametrize("part", ["worker", "api", "daemon", "webserver", "run", "postgres"])
def test_a_part_that_is_killed_at_work_comes_back_and_every_day_is_made(system: System, part: str) -> None:
    db = system.databases.db
    wait_for(system.ready, "everything is ready", 120)
    day = FIRST + timedelta(days=[*SIGNS, "postgres"].index(part))
    arrive(system, day, f"session of {part}", 600)
    if part == "run":
        system.launch(day)
        wait_for(holds(db, "SELECT count(*) > 0 FROM day_claims WHERE ended_at IS NULL"), "the run is at work")
    else:
        system.get(f"/api/days/{day}/conversations?wait_s=0")
        wait_for(holds(db, "SELECT count(*) > 0 FROM day_claims WHERE ended_at IS NULL"), "the worker is at work")
    assert system.kill(part)
    wait_until_all_is_done(db, 180)
    wait_for(system.ready, "everything is ready again", 180)
    status, answer = system.get(f"/api/days/{day}/conversations?wait_s=30")
    assert status == 200
    assert answer["metadata"]["processing_status"] == "completed"
    check_everything(db)


def test_random_kills_of_everything_lose_nothing(system: System) -> None:
    db = system.databases.db
    chance = random.Random(11)
    wait_for(system.ready, "everything is ready", 180)
    every = [FIRST + timedelta(days=40 + number) for number in range(8)]
    kills = 0
    until = time.monotonic() + 240
    while kills < 30 and time.monotonic() < until:
        for day in chance.sample(every, 2):
            with suppress(Exception):  # the database may be away
                arrive(system, day, f"session {kills} of {day}")
            system.get(f"/api/days/{day}/conversations?wait_s=0")
        with suppress(Exception):  # and so may the webserver
            system.launch(chance.choice(every))
        time.sleep(chance.uniform(0.5, 4))
        kills += system.kill(chance.choice([*SIGNS, "postgres"]))
    wait_for(system.ready, "everything is ready again", 240)
    for day in every:
        system.get(f"/api/days/{day}/conversations?wait_s=0&force_process=true")
    wait_until_all_is_done(db, 300)
    check_everything(db)
    print(f"{kills} kills")  # noqa: T201


def test_what_the_deployment_makes_is_served_at_once(system: System) -> None:
    db = system.databases.db
    wait_for(system.ready, "everything is ready", 180)
    day = FIRST + timedelta(days=80)
    arrive(system, day, "made in the UI")
    system.launch(day)
    client_day = ClientDay("default", day)
    wait_for(
        holds(db, f"SELECT EXISTS (SELECT 1 FROM day_documents WHERE day = '{client_day.day}' AND is_current)"),
        "the run has made the day",
        240,
    )
    status, answer = system.get(f"/api/days/{day}/conversations")
    assert (status, answer["metadata"]["cache_hit"], answer["metadata"]["stale"]) == (200, True, False)
    with db.read() as connection:
        told = connection.execute(text("SELECT type FROM day_events WHERE day = :day ORDER BY seq"), {"day": day}).all()
    assert told[0].type == "processing_started"
    assert told[-1].type == "processing_completed"
