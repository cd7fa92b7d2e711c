"""Workers that are killed or told to stop in the middle of a day lose nothing and leave nothing stuck."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from crew_pipeline.days import requests
from crew_pipeline.days.pair_memory import AT_ONCE
from crew_pipeline.dedup.embedding import model_folder
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue, states
from crew_pipeline.storage.opening import Databases, open_databases
from crew_pipeline_tests.conftest import bring, lines_at
from crew_pipeline_tests.disturbed import (
    COMPLETED,
    body_of,
    check_everything,
    expire_claims,
    holds,
    kill_postgres,
    revived,
    said,
    wait_for,
    wait_until_all_is_done,
)
from crew_pipeline_tests.workers.nursery import POINTS, Nursery, alive, kill, pairs_read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIENT_DAY = ClientDay("default", date(2025, 1, 15))
Start = Callable[..., int]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crew")


@pytest.fixture(scope="module")
def databases(home: Path) -> Iterator[Databases]:
    with open_databases(load_settings(home=home)) as opened:
        yield opened


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def start(databases: Databases, home: Path, nursery: Nursery) -> Iterator[Start]:
    """Start a worker over an empty store."""
    (home / "pairs-read").unlink(missing_ok=True)
    with databases.owners_db.write() as connection:
        connection.execute(
            text(
                "TRUNCATE data_items, lines, line_embeddings, pair_readings, day_comparisons, line_pairs, day_claims, "
                "semantic_clusters, line_cluster_mapping, day_documents, preliminary_documents, day_events, workers"
            )
        )
    started: list[int] = []

    def worker(crash: str | None = None, **settings: object) -> int:
        chosen = {"claim_ttl_s": 5, "poll_s": 0.2, "memory_limit_mb": 8192, "threads": 1, **settings}
        environment = {f"CREW_{name.upper()}": str(value) for name, value in chosen.items()}
        pid = nursery.worker({**environment, **databases.environment(), "CREW_HOME": str(home)}, crash)
        started.append(pid)
        return pid

    yield worker
    for pid in started:
        kill(pid)


def ask_for_a_long_day(db: Database, lines: int = 570) -> None:
    talk = said(1, lines)
    for session in range(0, len(talk), 100):
        bring(db, lines_at("2025-01-15", f"s{session}", *talk[session : session + 100]), client="default")
    with db.write() as connection:
        requests.request(connection, CLIENT_DAY)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, bytes]:
    """The document of the long day as a worker makes it that nobody disturbs."""
    return {}


def test_a_day_is_made_by_a_worker_of_the_nursery(
    databases: Databases, start: Start, home: Path, undisturbed: dict[str, bytes]
) -> None:
    ask_for_a_long_day(databases.db)
    start()
    wait_until_all_is_done(databases.db)
    check_everything(databases.db)
    assert len(pairs_read(home)) == len(set(pairs_read(home))) > 0
    undisturbed["body"] = body_of(databases.db, CLIENT_DAY)


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_at_any_point_of_a_day_leaves_it_to_the_next(
    databases: Databases, start: Start, home: Path, undisturbed: dict[str, bytes], point: str
) -> None:
    db = databases.db
    ask_for_a_long_day(db)
    first = start(point)
    wait_for(lambda: not alive(first), f"the worker has crashed: {point}")
    expire_claims(db)
    start()
    wait_until_all_is_done(db)
    check_everything(db)
    twice = len(pairs_read(home)) - len(set(pairs_read(home)))
    assert twice <= (AT_ONCE if point == "readings written, not committed" else 0)
    if undisturbed:
        assert body_of(db, CLIENT_DAY) == undisturbed["body"]


def test_a_hundred_random_kills_under_load_lose_nothing(databases: Databases, start: Start, home: Path) -> None:
    """Two workers, readers that ask for days, conversations that arrive, and Postgres killed now and then."""
    db = databases.db
    chance = random.Random(5)
    client_days = [ClientDay("default", CLIENT_DAY.day + timedelta(days=number)) for number in range(24)]
    for number, client_day in enumerate(client_days):
        bring(db, lines_at(client_day.day.isoformat(), f"s {number}", *said(number, 50)), client="default")
    stop = threading.Event()

    def load() -> None:
        arrived = 0
        while not stop.wait(0.2):
            with suppress(DBAPIError):
                for client_day in chance.sample(client_days, 3):
                    with db.write() as connection:
                        requests.request(connection, client_day, outdated=True)
                if arrived < 200:
                    arrived += 1
                    client_day = chance.choice(client_days)
                    more = lines_at(client_day.day.isoformat(), f"late {arrived}", *said(arrived, 5), hour=12)
                    bring(db, more, client="default")
                # What the sensor does in the background: days that failed are taken again after their pause.
                with db.write() as connection:
                    for change in queue.changes_of_discovery(connection, date(2025, 1, 1)):
                        requests.request(connection, change.work.client_day, force=True)

    loader = threading.Thread(target=load)
    loader.start()
    options = {"retry_backoff_s": 1, "background_retries": 8, "on_demand_retries": 8}
    working = [start(**options) for _ in range(2)]
    for number in range(100):
        time.sleep(chance.uniform(0.3, 3.5))
        if number % 12 == 11:
            kill_postgres(databases)
            wait_for(lambda: revived(databases), "Postgres is back")
        else:
            place = chance.randrange(2)
            kill(working[place])
            working[place] = start(**options)
    stop.set()
    loader.join()
    with db.write() as connection:
        for client_day in client_days:
            requests.request(connection, client_day, force=True, outdated=True)
    wait_until_all_is_done(db, 240)
    check_everything(db)
    read = pairs_read(home)
    assert len(read) - len(set(read)) <= 100 * 60
    print(f"{len(set(read)):,} pairs, read {len(read):,} times")  # noqa: T201


def test_a_worker_that_is_told_to_stop_finishes_its_day_first(databases: Databases, start: Start) -> None:
    db = databases.db
    ask_for_a_long_day(db)
    worker = start(worker_grace_s=300)
    wait_for(holds(db, "SELECT count(*) > 0 FROM day_claims"), "a claim")
    os.kill(worker, signal.SIGTERM)
    wait_for(lambda: not alive(worker), "the worker has ended")
    check_everything(db)
    with db.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM workers")) == 0
        assert connection.scalar(text("SELECT count(*) FROM day_claims")) == 1


def test_a_worker_that_cannot_finish_in_time_gives_its_day_back(databases: Databases, start: Start) -> None:
    db = databases.db
    ask_for_a_long_day(db, 3_000)
    worker = start(worker_grace_s=0.1)
    wait_for(holds(db, "SELECT count(*) > 0 FROM day_claims"), "a claim")
    os.kill(worker, signal.SIGTERM)
    wait_for(lambda: not alive(worker), "the worker has ended")
    with db.read() as connection:
        assert connection.execute(text("SELECT outcome FROM day_claims")).all() == [("released",)]
        assert states.status_of(connection, CLIENT_DAY).state == "queued"
    start()
    wait_until_all_is_done(db)
    check_everything(db)


def test_a_worker_whose_supervisor_is_killed_stops(databases: Databases, home: Path, start: Start) -> None:
    other = Nursery()
    environment = {**databases.environment(), "CREW_HOME": str(home), "CREW_POLL_S": "0.2"}
    worker = other.worker(environment)
    wait_for(holds(databases.db, f"SELECT EXISTS (SELECT 1 FROM workers WHERE id LIKE '%-{worker}')"), "it beats")
    other.close()
    wait_for(lambda: not alive(worker), "the worker has ended")


def a_pair_scorer_of_one_s_own(folder: Path) -> None:
    """A cross-encoder that knows nothing, in the form in which people keep theirs."""
    from transformers import BertConfig, BertForSequenceClassification

    bundled = model_folder("bundled")
    assert bundled is not None
    small = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=1
    )  # fmt: skip
    BertForSequenceClassification(small).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (bundled / name).exists():
            shutil.copyfile(bundled / name, folder / name)


def test_a_pair_scorer_that_disappears_stops_no_worker_that_has_it_and_costs_no_day(
    databases: Databases, start: Start, home: Path, tmp_path: Path
) -> None:
    db = databases.db
    model, kept = tmp_path / "model", tmp_path / "kept"
    a_pair_scorer_of_one_s_own(model)
    shutil.copytree(model, kept)
    ask_for_a_long_day(db, 50)
    first = start(pair_scorer=model)
    wait_until_all_is_done(db)
    shutil.rmtree(model)
    bring(db, lines_at("2025-01-15", "more", *said(2, 20), hour=20), client="default")
    with db.write() as connection:
        requests.request(connection, CLIENT_DAY)
    wait_until_all_is_done(db)
    kill(first)
    bring(db, lines_at("2025-01-15", "again", *said(3, 20), hour=21), client="default")
    with db.write() as connection:
        requests.request(connection, CLIENT_DAY)
    without = start(pair_scorer=model)
    wait_for(lambda: not alive(without), "a worker without its pair scorer gives up")
    assert "CREW_PAIR_SCORER" in (home / "worker.log").read_text()
    with db.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM data_items WHERE semantic_status = 'queued'")) == 1
    shutil.copytree(kept, model)
    start(pair_scorer=model)
    wait_until_all_is_done(db)
    check_everything(db)


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, nursery: Nursery) -> None:
    home = tmp_path / "small"
    home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "crew-test", str(home)], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here; run this as root")
    workers: list[int] = []
    try:
        with open_databases(load_settings(home=home)) as small:
            db = small.db
            ask_for_a_long_day(db, 1_200)
            settings = {"CLAIM_TTL_S": 5, "POLL_S": 0.2, "RETRY_BACKOFF_S": 1, "MEMORY_LIMIT_MB": 8192, "THREADS": 1}
            environment = {f"CREW_{name}": str(value) for name, value in settings.items()}
            workers.append(nursery.worker({**environment, **small.environment(), "CREW_HOME": str(home)}))
            wait_for(holds(db, "SELECT count(*) > 0 FROM day_claims"), "a claim")
            ballast = home / "ballast"
            with suppress(OSError), ballast.open("wb") as filled:
                while True:
                    filled.write(bytes(2**16))
                    filled.flush()
            time.sleep(10)
            ballast.unlink()

            def all_is_done() -> bool:
                revived(small)
                with db.write() as connection:
                    for change in queue.changes_of_discovery(connection, date(2025, 1, 1)):
                        requests.request(connection, change.work.client_day, force=True)
                return holds(db, COMPLETED)()

            wait_for(all_is_done, "the day is made once there is room", 180)
            wait_until_all_is_done(db)
            check_everything(db)
            for worker in workers:
                kill(worker)
    finally:
        for worker in workers:
            kill(worker)
        subprocess.run(["umount", "--lazy", str(home)], check=False)
