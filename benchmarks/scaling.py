"""One day of ever more lines, made through Dagster: seconds, pairs that the pair scorer reads, and memory."""

from __future__ import annotations

import gzip
import importlib
import itertools
import json
import multiprocessing
import queue
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.bulk import peak_memory
from benchmarks.common import CLIENT, SHARED_CORPUS, corpus_file, empty_home, empty_store, options, progress, report
from benchmarks.made_talk import said_at_length
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.orchestration.bulk import process_days
from crew_pipeline.workers.warm import warm_up

SIZES, SIZES_OF_OTHERS, SIZES_QUICK = (500, 2_000, 5_000, 20_000), (500, 2_000), (250, 1_000)
LONG_LINES, LONG_LINES_QUICK = 2_000, 50
LONGEST_S = 600.0
START = datetime(2024, 3, 1, tzinfo=UTC)

Said = tuple[str, str, str]
"""Session, speaker and text of a line."""


def main() -> None:
    """Each size in a process of its own, so that its memory is its own."""
    chosen = options(__doc__ or "")
    sizes = SIZES_QUICK if chosen.quick else SIZES
    with empty_home() as settings:
        content = of_corpus(corpus_file(chosen.corpus, settings.home_path), sizes)
        long_lines = LONG_LINES_QUICK if chosen.quick else LONG_LINES
        progress(f"a day of {long_lines:,} long lines about one subject")
        content["long_lines"] = measured_apart(long_talk(long_lines))
    if chosen.corpus is None and not chosen.quick:
        others = sorted(path for path in SHARED_CORPUS.parent.glob("*.jsonl.gz") if path != SHARED_CORPUS)
        content["corpora"] = {path.name: of_corpus(path, SIZES_OF_OTHERS) for path in others}
    report(content, as_json=chosen.json)


def of_corpus(path: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """The figures of days of the first lines of a corpus; sizes that it does not have are left out."""
    figures: dict[int, dict[str, float]] = {}
    for size in sizes:
        day = list(itertools.islice(talk_of(path), size))
        if len(day) == size:
            progress(f"a day of {size:,} lines of {path.name}")
            figures[size] = measured_apart(day)
    if not figures:
        return {"sizes": {}}
    a_line = {size: figure["seconds"] / size for size, figure in figures.items() if "seconds" in figure}
    whole = len(a_line) == len(figures)
    return {"sizes": figures, "growth_ratio": round(a_line[max(a_line)] / a_line[min(a_line)], 3) if whole else None}


def talk_of(path: Path) -> Iterator[Said]:
    """The lines of a corpus, in its order."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for raw in file:
            line = json.loads(raw)
            yield line["session_id"], line["speaker"], line["text"]


def long_talk(lines: int) -> list[Said]:
    """Long lines about one subject by 20 people."""
    chance = random.Random(11)  # noqa: S311 - not for secrets
    return [(f"long-{n // 50}", f"kim{chance.randrange(20)}", said_at_length(chance)) for n in range(lines)]


def measured_apart(day: Sequence[Said]) -> dict[str, float]:
    """``measured`` in a fresh process; a day that is not ready within ``LONGEST_S`` is given up, and said to be."""
    spawning = multiprocessing.get_context("spawn")
    results: Any = spawning.Queue()
    process = spawning.Process(target=_measure, args=(day, results), daemon=True)
    process.start()
    try:
        figures: dict[str, float] = results.get(timeout=LONGEST_S)
    except queue.Empty:
        process.terminate()
        figures = {"not_ready_within_s": LONGEST_S}
    process.join()
    return figures


def _measure(day: Sequence[Said], results: Any) -> None:
    # Leaving in order stops the embedded Postgres.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results.put(measured(day))


def measured(day: Sequence[Said]) -> dict[str, float]:
    """Seconds, pairs read and the largest resident memory (MB) of making a day of these lines, the models loaded."""
    with empty_store() as (settings, databases):
        path = settings.home_path / "day.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records(day)), encoding="utf-8")
        now = datetime.now(UTC)
        import_export(databases.db, open_export(path), client=CLIENT, crew="day", settings=settings, now=now)
        scorer = scorer_of(settings.pair_scorer, threads=settings.threads, precision=settings.precision)
        # What is loaded once a process, the models and Dagster, is loaded before anything is timed.
        warm_up(scorer)
        importlib.import_module("crew_pipeline.orchestration.build")
        with peak_memory() as peak:
            started = time.perf_counter()
            process_days(settings, databases, None, resource_overrides={"scorer": scorer})
            seconds = time.perf_counter() - started
        with databases.db.read() as connection:
            pairs_read = connection.scalar(text("SELECT count(*) FROM pair_readings")) or 0
    return {"seconds": round(seconds, 2), "pairs_read": pairs_read, "peak_rss_mb": round(peak[0] / 2**20, 1)}


def records(day: Sequence[Said]) -> Iterator[dict[str, Any]]:
    """Lines of talk as an export has them, spread evenly over one day."""
    numbers: dict[str, int] = defaultdict(int)
    for place, (session, speaker, words) in enumerate(day):
        spoken = START + timedelta(seconds=86_000 * place / len(day))
        yield {
            "session_id": session,
            "line": numbers[session],
            "created_at": spoken.isoformat(),
            "speaker": speaker,
            "text": words,
        }
        numbers[session] += 1


if __name__ == "__main__":
    main()
