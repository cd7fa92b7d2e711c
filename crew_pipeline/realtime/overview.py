"""What the queue, the days and the last runs look like, for ``crew status``."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Engine

from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.settings import Settings
from crew_pipeline.storage import claims, days, workers

_QUEUE_SHOWN = 10
_RUNS_SHOWN = 10


def overview(engine: Engine, settings: Settings) -> dict[str, Any]:
    """Days by status, the head of the queue, the last runs and the workers that live."""
    with engine.connect() as connection:
        by_status = days.counts_by_status(connection)
        queue = days.work(connection, fingerprint_of(settings), most=_QUEUE_SHOWN)
        return {
            "by_status": {
                name: {"days": by_status.get(name, (0, 0))[0], "conversations": by_status.get(name, (0, 0))[1]}
                for name in ("completed", "processing", "queued", "pending", "failed")
            },
            "queue": [
                {
                    "day": one.day.isoformat(),
                    "client": one.client,
                    "priority": one.priority,
                    "conversations": one.conversations,
                    "lines": one.lines,
                }
                for one in queue
            ],
            "last_runs": claims.last_ended(connection, _RUNS_SHOWN),
            "workers": workers.alive(connection),
        }


def day_overview(engine: Engine, day: date) -> dict[str, Any]:
    """One day of every client."""
    with engine.connect() as connection:
        found = days.summaries(connection, day, day)
    return {"day": day.isoformat(), "days": [{**one._asdict(), "day": one.day.isoformat()} for one in found]}
