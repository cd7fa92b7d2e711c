"""The definitions over a fresh database, and an instance without a history."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterInstance

from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings


@pytest.fixture
def definitions(settings: Settings, database_url: str) -> dg.Definitions:
    return build_defs(settings, {"database": DatabaseResource(url=database_url)})


@pytest.fixture
def fresh_instance() -> Iterator[DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made
