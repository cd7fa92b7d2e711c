"""Is the system well? Samples of it, and the alerts that follow from them."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psutil

from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.upkeep import alerts, health
from crew_pipeline.storage.upkeep.alerts import News
from crew_pipeline.storage.upkeep.health import Machine, Sample
from crew_pipeline.upkeep.alert_rules import SYSTEM_KINDS, of_system
from crew_pipeline.upkeep.alerts import announce

_CPU_OVER_S = 1.0


class Look(NamedTuple):
    """A new sample, and the alerts that it raised or resolved."""

    sample: Sample
    news: list[News]


def look(
    db: Database,
    settings: Settings,
    daemon_age_s: Callable[[], float | None],
    unless_within: timedelta | None = None,
) -> Look | None:
    """Take a sample of the system, raise and resolve its alerts, and tell of them.

    Sample and alerts are one transaction: whoever takes a sample also settles its alerts.

    Args:
        daemon_age_s: tells the age of the daemon's heartbeat (s); None where it has never beaten.
        unless_within: take no sample when there is a younger one; of several callers at once, one takes it.

    Returns:
        None where there is a younger sample.
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
        conditions = of_system(health.newest(connection, 2), background=settings.enable_background_jobs)
        news = alerts.settle(connection, SYSTEM_KINDS, conditions, sample.taken_at)
    announce(db, settings, news)
    return Look(sample, news)


def measure(home: Path, daemon_age_s: float | None) -> Machine:
    """What this machine has left; takes a second, to watch the processors.

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
