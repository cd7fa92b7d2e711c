"""What is wrong with the system is told; samples say what the tables hold; one of many takes a sample."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crew_pipeline.commands import rendering
from crew_pipeline.days import claims, requests
from crew_pipeline.discovery.discover import discover
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import set_history
from crew_pipeline.storage.upkeep import health, workers
from crew_pipeline.storage.upkeep.health import Machine, Sample
from crew_pipeline.upkeep.alert_rules import SYSTEM_KINDS, of_system
from crew_pipeline.upkeep.alerts import watch_discovery
from crew_pipeline.upkeep.health import Look, look, measure
from crew_pipeline.upkeep.overview import overview
from crew_pipeline_tests.conftest import NOW, bring, lines_at
from crew_pipeline_tests.upkeep.test_alerts_of_discovery import Receiver

Query = Callable[..., list[tuple[object, ...]]]

MACHINE = Machine("box", 12.5, 4_000, 50_000, 9.0)
WELL = Sample(
    NOW, "box", 1_000, 5_000, 0, date(2025, 1, 2), NOW - timedelta(hours=3), 0,
    0, None, 120.0, 95.0, 1_000, None, 100, 10,
)  # fmt: skip
"""At every threshold, beyond none."""


def kinds(*samples: Sample, background: bool = True) -> list[str]:
    return [one.kind for one in of_system(samples, background=background)]


def test_a_system_that_is_at_its_limits_raises_nothing() -> None:
    assert kinds(WELL, WELL) == []
    assert kinds() == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"runs_failed": 11}, "runs_failing"),
        ({"runs_ended": 10, "runs_failed": 2}, "runs_failing"),
        ({"memory_free_mb": 999}, "memory_low"),
        ({"days_waiting": 1_001}, "queue_long"),
        ({"days_asked": 1}, "worker_missing"),
        ({"daemon_heartbeat_age_s": 120.1}, "daemon_silent"),
    ],
)
def test_each_condition_beyond_its_limit_is_noticed(changes: dict[str, object], kind: str) -> None:
    assert kinds(WELL._replace(**changes)) == [kind]


@pytest.mark.parametrize(
    "changes",
    [
        {"runs_ended": 9, "runs_failed": 9},
        {"runs_ended": 10, "runs_failed": 1},
        {"runs_ended": 0, "runs_failed": 0},
        {"days_asked": 7, "workers": 1},
        {"daemon_heartbeat_age_s": None},
    ],
)
def test_what_is_no_sign_of_trouble_raises_nothing(changes: dict[str, object]) -> None:
    assert kinds(WELL._replace(**changes)) == []


def test_a_busy_processor_is_told_of_only_when_it_stays_busy() -> None:
    busy = WELL._replace(cpu_percent=95.1)
    earlier = busy._replace(taken_at=NOW - timedelta(minutes=5))
    assert kinds(busy) == []
    assert kinds(busy, WELL) == []
    assert kinds(WELL, earlier) == []
    assert kinds(busy, earlier) == ["cpu_busy"]
    assert kinds(busy, busy._replace(taken_at=NOW - timedelta(minutes=16)), earlier) == []


def test_a_silent_daemon_is_expected_without_background_jobs() -> None:
    assert kinds(WELL._replace(daemon_heartbeat_age_s=9_999.0), background=False) == []


def test_a_sample_says_what_the_tables_hold(db: Database, query: Query) -> None:
    """Two days wait, one of them asked for; one is worked at, one's run has died, one has failed, one is ready."""
    for number, day in enumerate(("01", "02", "03", "04", "05", "06")):
        bring(db, lines_at(f"2025-01-{day}", f"s{number}", ("Ann", "one")))
    bring(db, lines_at("2025-01-02", "more", ("Bo", "two")))
    bring(db, lines_at("2025-01-02", "theirs", ("Cy", "three")), client="rival")
    query("UPDATE data_items SET updated_at = now() - interval '10 minutes'")
    query("UPDATE data_items SET updated_at = now() - interval '3 hours' WHERE session_id = 'theirs'")
    query("UPDATE data_items SET semantic_status = 'queued' WHERE session_id IN ('s1', 'more')")
    with db.write() as connection:
        for token, day in (("at work", 3), ("dead", 4)):
            claims.acquire(connection, ClientDay("acme", date(2025, 1, day)), token, 60)
            claims.begin(connection, ClientDay("acme", date(2025, 1, day)))
    query("UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE token = 'dead'")
    query("UPDATE data_items SET semantic_status = 'failed' WHERE session_id = 's4'")
    query("UPDATE data_items SET semantic_status = 'completed' WHERE session_id IN ('s0', 's5')")
    query("""INSERT INTO day_claims (client, day, token, expires_at, ended_at, outcome)
             SELECT 'acme', '2025-01-06', 'run ' || ordinal, now(), now() - ago, outcome FROM unnest(
                 ARRAY['completed', 'completed', 'released', 'failed', 'retried', 'overtaken', 'failed'],
                 ARRAY['1 minute', '59 minutes', '2 minutes', '3 minutes', '4 minutes', '5 minutes', '61 minutes'
                 ]::interval[]) WITH ORDINALITY AS told (outcome, ago, ordinal)""")
    query("INSERT INTO workers (id, resident_mb, heartbeat_at) VALUES ('fresh', 1, now() - interval '7 seconds'), "
          "('stale', 1, now() - interval '31 seconds')")  # fmt: skip
    with db.write() as connection:
        sample = health.record(connection, MACHINE)
    assert sample is not None
    assert (sample.days_waiting, sample.conversations_waiting, sample.days_asked) == (3, 4, 1)
    assert (sample.oldest_day, sample.days_failed) == (date(2025, 1, 2), 1)
    assert 3 * 3_600 <= sample.longest_wait_s < 4 * 3_600
    assert sample.workers == 1
    assert sample.worker_heartbeat_age_s is not None
    assert 7 <= sample.worker_heartbeat_age_s < 31
    assert (sample.runs_ended, sample.runs_failed) == (6, 3)
    assert sample[1:2] + sample[10:14] == ("box", 9.0, 12.5, 4_000, 50_000)
    with db.read() as connection:
        assert health.newest(connection, 5) == [sample]


def test_a_day_that_was_ready_has_not_waited_since_before_that(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-02", "a", ("Ann", "one")))
    query("UPDATE data_items SET updated_at = now() - interval '9 days', semantic_status = 'completed', "
          "semantic_processed_at = now() - interval '1 hour'")  # fmt: skip
    with db.write() as connection:
        requests.request(connection, ClientDay("acme", date(2025, 1, 2)), force=True)
        assert 3_600 <= health.queue(connection).longest_wait_s < 7_200


def test_an_empty_system_has_a_sample_too(db: Database) -> None:
    with db.write() as connection:
        sample = health.record(connection, MACHINE._replace(daemon_heartbeat_age_s=None, disk_free_mb=None))
    assert sample is not None
    assert (sample.days_waiting, sample.oldest_day, sample.longest_wait_s, sample.worker_heartbeat_age_s) == (
        0, None, 0.0, None,
    )  # fmt: skip
    assert of_system([sample]) == []


def test_this_machine_is_measured_and_a_disk_that_is_not_there_is_not(tmp_path: Path) -> None:
    machine = measure(tmp_path, 3.0)
    assert machine.host
    assert 0 <= machine.cpu_percent <= 100
    assert machine.memory_free_mb > 0
    assert machine.disk_free_mb is not None
    assert measure(tmp_path / "nowhere", None)[3:] == (None, None)


def test_alerts_of_the_system_are_raised_resolved_and_told_beside_those_of_discovery(
    db: Database, settings: Settings, query: Query
) -> None:
    receiver = Receiver()
    chosen = settings.model_copy(update={"alert_webhook_url": receiver.url})
    with db.write() as connection:
        set_history(connection, "acme", "agents", "NOT_SET", "told")
    for _ in range(4):
        discover(db, settings, NOW)
    watch_discovery(db, chosen, NOW)
    bring(db, lines_at("2025-01-02", "a", ("Ann", "one")))
    query("UPDATE data_items SET semantic_status = 'queued'")
    raised = look(db, chosen, lambda: 500.0)
    assert raised is not None
    ours = {news.alert.kind for news in raised.news} & {"worker_missing", "daemon_silent"}
    assert ours == {"worker_missing", "daemon_silent"}
    with db.write() as connection:
        workers.beat(connection, "one", 1)
    resolved = look(db, chosen, lambda: 5.0)
    assert resolved is not None
    assert {news.alert.kind for news in resolved.news if news.state == "resolved"} >= ours
    watch_discovery(db, chosen, NOW)
    told = [(one["kind"], one["state"]) for one in receiver.taken if one["kind"] in {*ours, "discovery_failing"}]
    assert sorted(told) == [
        ("daemon_silent", "raised"), ("daemon_silent", "resolved"), ("discovery_failing", "raised"),
        ("worker_missing", "raised"), ("worker_missing", "resolved"),
    ]  # fmt: skip
    assert not {"discovery_failing"} & set(SYSTEM_KINDS)
    receiver.server.shutdown()
    receiver.server.server_close()


def test_of_many_that_find_no_fresh_sample_one_takes_it(db: Database, settings: Settings, query: Query) -> None:
    stale = timedelta(minutes=5, seconds=30)
    query(
        """INSERT INTO health_samples (taken_at, host, days_waiting, conversations_waiting, days_asked, days_failed,
               workers, cpu_percent, memory_free_mb, runs_ended, runs_failed)
           VALUES (now() - interval '6 minutes', 'box', 0, 0, 0, 0, 0, 0, 9, 0, 0)"""
    )
    found: list[Look | None] = []
    ready = threading.Barrier(4)

    def run() -> None:
        ready.wait()
        found.append(look(db, settings, lambda: None, unless_within=stale))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in found) == 1
    assert query("SELECT count(*) FROM health_samples") == [(2,)]
    assert look(db, settings, lambda: None, unless_within=stale) is None


def test_the_status_shows_the_newest_sample_and_its_age(
    db: Database, settings: Settings, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    assert overview(db, settings)["system"] is None
    rendering.print_overview(overview(db, settings))
    assert "System" not in capsys.readouterr().out
    bring(db, lines_at("2025-01-02", "a", ("Ann", "one")))
    with db.write() as connection:
        health.record(connection, MACHINE._replace(cpu_percent=99.0))
        health.record(connection, MACHINE)
    query("UPDATE health_samples SET taken_at = taken_at - interval '3 hours'")
    shown = overview(db, settings)["system"]
    assert (shown["days_waiting"], shown["cpu_percent"]) == (1, 12.5)
    assert shown["age_s"] >= 3 * 3_600
    rendering.print_overview(overview(db, settings))
    page = capsys.readouterr().out
    for part in ("System, 3 hours ago", "1 days wait", "2025-01-02", "12% busy", "4.0 GB of memory"):
        assert part in page


def test_moments_are_those_of_the_database(db: Database) -> None:
    with db.write() as connection:
        sample = health.record(connection, MACHINE)
        there = connection.exec_driver_sql("SELECT now()").scalar_one()
    assert sample is not None
    assert sample.taken_at == there
    assert isinstance(there, datetime)
    assert there.utcoffset() == UTC.utcoffset(None)
