"""The IO manager: data frames to and from the tables, a transaction per day, fenced by the run's claims."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from dagster import AssetKey, ConfigurableIOManager, DagsterRun, InputContext, OutputContext, ResourceDependency
from sqlalchemy import Connection

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.engine import distinct_texts
from crew_pipeline.orchestration.failures import isolated, permanent_errors_end_at_once
from crew_pipeline.orchestration.frames import DayFrames
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import Database, EmbeddingModel
from crew_pipeline.storage import claims, clusters, days, documents, embeddings, events, progress
from crew_pipeline.storage.claims import Unit

FIRST_ASSET = "discovered_conversations"


@dataclass(frozen=True)
class _Scope:
    """What a table needs to know of the run that reads or writes it."""

    token: str
    ttl_s: int
    model: str
    engine: str
    config: EngineConfig


class TableIOManager(ConfigurableIOManager):
    """Stores each asset's frames in its tables and loads them again, day by day.

    What is written of a day is committed before the next day is computed. Only days that the run holds a claim on are
    written; what an overtaken run brings is dropped with a warning.
    """

    database: ResourceDependency[Database]
    embedding_model: ResourceDependency[EmbeddingModel]
    engine_config: ResourceDependency[EngineConfig]

    def handle_output(self, context: OutputContext, obj: DayFrames) -> None:
        """Store the frames of every day as they are made."""
        scope = self._scope(context.run_id)
        write = _WRITERS[context.asset_key.to_user_string()]
        engine = self.database.engine
        rows = 0
        with claims.heartbeat(engine, scope.token, scope.ttl_s), permanent_errors_end_at_once():
            for day in obj.days:
                for frame in obj.chunks(day):
                    rows += len(frame)
                    write(self, context, scope, day, frame)
        context.add_output_metadata({"days": len(obj.days), "rows": rows})

    def load_input(self, context: InputContext) -> DayFrames:
        """The upstream asset's frames of the run's days, each loaded when it is asked for."""
        upstream = context.upstream_output
        assert upstream is not None
        run = context.step_context.dagster_run
        scope = self._scope(run.run_id)
        read = _READERS[context.asset_key.to_user_string()]
        midway = _starts_midway(run)

        def load(day: date) -> pd.DataFrame:
            with self.database.engine.begin() as connection:
                if midway:
                    _claim_day(connection, scope, day)
                return read(connection, claims.held(connection, scope.token, [day]), scope)

        return DayFrames(days_of(context.asset_partition_keys), load)

    def _scope(self, token: str) -> _Scope:
        model = self.embedding_model.model_id
        config = self.engine_config
        return _Scope(token, self.database.claim_ttl_s, model, config.fingerprint(model), config)

    def _write_work(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Claim the days of the frame (``frames.WORK``) and mark the rows that are read from here on."""
        with self.database.engine.begin() as connection:
            for row in frames.rows(frame):
                unit = Unit(str(row.client), day)
                if claims.acquire(connection, unit, scope.token, scope.ttl_s, int(row.lines)):
                    days.begin(connection, unit)
                    started = {"estimated_time_s": progress.estimated_seconds(connection, int(row.lines))}
                    events.emit(connection, unit.client, day, "processing_started", started, scope.token)
                else:
                    context.log.warning(f"{unit.client}, {day}: another run is at work on it; left to that one")

    def _write_vectors(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Add vectors to the cache. They follow from the text alone, so no claim guards them."""
        with self.database.engine.begin() as connection:
            embeddings.store(connection, scope.model, zip(frame["text_hash"], frame["vector"], strict=True))

    def _write_members(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Put the day's clusters in the place of the old ones."""
        with self.database.engine.begin() as connection:
            for unit in claims.held(connection, scope.token, [day], lock=True):
                clusters.replace(connection, unit, frames.of_client(frame, unit.client))

    def _write_documents(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Publish the day's documents, each client's in a transaction of its own."""
        engine = self.database.engine
        for row in frames.rows(frame):
            unit = Unit(str(row.client), day)
            with isolated(engine, unit, scope.token, context.log), engine.begin() as connection:
                documents.publish(connection, unit, row.document, scope.engine, scope.token)


def _starts_midway(run: DagsterRun) -> bool:
    """Whether a run leaves out the asset that claims its days: some assets chosen in the UI, or a re-execution from a
    failed step."""
    steps, assets = run.step_keys_to_execute, run.asset_selection
    return bool(steps and FIRST_ASSET not in steps) or bool(assets and AssetKey(FIRST_ASSET) not in assets)


def _claim_day(connection: Connection, scope: _Scope, day: date) -> None:
    """Claim every client's day that nobody else holds; a token that was overtaken there gets nothing."""
    for unit in days.units_on(connection, day):
        if claims.acquire(connection, unit, scope.token, scope.ttl_s):
            days.begin(connection, unit)


def _read_lines(connection: Connection, units: list[Unit], scope: _Scope) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for unit in units:
        rows.extend((unit.client, *line) for line in days.lines_of(connection, unit))
    return frames.frame(rows, frames.LINES)


def _read_vectors(connection: Connection, units: list[Unit], scope: _Scope) -> pd.DataFrame:
    hashes = list(distinct_texts(_read_lines(connection, units, scope), scope.config))
    vectors = embeddings.fetch(connection, scope.model, hashes)
    return frames.frame(sorted(vectors.items(), key=lambda pair: pair[0]), frames.VECTORS)


def _read_members(connection: Connection, units: list[Unit], scope: _Scope) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for unit in units:
        rows.extend(
            (unit.client, fold.cluster_id, *key, fold.is_canonical, fold.similarity, fold.score, fold.reason)
            for key, fold in sorted(clusters.folds_of(connection, unit).items())
        )
    return frames.frame(rows, frames.MEMBERS)


_Writer = Callable[[TableIOManager, OutputContext, _Scope, date, pd.DataFrame], None]
_Reader = Callable[[Connection, list[Unit], _Scope], pd.DataFrame]

_WRITERS: dict[str, _Writer] = {
    FIRST_ASSET: TableIOManager._write_work,
    "line_embeddings": TableIOManager._write_vectors,
    "semantic_clusters": TableIOManager._write_members,
    "day_document": TableIOManager._write_documents,
}
_READERS: dict[str, _Reader] = {
    FIRST_ASSET: _read_lines,
    "line_embeddings": _read_vectors,
    "semantic_clusters": _read_members,
}
