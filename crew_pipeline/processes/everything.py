"""``crew up``: database, migrations, Dagster, warm worker and API on one machine."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.processes.pool import worker_children
from crew_pipeline.processes.supervisor import Child
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import database_at
from crew_pipeline.storage.opening import Databases

READY_WITHIN_S = 240.0


@dataclass(frozen=True)
class Addresses:
    """Where things listen."""

    host: str
    port: int
    dagster_port: int

    @property
    def api(self) -> str:
        """The API and the day page."""
        return f"http://{_reachable(self.host)}:{self.port}"

    @property
    def dagster(self) -> str:
        """The Dagster UI, on loopback always: it has no access control of its own."""
        return f"http://127.0.0.1:{self.dagster_port}"


def _reachable(host: str) -> str:
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{named}]" if ":" in named and not named.startswith("[") else named


def children(settings: Settings, databases: Databases, addresses: Addresses) -> list[Child]:
    """The processes of ``crew up``, each with the sign by which it is ready."""
    logs = settings.home_path / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-m"]
    module = ["-m", "crew_pipeline.definitions"]

    def child(name: str, command: list[str], ready: Callable[[], bool]) -> Child:
        return Child(name, [*python, *command], ready, logs / f"{name}.log")

    return [
        *worker_children(settings, databases, settings.workers),
        child(
            "api",
            ["crew_pipeline.cli", "api", "--host", addresses.host, "--port", str(addresses.port)],
            lambda: _answers(f"{addresses.api}/healthz"),
        ),
        child(
            "dagster-webserver",
            ["dagster_webserver", "-h", "127.0.0.1", "-p", str(addresses.dagster_port), *module],
            lambda: _answers(f"{addresses.dagster}/server_info"),
        ),
        child("dagster-daemon", ["dagster._daemon", "run", *module], lambda: _daemon_ready(databases.dagster)),
    ]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _daemon_ready(dagster_url: str) -> bool:
    """Whether the daemon has beaten within the last minute."""
    try:
        with database_at(dagster_url).read() as connection:
            found = connection.scalar(
                text(
                    "SELECT count(*) FROM daemon_heartbeats "
                    "WHERE timestamp > (now() AT TIME ZONE 'UTC') - interval '60 seconds'"
                )
            )
    except SQLAlchemyError:
        return False
    return bool(found)
