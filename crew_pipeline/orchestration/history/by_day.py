"""What follows a client's days one by one: made for the newest days first."""

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar

from crew_pipeline.days.planning import MAX_DAYS_PER_RUN, batches
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.history.following import Wanted
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import states
from crew_pipeline.storage.days.queue import Work

T = TypeVar("T")

MOST_DAYS = 1_000
"""That a tick looks at."""


def each(db: Database, day: date, work: Callable[[Database, ClientDay], T | None]) -> tuple[list[T], float]:
    """What was done for each client's day where there was anything to do, and how long it took (s)."""
    started = time.monotonic()
    with db.read() as connection:
        client_days = states.client_days_on(connection, day)
    tried = [work(db.as_client(client_day.client), client_day) for client_day in client_days]
    return [done for done in tried if done is not None], round(time.monotonic() - started, 3)


def newest(work: Sequence[Work], settings: Settings) -> Wanted:
    """A run of the newest days that go together."""
    planned = batches(work, max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN)
    return tags.partition_tags(planned[0]) if planned else None
