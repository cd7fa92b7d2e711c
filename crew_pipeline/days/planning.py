"""Which days go into which run: a pure decision that sweeps, the sensor and the command line share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from crew_pipeline.storage.days.queue import Work


class DayBatch(NamedTuple):
    """Neighbouring days that one run takes."""

    first: date
    last: date
    conversations: int
    lines: int
    priority: int


MAX_DAYS_PER_RUN = 31
"""Days that one run takes at most."""

# Days without conversations in between cost a run almost nothing; a second run costs more.
MAX_GAP_DAYS = 3
# A run keeps the lines of its days in memory until their documents are written.
MAX_LINES = 50_000


def batches(work: Sequence[Work], *, max_conversations: int, max_days: int) -> list[DayBatch]:
    """Join neighbouring days of equal priority into runs, in the order of the queue.

    Days of priority 0, which are only made anew, come newest first.

    Args:
        work: days that need work, several clients' rows of one day included.
        max_conversations: a batch is closed when the next day would pass it; a single day may exceed it.
        max_days: longest span of a batch (days).
    """
    result: list[DayBatch] = []
    for priority in sorted({waiting.priority for waiting in work}, reverse=True):
        days: dict[date, DayBatch] = {}
        for waiting in work:
            if waiting.priority == priority:
                known = days.get(waiting.day, DayBatch(waiting.day, waiting.day, 0, 0, priority))
                days[waiting.day] = _joined(known, day_batch(waiting))
        joined: list[DayBatch] = []
        for day in sorted(days.values(), reverse=priority == 0):
            if joined and _fit(joined[-1], day, max_conversations, max_days):
                joined[-1] = _joined(joined[-1], day)
            else:
                joined.append(day)
        result.extend(joined)
    return result


def day_batch(work: Work) -> DayBatch:
    """A batch of one client's day."""
    return DayBatch(work.day, work.day, work.conversations, work.lines, work.priority)


def _joined(batch: DayBatch, other: DayBatch) -> DayBatch:
    return DayBatch(
        min(batch.first, other.first),
        max(batch.last, other.last),
        batch.conversations + other.conversations,
        batch.lines + other.lines,
        batch.priority,
    )


def _fit(batch: DayBatch, day: DayBatch, max_conversations: int, max_days: int) -> bool:
    gap = max(day.first - batch.last, batch.first - day.last)
    both = _joined(batch, day)
    return (
        gap <= timedelta(days=MAX_GAP_DAYS + 1)
        and (both.last - both.first).days < max_days
        and both.conversations <= max_conversations
        and both.lines <= MAX_LINES
    )


def run_key(batch: DayBatch, changes: Sequence[str]) -> str:
    """A key that is new exactly when there is something new to do in the batch.

    Dagster accepts a run key only once, so it covers the changes, not the days alone.
    """
    digest = hashlib.blake2b("\n".join(sorted(changes)).encode(), digest_size=8).hexdigest()
    return f"{batch.first}..{batch.last}:{digest}"
