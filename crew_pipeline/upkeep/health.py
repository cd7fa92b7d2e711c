"""Is the system well? Samples of it, conditions from samples, alerts from conditions."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psutil

from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.upkeep import alerts, health
from crew_pipeline.storage.upkeep.alerts import Condition, News
from crew_pipeline.storage.upkeep.health import Machine, Sample
from crew_pipeline.upkeep.announcing import announce

# Specification D: errors over 10%; CPU over 95% or memory under 1 GB; queue over 1,000. Of worker and daemon it says
# nothing; the daemon beats every 30 s.
MOST_FAILED_RUNS = 0.10
LEAST_RUNS = 10
"""Fewer runs in the hour tell no rate; at ten, one failure is 10% and raises nothing, two do."""
MOST_CPU_PERCENT = 95.0
CPU_SUSTAINED_WITHIN = timedelta(minutes=15)
"""Two samples in a row are of one busy time only if they lie this near to each other."""
LEAST_MEMORY_MB = 1_000
MOST_DAYS_WAITING = 1_000
LONGEST_DAEMON_SILENCE_S = 120.0
KINDS = ("runs_failing", "cpu_busy", "memory_low", "queue_long", "worker_missing", "daemon_silent")

_SUBJECT = "system"
_CPU_OVER_S = 1.0


def conditions(samples: Sequence[Sample], *, background: bool = True) -> list[Condition]:
    """What is wrong with the system.

    Args:
        samples: the newest first; two of them are enough.
        background: whether Dagster's daemon is expected to be at work.
    """
    if not samples:
        return []
    sample = samples[0]
    found = [*_of_the_queue(sample), *_of_the_machine(samples)]
    silence = sample.daemon_heartbeat_age_s
    if background and silence is not None and silence > LONGEST_DAEMON_SILENCE_S:
        found.append(_condition("daemon_silent", f"Dagster's daemon has not been heard of for {silence:,.0f} s"))
    return found


def _of_the_queue(sample: Sample) -> list[Condition]:
    found = []
    if sample.runs_ended >= LEAST_RUNS and sample.runs_failed / sample.runs_ended > MOST_FAILED_RUNS:
        share = f"{sample.runs_failed:,} of {sample.runs_ended:,}"
        found.append(_condition("runs_failing", f"{share} runs of the last hour failed"))
    if sample.days_waiting > MOST_DAYS_WAITING:
        found.append(_condition("queue_long", f"{sample.days_waiting:,} days wait to be processed"))
    if sample.days_asked and not sample.workers:
        found.append(_condition("worker_missing", f"{sample.days_asked:,} days were asked for and no worker is alive"))
    return found


def _of_the_machine(samples: Sequence[Sample]) -> list[Condition]:
    sample = samples[0]
    found = []
    busy = [one for one in samples[:2] if one.cpu_percent > MOST_CPU_PERCENT]
    if len(busy) == 2 and busy[0].taken_at - busy[1].taken_at <= CPU_SUSTAINED_WITHIN:
        found.append(_condition("cpu_busy", f"the processors of {sample.host} are {sample.cpu_percent:.0f}% busy"))
    if sample.memory_free_mb < LEAST_MEMORY_MB:
        found.append(_condition("memory_low", f"{sample.host} has {sample.memory_free_mb:,} MB of memory left"))
    return found


def _condition(kind: str, message: str) -> Condition:
    return Condition(kind, _SUBJECT, message)


class Look(NamedTuple):
    """A sample that was taken, and the alerts that it turned."""

    sample: Sample
    news: list[News]


def look(
    db: Database,
    settings: Settings,
    daemon_age_s: Callable[[], float | None],
    unless_within: timedelta | None = None,
) -> Look | None:
    """Take a sample of the system, raise and resolve its alerts, and tell of them.

    Sample and alerts are one transaction: whoever takes a sample has settled what follows from it.

    Args:
        daemon_age_s: tells the age of the daemon's heartbeat (s); None where it has never beaten.
        unless_within: take none when there is one that is younger; of several that ask at once, one takes it.

    Returns:
        None where there is a sample that is younger.
    """
    if unless_within is not None:
        with db.read() as connection:
            if not health.due(connection, unless_within):
                return None
    machine = measure(settings.home_path, daemon_age_s())
    with db.write() as connection:
        sample = health.record(connection, machine, unless_within)
        if sample is None:
            return None
        found = conditions(health.newest(connection, 2), background=settings.enable_background_jobs)
        news = alerts.settle(connection, KINDS, found, sample.taken_at)
    announce(db, settings, news)
    return Look(sample, news)


def measure(home: Path, daemon_age_s: float | None) -> Machine:
    """What this machine has left; takes a second, over which the processors are watched.

    Args:
        home: the data directory; where it is not there, its disk is not measured.
    """
    return Machine(
        host=platform.node(),
        cpu_percent=psutil.cpu_percent(interval=_CPU_OVER_S),
        memory_free_mb=int(psutil.virtual_memory().available / 1e6),
        disk_free_mb=int(shutil.disk_usage(home).free / 1e6) if home.exists() else None,
        daemon_heartbeat_age_s=daemon_age_s,
    )
