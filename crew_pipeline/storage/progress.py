"""What a reader is told while a day is computed: how far, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from crew_pipeline.storage.claims import Unit
from crew_pipeline.storage.events import emit

# Before anything was measured on this machine: embedding on two cores, and the rest of a run (seconds).
_FIRST_GUESS_PER_LINE = 1 / 200
_FIRST_GUESS_FIXED = 0.5
_RUNS_REMEMBERED = 50


def estimated_seconds(connection: Connection, lines: int) -> float:
    """How long a day of ``lines`` lines will take, learned from the runs that finished last."""
    per_line = connection.scalar(
        text("""
            SELECT sum(seconds) / nullif(sum(lines), 0) FROM (
                -- a run over several days holds all of them for as long as it takes
                SELECT extract(epoch FROM max(ended_at) - min(claimed_at)) AS seconds, sum(line_count) AS lines
                FROM (SELECT token, ended_at, claimed_at, line_count FROM day_claims
                      WHERE outcome = 'completed' AND line_count > 0 ORDER BY ended_at DESC LIMIT :runs) AS recent
                GROUP BY token
            ) AS runs
        """),
        {"runs": _RUNS_REMEMBERED},
    )
    if per_line is None:
        return round(_FIRST_GUESS_FIXED + lines * _FIRST_GUESS_PER_LINE, 1)
    return round(max(0.1, lines * float(per_line)), 1)


class Reporter:
    """Tells the progress of some clients' days, at most twice a second for one stage."""

    def __init__(self, engine: Engine, units: Sequence[Unit], token: str) -> None:
        self._engine = engine
        self._units = list(units)
        self._token = token
        self._started = time.monotonic()
        self._last: tuple[str, float] = ("", -1.0)

    def stage(self, stage: str, fraction: float, message: str) -> None:
        """Record that ``fraction`` (0 to 1) of the work is done."""
        now = time.monotonic()
        if stage == self._last[0] and now - self._last[1] < 0.5:
            return
        self._last = (stage, now)
        spent = now - self._started
        remaining = spent * (1 - fraction) / fraction if fraction > 0 else None
        payload = {
            "progress": round(fraction, 3),
            "stage": stage,
            "message": message,
            "estimated_remaining_s": None if remaining is None else round(remaining, 1),
        }
        with self._engine.begin() as connection:
            for unit in self._units:
                emit(connection, unit.client, unit.day, "processing_progress", payload, self._token)
