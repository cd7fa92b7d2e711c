"""Writers commit out of order while discovery is killed again and again: every message is stored exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import psycopg
import pytest

from crew_pipeline.discovery.compare import compare
from crew_pipeline.storage.sources.crews import history_sources
from crew_pipeline_tests.conftest import NOW
from crew_pipeline_tests.histories import History

KILLS = 52
WRITERS = 5
SESSIONS = 80

DISCOVERER = """
import sys
from datetime import UTC, datetime
from crew_pipeline.discovery.discover import discover
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.database import database_at
settings = load_settings(discovery_batch=int(sys.argv[2]))
db = database_at(sys.argv[1])
print("ready", flush=True)
while True:
    (report,) = discover(db, settings, datetime(2025, 1, 20, 12, tzinfo=UTC))
    if report.error:
        print(report.error, flush=True)
"""


class Writer(threading.Thread):
    """Writes messages in transactions of all lengths over one connection, some of which are given up."""

    def __init__(self, history: History, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.history = history
        self.number = number
        self.stop = stop
        self.written: list[tuple[str, str]] = []
        self.chance = random.Random(number)

    def run(self) -> None:
        count = 0
        with psycopg.connect(self.history.url) as connection:
            while not self.stop.is_set():
                told = []
                for _ in range(self.chance.randint(1, 6)):
                    session, words = f"s{self.chance.randrange(SESSIONS)}", f"{self.number}-{count}"
                    count += 1
                    connection.execute(
                        "INSERT INTO told (session_id, message, created_at) VALUES (%s, %s, "
                        "'2025-01-15T09:00Z'::timestamptz + %s * interval '1 minute')",
                        (session, json.dumps({"type": "human", "content": words}), self.chance.randint(-9_000, 600)),
                    )
                    told.append((session, words))
                    time.sleep(self.chance.random() ** 4 * 0.05)
                time.sleep(self.chance.random() ** 6)
                if self.chance.random() < 0.15:
                    connection.rollback()
                else:
                    connection.commit()
                    self.written += told


def start(history: History, batch: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "HISTORIES": history.url}
    process = subprocess.Popen(
        [sys.executable, "-c", DISCOVERER, history.url, str(batch)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cache", [1, 20])
def test_every_message_is_stored_exactly_once_however_often_discovery_is_killed(history: History, cache: int) -> None:
    history.make(also=f"ALTER SEQUENCE told_id_seq CACHE {cache}")
    stop = threading.Event()
    writers = [Writer(history, number, stop) for number in range(WRITERS)]
    chance = random.Random(cache)
    for writer in writers:
        writer.start()
    killed = 0
    while killed < KILLS:
        discoverers = [start(history, batch) for batch in (2, 7)]
        time.sleep(chance.random() * 1.5)
        for process in discoverers:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            time.sleep(chance.random() * 0.1)
    stop.set()
    for writer in writers:
        writer.join(timeout=30)
    for _ in range(2):
        history.discover()
    written = Counter(words for writer in writers for _, words in writer.written)
    assert Counter(history.texts()) == written
    assert set(written.values()) == {1}
    for session in sorted({session for writer in writers for session, _ in writer.written}):
        expected = {words for writer in writers for one, words in writer.written if one == session}
        assert set(history.texts(session)) == expected
    with history.db.read() as connection:
        (source,) = history_sources(connection)
    assert compare(history.db, source, history.settings, NOW).agrees
