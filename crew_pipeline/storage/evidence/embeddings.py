"""The embedding cache: a text is embedded once per model and kept for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

Vector = NDArray[np.float32]


def known(connection: Connection, model: str, hashes: Sequence[bytes]) -> set[bytes]:
    """Which of ``hashes`` have a vector."""
    rows = connection.execute(
        text("SELECT text_hash FROM line_embeddings WHERE model = :model AND text_hash = ANY(:hashes)"),
        {"model": model, "hashes": list(hashes)},
    )
    return {row.text_hash for row in rows}


def fetch(connection: Connection, model: str, hashes: Sequence[bytes]) -> dict[bytes, Vector]:
    """The vectors (float32, unit length) of those of ``hashes`` that have one."""
    rows = connection.execute(
        text("SELECT text_hash, vector FROM line_embeddings WHERE model = :model AND text_hash = ANY(:hashes)"),
        {"model": model, "hashes": list(hashes)},
    )
    return {row.text_hash: np.frombuffer(row.vector, dtype="<f4") for row in rows}


def store(connection: Connection, model: str, vectors: Mapping[bytes, Vector] | Iterable[tuple[bytes, Vector]]) -> int:
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
            "INSERT INTO line_embeddings (model, text_hash, vector) "
            "SELECT :model, text_hash, vector FROM staged_embeddings ORDER BY text_hash ON CONFLICT DO NOTHING"
        ),
        {"model": model},
    ).rowcount
