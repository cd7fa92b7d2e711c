"""What the indexes of a client's history are made from, and what their hits are shown with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from crew_pipeline.storage.days.content import Discovered

Vector = NDArray[np.float32]


class State(NamedTuple):
    """What an index is to hold.

    Attributes:
        forgotten_at: when something of the client was last erased on request.
        model: whose vectors most days have; None where no day has any that count.
        days: the version of each day's document, and whether its texts have vectors of that model.
    """

    forgotten_at: datetime | None
    model: str | None
    days: dict[date, tuple[str, bool]]


class ShownLine(NamedTuple):
    """A line as it is shown beside a hit."""

    position: int
    speaker: str
    text: str


class FoundLine(NamedTuple):
    """A line that holds a hit, with those before and after it in its conversation."""

    conversation_id: str
    position: int
    speaker: str
    spoken_at: datetime
    text: str
    crew: str
    session_id: str
    title: str | None
    day: date
    before: ShownLine | None
    after: ShownLine | None


def state_of(connection: Connection, client: str, model: str) -> State:
    """What the index of a client is to hold now.

    Args:
        model: with whose name the ids of vectors begin that queries are compared with; of others there are none here.
    """
    forgotten_at = connection.scalar(
        text("SELECT forgotten_at FROM clients WHERE client = :client"), {"client": client}
    )
    rows = connection.execute(
        text("SELECT day, version, embedded_by FROM day_documents WHERE client = :client AND is_current ORDER BY day"),
        {"client": client},
    ).all()
    models = [row.embedded_by for row in rows if row.embedded_by and row.embedded_by.startswith(model)]
    most = max(sorted({*models}), key=models.count) if models else None
    days = {row.day: (row.version, most is not None and row.embedded_by == most) for row in rows}
    return State(forgotten_at, most, days)


def changes(connection: Connection, client: str) -> tuple[int, datetime | None]:
    """What differs once something has happened to a client's days or was forgotten."""
    row = connection.execute(
        text(
            "SELECT coalesce((SELECT events FROM client_counters WHERE client = :client), 0), "
            "(SELECT greatest(forgotten_at, embedded_at) FROM clients WHERE client = :client)"
        ),
        {"client": client},
    ).one()
    return int(row[0]), row[1]


def vectors(connection: Connection, client: str, model: str, hashes: Sequence[bytes]) -> dict[bytes, Vector]:
    """The vectors of those texts that have one: float32 (dimension,)."""
    rows = connection.execute(
        text(
            "SELECT text_hash, vector FROM line_embeddings "
            "WHERE client = :client AND model = :model AND text_hash = ANY(:hashes) ORDER BY text_hash"
        ),
        {"client": client, "model": model, "hashes": list(hashes)},
    )
    return {bytes(row.text_hash): np.frombuffer(row.vector, "<f4") for row in rows}


def count_vectors(connection: Connection, client: str, model: str) -> int:
    """How many texts have a vector."""
    return int(
        connection.scalar(
            text("SELECT count(*) FROM line_embeddings WHERE client = :client AND model = :model"),
            {"client": client, "model": model},
        )
        or 0
    )


def sample(connection: Connection, client: str, model: str, most: int) -> Vector:
    """Vectors of some texts, float32 (n, dimension): hashes are without order, so the first of them are any."""
    rows = connection.scalars(
        text(
            "SELECT vector FROM line_embeddings WHERE client = :client AND model = :model "
            "ORDER BY text_hash LIMIT :most"
        ),
        {"client": client, "model": model, "most": most},
    )
    return np.stack([np.frombuffer(row, "<f4") for row in rows])


_LINES = """
SELECT conversation_id, position, speaker, spoken_at, text, code, session_id, title, days_date,
       (SELECT ARRAY[beside.position::text, beside.speaker, left(beside.text, :most)] FROM lines AS beside
        WHERE beside.conversation_id = lines.conversation_id AND beside.position < lines.position
        ORDER BY beside.position DESC LIMIT 1),
       (SELECT ARRAY[beside.position::text, beside.speaker, left(beside.text, :most)] FROM lines AS beside
        WHERE beside.conversation_id = lines.conversation_id AND beside.position > lines.position
        ORDER BY beside.position LIMIT 1)
FROM unnest(CAST(:conversations AS text[]), CAST(:positions AS bigint[])) AS asked (conversation_id, position)
JOIN lines USING (conversation_id, position) JOIN data_items AS item ON item.id = conversation_id
JOIN crews ON crews.id = crew_id WHERE item.client = :client
"""


def found_lines(
    connection: Connection, client: str, places: Iterable[tuple[str, int]], most_beside: int = 300
) -> dict[tuple[str, int], FoundLine]:
    """Lines by conversation and position, as far as they are there.

    Args:
        most_beside: characters of the lines before and after.
    """
    asked = sorted({*places})
    rows = connection.execute(
        text(_LINES),
        {
            "client": client,
            "conversations": [conversation_id for conversation_id, _ in asked],
            "positions": [position for _, position in asked],
            "most": most_beside,
        },
    )
    found = (FoundLine(*row[:9], *(_beside(part) for part in row[9:])) for row in rows)
    return {(line.conversation_id, line.position): line for line in found}


def _beside(row: Sequence[str] | None) -> ShownLine | None:
    return ShownLine(int(row[0]), row[1], row[2]) if row else None


def conversation(connection: Connection, client: str, conversation_id: str) -> list[Discovered]:
    """The lines of a conversation of a client."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, speaker, spoken_at, text, session_id, code, title, started_at, "
            "ended_at, times_inferred, content_hash FROM lines JOIN data_items AS item ON item.id = conversation_id "
            "JOIN crews ON crews.id = crew_id WHERE item.client = :client AND item.id = :id ORDER BY position"
        ),
        {"client": client, "id": conversation_id},
    )
    return [Discovered(*row) for row in rows]
