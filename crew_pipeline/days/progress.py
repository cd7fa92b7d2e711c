"""What visitors are told while a client's day is made: how far it is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import Connection

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import claims, events
from crew_pipeline.storage.days.events import EventType

# Before anything was measured on this machine: comparing on two cores, and the rest of a run (seconds).
_FIRST_GUESS_PER_LINE = 1 / 200
_FIRST_GUESS_FIXED = 0.5
_AT_MOST_EVERY_S = 0.5
_MOST_BY_TIME = 0.95

PAUSED = "queued"
"""The stage of a day that is half made, and waits while others go first."""
Stage = Literal["discovering", "embedding", "comparing", "clustering", "writing"]

# Where each stage begins and ends on the way from 0 to 1: shares of a day's time as measured on chat (2 cores).
_SHARES: dict[Stage, tuple[float, float]] = {
    "discovering": (0.0, 0.02),
    "embedding": (0.02, 0.1),
    "comparing": (0.1, 0.9),
    "clustering": (0.9, 0.97),
    "writing": (0.97, 1.0),
}


def estimated_seconds(connection: Connection, lines: int) -> float:
    """How long a day of ``lines`` lines will take, learned from the runs that finished last."""
    return round(_estimate(lines, claims.seconds_per_line(connection)), 1)


def _estimate(lines: int, per_line: float | None) -> float:
    if per_line is None:
        return _FIRST_GUESS_FIXED + lines * _FIRST_GUESS_PER_LINE
    return max(0.1, lines * per_line)


def started(connection: Connection, client_day: ClientDay, token: str, lines: int) -> None:
    """Tell that a run has taken a day of ``lines`` lines, and what it will take."""
    estimate_s = estimated_seconds(connection, lines)
    events.emit(connection, client_day, EventType.STARTED, {"estimated_time_s": estimate_s}, token)
    begin = how_far(events.latest_progress(connection, client_day), paused=True)
    tell(connection, client_day, token, "discovering", begin, f"reading {lines:,} lines", estimate_s)


def paused(connection: Connection, client_day: ClientDay, token: str, message: str) -> None:
    """Tell that a day waits half made; it goes on from where it is."""
    fraction = how_far(events.latest_progress(connection, client_day, token))
    tell(connection, client_day, token, PAUSED, fraction, message)


def how_far(told: Mapping[str, Any], *, paused: bool = False) -> float:
    """How much of a day is done by the progress event that was told last.

    Args:
        paused: count it only where the day was paused then.
    """
    return 0.0 if paused and told.get("stage") != PAUSED else float(told.get("progress", 0.0))


class Reporter:
    """Tells the progress of a client's day that a claim still holds, at most twice a second within one stage."""

    def __init__(self, db: Database, client_day: ClientDay, token: str) -> None:
        self._db = db
        self._client_day = client_day
        self._token = token
        self._per_line: float | None = None
        self._before: float | None = None
        self._last: tuple[str, float] = ("", -1.0)

    def stage(self, stage: Stage, done: int = 0, of: int = 1, message: str = "") -> None:
        """Tell that ``done`` of ``of`` parts of a stage are done; if there are several, the message says it too.

        A stage without parts is as far as the time that past days took says.
        """
        at = time.monotonic()
        if stage == self._last[0] and at - self._last[1] < _AT_MOST_EVERY_S:
            return
        self._last = (stage, at)
        counted = f"{done:,} of {of:,} {message}" if of > 1 else message
        with self._db.write() as connection:
            self._tell(connection, stage, done / of if of > 1 else None, counted)

    def _tell(self, connection: Connection, stage: Stage, part: float | None, message: str) -> None:
        """Tell it unless the claim was overtaken: whoever took the day over tells its progress now."""
        work = claims.at_work(connection, self._client_day, self._token)
        if work is None:
            return
        if self._before is None:
            self._per_line = claims.seconds_per_line(connection)
            self._before = how_far(events.latest_progress(connection, self._client_day, self._token))
        estimate_s = _estimate(work.lines, self._per_line)
        begin, end = _SHARES[stage]
        if part is None:
            # Of the whole time as of this stage: the longest by far, so the two are nearly the same.
            part = min(_MOST_BY_TIME, work.spent_s / estimate_s) if stage == "comparing" else 0.0
        # Never back: a day that was paused goes on from where it was.
        fraction = max(self._before, begin + (end - begin) * part)
        left = remaining(fraction, work.spent_s, estimate_s, self._before)
        tell(connection, self._client_day, self._token, stage, fraction, message, left)


def remaining(fraction: float, spent_s: float, estimate_s: float, before: float = 0.0) -> float:
    """Seconds that are left: at first by what past runs took, later more and more by its own pace.

    Args:
        fraction: how much of the day is done.
        spent_s: by this run.
        estimate_s: what past runs say of the whole day.
        before: how much was done when this run began.
    """
    to_do, done = 1 - before, fraction - before
    by_past = max(0.0, estimate_s * to_do - spent_s)
    if done <= 0:
        return round(by_past, 1)
    by_pace = spent_s * (1 - fraction) / done
    return round((done * by_pace + (to_do - done) * by_past) / to_do, 1)


def tell(
    connection: Connection,
    client_day: ClientDay,
    token: str,
    stage: str,
    fraction: float,
    message: str,
    remaining_s: float | None = None,
    *,
    preliminary: bool = False,
) -> None:
    """Record a progress event: ``fraction`` (0 to 1) of a day's work is done."""
    payload: dict[str, object] = {
        "progress": round(fraction, 3),
        "stage": stage,
        "message": message,
        "estimated_remaining_s": remaining_s,
    }
    if preliminary:
        payload["preliminary"] = True
    events.emit(connection, client_day, EventType.PROGRESS, payload, token)
