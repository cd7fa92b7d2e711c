"""What tests share that disturb the system: talk to work at, ways to wait, and what must hold afterwards."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pydoc_data.topics import topics

import psutil
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents, queue
from crew_pipeline.storage.embedded import EmbeddedPostgresError
from crew_pipeline.storage.evidence import invariants
from crew_pipeline.storage.opening import Databases

COMPLETED = "SELECT coalesce(bool_and(semantic_status = 'completed'), true) FROM data_items"


@lru_cache(maxsize=1)
def sentences() -> list[str]:
    """Plain English that every Python brings along, its own reference, nine words at a time."""
    every = " ".join(topics[topic] for topic in sorted(topics)).split()
    words = [word for word in every if word.strip(".,;:()").isalpha()]
    return sorted({" ".join(words[start : start + 9]) for start in range(0, len(words), 9)})


def said(seed: int, count: int) -> list[tuple[str, str]]:
    """Lines of talk, a tenth of which say again what one before them said, but for a word."""
    chance = random.Random(seed)
    lines: list[str] = []
    for sentence in chance.sample(sentences(), count):
        again = chance.choice(lines).split() if lines and chance.random() < 0.1 else None
        lines.append(sentence if again is None else " ".join([*again[:-1], "indeed"]))
    return [(f"speaker {chance.randrange(4)}", line) for line in lines]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(DBAPIError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def holds(db: Database, statement: str) -> Callable[[], bool]:
    def look() -> bool:
        with db.read() as connection:
            return bool(connection.scalar(text(statement)))

    return look


def wait_until_all_is_done(db: Database, seconds: float = 120) -> None:
    wait_for(holds(db, COMPLETED), "all completed", seconds)
    wait_for(holds(db, "SELECT count(*) = 0 FROM day_claims WHERE ended_at IS NULL"), "no claim open", seconds)


def check_everything(db: Database) -> None:
    """Every day is completed, every invariant holds, and readers were told in order."""
    with db.read() as connection:
        client_days = [
            ClientDay(*row) for row in connection.execute(text("SELECT DISTINCT client, days_date FROM data_items"))
        ]
        current = connection.execute(text("SELECT client, day, token, engine FROM day_documents WHERE is_current"))
        made = {ClientDay(row.client, row.day): row for row in current}
        assert set(client_days) <= set(made)
        for client_day in client_days:
            assert invariants.broken_documents(connection, [client_day], made[client_day].token) == []
        assert invariants.unexplained_clusters(connection, client_days) == []
        assert invariants.strayed_lines(connection, client_days) == []
        assert queue.work(connection, made[client_days[0]].engine) == []
        assert connection.scalar(text("SELECT count(*) FROM preliminary_documents")) == 0
        last = connection.execute(
            text("SELECT DISTINCT ON (client, day) type FROM day_events ORDER BY client, day, seq DESC")
        )
        assert {row.type for row in last} == {"processing_completed"}


def body_of(db: Database, client_day: ClientDay) -> bytes:
    with db.read() as connection:
        found = documents.current(connection, client_day, "")
    assert found is not None
    assert found.body is not None
    return found.body


def expire_claims(db: Database) -> None:
    """Let the time pass after which a claim without a heartbeat has expired."""
    with db.write() as connection:
        connection.execute(
            text("UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE ended_at IS NULL")
        )


def kill_postgres(databases: Databases) -> None:
    assert databases.embedded is not None
    pid = int((databases.embedded.folder / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=0.2)


def revived(databases: Databases) -> bool:
    with suppress(EmbeddedPostgresError):
        return databases.revive()
    return False
