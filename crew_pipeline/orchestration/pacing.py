"""How many cores a run may keep busy, as its tags say."""

from __future__ import annotations

from dagster import DagsterRun

from crew_pipeline.days.pace import Pace
from crew_pipeline.orchestration import tags


def pace_of(run: DagsterRun) -> Pace:
    """The pace of a run; without a tag there is no limit."""
    cores = run.tags.get(tags.CORES)
    return Pace(float(cores)) if cores else Pace()
