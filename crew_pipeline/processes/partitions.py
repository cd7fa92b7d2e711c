"""Dagster lists the days from where data begin: older talk that is imported moves that back while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime

from dagster import DagsterInstance, RunsFilter

from crew_pipeline.orchestration import partitions
from crew_pipeline.orchestration.ticks import UNFINISHED
from crew_pipeline.settings import Settings
from crew_pipeline.storage.opening import Databases

DAGSTER = ("dagster-webserver", "dagster-daemon")
"""The processes that list partitions."""
_LOOK_S = 60.0


class ShownDays:
    """Which days Dagster lists, and when it is to be started anew to list others."""

    def __init__(
        self,
        settings: Settings,
        databases: Databases,
        instance: DagsterInstance,
        start_anew: Callable[[Collection[str], Mapping[str, str]], object],
    ) -> None:
        """Args:
        start_anew: stops processes by name and starts them with other variables.
        """
        self._settings = settings
        self._databases = databases
        self._instance = instance
        self._start_anew = start_anew
        self._looked_at = time.monotonic()
        self.variables = self._found()

    def follow(self) -> None:
        """Look every minute; start Dagster anew where days are missing and no run is at work, which would be lost."""
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        found = self._found()
        if found == self.variables or self._instance.get_runs_count(RunsFilter(statuses=list(UNFINISHED))):
            return
        self.variables = found
        self._start_anew(DAGSTER, found)

    def _found(self) -> dict[str, str]:
        with self._databases.db.read() as connection:
            return partitions.variables(connection, self._settings, datetime.now(UTC))
