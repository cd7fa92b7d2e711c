"""The day's assets, from conversations to the document that is served. Thin: the engine computes, the tables keep."""

import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pandas as pd
from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    Config,
    MetadataValue,
    PartitionsDefinition,
    ResourceParam,
    TableRecord,
    asset,
)

from crew_pipeline.days import run as steps
from crew_pipeline.days.pace import Pace
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.engine import (
    distinct_texts,
)
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days.frames import DayFrames
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, isolated
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DatabaseResource, EmbeddingModel
from crew_pipeline.storage.days import claims, progress, queue, visits
from crew_pipeline.storage.evidence import embeddings

GROUP = "clean_up_crew"
POOL = "crew_days"
MAX_DAYS_PER_RUN = 31
TEXTS_AT_ONCE = 512
"""Texts embedded between two reports to a reader who waits."""
TEXTS_AT_ONCE_IN_BACKGROUND = 4_096
"""The same where nobody waits and no pace is to be kept: of many texts more are of one length, and go together."""

_LARGEST_SHOWN = 10


class Scope(Config):
    """Which conversations of the day a run takes.

    Attributes:
        client: only this client's; empty for all.
        force: process days that are ready as well.
        retry_failed: whether days whose last attempt failed are taken again.
    """

    client: str = ""
    force: bool = False
    retry_failed: bool = True


def build_assets(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """The four assets of a day, over ``partitions``."""
    common: dict[str, Any] = {
        "partitions_def": partitions,
        "backfill_policy": BackfillPolicy.multi_run(max_partitions_per_run=MAX_DAYS_PER_RUN),
        "retry_policy": TRANSIENT_RETRIES,
        "io_manager_key": "tables",
        "group_name": GROUP,
        "pool": POOL,
    }
    builders = (_discovered_conversations, _line_embeddings, _semantic_clusters, _day_document)
    return [build(common) for build in builders]


def _discovered_conversations(common: dict[str, Any]) -> AssetsDefinition:
    @asset(**common, kinds={"postgres"}, description="The conversations of the day that are not yet processed.")
    def discovered_conversations(
        context: AssetExecutionContext,
        config: Scope,
        database: DatabaseResource,
        embedding_model: EmbeddingModel,
        engine_config: ResourceParam[EngineConfig],
    ) -> DayFrames:
        """What of each day needs work; storing it claims those days for this run."""
        fingerprint = engine_config.fingerprint(embedding_model.model_id)

        def work_of(day: date) -> pd.DataFrame:
            with database.db.read() as connection:
                found = queue.work(
                    connection,
                    fingerprint,
                    days=[day],
                    client=config.client or None,
                    force=config.force,
                    with_failed=config.retry_failed,
                    token=context.run.run_id,
                    after=context.run.tags.get(tags.CLAIM),
                )
            context.add_asset_metadata(
                {
                    "clients": len(found),
                    "conversations": sum(one.conversations for one in found),
                    "lines": sum(one.lines for one in found),
                    "unchanged": not found,
                },
                partition_key=day.isoformat(),
            )
            return frames.frame(
                [(one.client, one.priority, one.conversations, one.lines) for one in found], frames.WORK
            )

        return DayFrames(days_of(context.partition_keys), work_of)

    return discovered_conversations


def _line_embeddings(common: dict[str, Any]) -> AssetsDefinition:
    @asset(**common, kinds={"torch"}, description="Vectors of the day's distinct texts, cached for ever.")
    def line_embeddings(
        context: AssetExecutionContext,
        database: DatabaseResource,
        embedding_model: EmbeddingModel,
        engine_config: ResourceParam[EngineConfig],
        discovered_conversations: DayFrames,
    ) -> DayFrames:
        """Embed the texts that have no vector yet, some hundreds at a time."""

        encoder = embedding_model.encoder
        token = context.run.run_id
        turn_s = float(context.run.tags.get(tags.TURN, "inf"))
        pace = Pace.of(context.run.tags)
        awaited = context.run.tags.get(tags.TRIGGER) == tags.ON_DEMAND
        at_once = TEXTS_AT_ONCE if awaited or tags.CORES in context.run.tags else TEXTS_AT_ONCE_IN_BACKGROUND

        def vectors_of(day: date) -> Iterator[pd.DataFrame]:
            started = time.monotonic()
            lines = discovered_conversations[day]
            distinct = embedded = 0
            for client_day in _client_days_in(lines, day):
                own = frames.of_client(lines, client_day.client)
                texts = distinct_texts(own, engine_config)
                with database.db.read() as connection:
                    known = embeddings.known(connection, encoder.model_id, list(texts))
                missing = [key for key in texts if key not in known]
                if missing and awaited:
                    warn = context.log.warning
                    steps.first_looks(database.db, encoder, engine_config, client_day, token, own, warn)
                reporter = progress.Reporter(database.db, [client_day], token)
                with isolated(database.db, database.patience, client_day, token, context.log):
                    for done, keys in _in_parts(missing, at_once):
                        if done and time.monotonic() - started > turn_s:
                            _pause(database, client_day, token, f"{done:,} of {len(missing):,} lines embedded")
                        if done and client_day not in _claimed(database, token, day):
                            break  # paused, or taken over by somebody who goes on from here
                        reporter.stage("embedding", done, len(missing), "lines embedded")
                        with pace.kept():
                            vectors = encoder.encode([texts[key] for key in keys])
                        yield frames.frame(zip(keys, vectors, strict=True), frames.VECTORS)
                        pace.rest()
                        embedded += len(keys)
                distinct += len(texts)
            context.add_asset_metadata(
                {
                    "distinct_texts": distinct,
                    "embedded": embedded,
                    "from_cache": distinct - embedded,
                    "cache_ratio": round(1 - embedded / distinct, 4) if distinct else 1.0,
                    "model": encoder.model_id,
                    "seconds": round(time.monotonic() - started, 3),
                },
                partition_key=day.isoformat(),
            )

        return DayFrames(days_of(context.partition_keys), vectors_of)

    return line_embeddings


def _semantic_clusters(common: dict[str, Any]) -> AssetsDefinition:
    @asset(**common, kinds={"faiss"}, description="Lines of the day that say the same, with the evidence for each.")
    def semantic_clusters(
        context: AssetExecutionContext,
        database: DatabaseResource,
        embedding_model: EmbeddingModel,
        engine_config: ResourceParam[EngineConfig],
        discovered_conversations: DayFrames,
        line_embeddings: DayFrames,
    ) -> DayFrames:
        """Cluster each client's lines; a client whose lines cannot be clustered does not stop the others."""
        pace = Pace.of(context.run.tags)

        def members_of(day: date) -> pd.DataFrame:
            started = time.monotonic()
            lines = discovered_conversations[day]
            loaded = line_embeddings[day]
            vectors = dict(zip(loaded["text_hash"], loaded["vector"], strict=True))
            client_days = _client_days_in(lines, day)
            token, encoder = context.run.run_id, embedding_model.encoder
            parts, compared, candidates = [frames.frame([], frames.MEMBERS)], 0, 0
            for client_day in client_days:
                reporter = progress.Reporter(database.db, [client_day], token)
                with isolated(database.db, database.patience, client_day, token, context.log), pace.kept():
                    own = frames.of_client(lines, client_day.client)
                    reporter.stage("comparing", message=f"comparing {len(own):,} lines")
                    comparison, known = steps.compared(
                        database.db, encoder, engine_config, client_day, token, own, vectors
                    )
                    reporter.stage("clustering", message=f"folding what {comparison.candidates:,} pairs tell")
                    result = steps.folded(database.db, engine_config, client_day, token, own, comparison)
                    parts.append(result.members)
                    compared += result.compared - known
                    candidates += result.candidates
                pace.rest()
            members = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
            context.add_asset_metadata(
                {
                    "lines": len(lines),
                    "texts_compared": compared,
                    "candidate_pairs": candidates,
                    "clusters": int(members["cluster_id"].nunique()),
                    "hidden_lines": int(len(members) - members["cluster_id"].nunique()),
                    "largest_clusters": _largest(members, lines),
                    "seconds": round(time.monotonic() - started, 3),
                },
                partition_key=day.isoformat(),
            )
            return members

        return DayFrames(days_of(context.partition_keys), members_of)

    return semantic_clusters


def _day_document(common: dict[str, Any]) -> AssetsDefinition:
    @asset(**common, kinds={"postgres"}, description="The deduplicated day: the bytes that the API serves.")
    def day_document(
        context: AssetExecutionContext,
        database: DatabaseResource,
        embedding_model: EmbeddingModel,
        engine_config: ResourceParam[EngineConfig],
        discovered_conversations: DayFrames,
        semantic_clusters: DayFrames,
    ) -> DayFrames:
        """Build and verify each client's document; storing it publishes it."""
        model = embedding_model.model_id

        def documents_of(day: date) -> pd.DataFrame:
            started = time.monotonic()
            lines = discovered_conversations[day]
            members = semantic_clusters[day]
            rows = []
            client_days = _claimed(database, context.run.run_id, day)
            progress.Reporter(database.db, client_days, context.run.run_id).stage("writing", message="writing the day")
            for client_day in client_days:
                with isolated(database.db, database.patience, client_day, context.run.run_id, context.log):
                    own = steps.config_of(database.db, engine_config, client_day.client)
                    built = steps.build_document(client_day, lines, members, own.fingerprint(model))
                    rows.append((client_day.client, built))
            hidden = sum(row[1].hidden_count for row in rows)
            total = sum(row[1].line_count for row in rows)
            context.add_asset_metadata(
                {
                    "documents": len(rows),
                    "conversations": sum(row[1].conversation_count for row in rows),
                    "lines": total,
                    "hidden_lines": hidden,
                    "hidden_ratio": round(hidden / total, 4) if total else 0.0,
                    "bytes": sum(len(row[1].body) for row in rows),
                    "versions": {row[0]: row[1].version for row in rows},
                    **(_visits(database) if rows else {}),
                    "seconds": round(time.monotonic() - started, 3),
                },
                partition_key=day.isoformat(),
            )
            return frames.frame(rows, frames.DOCUMENTS)

        return DayFrames(days_of(context.partition_keys), documents_of)

    return day_document


def _visits(database: DatabaseResource) -> dict[str, float]:
    """How often readers were answered at once, over a day and two weeks, as far as there were any."""
    with database.db.read() as connection:
        spans = {"day": timedelta(days=1), "two_weeks": timedelta(days=14)}
        shares = {name: visits.instant_share(visits.since(connection, back)) for name, back in spans.items()}
    return {f"instant_visits_{name}": round(share, 4) for name, share in shares.items() if share is not None}


def _claimed(database: DatabaseResource, token: str, day: date) -> list[ClientDay]:
    with database.db.read() as connection:
        return claims.held(connection, token, [day])


def _pause(database: DatabaseResource, client_day: ClientDay, token: str, done: str) -> None:
    """Let the others that wait go first; what has been embedded stays, and the day goes on from there."""
    with database.db.write() as connection:
        claims.pause(connection, client_day, token, done)


def _client_days_in(lines: pd.DataFrame, day: date) -> list[ClientDay]:
    return [ClientDay(client, day) for client in sorted(set(lines["client"]))]


def _in_parts(keys: Sequence[bytes], size: int) -> Iterator[tuple[int, Sequence[bytes]]]:
    for start in range(0, len(keys), size):
        yield start, keys[start : start + size]


def _largest(members: pd.DataFrame, lines: pd.DataFrame) -> MetadataValue[Any]:
    """The largest clusters of a day as a table for the Dagster UI."""
    sizes = members.groupby("cluster_id", sort=True).size().sort_values(ascending=False, kind="stable")
    head_of = {row.cluster_id: (row.conversation_id, row.position) for row in frames.rows(members) if row.is_canonical}
    line_at = {(line.conversation_id, line.position): line for line in frames.rows(lines)}
    records = []
    for cluster_id, size in sizes.head(_LARGEST_SHOWN).items():
        line = line_at[head_of[cluster_id]]
        records.append(TableRecord({"lines": int(size), "speaker": line.speaker, "text": line.text[:120]}))
    return MetadataValue.table(records) if records else MetadataValue.text("none")
