"""Webhooks: where a client, or the operator, wants to be told; and the messages that wait to be delivered.

A message is a row that is written in the transaction of what it tells of, so none is lost and none tells of what was
taken back. Who delivers takes one at a time for each webhook, for so long; one that dies leaves it to the next.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

import orjson
from sqlalchemy import Connection, text

Kind = Literal["day.ready", "day.failed", "alert"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_AT_ONCE_OF_A_CLIENT = 4
MOST_WAITING = 10_000
"""Of one webhook; what comes then is given up at once, and can be sent again."""
OPERATOR = ""
"""The operator's webhooks are of no client."""
State = Literal["waiting", "delivered", "dead"]


class Webhook(NamedTuple):
    """Where somebody wants to be told, and how that goes.

    Attributes:
        waiting, dead: messages that are to be delivered, or have been given up.
        disabled_at: since when nothing is sent there any more, because it said that it is gone.
    """

    id: str
    client: str
    url: str
    events: list[str]
    label: str
    created_at: datetime
    disabled_at: datetime | None
    delivered_at: datetime | None
    waiting: int
    dead: int


class Delivery(NamedTuple):
    """A message on its way to one webhook.

    Attributes:
        attempts: how often it was sent, or is being sent.
        error: why the last one failed; a sentence of ours.
    """

    id: int
    message_id: str
    type: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    dead_at: datetime | None
    status: int | None
    error: str | None


class Due(NamedTuple):
    """A message to be sent now, by who has taken it."""

    id: int
    webhook_id: str
    url: str
    secret: str
    message_id: str
    body: bytes
    attempts: int


def add(connection: Connection, client: str, url: str, events: Collection[str], label: str, secret: str) -> str:
    """A new webhook; returns its id."""
    webhook_id = "wh_" + secrets.token_hex(8)
    connection.execute(
        text(
            "INSERT INTO webhooks (id, client, url, events, label, secret) "
            "VALUES (:id, :client, :url, :events, :label, :secret)"
        ),
        {
            "id": webhook_id,
            "client": client,
            "url": url,
            "events": [kind for kind in KINDS if kind in events],
            "label": label,
            "secret": secret,
        },
    )
    return webhook_id


_LISTED = """
SELECT id, client, url, events, label, created_at, disabled_at, delivered_at,
       (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = webhooks.id AND next_attempt_at IS NOT NULL),
       (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = webhooks.id AND dead_at IS NOT NULL)
FROM webhooks WHERE CAST(:client AS text) IS NULL OR client = :client ORDER BY created_at, id
"""


def list_all(connection: Connection, client: str | None = None) -> list[Webhook]:
    """The webhooks of a client, or all, oldest first."""
    return [Webhook(*row) for row in connection.execute(text(_LISTED), {"client": client})]


def count(connection: Connection, client: str) -> int:
    """How many webhooks a client has; holds back others that would add one at the same time."""
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || :client, 0))")
    connection.execute(lock, {"client": client})
    counted = connection.scalar(text("SELECT count(*) FROM webhooks WHERE client = :client"), {"client": client})
    return int(counted or 0)


def exists(connection: Connection, client: str, webhook_id: str) -> bool:
    """Whether that is a webhook of the client."""
    found = text("SELECT EXISTS (SELECT 1 FROM webhooks WHERE client = :client AND id = :id)")
    return bool(connection.scalar(found, {"client": client, "id": webhook_id}))


def remove(connection: Connection, client: str, webhook_id: str) -> bool:
    """Remove a webhook, and what waits for it; returns whether it was there."""
    gone = text("DELETE FROM webhooks WHERE client = :client AND id = :id")
    return connection.execute(gone, {"client": client, "id": webhook_id}).rowcount == 1


_MESSAGE = """
INSERT INTO webhook_deliveries (webhook_id, client, message_id, type, body, next_attempt_at, dead_at, error)
SELECT id, client, :message_id, :type, :body, CASE WHEN fits THEN now() END, CASE WHEN NOT fits THEN now() END,
       CASE WHEN NOT fits THEN 'Too many messages waited.' END
FROM (SELECT id, client, :most > (
          SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries
                                WHERE webhook_id = webhooks.id AND next_attempt_at IS NOT NULL LIMIT :most) AS waiting
      ) AS fits FROM webhooks WHERE disabled_at IS NULL AND {whose}) AS told
"""
# A subject that could be two crews' is nobody's but the operator's.
_OF_ITS_CREW = """
'alert' = ANY(events) AND client <> '' AND client = (
    SELECT min(client) FROM crews WHERE client || '/' || code = :subject HAVING count(*) = 1)
"""


def tell(connection: Connection, client: str, kind: Kind, data: dict[str, Any]) -> None:
    """Have a client's webhooks told of something, once the caller's transaction commits."""
    _queue(connection, "client = :client AND :type = ANY(events)", kind, {"client": client, **data}, client=client)


def tell_alert(connection: Connection, subject: str, data: dict[str, Any]) -> None:
    """Have the operator's webhooks told of an alert, and those of the client whose crew it is about; these without its
    text, which may name what is the operator's alone."""
    _queue(connection, "client = '' AND 'alert' = ANY(events)", "alert", data)
    _queue(connection, _OF_ITS_CREW, "alert", {**data, "text": None}, subject=subject)


def test(connection: Connection, client: str, webhook_id: str) -> bool:
    """Have one webhook sent a message that tells of nothing; False where one is on its way."""
    waits = text(
        "SELECT EXISTS (SELECT 1 FROM webhook_deliveries WHERE webhook_id = :id AND type = 'test' "
        "AND next_attempt_at IS NOT NULL)"
    )
    if connection.scalar(waits, {"id": webhook_id}):
        return False
    _queue(connection, "client = :client AND id = :id", "test", {"client": client}, client=client, id=webhook_id)
    return True


def _queue(connection: Connection, whose: str, kind: str, data: dict[str, Any], **values: str) -> None:
    message = {"type": kind, "timestamp": datetime.now(UTC), "data": data}
    connection.execute(
        text(_MESSAGE.format(whose=whose)),
        {
            "message_id": "msg_" + secrets.token_urlsafe(16),
            "type": kind,
            "body": orjson.dumps(message, option=orjson.OPT_UTC_Z),
            "most": MOST_WAITING,
            **values,
        },
    )


# One at a time for each webhook and few for each client, so that slow ones hold up nobody else's, however many
# processes there are; and clients in turn.
_TAKE = """
WITH due AS MATERIALIZED (
    SELECT webhooks.id AS webhook_id, first.id, first.next_attempt_at,
           row_number() OVER (PARTITION BY client ORDER BY first.next_attempt_at)
               + (SELECT count(*) FROM webhooks AS busy
                  WHERE busy.client = webhooks.client AND busy.leased_until > clock_timestamp()) AS place
    FROM webhooks CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM webhook_deliveries
        WHERE webhook_id = webhooks.id AND next_attempt_at <= clock_timestamp() ORDER BY next_attempt_at, id LIMIT 1
    ) AS first
    WHERE disabled_at IS NULL AND (leased_until IS NULL OR leased_until < clock_timestamp())
),
free AS MATERIALIZED (
    SELECT due.webhook_id, due.id FROM due JOIN webhooks ON webhooks.id = due.webhook_id
    WHERE place <= :of_a_client AND (leased_until IS NULL OR leased_until < clock_timestamp())
    ORDER BY place, next_attempt_at LIMIT :most FOR UPDATE OF webhooks SKIP LOCKED
),
leased AS (
    UPDATE webhooks SET leased_until = clock_timestamp() + CAST(:lease AS double precision) * interval '1 s'
    FROM free WHERE webhooks.id = free.webhook_id RETURNING webhooks.id, url, secret
)
UPDATE webhook_deliveries AS taken SET attempts = attempts + 1
FROM free JOIN leased ON leased.id = free.webhook_id WHERE taken.id = free.id
RETURNING taken.id, taken.webhook_id, url, secret, message_id, body, attempts
"""


def take(connection: Connection, most: int, lease_s: float) -> list[Due]:
    """Messages to be sent now, each of another webhook; nobody else takes any of these webhooks' for ``lease_s``."""
    rows = connection.execute(text(_TAKE), {"most": most, "of_a_client": _AT_ONCE_OF_A_CLIENT, "lease": lease_s})
    return [Due(*row) for row in rows]


_SETTLED = """
WITH settled AS (
    UPDATE webhook_deliveries SET
        delivered_at = CASE WHEN :delivered THEN now() END,
        next_attempt_at = CASE WHEN NOT :delivered THEN now() + CAST(:again AS double precision) * interval '1 s' END,
        dead_at = CASE WHEN NOT :delivered AND CAST(:again AS double precision) IS NULL THEN now() END,
        status = :status, error = :error
    WHERE id = :id
),
left_over AS (
    UPDATE webhook_deliveries SET next_attempt_at = NULL, dead_at = now(), error = 'The webhook was gone.'
    WHERE :gone AND webhook_id = :webhook AND id <> :id AND next_attempt_at IS NOT NULL
)
UPDATE webhooks SET leased_until = NULL, delivered_at = CASE WHEN :delivered THEN now() ELSE delivered_at END,
    disabled_at = CASE WHEN :gone THEN now() ELSE disabled_at END
WHERE id = :webhook
"""


def settle(
    connection: Connection,
    due: Due,
    *,
    status: int | None = None,
    error: str | None = None,
    again_in_s: float | None = None,
    gone: bool = False,
) -> None:
    """Write down how sending went, and let others take the webhook's next message.

    Args:
        status: that was answered, if anything was.
        error: why it failed; None where it was delivered.
        again_in_s: when it is tried again after a failure (s); None: never, it is given up.
        gone: whether nothing is to be sent there any more.
    """
    connection.execute(
        text(_SETTLED),
        {
            "id": due.id,
            "webhook": due.webhook_id,
            "delivered": error is None,
            "again": again_in_s,
            "status": status,
            "error": error,
            "gone": gone,
        },
    )


_STATES: dict[State, str] = {
    "waiting": "next_attempt_at IS NOT NULL",
    "delivered": "delivered_at IS NOT NULL",
    "dead": "dead_at IS NOT NULL",
}


_SENT = """
SELECT id, message_id, type, created_at, attempts, next_attempt_at, delivered_at, dead_at, status, error
FROM webhook_deliveries WHERE client = :client AND webhook_id = :id AND {state} ORDER BY id DESC LIMIT :most
"""


def deliveries(
    connection: Connection, client: str, webhook_id: str, state: State | None = None, most: int = 100
) -> list[Delivery]:
    """The messages to a webhook, newest first."""
    statement = _SENT.format(state=_STATES[state] if state else "true")
    rows = connection.execute(text(statement), {"client": client, "id": webhook_id, "most": most})
    return [Delivery(*row) for row in rows]


def again(connection: Connection, client: str, webhook_id: str) -> int:
    """Have what was given up sent again, and what was disabled told again; returns how many messages."""
    values = {"client": client, "id": webhook_id}
    connection.execute(text("UPDATE webhooks SET disabled_at = NULL WHERE client = :client AND id = :id"), values)
    return connection.execute(
        text(
            "UPDATE webhook_deliveries SET dead_at = NULL, next_attempt_at = now(), attempts = 0 "
            "WHERE client = :client AND webhook_id = :id AND dead_at IS NOT NULL"
        ),
        values,
    ).rowcount


def totals(connection: Connection, client: str | None = None) -> Sequence[tuple[str, int]]:
    """How many messages there are in each state."""
    row = connection.execute(
        text(
            "SELECT count(next_attempt_at) AS waiting, count(delivered_at) AS delivered, count(dead_at) AS dead "
            "FROM webhook_deliveries WHERE CAST(:client AS text) IS NULL OR client = :client"
        ),
        {"client": client},
    ).one()
    return [("waiting", row.waiting), ("delivered", row.delivered), ("dead", row.dead)]
