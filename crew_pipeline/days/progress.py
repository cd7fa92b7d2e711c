"""What visitors are told while a client's day is made: how far it is, and how long it will take."""

from __future__ import annotations

import time
from typing import Literal

from sqlalchemy import Connection

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import claims, events
from crew_pipeline.storage.days.events import EventType

# Before anything was measured on this machine: comparing on two cores, and the rest of a run (seconds).
_FIRST_GUESS_PER_LINE = 1 / 200
_FIRST_GUESS_FIXED = 0.5
_AT_MOST_EVERY_S = 0.5

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
    tell(connection, client_day, token, "discovering", 0.0, f"reading {lines:,} lines", estimate_s)


class Reporter:
    """Tells the progress of a client's day that a claim still holds, at most twice a second within one stage."""

    def __init__(self, db: Database, client_day: ClientDay, token: str) -> None:
        self._db = db
        self._client_day = client_day
        self._token = token
        self._per_line: float | None = None
        self._learned = False
        self._last: tuple[str, float] = ("", -1.0)

    def stage(self, stage: Stage, done: int = 0, of: int = 1, message: str = "") -> None:
        """Tell that ``done`` of ``of`` parts of a stage are done; if there are several, the message says it too."""
        at = time.monotonic()
        if stage == self._last[0] and at - self._last[1] < _AT_MOST_EVERY_S:
            return
        self._last = (stage, at)
        begin, end = _SHARES[stage]
        fraction = begin + (end - begin) * done / max(1, of)
        counted = f"{done:,} of {of:,} {message}" if of > 1 else message
        with self._db.write() as connection:
            self._tell(connection, stage, fraction, counted)

    def _tell(self, connection: Connection, stage: Stage, fraction: float, message: str) -> None:
        """Tell it unless the claim was overtaken: whoever took the day over tells its progress now."""
        work = claims.at_work(connection, self._client_day, self._token)
        if work is None:
            return
        if not self._learned:
            self._per_line, self._learned = claims.seconds_per_line(connection), True
        left = remaining(fraction, work.spent_s, _estimate(work.lines, self._per_line))
        tell(connection, self._client_day, self._token, stage, fraction, message, left)


def remaining(fraction: float, spent_s: float, estimate_s: float) -> float:
    """Seconds that are left: at first by what past runs took, later more and more by its own pace."""
    by_past = max(0.0, estimate_s - spent_s)
    if fraction <= 0:
        return round(by_past, 1)
    by_pace = spent_s * (1 - fraction) / fraction
    return round(fraction * by_pace + (1 - fraction) * by_past, 1)


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
