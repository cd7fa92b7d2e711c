"""The data frames that flow through the engine, each with its columns and dtypes stated once.

LINES      client str, conversation_id str, position int, speaker str, spoken_at datetime with zone, text str
DISCOVERED LINES with the columns of the line's conversation: session_id str, crew str, title str or None,
           started_at, ended_at datetime with zone, times_inferred bool
MEMBERS    client str, cluster_id str, conversation_id str, position int, is_canonical bool, similarity float,
           probability float, reason str; one row a line of a cluster, its canonical line included
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

LINES = ("client", "conversation_id", "position", "speaker", "spoken_at", "text")
DISCOVERED = (*LINES, "session_id", "crew", "title", "started_at", "ended_at", "times_inferred")
MEMBERS = ("client", "cluster_id", "conversation_id", "position", "is_canonical", "similarity", "probability", "reason")


class Columns(Protocol):
    """Columns by name, as a data frame has them; a mapping of names to lists will do."""

    def __getitem__(self, name: str, /) -> Any:
        """The values of a column, row by row."""


def columns(rows: Iterable[Sequence[Any]], names: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    """Columns of plain Python values, for code that needs no data frame."""
    kept = list(rows)
    return {name: [row[place] for row in kept] for place, name in enumerate(names)}


def frame(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A data frame of plain Python values; all columns have the dtype object, even without rows."""
    import pandas as pd

    return pd.DataFrame([tuple(row) for row in rows], columns=list(columns), dtype=object)


def rows(data: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame as named tuples of the values they were made of."""
    return iter(data.itertuples(index=False, name="Row"))


def of_client(data: pd.DataFrame, client: str) -> pd.DataFrame:
    """The rows of one client."""
    return data[data["client"] == client]
