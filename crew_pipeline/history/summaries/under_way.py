"""What was said before about a talk that is under way: without torch, and within a moment."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from sqlalchemy import Connection

from crew_pipeline.dedup.text import count_words, normalise
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.summaries.recall import Own, recall
from crew_pipeline.history.themes.grid import Grid, on_grid
from crew_pipeline.storage.history import live
from crew_pipeline.storage.history.live import LiveSession
from crew_pipeline.storage.history.points import Before

_FEWEST_WORDS = 4
_LAST = 6
"""Lines that count: those said last of those that say enough."""


def recalled(connection: Connection, whose: LiveSession, posted: list[tuple[str, str]]) -> dict[str, Any]:
    """See ``recall``; for what was said last.

    Args:
        posted: speaker and text of lines; those that are stored count as well.
    """
    said = list(dict.fromkeys(text for _, text in (*live.last_stored(connection, whose), *posted)))
    telling = [text for text in said if count_words(text) >= _FEWEST_WORDS][-_LAST:]
    encoder = query_encoder()
    if encoder is None or not telling:
        return recall(connection, whose.client, Own([], np.zeros((0, 0), np.int8)))
    vectors = np.stack([_vector(normalise(text)) for text in telling])
    return recall(connection, whose.client, Own(telling, vectors, Before(session=(None, whose.session_id))))


@lru_cache(maxsize=512)
def _vector(normalised: str) -> Any:
    encoder = query_encoder()
    assert encoder is not None
    made: Grid = on_grid(encoder.encode(normalised)[np.newaxis])[0]
    return made
