"""What is wrong with discovery is told once, and once more when it is over."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from crew_pipeline.discovery.discover import discover
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import history_sources, set_history
from crew_pipeline.storage.sources.rounds import Health
from crew_pipeline.upkeep.alert_rules import of_discovery
from crew_pipeline.upkeep.alerts import watch_discovery
from crew_pipeline_tests.conftest import NOW
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]

WELL = Health("acme", "agents", NOW, NOW, 0, None, None, 1, 100, 5, 0, 95, 0, 0, 0.1, 100, 0, True)


def kinds(health: Health, now: datetime = NOW, *, background: bool = True) -> list[str]:
    return [one.kind for one in of_discovery([health], now, background=background)]


def test_a_crew_that_is_well_raises_nothing() -> None:
    assert kinds(WELL) == []
    assert kinds(WELL, NOW + timedelta(minutes=10)) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"last_round_at": NOW - timedelta(minutes=11)}, "discovery_silent"),
        ({"last_seconds": 30.5}, "discovery_slow"),
        ({"last_failed": 6}, "discovery_errors"),
        ({"consecutive_failures": 4, "last_error": "away"}, "discovery_failing"),
    ],
)
def test_each_condition_of_the_specification_is_noticed(changes: dict[str, object], kind: str) -> None:
    assert kinds(WELL._replace(**changes)) == [kind]


@pytest.mark.parametrize(
    "changes", [{"last_seconds": 30.0}, {"last_failed": 5}, {"consecutive_failures": 3}, {"last_round_at": None}]
)
def test_what_is_just_within_bounds_raises_nothing(changes: dict[str, object]) -> None:
    assert kinds(WELL._replace(**changes)) == []


def test_silence_is_expected_of_a_crew_that_is_left_alone_and_without_background_jobs() -> None:
    silent = WELL._replace(last_round_at=NOW - timedelta(minutes=30))
    assert kinds(silent._replace(next_attempt_at=NOW)) == []
    assert kinds(silent, background=False) == []


class Receiver:
    """A webhook that takes alerts, or refuses them."""

    def __init__(self) -> None:
        self.taken: list[dict[str, object]] = []
        self.status = 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if receiver.status < 300:
                    receiver.taken.append(content)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_alert_is_raised_once_resolved_once_and_told_even_if_late(
    db: Database, settings: Settings, query: Query, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings.model_copy(update={"alert_webhook_url": receiver.url})
    with db.write() as connection:
        set_history(connection, "acme", "agents", "NOT_SET", "told")
    for _ in range(3):
        discover(db, settings, NOW)
    assert watch_discovery(db, chosen, NOW) == []
    discover(db, settings, NOW)
    receiver.status = 503
    assert [news.state for news in watch_discovery(db, chosen, NOW)] == ["raised"]
    assert receiver.taken == []
    receiver.status = 204
    discover(db, settings, NOW)
    assert watch_discovery(db, chosen, NOW) == []
    assert [(one["state"], one["kind"]) for one in receiver.taken] == [("raised", "discovery_failing")]
    assert "failed 5 times in a row" in str(query("SELECT message FROM alerts"))
    query("UPDATE crew_discovery_state SET consecutive_failures = 0")
    assert [news.state for news in watch_discovery(db, chosen, NOW)] == ["resolved"]
    assert watch_discovery(db, chosen, NOW) == []
    assert [one["state"] for one in receiver.taken] == ["raised", "resolved"]
    assert query("SELECT count(*) FROM alerts") == [(1,)]
    assert "secret" not in caplog.text


def test_a_crew_that_fails_is_left_alone_for_longer_each_time(db: Database, settings: Settings, query: Query) -> None:
    with db.write() as connection:
        set_history(connection, "acme", "agents", "NOT_SET", "told")
    waits = []
    for _ in range(9):
        discover(db, settings, NOW)
        ((seconds,),) = query(
            "SELECT extract(epoch FROM next_attempt_at - last_round_at)::int FROM crew_discovery_state"
        )
        waits.append(seconds)
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    with db.read() as connection:
        assert history_sources(connection, due=True) == []
        assert len(history_sources(connection)) == 1


def test_rounds_leave_figures_and_refused_rows_their_reasons(history: History, query: Query) -> None:
    history.make().say("a", "one")
    history.sql("""INSERT INTO told (session_id, message) VALUES ('b', '{"type": "ai"}'), ('b', '[]')""")
    history.discover()
    assert query(
        "SELECT trigger, rows_read, sessions_scanned, sessions_created, sessions_failed, rows_refused, finished "
        "FROM crew_discovery_rounds"
    ) == [("command", 3, 2, 1, 1, 2, True)]
    assert query("SELECT row, reason FROM refused_rows ORDER BY row") == [
        ("2", "message has no text"),
        ("3", "message must be a JSON object with a speaker and a text"),
    ]
    assert history.discover().reading.lines_read == 0
