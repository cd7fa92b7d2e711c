"""The definitions over a fresh database, run on a real instance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from dagster import DagsterInstance

from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.planning import Batch
from crew_pipeline.orchestration.resources import Database
from crew_pipeline.orchestration.runs import DayRunner, RunOutcome
from crew_pipeline.settings import Settings

Run = Callable[..., RunOutcome]


@pytest.fixture
def run_days(settings: Settings, database_url: str, instance: DagsterInstance) -> Run:
    """Run the day job over ``first`` to ``last``; keyword arguments as of ``DayRunner.run``, ``resources`` replaced."""

    def run(first: str, last: str | None = None, *, resources: dict[str, Any] | None = None, **more: Any) -> RunOutcome:
        overrides = {"database": Database(url=database_url), **(resources or {})}
        runner = DayRunner(build_defs(settings, overrides), instance)
        batch = Batch(date.fromisoformat(first), date.fromisoformat(last or first), 1, 1, 1)
        return runner.run(batch, trigger="test", **more)

    return run
