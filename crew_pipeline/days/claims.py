"""The one door to claims: whoever computes a client's day claims it first, and writes results only while it holds it.

A claim is a row with a token, which is the id of the Dagster run (or ``refold-…``). At most one of a client's day is
open. It is kept alive by a heartbeat; one without expires and is overtaken, and its token can never claim that day
again, so an overtaken run cannot write over what came after it. A background claim yields to a visitor who waits.

The states of a day's conversations (``DayState``), and what moves them:

        import, discovery          a visitor asks (requests.request)
             │                              │
             ▼                              ▼
        ┌─ PENDING ───────────────────▶ QUEUED ◀────────────┐
        │    ▲                            │                 │ give_back(QUEUED), pause, fail (tried at once)
        │    │ give_back, cancel          │                 │
        │    └──────────── PROCESSING ◀───┘ take, begin     │
        └────────────────▶   │   │ └────────────────────────┘
             take, begin     │   │
                             │   └─ fail, give_up, settle_failure ──▶ FAILED ── retry_at is over, or request(force),
                             ▼                                                  or release ──▶ tried again
                         COMPLETED      publishing.publish; a conversation that changes becomes PENDING again

and those of a claim (``ClaimOutcome``), open from ``acquire`` or ``take`` until

    publish ──▶ COMPLETED        fail ──▶ RETRIED, or FAILED where the day is set aside
    give_back, cancel, give_up (with tries left) ──▶ RELEASED       pause ──▶ PAUSED
    a visitor waits and another run takes the day from one of the background ──▶ YIELDED
    nobody kept it alive and another takes the day ──▶ OVERTAKEN

Every function works in the caller's transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.days import progress
from crew_pipeline.days.retries import Patience
from crew_pipeline.model import ClaimOutcome, ClientDay, DayState
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import events
from crew_pipeline.storage.days.claims import (
    acquire,
    failures_in_a_row,
    finish,
    hand_over,
    held,
    is_open,
    last_ended,
    lives,
    overtaken_tokens,
    prolong,
    released,
    settle_stamp,
    silent,
    taken,
    want,
    wanted,
)
from crew_pipeline.storage.days.queue import is_asked_for
from crew_pipeline.storage.days.states import lock_conversations, set_status

__all__ = [
    "acquire",
    "begin",
    "cancel",
    "fail",
    "failures_in_a_row",
    "finish",
    "give_back",
    "give_up",
    "hand_over",
    "heartbeat",
    "held",
    "is_open",
    "last_ended",
    "lives",
    "overtaken_tokens",
    "pause",
    "prolong",
    "released",
    "settle_failure",
    "settle_stamp",
    "silent",
    "take",
    "taken",
    "want",
    "wanted",
]


def take(
    connection: Connection,
    client_day: ClientDay,
    token: str,
    ttl_s: int,
    lines: int = 0,
    *,
    background: bool = False,
    after: str | None = None,
) -> bool:
    """Claim a client's day, mark the conversations that will be read, and tell visitors.

    A day that ``token`` already holds is only prolonged: it does not read conversations that changed since.

    Args:
        lines: of the day, to estimate its time.
        background: the claim yields to a visitor who waits, and does not make others yield.
        after: token of a claim made beforehand for this run, which takes it over.

    Returns:
        Whether ``token`` holds the day.
    """
    if after is not None and hand_over(connection, client_day, after, token, ttl_s):
        claim: str | None = "new"
    else:
        claim = acquire(connection, client_day, token, ttl_s, lines, background=background)
    if claim == "new":
        if background and is_asked_for(connection, client_day):
            want(connection, client_day)
            events.notify(connection, events.REQUEST_CHANNEL, client_day)
        begin(connection, client_day)
        progress.started(connection, client_day, token, lines)
    return claim is not None


def begin(connection: Connection, client_day: ClientDay) -> None:
    """Mark the conversations that a run reads from now on; those that change after this are ``pending`` and stay so."""
    set_status(connection, client_day, DayState.PROCESSING)


def fail(
    connection: Connection, client_day: ClientDay, token: str, error: str, patience: Patience, *, at_once: bool = False
) -> None:
    """A try at a client's day has failed: it is tried again at once, later, or set aside with its error.

    Args:
        at_once: a visitor waits, so the first tries follow each other; else there is a pause before each.
    """
    if client_day not in held(connection, token, [client_day.day], lock=True):
        return
    at_once = at_once or wanted(connection, client_day, token)
    failures = failures_in_a_row(connection, client_day) + 1
    if at_once and patience.pause(failures) == 0:
        set_status(connection, client_day, DayState.QUEUED, of=(DayState.PROCESSING,))
        finish(connection, client_day, token, ClaimOutcome.RETRIED)
    else:
        _set_back(connection, client_day, token, error, patience.rest(failures), ClaimOutcome.RETRIED)


def give_up(connection: Connection, client_day: ClientDay, token: str, error: str, patience: Patience) -> None:
    """Let go of a client's day that ``token`` has claimed, because too many tries before failed or died.

    Args:
        error: told where no earlier try told one.
    """
    told = events.last_error(connection, client_day)
    again = patience.rest(failures_in_a_row(connection, client_day))
    _set_back(connection, client_day, token, told or error, again, ClaimOutcome.RELEASED)


def _set_back(
    connection: Connection,
    client_day: ClientDay,
    token: str,
    error: str,
    again: float | None,
    outcome: ClaimOutcome,
) -> None:
    set_status(
        connection,
        client_day,
        DayState.FAILED,
        of=(DayState.PROCESSING, DayState.QUEUED),
        error=error,
        retry_in_s=again,
    )
    told = {"error": error, **({"retry_in_s": again} if again is not None else {})}
    events.emit(connection, client_day, events.EventType.FAILED, told, token)
    finish(connection, client_day, token, ClaimOutcome.FAILED if again is None else outcome)


def give_back(
    connection: Connection,
    token: str,
    *,
    only: ClientDay | None = None,
    state: DayState = DayState.PENDING,
    outcome: ClaimOutcome = ClaimOutcome.RELEASED,
) -> list[ClientDay]:
    """Give what ``token`` still holds, or ``only`` that day, back to the queue as ``state``; returns the days.

    A day that a visitor waits for is ``queued`` in any case.
    """
    client_days = [
        client_day for client_day in held(connection, token, lock=True) if only is None or client_day == only
    ]
    lock_conversations(connection, client_days)
    for client_day in client_days:
        next_state = DayState.QUEUED if wanted(connection, client_day, token) else state
        set_status(connection, client_day, next_state, of=(DayState.PROCESSING,))
        finish(connection, client_day, token, outcome)
    return client_days


def cancel(connection: Connection, token: str) -> None:
    """Let go of what ``token`` holds without asking for it again: somebody cancelled its run."""
    for client_day in held(connection, token, lock=True):
        set_status(connection, client_day, DayState.PENDING, of=(DayState.QUEUED, DayState.PROCESSING))
    give_back(connection, token)


def pause(connection: Connection, client_day: ClientDay, token: str, done: str) -> None:
    """Return a half-made day to the queue, behind others that wait; visitors are told what is done."""
    if client_day in give_back(connection, token, only=client_day, state=DayState.QUEUED, outcome=ClaimOutcome.PAUSED):
        progress.paused(connection, client_day, token, f"{done}; others go first")


def settle_failure(
    connection: Connection, token: str, error: str, patience: Patience, *, at_once: bool = False
) -> None:
    """A run failed, and with it every day that it still held. See ``fail``."""
    client_days = held(connection, token, lock=True)
    lock_conversations(connection, client_days)
    for client_day in client_days:
        fail(connection, client_day, token, error, patience, at_once=at_once)


@contextmanager
def heartbeat(db: Database, token: str, ttl_s: int) -> Iterator[None]:
    """Keep the claims of ``token`` alive from a thread while the block computes.

    A failed beat is made up for by the next; the claim outlives two of them.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(ttl_s / 3):
            try:
                with db.write() as connection:
                    prolong(connection, token, ttl_s)
            except SQLAlchemyError:
                continue

    thread = threading.Thread(target=beat, name=f"heartbeat-{token[:8]}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)
