"""The index tells what is stored, page by page; the webhook takes one conversation in; Prometheus is told of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.upkeep import health
from crew_pipeline.storage.upkeep.health import Machine
from crew_pipeline_tests.conftest import ENGINE, bring, lines_at
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]


def listed(api: TestClient, **parameters: object) -> dict:
    answer = api.get("/api/conversations", params={"client": "acme", **parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def thirty(db: Database) -> list[str]:
    """Thirty conversations over ten days, three crews; their sessions newest first."""
    sessions = []
    for day in range(1, 11):
        for number, crew in enumerate(("desk", "ops", "sales")):
            session = f"{day:02d}-{crew}"
            bring(db, lines_at(f"2025-01-{day:02d}", session, ("Ann", "hello"), hour=9 + number), crew=crew)
            sessions.append(session)
    bring(db, lines_at("2025-01-05", "hidden", ("Bo", "not yours")), client="rival")
    return sessions[::-1]


def test_pages_follow_each_other_without_gap_or_repeat(api: TestClient, thirty: list[str]) -> None:
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = listed(api, limit=7, cursor=cursor)
        assert len(page["data"]) <= 7
        found += [one["session_id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert found == thirty


def test_a_page_stays_the_same_when_newer_conversations_arrive(
    api: TestClient, db: Database, thirty: list[str]
) -> None:
    first = listed(api, limit=5)
    bring(db, lines_at("2025-01-19", "newest", ("Ann", "hello")))
    second = listed(api, limit=5, cursor=first["next_cursor"])
    assert [one["session_id"] for one in second["data"]] == thirty[5:10]


def test_the_index_is_narrowed_by_days_and_crew(api: TestClient, thirty: list[str]) -> None:
    some = listed(api, **{"from": "2025-01-03", "to": "2025-01-04", "crew": "ops"})
    assert [one["session_id"] for one in some["data"]] == ["04-ops", "03-ops"]
    assert listed(api, **{"from": "2025-01-11"})["data"] == []
    assert listed(api, crew="nobody")["data"] == []
    blank = listed(api, **{"from": "", "to": "", "crew": "", "cursor": "", "limit": ""})
    assert len(blank["data"]) == 30
    entry = blank["data"][0]
    assert (entry["days_date"], entry["crew"], entry["line_count"]) == ("2025-01-10", "sales", 1)
    assert (entry["times_inferred"], entry["semantic_status"]) == (False, "pending")


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 501}, {"from": "yesterday"}],
)
def test_a_wrong_parameter_is_a_problem_document(api: TestClient, wrong: dict[str, object]) -> None:
    answer = api.get("/api/conversations", params=wrong)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("cursor", ["x", "W10", "bnVsbA", "ó"])
def test_a_cursor_of_nothing_leads_nowhere(api: TestClient, cursor: str) -> None:
    assert api.get("/api/conversations", params={"cursor": cursor}).status_code == 404


def test_the_index_never_looks_at_a_source(api: TestClient, history: History) -> None:
    history.make().say("a", "hello")
    assert listed(api)["data"] == []


def test_a_page_deep_in_the_index_reads_no_more_than_the_first(api: TestClient, thirty: list[str]) -> None:
    db, statements = api.app.state.services.db, []
    listen = ("before_cursor_execute", lambda *args: statements.append(args[2]))
    event.listen(db.engine, *listen)
    cursor = listed(api, limit=20)["next_cursor"]
    listed(api, limit=5, cursor=cursor)
    event.remove(db.engine, *listen)
    pages = [statement for statement in statements if "data_items" in statement]
    assert len(pages) == 2
    assert not any("OFFSET" in statement.upper() for statement in pages)


def complete(api: TestClient, session: str, crew: str = "agents", client: str = "acme") -> tuple[int, dict]:
    answer = api.post(
        "/api/webhooks/conversation-complete",
        params={"client": client},
        json={"session_id": session, "crew_code": crew},
    )
    return answer.status_code, answer.json()


@pytest.mark.parametrize("indexed", [True, False])
def test_a_conversation_that_is_complete_is_taken_in_at_once(api: TestClient, history: History, indexed: bool) -> None:
    history.make(also="CREATE INDEX ON told (session_id)" if indexed else "")
    history.say("other", "before")
    history.say("a", "one", "two")
    status, content = complete(api, "a")
    assert status == 200
    assert (content["new"], content["conversation"]["line_count"]) == (True, 2)
    status, content = complete(api, "a")
    assert (status, content["new"], content["changed"]) == (200, False, False)
    assert history.texts("a") == ["one", "two"]
    assert (history.texts("other") == []) == indexed
    history.discover()
    assert history.texts() == ["before", "one", "two"]


def test_a_webhook_for_what_is_not_there_says_so(api: TestClient, history: History) -> None:
    history.make().say("a", "one")
    assert complete(api, "b")[0] == 404
    assert complete(api, "a", crew="nobody")[0] == 404
    assert complete(api, "a", client="rival")[0] == 404
    assert api.post("/api/webhooks/conversation-complete", json={"session_id": ""}).status_code == 422


def test_a_webhook_whose_source_is_away_names_no_internals(
    api: TestClient, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.make()
    monkeypatch.setenv("HISTORIES", "postgresql://user:hunter2@127.0.0.1:1/none")
    status, content = complete(api, "a")
    assert status == 502
    assert "hunter2" not in str(content)
    assert "127.0.0.1" not in str(content)


def test_prometheus_reads_what_discovery_has_done(api: TestClient, history: History) -> None:
    history.make().say("a", "one", "two")
    history.say("b", "three")
    history.discover()
    page = api.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'crew_discovery_created_total{client="acme",crew="agents"} 2.0' in page.text
    assert 'crew_discovery_rounds_total{client="acme",crew="agents"} 1.0' in page.text
    assert 'crew_conversations_unfinished{status="pending"} 2.0' in page.text
    assert "crew_workers_alive 0.0" in page.text


def test_prometheus_reads_what_a_process_has_answered(api: TestClient) -> None:
    tag = {"If-None-Match": '"x-br"'}
    for _ in range(3):
        api.get("/api/days/2025-01-15/conversations", headers=tag)
    api.head("/api/days/2025-01-15/conversations")
    api.get("/nothing/secret-name")
    api.request("BREW", "/healthz")
    page = api.get("/metrics").text
    route = 'route="/api/days/{day}/conversations"'
    assert f'crew_http_requests_total{{method="GET",{route},status="200"}} 3.0' in page
    assert f'crew_http_requests_total{{method="HEAD",{route},status="200"}} 1.0' in page
    assert f"crew_http_request_seconds_count{{{route}}} 4.0" in page
    assert 'method="other"' in page
    assert "secret-name" not in page
    assert "BREW" not in page


def test_a_token_shows_the_figures_of_its_client_only(
    settings: Settings, database_url: str, db: Database, history: History
) -> None:
    history.make().say("a", "one")
    history.discover()
    with db.write() as connection:
        own, other = tokens.create(connection, "acme"), tokens.create(connection, "rival")
    with TestClient(create_app(settings, database_url, ENGINE, "0.0.0.0"), client=("10.0.0.9", 5)) as remote:
        assert remote.get("/metrics").status_code == 401
        assert 'client="acme"' in remote.get("/metrics", headers={"Authorization": f"Bearer {own}"}).text
        assert "acme" not in remote.get("/metrics", headers={"Authorization": f"Bearer {other}"}).text
    with TestClient(create_app(settings, database_url, ENGINE, "0.0.0.0"), client=("127.0.0.1", 5)) as proxied:
        assert proxied.get("/metrics", headers={"X-Forwarded-For": "10.0.0.9"}).status_code == 401


def test_the_operator_is_shown_the_system_and_a_client_is_not(
    api: TestClient, settings: Settings, database_url: str, db: Database
) -> None:
    bring(db, lines_at("2025-01-02", "a", ("Ann", "one")))
    with db.write() as connection:
        own, admin = tokens.create(connection, "acme"), tokens.create(connection, scopes=["admin"])
        health.record(connection, Machine("box", 12.5, 4_000, None, 9.0))
    # Once there is a token, what comes from this machine may be a proxy's.
    assert api.get("/metrics").status_code == 401
    with TestClient(create_app(settings, database_url, ENGINE, "0.0.0.0"), client=("10.0.0.9", 5)) as remote:
        page = remote.get("/metrics", headers={"Authorization": f"Bearer {admin}"}).text
        theirs = remote.get("/metrics", headers={"Authorization": f"Bearer {own}"}).text
    for line in (
        "crew_queue_days 1.0",
        "crew_queue_conversations 1.0",
        "crew_daemon_heartbeat_age_seconds 9.0",
        "crew_cpu_ratio 0.125",
        "crew_memory_free_bytes 4e+09",
        "crew_runs_ended_last_hour 0.0",
    ):
        assert line in page.splitlines()
    assert "crew_queue_longest_wait_seconds" in page
    assert "crew_disk_free_bytes" not in page
    assert "crew_conversations_unfinished" in theirs
    for name in ("crew_queue", "crew_cpu", "crew_health", "crew_daemon", "crew_days_failed", "crew_memory"):
        assert name not in theirs


def test_a_channel_that_goes_on_for_months_stands_in_each_of_its_days(api: TestClient, db: Database) -> None:
    days = ("2025-01-03", "2025-01-04", "2025-01-11")
    for number, day in enumerate(days):
        bring(db, lines_at(day, "general", ("Ann", f"the words of {day}"), first=number))
    assert [one["days_date"] for one in listed(api)["data"]] == list(days)[::-1]
    for number, day in enumerate(days):
        answer = api.get(f"/api/days/{day}/conversations", params={"client": "acme", "wait_s": 0}).json()
        (conversation,) = answer["data"]
        assert [line["text"] for line in conversation["display_conversation"]] == [f"the words of {day}"]
        (part,) = api.get(f"/api/days/{day}/parts", params={"client": "acme"}).json()["parts"]
        assert part["id"] == conversation["id"]
        assert part["before_day"] == (days[number - 1] if number else None)
        assert part["after_day"] == (days[number + 1] if number < 2 else None)
    assert api.get(f"/api/days/{days[0]}/parts", params={"client": "rival"}).json() == {"parts": []}


def test_what_is_forgotten_is_gone_and_asking_for_it_badly_erases_nothing(
    api: TestClient, db: Database, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one"), ("Bo", "two")))
    bring(db, lines_at("2025-01-15", "b", ("Cy", "three")))
    ((conversation,),) = query("SELECT id FROM data_items WHERE session_id = 'a'")
    whose = {"client": "acme"}
    bad: list[dict[str, object]] = [
        {},
        {"everything": True, "crew": "desk"},
        {"line_id": "nothing"},
        {"line_id": f"{conversation}-1", "conversation_id": conversation},
        {"from": "2025-01-16", "to": "2025-01-15"},
        {"conversation": conversation},
    ]
    for asked in bad:
        assert api.post("/api/forget", params=whose, json=asked).status_code == 422, asked
    assert api.post("/api/forget", params=whose, json={"conversation_id": "nobody"}).status_code == 404
    theirs = api.post("/api/forget", params={"client": "rival"}, json={"conversation_id": conversation})
    assert theirs.status_code == 404
    would = api.post("/api/forget", params=whose, json={"line_id": f"{conversation}-1", "dry_run": True}).json()
    assert (would["erased"], would["lines"]) == (False, 1)
    assert query("SELECT count(*) FROM lines") == [(3,)]
    done = api.post("/api/forget", params=whose, json={"line_id": f"{conversation}-1"}).json()
    assert done == {**would, "erased": True}
    assert query("SELECT text FROM lines ORDER BY text") == [("one",), ("three",)]
    assert api.post("/api/forget", params=whose, json={"everything": True}).json()["lines"] == 2
    assert query("SELECT count(*) FROM crews WHERE client = 'acme'") == [(0,)]
