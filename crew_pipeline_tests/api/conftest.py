"""The real application over a fresh database, and a way to make a day ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from crew_pipeline.api.app import create_app
from crew_pipeline.dedup.document import Fold, Folds, build
from crew_pipeline.settings import Settings
from crew_pipeline.storage import claims, days, documents, queue
from crew_pipeline.storage.claims import Unit

ENGINE = "engine-in-force"
Ready = Callable[..., str]


@pytest.fixture
def api(settings: Settings, database_url: str) -> Iterator[TestClient]:
    app = create_app(settings, database_url, ENGINE)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def make_ready(engine: Engine) -> Ready:
    """Publish the document of a client's day, as a run does; ``folds`` as of ``dedup.document``."""

    def ready(day: str, client: str = "default", folds: Folds | None = None, fingerprint: str = ENGINE) -> str:
        unit = Unit(client, date.fromisoformat(day))
        with engine.begin() as connection:
            token = f"token {connection.exec_driver_sql('SELECT gen_random_uuid()').scalar()}"
            assert claims.acquire(connection, unit, token, 60)
            queue.begin(connection, unit)
            made = build(
                client,
                days.conversations_of(connection, unit),
                days.lines_of(connection, unit),
                folds or {},
                fingerprint,
            )
            documents.publish(connection, unit, made, fingerprint, token)
        return made.version

    return ready


@pytest.fixture
def fold_second_under_first(engine: Engine) -> Callable[[str], Folds]:
    """Folds that hide the second line of a day's first conversation under its first."""

    def folds(day: str) -> Folds:
        with engine.connect() as connection:
            first, second, *_ = days.lines_of(connection, Unit("default", date.fromisoformat(day)))
        return {
            (first.conversation_id, first.position): Fold("k1", True, 1.0, 1.0, "canonical line"),
            (second.conversation_id, second.position): Fold("k1", False, 0.93, 0.91, "says the same"),
        }

    return folds
