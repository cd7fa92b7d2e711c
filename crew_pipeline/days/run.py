"""The making of a client's day, from its lines to the finished document, step by step and under a claim.

Knows nothing of Dagster: a run of the day job calls the steps of ``DayRun`` in the order in which they stand here.
``publishing`` puts what they return into the tables.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crew_pipeline.days import claims, folding
from crew_pipeline.days.pace import Pace
from crew_pipeline.days.pair_memory import remembering
from crew_pipeline.days.progress import Reporter
from crew_pipeline.days.snapshots import Snapshots
from crew_pipeline.dedup.comparing import Comparison, compare_lines
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.document import Document
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder, Vectors
from crew_pipeline.dedup.folding import Clusters
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.model import ClientDay, Folds
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import embeddings, pairs, verdicts


@dataclass(frozen=True)
class DayTools:
    """What days are made with; ``snapshots`` holds the lines of the run that is at work in this process."""

    db: Database
    encoder: SentenceTransformerEncoder
    config: EngineConfig
    snapshots: Snapshots


class Compared(NamedTuple):
    """The judged pairs of a day, and how many of its texts had been compared before."""

    comparison: Comparison
    known_texts: int


class DayRun:
    """One client's day under the claim of ``token``.

    Lines are columns ``frames.DISCOVERED`` of that client's day.
    """

    def __init__(self, tools: DayTools, client_day: ClientDay, token: str) -> None:
        self.tools = tools
        self.client_day = client_day
        self.token = token
        self._reporter = Reporter(tools.db, client_day, token)

    def texts_without_vector(self, lines: Columns) -> dict[bytes, str]:
        """The distinct texts of the day that have never been embedded, by hash."""
        texts = distinct_texts(lines, self.tools.config)
        with self.tools.db.read() as connection:
            known = embeddings.known(connection, self.tools.encoder.model_id, list(texts))
        return {key: text for key, text in texts.items() if key not in known}

    def embed(
        self, texts: Mapping[bytes, str], at_once: int, pace: Pace, turn_ends_at: float = math.inf
    ) -> Iterator[tuple[Sequence[bytes], Vectors]]:
        """Vectors of texts, ``at_once`` of them at a time, each part to be stored before the next is made.

        Ends early where the day has been taken over by somebody, who goes on from there.

        Args:
            turn_ends_at: from then on (s, monotonic) others that wait go first: what has been embedded stays, and the
                day goes on from there later.
        """
        keys = list(texts)
        for done in range(0, len(keys), at_once):
            if done and time.monotonic() > turn_ends_at:
                self._pause(f"{done:,} of {len(keys):,} lines embedded")
            if done and not self._is_held():
                return
            part = keys[done : done + at_once]
            self._reporter.stage("embedding", done, len(keys), "lines embedded")
            with pace.kept():
                vectors = self.tools.encoder.encode([texts[key] for key in part])
            yield part, vectors
            pace.rest()

    def compare(self, lines: Columns, vectors: Mapping[bytes, Any]) -> Compared:
        """Compare the day's texts; what was judged is kept for the next time.

        Raises:
            MissingVectorsError: texts that are compared have no vector.
        """
        self._reporter.stage("comparing", message=f"comparing {len(lines['text']):,} lines")
        db, encoder, config = self.tools.db, self.tools.encoder, self.tools.config
        judgement = config.judgement(encoder.model_id)
        with db.read() as connection:
            known = pairs.load(connection, self.client_day, judgement)
        scorer = remembering(scorer_of(config.pair_scorer, encoder), db)
        comparison = compare_lines(lines, vectors, config, scorer, known)
        if comparison is not known:
            with db.write() as connection:
                if self.client_day in claims.held(connection, self.token, [self.client_day.day], lock=True):
                    pairs.store(connection, self.client_day, judgement, comparison)
        return Compared(comparison, 0 if known is None else len(known.texts))

    def fold(self, lines: Columns, comparison: Comparison, *, surer: bool = False) -> Clusters:
        """Fold the day's lines; see ``folding.fold``. Which wishes they are folded by is noted with the claim."""
        if not surer:
            self._reporter.stage("clustering", message=f"folding what {comparison.candidates:,} pairs tell")
        with self.tools.db.write() as connection:
            verdicts.remember(connection, self.client_day, self.token)
            wishes = folding.wishes_of(connection, self.client_day.client, self.tools.config)
        return folding.fold(self.client_day, lines, comparison, wishes, surer=surer)

    def document(self, lines: Columns, folds: Folds) -> Document:
        """The finished day.

        Raises:
            DocumentError: a line would be lost or shown twice.
        """
        self._reporter.stage("writing", message="writing the day")
        with self.tools.db.read() as connection:
            own = folding.config_of(connection, self.client_day.client, self.tools.config)
        return folding.document_of(self.client_day, lines, folds, own.fingerprint(self.tools.encoder.weights_id))

    def _is_held(self) -> bool:
        with self.tools.db.read() as connection:
            return self.client_day in claims.held(connection, self.token, [self.client_day.day])

    def _pause(self, done: str) -> None:
        with self.tools.db.write() as connection:
            claims.pause(connection, self.client_day, self.token, done)
