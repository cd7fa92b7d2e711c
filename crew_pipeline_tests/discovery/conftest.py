"""A source database beside the application's own."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from crew_pipeline.settings import Settings
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline_tests.discovery.histories import History


@pytest.fixture
def history(
    engine: Engine, settings: Settings, server: EmbeddedPostgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> History:
    """A history in the same server as the store; ``make`` creates its table."""
    monkeypatch.setenv("HISTORIES", database_url)
    return History(engine, settings, database_url)
