"""The data frames that flow through the engine, each with its columns and dtypes stated once.

LINES      client str, conversation_id str, position int, speaker str, spoken_at datetime with zone, text str
DISCOVERED LINES with the columns of the line's conversation: session_id str, crew str, title str or None,
           started_at, ended_at datetime with zone, times_inferred bool
VECTORS    text_hash bytes (16), vector float32 array of length 1
MEMBERS    client str, cluster_id str, conversation_id str, position int, is_canonical bool, similarity float,
           probability float, reason str; one row a line of a cluster, its canonical line included
WORK       client str, priority int, conversations int, lines int; one row a client whose day needs work
DOCUMENTS  client str, document dedup.document.Document; one row a client
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

LINES = ("client", "conversation_id", "position", "speaker", "spoken_at", "text")
DISCOVERED = (*LINES, "session_id", "crew", "title", "started_at", "ended_at", "times_inferred")
VECTORS = ("text_hash", "vector")
MEMBERS = ("client", "cluster_id", "conversation_id", "position", "is_canonical", "similarity", "probability", "reason")
WORK = ("client", "priority", "conversations", "lines")
DOCUMENTS = ("client", "document")


def frame(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A data frame of plain Python values in object columns, empty ones included."""
    return pd.DataFrame([tuple(row) for row in rows], columns=list(columns), dtype=object)


def rows(data: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame as named tuples of the values they were made of."""
    return iter(data.itertuples(index=False, name="Row"))


def of_client(data: pd.DataFrame, client: str) -> pd.DataFrame:
    """The rows of one client."""
    return data[data["client"] == client]
