"""How many cores a run may keep busy, as its tags say."""

from __future__ import annotations

from collections.abc import Mapping

from crew_pipeline.days.pace import Pace
from crew_pipeline.orchestration import tags


def pace_of(run_tags: Mapping[str, str]) -> Pace:
    """The pace of a run with these tags; without one for it there is no limit."""
    cores = run_tags.get(tags.CORES)
    return Pace(float(cores)) if cores else Pace()
