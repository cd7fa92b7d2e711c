"""The Dagster instance: its home in the data directory, and connections that are kept."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance
from dagster import __version__ as dagster_version

from crew_pipeline.orchestration.dagster_internals import complete_tables, instance_without_logs
from crew_pipeline.settings import Settings
from crew_pipeline.shipped import shipped

_STATEMENT_TIMEOUT_MS = 60_000


def prepare_home(settings: Settings) -> Path:
    """``DAGSTER_HOME``: the one in the environment, or one in the data directory with the shipped configuration."""
    given = os.environ.get("DAGSTER_HOME")
    if given:
        return Path(given)
    home = settings.home_path / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    wanted, target = shipped("dagster.yaml").read_bytes(), home / "dagster.yaml"
    if not target.exists() or target.read_bytes() != wanted:
        # In one step: a Dagster process that reads half of it would fall back to another storage.
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_bytes(wanted)
        draft.replace(target)
    return home


@contextmanager
def dagster_instance(home: Path) -> Iterator[DagsterInstance]:
    """The instance of ``home`` with pooled connections: a short run costs less than half of what it does without.

    What this process prints stays its own, also while it executes a run; only launched runs have theirs kept.
    """
    with instance_without_logs(str(home)) as instance:
        complete_tables(instance)
        instance.optimize_for_webserver(statement_timeout=_STATEMENT_TIMEOUT_MS, pool_recycle=3600, max_overflow=10)
        yield instance


def described(settings: Settings) -> str:
    """Which Dagster there is, and how much it has recorded."""
    with dagster_instance(prepare_home(settings)) as instance:
        return f"Dagster {dagster_version}, {instance.get_runs_count()} runs recorded"


def daemon_age_s(instance: DagsterInstance) -> float | None:
    """The age of the last heartbeat of any part of Dagster's daemon (s); None where there never was one.

    A part that has long work may be silent for minutes; Dagster itself ends a daemon of which a part has died.
    """
    beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    return max(0.0, time.time() - max(beats)) if beats else None
