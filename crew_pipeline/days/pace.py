"""How much of the machine background work may use: a share of the cores, smaller in business hours."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from crew_pipeline.days.planning import DayBatch
from crew_pipeline.settings import WEEKDAYS, Settings

_LONGEST_REST_S = 10.0
# Of the default run launcher, and of embedding and comparing chat (2 cores).
_RUN_STARTS_WITHIN_S = 15.0
_CORE_S_PER_LINE = 1 / 120


class Allowance(NamedTuple):
    """What background runs may use together.

    Attributes:
        slots: runs at once.
        cores: cores that each of them may keep busy; below 1 where the share is small.
    """

    slots: int
    cores: float

    def fitting(self, planned: Sequence[DayBatch], within_s: float) -> Sequence[DayBatch]:
        """As many of the batches as can be made within a time (s), at least one for each slot.

        Runs once asked for keep this allowance and order, even where another holds meanwhile.
        """
        budget = within_s * self.slots
        for number, batch in enumerate(planned):
            budget -= _RUN_STARTS_WITHIN_S + batch.lines * _CORE_S_PER_LINE / self.cores
            if budget < 0 and number >= self.slots:
                return planned[:number]
        return planned


def allowance(settings: Settings, now: datetime, cores: int | None = None) -> Allowance:
    """What background runs that start at ``now`` may use (specification A: 30% in business hours, 70% outside)."""
    local = now.astimezone(settings.zone)
    first, last = settings.business_hours
    at_business = WEEKDAYS[local.weekday()] in settings.business_days and first <= local.hour < last
    share = settings.cpu_share_business if at_business else settings.cpu_share_outside
    whole = share * (cores or settings.background_cores or os.cpu_count() or 1)
    slots = min(settings.sweep_concurrency, max(1, int(whole)))
    return Allowance(slots, whole / slots)


class Pace:
    """Keeps a run within its cores by resting between two pieces of work."""

    def __init__(self, cores: float = math.inf) -> None:
        """Args:
        cores: how many may be kept busy; by default there is no limit.
        """
        self._cores = cores
        self._started = time.monotonic()
        self._used_before = time.process_time()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let the libraries use no more threads than the run may keep busy."""
        if math.isinf(self._cores):
            yield
            return
        import faiss
        import torch

        before = torch.get_num_threads(), faiss.omp_get_max_threads()
        threads = max(1, int(self._cores))
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            faiss.omp_set_num_threads(before[1])

    def rest(self) -> None:
        """Sleep for as long as the run is ahead of its share."""
        used, passed = time.process_time() - self._used_before, time.monotonic() - self._started
        time.sleep(max(0.0, min(used / self._cores - passed, _LONGEST_REST_S)))
