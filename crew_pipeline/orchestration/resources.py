"""Resources: the application's database, the models, and what days are made with.

The models and the snapshots are handed in as they are, so that all runs of a process share one model and one reading
of a day's lines; Dagster makes the other resources anew for each run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster import ConfigurableResource, EnvVar, InitResourceContext, ResourceDependency

from crew_pipeline import telemetry
from crew_pipeline.days.retries import Patience
from crew_pipeline.days.run import DayTools
from crew_pipeline.days.snapshots import Snapshots
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.text_vectors import TextEncoder
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database, database_at
from crew_pipeline.storage.opening import DATABASE_URL_VARIABLE, joined_embedded_url


class DatabaseResource(ConfigurableResource):  # type: ignore[type-arg]
    """The application's Postgres; without an address the embedded one of the data directory ``home``."""

    url: str = ""
    home: str = ""

    @property
    def db(self) -> Database:
        """The door of this process."""
        return database_at(self.url or joined_embedded_url(self.home))


class DayMaking(ConfigurableResource):  # type: ignore[type-arg]
    """What days are made with, and how often one is tried."""

    database: ResourceDependency[DatabaseResource]
    encoder: ResourceDependency[TextEncoder]
    scorer: ResourceDependency[Any]
    engine_config: ResourceDependency[EngineConfig]
    snapshots: ResourceDependency[Snapshots]
    claim_ttl_s: int = 60
    on_demand_retries: int = 2
    background_retries: int = 3
    retry_backoff_s: float = 600

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["DayMaking"]:
        """Itself; a run in a process of its own tells its spans before it ends."""
        started = telemetry.start("crew-run")
        try:
            yield self
        finally:
            if started:
                telemetry.flush()

    @property
    def tools(self) -> DayTools:
        """What a day's steps work with."""
        return DayTools(self.database.db, self.encoder, self.scorer, self.engine_config, self.snapshots)

    @property
    def patience(self) -> Patience:
        """How often a client's day is tried."""
        return Patience(self.on_demand_retries, self.background_retries, self.retry_backoff_s)


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources that the definitions run with; nothing is opened or loaded yet.

    A database's address that stands in the environment is passed by the name of its variable, since Dagster shows the
    configuration of resources; one that was put into ``settings`` by a program stands there as it is.
    """
    return {
        "database": DatabaseResource(url=_database_url(settings), home=str(settings.home_path)),
        "encoder": TextEncoder(),
        "embedding_model": SentenceTransformerEncoder.of(settings),
        "scorer": scorer_of(settings.pair_scorer, threads=settings.threads, precision=settings.precision),
        "engine_config": EngineConfig.of(settings),
        "snapshots": Snapshots(),
    }


def _database_url(settings: Settings) -> Any:
    in_environment = os.environ.get(DATABASE_URL_VARIABLE)
    if in_environment and settings.database_url in (None, in_environment):
        # Settings of a process with an embedded server know no address; whoever opened it has left it there.
        return EnvVar(DATABASE_URL_VARIABLE)
    return settings.database_url or ""


def build_day_making(settings: Settings, resources: dict[str, Any]) -> DayMaking:
    """What days are made with, of these resources."""
    return DayMaking(
        **{name: resources[name] for name in ("database", "encoder", "scorer", "engine_config", "snapshots")},
        claim_ttl_s=settings.claim_ttl_s,
        on_demand_retries=settings.on_demand_retries,
        background_retries=settings.background_retries,
        retry_backoff_s=settings.retry_backoff_s,
    )
