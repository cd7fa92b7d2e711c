"""What a run of the day job does with one day, client by client: the shell around ``days.run``.

A client whose day fails does not take the others with it. Each step tells the operator what it did (``metadata``).
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pandas as pd
from dagster import AssetExecutionContext, AssetKey, DagsterRun

from crew_pipeline.days import claims, folding
from crew_pipeline.days.first_look import show_first_look
from crew_pipeline.days.run import DayRun, DayTools
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.document import Document
from crew_pipeline.model import ClientDay, Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days import metadata
from crew_pipeline.orchestration.days.frames import DayFrames
from crew_pipeline.orchestration.failures import isolated
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DayMaking
from crew_pipeline.storage.days import queue, states


class DayWork:
    """One step of a run, over the days of its partitions."""

    def __init__(self, context: AssetExecutionContext, making: DayMaking) -> None:
        self._context = context
        self._making = making
        self._tools = making.tools
        self._db = self._tools.db
        self._token = context.run.run_id
        self._awaited = is_awaited(context.run)
        self._pace = pace_of(context.run)
        self._turn_s = float(context.run.tags.get(tags.TURN, math.inf))

    def frames(self, frames_of: Callable[[date], pd.DataFrame | Iterable[pd.DataFrame]]) -> DayFrames:
        """What ``frames_of`` makes of each of the run's days, when it is asked for."""
        return DayFrames(days_of(self._context.partition_keys), frames_of)

    def claim(self, day: date, *, client: str, force: bool, with_failed: bool) -> pd.DataFrame:
        """Claim the clients' days that need work; returns their lines (``frames.DISCOVERED``)."""
        after = self._context.run.tags.get(tags.CLAIM)
        with self._db.read() as connection:
            chosen = queue.work(
                connection,
                self._tools.config.fingerprint,
                days=[day],
                client=client or None,
                which="every" if with_failed else "waiting",
                force=force,
                claimed_as=[token for token in (self._token, after) if token],
            )
        for work in chosen:
            # Each in a transaction of its own: runs that take them in another order must not deadlock.
            with self._db.write() as connection:
                taken = claims.take(
                    connection,
                    work.client_day,
                    self._token,
                    self._making.claim_ttl_s,
                    work.lines,
                    background=not self._awaited,
                    after=after,
                )
            if not taken:
                self._context.log.warning(f"{work.client_day}: another run is at work on it; left to that one")
        self._tell(day, metadata.of_claims(chosen))
        return self.held_lines(day)

    def held_lines(self, day: date) -> pd.DataFrame:
        """The lines (``frames.DISCOVERED``) of the clients' days that this run holds."""
        return lines_held(self._tools, self._token, day)

    def embed(self, day: date, conversations: DayFrames) -> pd.DataFrame:
        """Vectors of the day's distinct texts (``frames.VECTORS``)."""
        started = time.monotonic()
        self._claim_midway(day)
        vectors: dict[bytes, Any] = {}
        for run, own in self._runs(day, conversations[day]):
            if self._awaited:
                show_first_look(run, own, self._context.log.warning)
            with self._isolated(run):
                keys, made = run.embed(own)
                vectors.update(zip(keys, made, strict=True))
        self._tell(day, metadata.of_embedding(len(vectors), self._tools.encoder.model_id, time.monotonic() - started))
        return frames.frame(sorted(vectors.items(), key=lambda pair: pair[0]), frames.VECTORS)

    def cluster(self, day: date, conversations: DayFrames, embeddings: DayFrames) -> pd.DataFrame:
        """Compare and fold each client's lines (``frames.MEMBERS``)."""
        started = time.monotonic()
        self._claim_midway(day)
        lines, loaded = conversations[day], embeddings[day]
        vectors = dict(zip(loaded["text_hash"], loaded["vector"], strict=True))
        rows: list[tuple[Any, ...]] = []
        compared: list[Comparison] = []
        for run, own in self._runs(day, lines):
            with self._isolated(run):
                comparison = run.compare(own, vectors, self._pace, started + self._turn_s)
                rows.extend(run.fold(own, comparison).rows)
                compared.append(comparison)
            self._pace.rest()
        members = frames.frame(rows, frames.MEMBERS)
        self._tell(day, metadata.of_clusters(lines, members, compared, time.monotonic() - started))
        return members

    def write(self, day: date, conversations: DayFrames, clusters: DayFrames) -> pd.DataFrame:
        """Build and verify each client's document (``frames.DOCUMENTS``); storing it publishes it."""
        started = time.monotonic()
        self._claim_midway(day)
        lines, members = conversations[day], clusters[day]
        documents: list[tuple[str, Document]] = []
        for client_day in self._held(day):
            run = DayRun(self._tools, client_day, self._token)
            with self._isolated(run):
                own = frames.of_client(lines, client_day.client)
                folds = folding.folds_in(frames.rows(frames.of_client(members, client_day.client)))
                documents.append((client_day.client, run.document(own, folds)))
        self._tell(day, metadata.of_documents(self._db, documents, time.monotonic() - started))
        return frames.frame(documents, frames.DOCUMENTS)

    def _runs(self, day: date, lines: pd.DataFrame) -> Iterator[tuple[DayRun, pd.DataFrame]]:
        """A run for each client of the day's lines, with the lines of its own."""
        for client in sorted(set(lines["client"])):
            yield DayRun(self._tools, ClientDay(client, day), self._token), frames.of_client(lines, client)

    @contextmanager
    def _isolated(self, run: DayRun) -> Iterator[None]:
        with isolated(self._tools, run.client_day, run.token, self._making.patience, self._context.log):
            yield

    def _claim_midway(self, day: date) -> None:
        """Claim a day in a run that begins in the middle: where some assets were chosen in the UI, or a later step is
        executed again. What somebody else holds, or has taken from this run, is left alone."""
        run = self._context.run
        if makes(run, tags.FIRST_ASSET):
            return
        publishes = makes(run, tags.LAST_ASSET)
        with self._db.write() as connection:
            for client_day in states.client_days_on(connection, day):
                claim = claims.acquire(
                    connection,
                    client_day,
                    self._token,
                    self._making.claim_ttl_s,
                    background=not self._awaited,
                )
                if claim == "new" and publishes:
                    claims.begin(connection, client_day)

    def _held(self, day: date) -> list[ClientDay]:
        with self._db.read() as connection:
            return claims.held(connection, self._token, [day])

    def _tell(self, day: date, figures: dict[str, Any]) -> None:
        self._context.add_asset_metadata(figures, partition_key=day.isoformat())


def is_awaited(run: DagsterRun) -> bool:
    """Whether a visitor waits for a run."""
    return run.tags.get(tags.TRIGGER) == Trigger.ON_DEMAND


def makes(run: DagsterRun, asset: str) -> bool:
    """Whether a run makes ``asset``: not where some others were chosen in the UI, or a later step is executed again.

    Nothing chosen means all.
    """
    steps, assets = run.step_keys_to_execute, run.asset_selection
    return not (steps and asset not in steps) and not (assets and AssetKey(asset) not in assets)


def lines_held(tools: DayTools, token: str, day: date) -> pd.DataFrame:
    """The lines (``frames.DISCOVERED``) of the clients' days that ``token`` holds; read once in a process."""
    with tools.db.write() as connection:
        held = claims.held(connection, token, [day])
        parts = [tools.snapshots.read(connection, client_day, token) for client_day in held]
    filled = [part for part in parts if part is not None and len(part)]
    if not filled:
        return frames.frame([], frames.DISCOVERED)
    return filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
