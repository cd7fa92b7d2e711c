"""The IO manager: data frames to and from the tables, a transaction per day (results: per client's day), fenced by the
run's claims."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from dagster import AssetKey, ConfigurableIOManager, DagsterRun, InputContext, OutputContext, ResourceDependency
from sqlalchemy import Connection

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.engine import distinct_texts
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days.frames import DayFrames
from crew_pipeline.orchestration.failures import isolated, permanent_errors_end_at_once
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DatabaseResource, EmbeddingModel
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import claims, documents, queue
from crew_pipeline.storage.days import states as days
from crew_pipeline.storage.days.states import Discovered
from crew_pipeline.storage.evidence import clusters, embeddings, invariants
from crew_pipeline.storage.evidence import verdicts as feedback

FIRST_ASSET = "discovered_conversations"
LAST_ASSET = "day_document"


@dataclass(frozen=True)
class _Scope:
    """What a table needs to know of the run that reads or writes it.

    Attributes:
        background: whether no reader waits for the run.
        after: the claim that was made for the run before it started.
    """

    token: str
    ttl_s: int
    model: str
    vectors: str
    config: EngineConfig
    background: bool
    after: str | None


class TableIOManager(ConfigurableIOManager):
    """Stores each asset's frames in its tables and loads them again, day by day.

    What is written of a day is committed before the next day is computed. Only days that the run holds a claim on are
    written; what an overtaken run brings is dropped with a warning.
    """

    database: ResourceDependency[DatabaseResource]
    embedding_model: ResourceDependency[EmbeddingModel]
    engine_config: ResourceDependency[EngineConfig]

    def handle_output(self, context: OutputContext, obj: DayFrames) -> None:
        """Store the frames of every day as they are made."""
        scope = self._scope(context.step_context.dagster_run)
        write = _WRITERS[context.asset_key.to_user_string()]
        db = self.database.db
        rows = 0
        with claims.heartbeat(db, scope.token, scope.ttl_s), permanent_errors_end_at_once(scope.token):
            for day in obj.days:
                for frame in obj.chunks(day):
                    rows += len(frame)
                    write(self, context, scope, day, frame)
        context.add_output_metadata({"days": len(obj.days), "rows": rows})

    def load_input(self, context: InputContext) -> DayFrames:
        """The upstream asset's frames of the run's days, each loaded when it is asked for."""
        run = context.step_context.dagster_run
        scope = self._scope(run)
        read = _READERS[context.asset_key.to_user_string()]
        midway = not _contains(run, FIRST_ASSET)
        publishes = _contains(run, LAST_ASSET)

        def load(day: date) -> pd.DataFrame:
            with self.database.db.write() as connection:
                if midway:
                    _claim_day(connection, scope, day, publishes=publishes)
                return read(connection, claims.held(connection, scope.token, [day]), scope)

        return DayFrames(days_of(context.asset_partition_keys), load)

    def _scope(self, run: DagsterRun) -> _Scope:
        return _Scope(
            run.run_id,
            self.database.claim_ttl_s,
            self.embedding_model.model_id,
            self.embedding_model.encoder.model_id,
            self.engine_config,
            background=run.tags.get(tags.TRIGGER) != tags.ON_DEMAND,
            after=run.tags.get(tags.CLAIM),
        )

    def _write_work(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Claim the days of the frame (``frames.WORK``) and mark the rows that are read from here on.

        Each client's in a transaction of its own: runs that take them in another order must not wait for each other.
        """
        for row in frames.rows(frame):
            client_day = ClientDay(str(row.client), day)
            with self.database.db.write() as connection:
                taken = queue.take(
                    connection,
                    client_day,
                    scope.token,
                    scope.ttl_s,
                    int(row.lines),
                    background=scope.background,
                    after=scope.after,
                )
            if not taken:
                context.log.warning(f"{client_day.client}, {day}: another run is at work on it; left to that one")

    def _write_vectors(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Add vectors to the cache. They follow from the text alone, so no claim guards them."""
        with self.database.db.write() as connection:
            embeddings.store(connection, scope.vectors, zip(frame["text_hash"], frame["vector"], strict=True))

    def _write_members(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Put the day's clusters in the place of the old ones, each client's in a transaction of its own, held against
        the invariants before it ends."""
        db = self.database.db
        with db.read() as connection:
            client_days = claims.held(connection, scope.token, [day])
        for client_day in client_days:
            with (
                isolated(db, self.database.patience, client_day, scope.token, context.log),
                db.write() as connection,
            ):
                if client_day in claims.held(connection, scope.token, [day], lock=True):
                    clusters.replace(connection, client_day, frames.of_client(frame, client_day.client))
                    invariants.hold_clusters(connection, client_day)

    def _write_documents(self, context: OutputContext, scope: _Scope, day: date, frame: pd.DataFrame) -> None:
        """Publish the day's documents, each client's in a transaction of its own."""
        db = self.database.db
        for row in frames.rows(frame):
            client_day = ClientDay(str(row.client), day)
            with (
                isolated(db, self.database.patience, client_day, scope.token, context.log),
                db.write() as connection,
            ):
                own = scope.config.at(clients.folding_of(connection, client_day.client))
                documents.publish(connection, client_day, row.document, own.fingerprint(scope.model), scope.token)
                if feedback.changed_since(connection, client_day, scope.token):
                    documents.outdate(connection, client_day)
                    queue.request(connection, client_day, outdated=True)
            _snapshots.drop(client_day)


def _contains(run: DagsterRun, asset: str) -> bool:
    """Whether a run makes ``asset``: not where some others were chosen in the UI, or a later step is re-executed.

    Nothing chosen means all.
    """
    steps, assets = run.step_keys_to_execute, run.asset_selection
    return not (steps and asset not in steps) and not (assets and AssetKey(asset) not in assets)


def _claim_day(connection: Connection, scope: _Scope, day: date, *, publishes: bool) -> None:
    """Claim every client's day that nobody else holds; a token that was overtaken there gets nothing."""
    for client_day in days.client_days_on(connection, day):
        claim = claims.acquire(connection, client_day, scope.token, scope.ttl_s, background=scope.background)
        if claim == "new" and publishes:
            queue.begin(connection, client_day)


class _Snapshots:
    """What the run of this process computes from: a client's day is read once, by its first step or before it.

    Lines that arrive meanwhile belong to the next run; steps that saw different lines would not fit together. Only one
    run is kept, since a process runs one at a time.
    """

    def __init__(self) -> None:
        self._token = ""
        self._frames: dict[ClientDay, pd.DataFrame] = {}

    def read(self, connection: Connection, client_day: ClientDay, token: str) -> pd.DataFrame | None:
        """The frame ``frames.DISCOVERED`` of a client's day.

        None where another process has run the earlier steps and the content has changed since: the day is given back.
        """
        if token != self._token:
            self._token, self._frames = token, {}
        if client_day not in self._frames:
            found = days.discovered_of(connection, client_day)
            stamp = _stamp(found)
            if not claims.settle_stamp(connection, client_day, token, stamp):
                claims.give_back(connection, token, only=client_day)
                return None
            self._frames[client_day] = frames.frame(
                [(client_day.client, *row[:-1]) for row in found], frames.DISCOVERED
            )
        return self._frames[client_day]

    def drop(self, client_day: ClientDay) -> None:
        """Forget a client's day that is finished."""
        self._frames.pop(client_day, None)


def _stamp(found: Sequence[Discovered]) -> bytes:
    digest = hashlib.sha256()
    for conversation_id, content_hash in sorted({(line.conversation_id, line.content_hash) for line in found}):
        digest.update(conversation_id.encode() + content_hash)
    return digest.digest()


_snapshots = _Snapshots()


def lines_to_come(db: Database, client_day: ClientDay, token: str) -> pd.DataFrame | None:
    """The lines (``frames.DISCOVERED``) that a run of this process with ``token``, which holds the day, will read."""
    with db.write() as connection:
        return _snapshots.read(connection, client_day, token)


def _read_lines(connection: Connection, client_days: list[ClientDay], scope: _Scope) -> pd.DataFrame:
    read = [_snapshots.read(connection, client_day, scope.token) for client_day in client_days]
    parts = [part for part in read if part is not None and len(part)]
    if not parts:
        return frames.frame([], frames.DISCOVERED)
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _read_vectors(connection: Connection, client_days: list[ClientDay], scope: _Scope) -> pd.DataFrame:
    lines = _read_lines(connection, client_days, scope)
    hashes = sorted(
        {
            key
            for client_day in client_days
            for key in distinct_texts(frames.of_client(lines, client_day.client), scope.config)
        }
    )
    vectors = embeddings.fetch(connection, scope.vectors, hashes)
    return frames.frame(sorted(vectors.items(), key=lambda pair: pair[0]), frames.VECTORS)


def _read_members(connection: Connection, client_days: list[ClientDay], scope: _Scope) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for client_day in client_days:
        rows.extend(
            (
                client_day.client,
                fold.cluster_id,
                *key,
                fold.is_canonical,
                fold.similarity,
                fold.probability,
                fold.reason,
            )
            for key, fold in sorted(clusters.folds_of(connection, client_day).items())
        )
    return frames.frame(rows, frames.MEMBERS)


_Writer = Callable[[TableIOManager, OutputContext, _Scope, date, pd.DataFrame], None]
_Reader = Callable[[Connection, list[ClientDay], _Scope], pd.DataFrame]

_WRITERS: dict[str, _Writer] = {
    FIRST_ASSET: TableIOManager._write_work,
    "line_embeddings": TableIOManager._write_vectors,
    "semantic_clusters": TableIOManager._write_members,
    LAST_ASSET: TableIOManager._write_documents,
}
_READERS: dict[str, _Reader] = {
    FIRST_ASSET: _read_lines,
    "line_embeddings": _read_vectors,
    "semantic_clusters": _read_members,
}
