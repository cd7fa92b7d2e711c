"""Asking for a client's day: a visitor who waits for it, an operator who has a failed one tried again."""

from __future__ import annotations

from sqlalchemy import Connection

from crew_pipeline import telemetry
from crew_pipeline.days import claims
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage.days import askings, documents, events, queue
from crew_pipeline.storage.days.states import lock_conversations, set_status, status_of


def request(
    connection: Connection,
    client_day: ClientDay,
    *,
    force: bool = False,
    outdated: bool = False,
    fingerprint: str | None = None,
    waiting: bool = True,
) -> bool:
    """Ask for a client's day now: its conversations go ahead of the queue and a worker is woken.

    A day that failed is only asked for again with ``force``, so that visitors do not keep it failing.

    Args:
        force: process it even if it is ready or failed.
        outdated: its document is missing or out of date, so completed conversations are taken as well.
        fingerprint: of the engine in force; where another request has had the document made since the caller looked, it
            is not taken for outdated.
        waiting: the visitor has nothing to read yet, so a background run that works at the day gives it up.

    Returns:
        Whether this call changed anything. Asking again while it is queued or processed does not.
    """
    wanted = waiting and claims.want(connection, client_day)
    if outdated and fingerprint is not None:
        lock_conversations(connection, [client_day])  # waits for a run that is just publishing
        outdated = not documents.is_ready(connection, client_day, fingerprint)
    if force:
        queue.forgive(connection, client_day)
    states = [DayState.PENDING]
    if force:
        states.append(DayState.FAILED)
    if force or outdated:
        states.append(DayState.COMPLETED)
    if not claims.is_open(connection, client_day):
        states.append(DayState.PROCESSING)
    changed = set_status(connection, client_day, DayState.QUEUED, of=states)
    if changed or wanted or outdated:
        if (traceparent := telemetry.traceparent()) is not None:
            askings.note(connection, client_day, traceparent)
        events.notify(connection, events.REQUEST_CHANNEL, client_day)
    return changed > 0 or wanted


def retry(connection: Connection, client_day: ClientDay) -> bool:
    """Ask again for a failed day; returns whether it was one."""
    status = status_of(connection, client_day)
    return status is not None and status.state == DayState.FAILED and request(connection, client_day, force=True)


def release(connection: Connection, client_day: ClientDay) -> bool:
    """Let a failed day wait in the background like a new one; returns whether it had failed."""
    # Marked as changed: the sensor asks only once for the same state.
    queue.forgive(connection, client_day)
    return set_status(connection, client_day, DayState.PENDING, of=[DayState.FAILED]) > 0


def remake(connection: Connection, client_day: ClientDay) -> None:
    """Have the document of a day that is ready made again, though its lines and its engine are the same."""
    documents.outdate(connection, client_day)
    request(connection, client_day, outdated=True)
