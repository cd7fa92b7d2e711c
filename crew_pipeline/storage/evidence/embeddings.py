"""The embedding cache: a text of a client is embedded once per model and kept for ever.

Nothing is shared between clients: how long a day takes would tell one what another has said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days.queue import Work

Vector = NDArray[np.float32]


def known(connection: Connection, client: str, model: str, hashes: Sequence[bytes]) -> set[bytes]:
    """Which of ``hashes`` have a vector."""
    rows = connection.execute(
        text(
            "SELECT text_hash FROM line_embeddings "
            "WHERE client = :client AND model = :model AND text_hash = ANY(:hashes)"
        ),
        {"client": client, "model": model, "hashes": list(hashes)},
    )
    return {row.text_hash for row in rows}


class Shown(NamedTuple):
    """A document in force."""

    version: str
    body: bytes


def document_without(connection: Connection, model: str, client_day: ClientDay) -> Shown | None:
    """The document of a client's day, unless the vectors of its texts are stored; see ``mark``."""
    row = connection.execute(
        text(
            "SELECT version, body FROM day_documents WHERE client = :client AND day = :day AND is_current "
            "AND embedded_by IS DISTINCT FROM :model"
        ),
        {"client": client_day.client, "day": client_day.day, "model": model},
    ).one_or_none()
    return None if row is None else Shown(*row)


def hold(connection: Connection, client_day: ClientDay, version: str) -> bool:
    """Keep a document from being erased until the transaction ends; whether it is there at all.

    What somebody has had forgotten meanwhile must not leave its vectors behind.
    """
    found = connection.execute(
        text("SELECT 1 FROM day_documents WHERE client = :client AND day = :day AND version = :version FOR KEY SHARE"),
        {"client": client_day.client, "day": client_day.day, "version": version},
    )
    return found.one_or_none() is not None


def days_without(connection: Connection, model: str, most: int) -> list[Work]:
    """Days whose document's texts have no vectors of this model, newest first."""
    rows = connection.execute(
        text(
            "SELECT client, day, 0, conversation_count, line_count FROM day_documents "
            "WHERE is_current AND embedded_by IS DISTINCT FROM :model ORDER BY day DESC, client LIMIT :most"
        ),
        {"model": model, "most": most},
    )
    return [Work(*row) for row in rows]


def mark(connection: Connection, model: str, client_day: ClientDay, version: str) -> None:
    """Note that the vectors of all texts of a document are stored; another one that came meanwhile is left alone."""
    connection.execute(
        text(
            "UPDATE day_documents SET embedded_by = :model WHERE client = :client AND day = :day AND version = :version"
        ),
        {"client": client_day.client, "day": client_day.day, "model": model, "version": version},
    )
    connection.execute(
        text("UPDATE clients SET embedded_at = now() WHERE client = :client"), {"client": client_day.client}
    )


def store(
    connection: Connection,
    client: str,
    model: str,
    vectors: Mapping[bytes, Vector] | Iterable[tuple[bytes, Vector]],
) -> int:
    """Add vectors by COPY; one that is there already stays as it is. Returns how many were new."""
    pairs = vectors.items() if isinstance(vectors, Mapping) else vectors
    connection.execute(
        text("CREATE TEMP TABLE IF NOT EXISTS staged_embeddings (text_hash bytea, vector bytea) ON COMMIT DELETE ROWS")
    )
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY staged_embeddings FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["bytea", "bytea"])
        for key, vector in pairs:
            copy.write_row((key, np.ascontiguousarray(vector, dtype="<f4").tobytes()))
    return connection.execute(
        text(
            "INSERT INTO line_embeddings (client, model, text_hash, vector) "
            "SELECT :client, :model, text_hash, vector FROM staged_embeddings ORDER BY text_hash ON CONFLICT DO NOTHING"
        ),
        {"client": client, "model": model},
    ).rowcount
