"""Many days at once through Dagster, against ``encode`` alone and against the engine's own time on the same lines."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from benchmarks.common import CLIENT, days_by_size, loaded_store, options, over_every_corpus, progress, report
from crew_pipeline.dedup import document, frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.folding import cluster_lines
from crew_pipeline.dedup.judging import PairScorer
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.text_vectors import text_vectors
from crew_pipeline.model import ClientDay, Fold
from crew_pipeline.orchestration.bulk import process_days
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content
from crew_pipeline.workers.warm import warm_up


def main() -> None:
    """Process days of each corpus, then let the engine and the bare model do the same lines in the same process."""
    chosen = options(__doc__ or "", days=30)
    content = over_every_corpus(lambda corpus: measured(corpus, 3 if chosen.quick else chosen.days), chosen)
    report(content, as_json=chosen.json)


def measured(corpus: Path | None, count: int) -> dict[str, Any]:
    """The figures of one corpus."""
    with loaded_store(corpus) as (settings, databases):
        db = databases.db
        picked = sorted(day for day, _ in days_by_size(databases)[:count])
        lines = sum(size for day, size in days_by_size(databases) if day in picked)
        scorer = scorer_of(settings.pair_scorer, threads=settings.threads, precision=settings.precision)
        # What is loaded once a process, the models and Dagster, is loaded before anything is timed.
        warm_up(scorer)
        importlib.import_module("crew_pipeline.orchestration.build")

        progress(f"processing {len(picked)} days, {lines:,} lines, through Dagster")
        keep_only(db, picked)
        with peak_memory() as peak:
            started = time.perf_counter()
            runs = process_days(settings, databases, None, resource_overrides={"scorer": scorer}).runs
            processed_s = time.perf_counter() - started

        started = time.perf_counter()
        rounds = 0
        while time.perf_counter() - started < 2:
            again = process_days(settings, databases, (picked[0], picked[-1]))
            rounds += again.unchanged
            if again.runs:
                raise RuntimeError("an unchanged day was processed again")
        unchanged_per_s = rounds / (time.perf_counter() - started)

        progress("the engine alone")
        engine_s = sum(engine_alone(db, day, scorer) for day in picked)
        progress("encode alone")
        texts = sorted({one for day in picked for one in texts_of(db, day).values()})
        model = SentenceTransformerEncoder().load()
        model.encode(texts[:100], batch_size=32, show_progress_bar=False)
        started = time.perf_counter()
        model.encode(texts, batch_size=32, show_progress_bar=False)
        encode_s = time.perf_counter() - started
        return {
            "lines": lines,
            "days": len(picked),
            "runs": runs,
            "distinct_lines": len(texts),
            "processed_s": round(processed_s, 2),
            "engine_s": round(engine_s, 2),
            "encode_s": round(encode_s, 2),
            "throughput_ratio": round(encode_s / processed_s, 3),
            "engine_ratio": round(engine_s / processed_s, 3),
            "lines_per_hour": round(3600 * lines / processed_s),
            "peak_rss_mb": round(peak[0] / 2**20, 1),
            "unchanged_days_per_s": round(unchanged_per_s, 1),
        }


def keep_only(db: Database, picked: list[date]) -> None:
    """Leave only the days that are measured in the store."""
    with db.write() as connection:
        connection.execute(text("DELETE FROM data_items WHERE NOT days_date = ANY(:days)"), {"days": picked})


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The largest resident memory of this process while the block runs (bytes), looked at ten times a second."""
    process, peak, stop = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def texts_of(db: Database, day: date) -> dict[bytes, str]:
    """The distinct texts of a day that are compared, by hash."""
    with db.read() as connection:
        lines = content.lines_of(connection, ClientDay(CLIENT, day))
    return distinct_texts(frames.frame([(CLIENT, *line) for line in lines], frames.LINES), EngineConfig())


def engine_alone(db: Database, day: date, scorer: PairScorer | None) -> float:
    """Seconds of comparing, folding and building a day's document, reading and storing left out."""
    client_day = ClientDay(CLIENT, day)
    with db.read() as connection:
        read, conversations = content.lines_of(connection, client_day), content.conversations_of(connection, client_day)
        connection.execute(text("SELECT 1"))
    lines = frames.frame([(CLIENT, *line) for line in read], frames.LINES)
    started = time.perf_counter()
    texts = distinct_texts(lines, EngineConfig())
    vectors = dict(zip(texts, text_vectors(list(texts.values())), strict=True))
    members = cluster_lines(CLIENT, day.isoformat(), lines, vectors, EngineConfig(), scorer).members
    folds = {
        (row.conversation_id, row.position): Fold(
            row.cluster_id, row.is_canonical, row.similarity, row.probability, row.reason
        )
        for row in frames.rows(members)
    }
    document.build(CLIENT, conversations, read, folds, "benchmark")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
