"""Several processes that start at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crew_pipeline.storage.database import ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres


@pytest.mark.parametrize("attempt", range(3))
def test_a_database_that_several_find_missing_at_once_is_there_for_all(server: EmbeddedPostgres, attempt: int) -> None:
    together = threading.Barrier(4)

    def ensure(_: int) -> None:
        together.wait()
        ensure_database(server.url("postgres"), f"started_together_{attempt}")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ensure, range(4))) == [None] * 4
