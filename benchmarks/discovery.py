"""Discovery of what is new in a history table of growing size, beside a scan of the whole table as it used to be done.

The source is a table ``id, session_id, message JSONB, created_at`` of about ten messages a session in the same server,
with the index on ``session_id`` that the scan needs. Every size is discovered by the real code before anything is
measured, so the store is as large as the source. Rounds run in a process of their own, whose memory is told.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, text

from benchmarks.common import TOP, empty_store, fetch, free_port, options, progress, quantile, report, running
from crew_pipeline.discovery.discover import RoundPlan, discover
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.database import Database, database_at
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.sources.crews import set_history

MESSAGES = 10
SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
ROUNDS = 9
SCAN_FOR_S = 60.0
"""Longest time that transcripts of the old scan are read; what is left of it is reckoned from that."""

_ADD = """
INSERT INTO told (session_id, message, created_at)
SELECT :prefix || (number / :messages), jsonb_build_object(
           'type', CASE WHEN number % 2 = 0 THEN 'human' ELSE 'ai' END,
           'content', 'message ' || number || ' of a conversation, about as long as such messages are'),
       timestamptz '2024-01-01' + number * interval '1 second'
FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS number
"""


def main() -> None:
    """Grow one history through the sizes and measure at each."""
    chosen = options(__doc__ or "")
    sizes: dict[str, dict[str, Any]] = {}
    with empty_store() as (settings, databases):
        db = databases.db
        with db.write() as connection:
            connection.execute(
                text(
                    "CREATE TABLE told (id bigserial PRIMARY KEY, session_id text NOT NULL, message jsonb NOT NULL, "
                    "created_at timestamptz NOT NULL)"
                )
            )
            connection.execute(text("CREATE INDEX ON told (session_id)"))
            set_history(connection, "default", "agents", None, "told")
        before = 0
        for size in QUICK_SIZES if chosen.quick else SIZES:
            grow(db, settings, before, size)
            sizes[str(size)] = measure(databases, size)
            before = size
    ordered = list(sizes.values())
    content = {
        "sizes": sizes,
        "growth_ratio": _ratio(ordered, "incremental_ms"),
        "database_growth_ratio": _ratio(ordered, "database_ms"),
        "index_growth_ratio": _ratio(ordered, "index_median_ms"),
        "peak_rss_mb": max(one["rss_mb"] for one in ordered),
    }
    report(content, as_json=chosen.json)


def _ratio(ordered: list[dict[str, Any]], key: str) -> float:
    return round(float(ordered[-1][key]) / float(ordered[0][key]), 3)


def grow(db: Database, settings: Settings, before: int, size: int) -> None:
    """Bring the source to ``size`` sessions and discover them all."""
    progress(f"{size:,} sessions: building the history")
    with db.write() as connection:
        values = {"prefix": "s", "messages": MESSAGES, "first": before * MESSAGES, "last": size * MESSAGES - 1}
        connection.execute(text(_ADD), values)
    progress(f"{size:,} sessions: discovering them")
    (first,) = discover(
        db,
        settings.model_copy(update={"discovery_batch": 500}),
        datetime.now(UTC),
        plan=RoundPlan(round_s=float("inf")),
    )
    if first.error or first.ingested.conversations_new != size - before:
        raise RuntimeError(f"discovered {first.ingested.conversations_new} of {size - before}: {first.error}")
    with db.read() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def measure(databases: Databases, size: int) -> dict[str, Any]:
    """Rounds over what is new, the old scan, and pages of the index."""
    progress(f"{size:,} sessions: rounds over what is new")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.discovery", "--rounds", str(size)],
        cwd=TOP,
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **databases.environment()},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    progress(f"{size:,} sessions: the scan of the whole table")
    found |= full_scan(databases.db)
    progress(f"{size:,} sessions: pages of the index")
    return found | index_pages()


def rounds(size: int) -> None:
    """In a process of its own: a few rounds with 10 new sessions each, one with 100, and what they took."""
    settings = load_settings()
    db = database_at(os.environ["CREW_DATABASE_URL"])
    for _ in range(2):
        one_round(db, settings, 10)
    tens = [one_round(db, settings, 10) for _ in range(ROUNDS)]
    hundreds = [one_round(db, settings, 100) for _ in range(ROUNDS // 2)]
    nothing = [one_round(db, settings, 0) for _ in range(ROUNDS // 2)]
    print(
        json.dumps(
            {
                "incremental_ms": _median(tens, 0),
                "database_ms": _median(tens, 1),
                "hundred_new_ms": _median(hundreds, 0),
                "hundred_new_database_ms": _median(hundreds, 1),
                "nothing_new_ms": _median(nothing, 0),
                "rss_mb": peak_rss_mb(),
            }
        )
    )


def peak_rss_mb() -> float:
    """The most memory that this process has held; what ``getrusage`` says includes the parent's at the fork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)


def _median(taken: list[tuple[float, float]], which: int) -> float:
    return round(1000 * statistics.median(one[which] for one in taken), 2)


def one_round(db: Database, settings: Settings, new: int) -> tuple[float, float]:
    """Seconds of a round over so many new sessions, and of its statements alone."""
    if new:
        with db.write() as connection:
            values = {"prefix": f"n{time.time_ns()}-", "messages": MESSAGES, "first": 0, "last": new * MESSAGES - 1}
            connection.execute(text(_ADD), values)
    with statement_seconds() as spent:
        started = time.perf_counter()
        (done,) = discover(db, settings, datetime.now(UTC))
        seconds = time.perf_counter() - started
    if done.error or done.ingested.conversations_new != new:
        raise RuntimeError(f"found {done.ingested.conversations_new} of {new} new sessions: {done.error}")
    return seconds, sum(spent)


@contextmanager
def statement_seconds() -> Iterator[list[float]]:
    """The seconds of every statement in the block, of the store and of the source; COPY is not among them."""
    spent: list[float] = []

    def before(connection: Any, *_: Any) -> None:
        connection.info["began"] = time.perf_counter()

    def after(connection: Any, *_: Any) -> None:
        spent.append(time.perf_counter() - connection.info["began"])

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield spent
    finally:
        event.remove(Engine, "before_cursor_execute", before)
        event.remove(Engine, "after_cursor_execute", after)


def full_scan(db: Database) -> dict[str, Any]:
    """As it used to be: all session ids, then a transcript of each."""
    with db.read() as connection:
        started = time.perf_counter()
        sessions = [row[0] for row in connection.execute(text("SELECT DISTINCT session_id FROM told"))]
        listing = time.perf_counter() - started
        transcript = text(
            "SELECT id, session_id, message, created_at FROM told WHERE session_id = :session ORDER BY id"
        )
        started = time.perf_counter()
        read = 0
        for session in sessions:
            connection.execute(transcript, {"session": session}).all()
            read += 1
            if time.perf_counter() - started > SCAN_FOR_S:
                break
        reading = time.perf_counter() - started
    return {
        "full_scan_ms": round(1000 * (listing + reading * len(sessions) / max(read, 1)), 1),
        "full_scan_reckoned_from": round(read / max(len(sessions), 1), 3),
    }


def index_pages() -> dict[str, Any]:
    """Pages of the index over HTTP: the first ones, and on from there."""

    port = free_port()
    with running(["-m", "crew_pipeline.cli", "api", "--port", str(port)], f"http://127.0.0.1:{port}/healthz"):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        path = "/api/conversations?limit=50"
        taken = []
        cursor = ""
        for number in range(440):
            started = time.perf_counter()
            body = fetch(connection, f"{path}&cursor={cursor}" if number % 2 else path)
            if number >= 40:
                taken.append(time.perf_counter() - started)
            cursor = json.loads(body)["next_cursor"]
        return {
            "index_median_ms": round(1000 * statistics.median(taken), 2),
            "index_p99_ms": round(1000 * quantile(taken, 0.99), 2),
        }


if __name__ == "__main__":
    if "--rounds" in sys.argv:
        rounds(int(sys.argv[-1]))
    else:
        main()
