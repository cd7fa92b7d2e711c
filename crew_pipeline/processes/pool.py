"""Warm workers: as many processes as asked for, kept alive, started anew when they have grown too large."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from crew_pipeline.orchestration import tags
from crew_pipeline.processes.supervisor import Child
from crew_pipeline.settings import Settings
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.upkeep import workers
from crew_pipeline.workers.maker import RECYCLED

READY_WITHIN_S = 240.0
_LONGER_THAN_WORKERS_S = 5.0


def worker_children(settings: Settings, databases: Databases, count: int, *, logged: bool = True) -> list[Child]:
    """``count`` worker processes, each ready when it beats; only one where a Dagster deployment makes the days.

    Args:
        logged: whether their output goes to files in the data directory, not where ours goes.
    """
    logs = settings.home_path / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    db = databases.db

    def beats(child: Child) -> bool:
        if child.process is None:
            return False
        with db.read() as connection:
            return workers.is_alive(connection, workers.name_of(child.process.pid))

    def child(name: str) -> Child:
        command = [sys.executable, "-m", "crew_pipeline.cli", "worker-process"]
        made = Child(name, command, lambda: beats(made), logs / f"{name}.log" if logged else None, RECYCLED)
        return made

    count = 1 if settings.on_demand == "dagster" else count
    return [child("worker" if count == 1 else f"worker-{number + 1}") for number in range(count)]


def environment(settings: Settings, databases: Databases, dagster_home: Path, count: int) -> dict[str, str]:
    """The environment of the processes; ``count`` workers share the cores."""
    threads = settings.threads or (max(1, (os.cpu_count() or 1) // count) if count > 1 else 0)
    return {
        **os.environ,
        **databases.environment(),
        "CREW_HOME": str(settings.home_path),
        "CREW_THREADS": str(threads),
        "DAGSTER_HOME": str(dagster_home),
        tags.EVENT_BATCH_VARIABLE: os.environ.get(tags.EVENT_BATCH_VARIABLE, tags.EVENT_BATCH),
        "PYTHONUNBUFFERED": "1",
    }


def grace_s(settings: Settings) -> float:
    """How long the processes may take to stop: a little longer than workers may take for their day (s)."""
    return settings.worker_grace_s + _LONGER_THAN_WORKERS_S
