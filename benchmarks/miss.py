"""A day that is not ready, made on demand by the warm worker, against ``encode`` alone on the same distinct lines."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import text

from benchmarks.common import CLIENT, days_by_size, free_port, loaded_store, options, progress, report, running
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content


def main() -> None:
    """Ask for one day again and again, each time with everything about it forgotten."""
    chosen = options(__doc__ or "")
    rounds = 2 if chosen.quick else 5
    with loaded_store(chosen.corpus) as (_settings, databases):
        db = databases.db
        (day, lines), (other, _) = days_by_size(databases)[:2]
        texts = texts_of(db, day)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        model = SentenceTransformerEncoder().load()
        with (
            running(["-m", "crew_pipeline.cli", "api", "--port", str(port)], f"{address}/healthz"),
            running(["-m", "crew_pipeline.cli", "worker"], f"{address}/healthz"),
        ):
            wait_for_worker(address)
            ask(address, other, 30)
            encode, cold, warm, raw, exact, first = [], [], [], [], [], []
            for number in range(rounds):
                progress(f"round {number + 1} of {rounds}")
                started = time.perf_counter()
                model.encode(texts, batch_size=32, show_progress_bar=False)
                encode.append(time.perf_counter() - started)
                forget(db, day, embeddings=True)
                raw.append(ask(address, day, 0))
                exact.append(raw[-1] + until_look(address, day, 1))
                first.append(exact[-1] + until_look(address, day, 2))
                wait_until_ready(address, day)
                forget(db, day, embeddings=True)
                cold.append(ask(address, day, 30))
                forget(db, day, embeddings=False)
                warm.append(ask(address, day, 30))
        encode_s, document_s = statistics.median(encode), statistics.median(cold)
        content: dict[str, Any] = {
            "lines": lines,
            "distinct_lines": len(texts),
            "encode_s": round(encode_s, 3),
            "raw_answer_s": round(statistics.median(raw), 3),
            "exact_repeats_s": round(statistics.median(exact), 3),
            "preliminary_s": round(statistics.median(first), 3),
            "document_s": round(document_s, 3),
            "document_cached_embeddings_s": round(statistics.median(warm), 3),
            "ratio": round(document_s / encode_s, 3),
            "allowed_s": round(1.15 * encode_s + 0.5, 3),
            "rounds": rounds,
        }
    report(content, as_json=chosen.json)


def texts_of(db: Database, day: date) -> Sequence[str]:
    """The distinct texts of a day that are embedded."""
    with db.read() as connection:
        lines = content.lines_of(connection, ClientDay(CLIENT, day))
    return list(
        distinct_texts(frames.frame([(CLIENT, *line) for line in lines], frames.LINES), EngineConfig()).values()
    )


def forget(db: Database, day: date, *, embeddings: bool) -> None:
    """Make a day one that was never processed.

    Args:
        embeddings: whether what the models said of its texts and pairs is forgotten as well.
    """
    with db.write() as connection:
        if embeddings:
            connection.execute(text("TRUNCATE line_embeddings, pair_readings"))
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
            raise RuntimeError(f"{day} answered {response.status}")
    return time.perf_counter() - started


def until_look(address: str, day: date, number: int) -> float:
    """Seconds until a reader has the preliminary result of this number, or the document where that is first."""
    started = time.perf_counter()
    while True:
        with urllib.request.urlopen(f"{address}/api/semantic/events/{day}") as response:  # noqa: S310 - our own address
            events = json.load(response)["events"]
        looks = sum(bool(event.get("preliminary")) for event in events)
        if looks >= number or any(event["type"] == "processing_completed" for event in events):
            break
        time.sleep(0.01)
    with urllib.request.urlopen(f"{address}/api/days/{day}/conversations?wait_s=0") as response:  # noqa: S310
        response.read()
    return time.perf_counter() - started


def wait_until_ready(address: str, day: date) -> None:
    """Wait for a day that was asked for."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{address}/api/semantic/status/{day}") as response:  # noqa: S310 - our own address
            if json.load(response)["semantic_status"] == "completed":
                time.sleep(0.5)
                return
        time.sleep(0.2)
    raise RuntimeError(f"{day} is not ready after two minutes")


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
