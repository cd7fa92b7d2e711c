"""Alerts: what an operator should know, raised once, resolved when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.dedup.document import stamp
from crew_pipeline.storage import webhooks


class Condition(NamedTuple):
    """Something that is wrong now: what kind, of what, and a sentence for people."""

    kind: str
    subject: str
    message: str


class Alert(NamedTuple):
    """An alert as it is kept. ``resolved_at`` is None while it lasts."""

    id: int
    kind: str
    subject: str
    message: str
    raised_at: datetime
    resolved_at: datetime | None


class News(NamedTuple):
    """A turn of an alert that its receiver has not been told of."""

    alert: Alert
    state: Literal["raised", "resolved"]


_RAISE = """
INSERT INTO alerts AS open (kind, subject, message, raised_at, seen_at)
VALUES (:kind, :subject, :message, :now, :now)
ON CONFLICT (kind, subject) WHERE resolved_at IS NULL
    DO UPDATE SET message = excluded.message, seen_at = excluded.seen_at
RETURNING id, xmax = 0 AS is_new
"""

_RESOLVE = """
UPDATE alerts SET resolved_at = :now
WHERE resolved_at IS NULL AND kind = ANY(:kinds) AND NOT id = ANY(CAST(:lasting AS bigint[]))
RETURNING id, kind, subject, message, raised_at, resolved_at
"""

_UNTOLD = """
SELECT id, kind, subject, message, raised_at, resolved_at, told_raised FROM alerts
WHERE NOT told_raised OR (resolved_at IS NOT NULL AND NOT told_resolved)
ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
"""


def settle(connection: Connection, kinds: Iterable[str], conditions: Iterable[Condition], now: datetime) -> list[News]:
    """Raise what is wrong now, once each, and resolve open alerts of ``kinds`` that are not wrong any more; have
    webhooks told of both.

    Returns:
        What has turned: raised or resolved by this call.
    """
    news = []
    lasting = []
    for condition in conditions:
        row = connection.execute(text(_RAISE), {**condition._asdict(), "now": now}).one()
        lasting.append(row.id)
        if row.is_new:
            news.append(News(Alert(row.id, *condition, now, None), "raised"))
    resolved = connection.execute(text(_RESOLVE), {"now": now, "kinds": list(kinds), "lasting": lasting})
    news += [News(Alert(*row), "resolved") for row in resolved]
    for turn in news:
        webhooks.tell_alert(connection, turn.alert.subject, content(turn))
    return news


def content(news: News) -> dict[str, Any]:
    """A turn of an alert as receivers are told it."""
    alert = news.alert
    return {
        "id": alert.id,
        "state": news.state,
        "kind": alert.kind,
        "subject": alert.subject,
        "text": alert.message,
        "raised_at": stamp(alert.raised_at),
        "resolved_at": stamp(alert.resolved_at) if alert.resolved_at else None,
    }


def untold(connection: Connection, most: int = 50) -> list[News]:
    """Turns that the receiver has not been told of, oldest first; locked, so that each is told by one process."""
    rows = connection.execute(text(_UNTOLD), {"most": most})
    news = []
    for row in rows:
        alert = Alert(*row[:6])
        if not row.told_raised:
            news.append(News(alert._replace(resolved_at=None), "raised"))
        if alert.resolved_at is not None:
            news.append(News(alert, "resolved"))
    return news


def told(connection: Connection, news: News) -> None:
    """Note that the receiver knows."""
    connection.execute(
        text("UPDATE alerts SET told_raised = true, told_resolved = told_resolved OR :resolved WHERE id = :id"),
        {"id": news.alert.id, "resolved": news.state == "resolved"},
    )


def in_force(connection: Connection) -> list[Alert]:
    """Alerts that last, oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, kind, subject, message, raised_at, resolved_at FROM alerts WHERE resolved_at IS NULL "
            "ORDER BY raised_at, id"
        )
    )
    return [Alert(*row) for row in rows]
