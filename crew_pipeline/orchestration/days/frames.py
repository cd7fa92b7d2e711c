"""What flows between assets: a data frame for each day of the run, made one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date

import pandas as pd


class DayFrames:
    """A data frame per day, computed or loaded when it is asked for.

    A run may cover many days; no more than one day's data is in memory, and what the IO manager has stored of earlier
    days stays when a later one fails. A day may come as several frames, each stored as soon as it is there.
    """

    def __init__(
        self, days: Sequence[date], frames_of: Callable[[date], pd.DataFrame | Iterable[pd.DataFrame]]
    ) -> None:
        self.days = list(days)
        self._frames_of = frames_of

    def chunks(self, day: date) -> Iterator[pd.DataFrame]:
        """The frames of a day, one at a time."""
        made = self._frames_of(day)
        if isinstance(made, pd.DataFrame):
            yield made
        else:
            yield from made

    def __getitem__(self, day: date) -> pd.DataFrame:
        """The whole frame of a day."""
        chunks = list(self.chunks(day))
        return chunks[0] if len(chunks) == 1 else pd.concat(chunks, ignore_index=True)
