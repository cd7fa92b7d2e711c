"""Which days go into which run: a pure decision that sweeps, the sensor and the command line share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from crew_pipeline.storage.queue import Work


class Batch(NamedTuple):
    """Neighbouring days that one run takes."""

    first: date
    last: date
    conversations: int
    lines: int
    priority: int


# Days without conversations between two that have some cost a run almost nothing; a run of its own costs more.
MAX_GAP_DAYS = 3
# A run keeps the lines of its days in memory until their documents are written.
MAX_LINES = 50_000


def batches(work: Sequence[Work], *, max_conversations: int, max_days: int) -> list[Batch]:
    """Join neighbouring days of equal priority into runs, in the order of the queue.

    Args:
        work: days that need work, several clients' rows of one day included.
        max_conversations: a batch is closed when the next day would pass it; a single day may exceed it.
        max_days: longest span of a batch (days).
    """
    result: list[Batch] = []
    for priority in sorted({one.priority for one in work}, reverse=True):
        days: dict[date, tuple[int, int]] = {}
        for one in work:
            if one.priority == priority:
                conversations, lines = days.get(one.day, (0, 0))
                days[one.day] = (conversations + one.conversations, lines + one.lines)
        open_batch: Batch | None = None
        for day, (conversations, lines) in sorted(days.items()):
            if (
                open_batch is not None
                and day - open_batch.last <= timedelta(days=MAX_GAP_DAYS + 1)
                and (day - open_batch.first).days < max_days
                and open_batch.conversations + conversations <= max_conversations
                and open_batch.lines + lines <= MAX_LINES
            ):
                open_batch = Batch(
                    open_batch.first,
                    day,
                    open_batch.conversations + conversations,
                    open_batch.lines + lines,
                    priority,
                )
                result[-1] = open_batch
            else:
                open_batch = Batch(day, day, conversations, lines, priority)
                result.append(open_batch)
    return result


def run_key(batch: Batch, changes: Sequence[str]) -> str:
    """A key that is new exactly when what there is to do in the batch's days is new.

    Dagster uses a run key once for ever, so it covers the changes, not the days alone.
    """
    digest = hashlib.blake2b("\n".join(sorted(changes)).encode(), digest_size=8).hexdigest()
    return f"{batch.first}..{batch.last}:{digest}"
