"""Resources: the application's database and the embedding model."""

import atexit
import os
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from dagster import ConfigurableResource, EnvVar

from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import Precision, SentenceTransformerEncoder, model_id
from crew_pipeline.settings import Settings, process_settings
from crew_pipeline.storage.database import Database, database_at
from crew_pipeline.storage.days.claims import Patience
from crew_pipeline.storage.opening import open_databases

DATABASE_VARIABLE = "CREW_DATABASE_URL"


class DatabaseResource(ConfigurableResource):  # type: ignore[type-arg]
    """The application's Postgres; without an address the embedded one of the data directory."""

    url: str = ""
    claim_ttl_s: int = 60
    on_demand_retries: int = 2
    background_retries: int = 3
    retry_backoff_s: float = 600

    @property
    def db(self) -> Database:
        """The pooled engine of this process."""
        return database_at(self.url or _embedded_url())

    @property
    def patience(self) -> Patience:
        """How often a client's day is tried."""
        return Patience(self.on_demand_retries, self.background_retries, self.retry_backoff_s)


@lru_cache(maxsize=1)
def _embedded_url() -> str:
    """Join the embedded server for the rest of this process (for ``dagster dev`` without a configured database)."""
    stack = ExitStack()
    databases = stack.enter_context(open_databases(process_settings()))
    atexit.register(stack.close)
    return databases.application


class EmbeddingModel(ConfigurableResource):  # type: ignore[type-arg]
    """The embedding model, loaded on first use and kept for the life of the process."""

    model: str = "bundled"
    batch: int = 64
    threads: int = 0
    precision: Precision = "auto"

    @property
    def encoder(self) -> SentenceTransformerEncoder:
        """The encoder of this process."""
        return _encoder(self.model, self.batch, self.threads, self.precision)

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights, without loading them."""
        return model_id(self.model)


@lru_cache(maxsize=2)
def _encoder(model: str, batch: int, threads: int, precision: Precision) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(model, batch=batch, threads=threads, precision=precision)


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources that the definitions run with.

    The database's address is passed by the name of its variable: Dagster shows the configuration of resources.
    """
    url: Any = EnvVar(DATABASE_VARIABLE) if os.environ.get(DATABASE_VARIABLE) else ""
    return {
        "database": DatabaseResource(
            url=url,
            claim_ttl_s=settings.claim_ttl_s,
            on_demand_retries=settings.on_demand_retries,
            background_retries=settings.background_retries,
            retry_backoff_s=settings.retry_backoff_s,
        ),
        "embedding_model": EmbeddingModel(
            model=settings.model,
            batch=settings.embed_batch,
            threads=settings.threads,
            precision=settings.precision,
        ),
        "engine_config": EngineConfig.of(settings),
    }
