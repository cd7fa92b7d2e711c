"""A day's retry policy: how often a client's day is tried, and how long it rests in between."""

from __future__ import annotations

from typing import NamedTuple

from crew_pipeline.settings import Settings

_LONGEST_PAUSE_S = 6 * 3600


class Patience(NamedTuple):
    """How often a client's day is tried again before it is set aside.

    Attributes:
        at_once: tries that follow the first without a pause, while a visitor waits.
        later: tries in the background after those.
        backoff_s: pause before the first of these (s); it doubles each time, to six hours at most.
    """

    at_once: int = 2
    later: int = 3
    backoff_s: float = 600

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """As the settings say."""
        return cls(settings.on_demand_retries, settings.background_retries, settings.retry_backoff_s)

    def pause(self, failures: int) -> float | None:
        """Seconds until the next try after so many failures in a row; None where the day is set aside."""
        if failures > self.at_once + self.later:
            return None
        if failures <= self.at_once:
            return 0.0
        return float(min(self.backoff_s * 2 ** (failures - self.at_once - 1), _LONGEST_PAUSE_S))

    def rest(self, failures: int) -> float | None:
        """``pause``, but where nobody waits: never less than ``backoff_s``."""
        pause = self.pause(failures)
        return None if pause is None else max(pause, self.backoff_s)

    def is_over_at_once(self, failures: int) -> bool:
        """Whether a visitor who waits has had all the tries that follow each other at once."""
        return failures > self.at_once
