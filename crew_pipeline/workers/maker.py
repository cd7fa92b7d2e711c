"""How a worker has days made: the interface, and the exit statuses by which one tells how it ended."""

from __future__ import annotations

from typing import Protocol

from crew_pipeline.storage.days.queue import Work

RECYCLED = 75
"""Exit status of a worker that has grown above the memory limit and wants to be started again."""
STUCK = 76
"""Exit status of a worker whose run hung."""


class Maker(Protocol):
    """Has days made, one way or another."""

    def make(self, work: Work) -> bool:
        """Take a day and have it made; False where somebody else has it, or it is not to be tried."""

    def tend(self) -> None:
        """Look after what was begun earlier; called every now and then, by the thread that calls ``make``."""

    def oversee(self, stopping_for_s: float | None) -> None:
        """Look after what is going on; called every second, by another thread.

        Args:
            stopping_for_s: since when the process has been told to stop (s); None where it has not.
        """
