"""The real application over a fresh database, and a way to make a day ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.api.app import create_app
from crew_pipeline.model import ClientDay, Fold, Folds
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content
from crew_pipeline_tests.conftest import ENGINE


@pytest.fixture
def api(settings: Settings, database_url: str) -> Iterator[TestClient]:
    app = create_app(settings, database_url, ENGINE)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def fold_second_under_first(db: Database) -> Callable[[str], Folds]:
    """Folds that hide the second line of a day's first conversation under its first."""

    def folds(day: str) -> Folds:
        with db.read() as connection:
            first, second, *_ = content.lines_of(connection, ClientDay("default", date.fromisoformat(day)))
        return {
            (first.conversation_id, first.position): Fold("k1", True, 1.0, 1.0, "canonical line"),
            (second.conversation_id, second.position): Fold("k1", False, 0.93, 0.91, "says the same"),
        }

    return folds
