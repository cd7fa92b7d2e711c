"""The making of a client's day, from its lines to the finished document, step by step and under a claim.

Knows nothing of Dagster: a run of the day job calls the steps of ``DayRun`` in the order in which they stand here.
``publishing`` puts what they return into the tables.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crew_pipeline.days import claims, folding
from crew_pipeline.days.folding import Wishes
from crew_pipeline.days.pace import Pace
from crew_pipeline.days.pair_memory import remembering
from crew_pipeline.days.progress import Reporter
from crew_pipeline.days.publishing import OvertakenError
from crew_pipeline.days.snapshots import Snapshots
from crew_pipeline.dedup.comparing import Comparison, compare_lines
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.document import Document
from crew_pipeline.dedup.folding import Clusters
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.pair_scorer import BundledScorer, NamedScorer
from crew_pipeline.dedup.text_vectors import TextEncoder, Vectors
from crew_pipeline.model import ClientDay, Folds
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline.storage.evidence import pairs, verdicts


@dataclass(frozen=True)
class DayTools:
    """What days are made with; ``snapshots`` holds the lines of the run that is at work in this process."""

    db: Database
    encoder: TextEncoder
    scorer: BundledScorer | NamedScorer | None
    config: EngineConfig
    snapshots: Snapshots


class DayRun:
    """One client's day under the claim of ``token``.

    Lines are columns ``frames.DISCOVERED`` of that client's day.
    """

    def __init__(self, tools: DayTools, client_day: ClientDay, token: str) -> None:
        self._across = tools.db
        # The database itself holds what is done for one client to its rows.
        self.tools = replace(tools, db=tools.db.as_client(client_day.client))
        self.client_day = client_day
        self.token = token
        self._reporter = Reporter(self.tools.db, client_day, token)

    def embed(self, lines: Columns) -> tuple[Sequence[bytes], Vectors]:
        """Vectors of the day's distinct texts: their hashes, and float32 (n, ``text_vectors.DIMENSION``)."""
        texts = distinct_texts(lines, self.tools.config)
        self._reporter.stage("embedding", 0, len(texts), "texts embedded")
        return list(texts), self.tools.encoder.encode(list(texts.values()))

    def compare(
        self, lines: Columns, vectors: Mapping[bytes, Any], pace: Pace, turn_ends_at: float = math.inf
    ) -> Comparison:
        """Compare the day's texts; what was read and judged is kept for the next time.

        Args:
            turn_ends_at: from then on (s, monotonic) others that wait, if any, go first, and the day goes on from there
                later.

        Raises:
            MissingVectorsError: texts that are compared have no vector.
            OvertakenError: the day is given back, or somebody has taken it over.
        """
        self._reporter.stage("comparing", message=f"comparing {len(lines['text']):,} lines")
        db, config = self.tools.db, self.tools.config

        def between(done: int) -> None:
            pace.rest()
            if time.monotonic() > turn_ends_at and self._others_wait():
                self._pause(f"{done:,} pairs of lines read")
            if not self._is_held():
                raise OvertakenError(f"{self.client_day}: no longer this run's; what was read is kept")
            self._reporter.stage("comparing", message=f"{done:,} pairs of lines read")

        with pace.kept():
            comparison = compare_lines(
                lines, vectors, config, remembering(self.tools.scorer, db, self.client_day.client, between)
            )
        with db.write() as connection:
            if self.client_day in claims.held(connection, self.token, [self.client_day.day], lock=True):
                pairs.store(connection, self.client_day, config.judgement, comparison)
        return comparison

    def fold(self, lines: Columns, comparison: Comparison, *, silent: bool = False) -> Clusters:
        """Fold the day's lines; see ``folding.fold``. Which wishes they are folded by is noted with the claim."""
        if not silent:
            self._reporter.stage("clustering", message=f"folding what {comparison.candidates:,} pairs tell")
        with self.tools.db.write() as connection:
            verdicts.remember(connection, self.client_day, self.token)
            wishes = folding.wishes_of(connection, self.client_day.client, self.tools.config)
        return folding.fold(self.client_day, lines, comparison, wishes)

    def document(self, lines: Columns, folds: Folds) -> Document:
        """The finished day.

        Raises:
            DocumentError: a line would be lost or shown twice.
        """
        self._reporter.stage("writing", message="writing the day")
        own = self.wishes()
        return folding.document_of(self.client_day, lines, folds, own.config.fingerprint, own.verdicts)

    def wishes(self) -> Wishes:
        """How the client wants the day folded by now."""
        with self.tools.db.read() as connection:
            return folding.wishes_of(connection, self.client_day.client, self.tools.config)

    def _is_held(self) -> bool:
        with self.tools.db.read() as connection:
            return self.client_day in claims.held(connection, self.token, [self.client_day.day])

    def _others_wait(self) -> bool:
        with self._across.read() as connection:
            return queue.others_wait(connection, self.client_day)

    def _pause(self, done: str) -> None:
        with self.tools.db.write() as connection:
            claims.pause(connection, self.client_day, self.token, done)
