"""A day that is not ready, made on demand by the warm worker, against ``encode`` alone on the same distinct lines."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.common import (
    CLIENT,
    days_by_size,
    free_port,
    loaded_store,
    options,
    over_every_corpus,
    progress,
    report,
    running,
)
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content

LONGEST_S = 120.0
"""How long the document of a day is waited for."""


class NotReadyError(RuntimeError):
    """A day is not ready in time."""


def main() -> None:
    """Ask for one day of each corpus again and again, each time with everything about it forgotten."""
    chosen = options(__doc__ or "")
    content = over_every_corpus(lambda corpus: measured(corpus, 2 if chosen.quick else 5), chosen)
    report(content, as_json=chosen.json)


def measured(corpus: Path | None, rounds: int) -> dict[str, Any]:
    """The figures of one corpus: of its day nearest to 1,250 lines."""
    with loaded_store(corpus) as (_settings, databases):
        db = databases.db
        (day, lines), *others = days_by_size(databases)
        texts = texts_of(db, day)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        model = SentenceTransformerEncoder().load()
        encode, cold, warm, raw, first = [], [], [], [], []
        with (
            running(["-m", "crew_pipeline.cli", "api", "--port", str(port)], f"{address}/healthz"),
            running(["-m", "crew_pipeline.cli", "worker"], f"{address}/healthz"),
        ):
            wait_for_worker(address)
            try:
                for other, _ in others[:1]:
                    ask(address, other, 30)
                for number in range(rounds):
                    progress(f"round {number + 1} of {rounds}")
                    started = time.perf_counter()
                    model.encode(texts, batch_size=32, show_progress_bar=False)
                    encode.append(time.perf_counter() - started)
                    forget(db, day, readings=True)
                    raw.append(ask(address, day, 0))
                    first.append(raw[-1] + until_first_look(address, day))
                    wait_until_ready(address, day)
                    forget(db, day, readings=True)
                    cold.append(ask(address, day, 30))
                    read = pairs_read(db)
                    forget(db, day, readings=False)
                    warm.append(ask(address, day, 30))
            except NotReadyError as error:
                return {"lines": lines, "distinct_lines": len(texts), "not_ready": str(error)}
    encode_s, document_s = statistics.median(encode), statistics.median(cold)
    return {
        "lines": lines,
        "distinct_lines": len(texts),
        "encode_s": round(encode_s, 3),
        "raw_answer_s": round(statistics.median(raw), 3),
        "preliminary_s": round(statistics.median(first), 3),
        "document_s": round(document_s, 3),
        "document_cached_embeddings_s": round(statistics.median(warm), 3),
        "pairs_read": read,
        "ratio": round(document_s / encode_s, 3),
        "rounds": rounds,
    }


def texts_of(db: Database, day: date) -> Sequence[str]:
    """The distinct texts of a day that are compared."""
    with db.read() as connection:
        lines = content.lines_of(connection, ClientDay(CLIENT, day))
    return list(
        distinct_texts(frames.frame([(CLIENT, *line) for line in lines], frames.LINES), EngineConfig()).values()
    )


def pairs_read(db: Database) -> int:
    """How many pairs of texts the pair scorer has read."""
    with db.read() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM pair_readings")) or 0)


def forget(db: Database, day: date, *, readings: bool) -> None:
    """Make a day one that was never processed.

    Args:
        readings: whether what the pair scorer said of its pairs is forgotten as well.
    """
    with db.write() as connection:
        if readings:
            connection.execute(text("TRUNCATE pair_readings"))
        tables = ("day_documents", "semantic_clusters", "day_comparisons", "day_claims", "day_events")
        for table in (*tables, "preliminary_documents"):
            connection.execute(text(f"DELETE FROM {table} WHERE day = :day"), {"day": day})
        connection.execute(
            text("UPDATE data_items SET semantic_status = 'pending' WHERE days_date = :day"), {"day": day}
        )


def ask(address: str, day: date, wait_s: int) -> float:
    """Seconds until a day answers."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"{address}/api/days/{day}/conversations?wait_s={wait_s}") as response:  # noqa: S310
        response.read()
        if response.status != (200 if wait_s else 202):
            raise NotReadyError(f"{day} answered {response.status} after {wait_s} s")
    return time.perf_counter() - started


def until_first_look(address: str, day: date) -> float:
    """Seconds until a reader has the preliminary result, or the document where that is first."""
    started = time.perf_counter()
    while True:
        with urllib.request.urlopen(f"{address}/api/semantic/events/{day}") as response:  # noqa: S310 - our own address
            events = json.load(response)["events"]
        if any(event.get("preliminary") or event["type"] == "processing_completed" for event in events):
            break
        time.sleep(0.01)
    with urllib.request.urlopen(f"{address}/api/days/{day}/conversations?wait_s=0") as response:  # noqa: S310
        response.read()
    return time.perf_counter() - started


def wait_until_ready(address: str, day: date) -> None:
    """Wait for a day that was asked for."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{address}/api/semantic/status/{day}") as response:  # noqa: S310 - our own address
            if json.load(response)["semantic_status"] == "completed":
                time.sleep(0.5)
                return
        time.sleep(0.2)
    raise NotReadyError(f"{day} is not ready after {LONGEST_S:.0f} s")


def wait_for_worker(address: str) -> None:
    """Wait until the worker has loaded its model."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{address}/readyz") as response:  # noqa: S310 - our own address
            if json.load(response)["dependencies"]["worker"] == "ok":
                return
        time.sleep(0.2)
    raise RuntimeError("the worker is not ready after two minutes")


if __name__ == "__main__":
    main()
