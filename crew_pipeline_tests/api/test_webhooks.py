"""The routes of webhooks, and what sources sign instead of showing a token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from fastapi.testclient import TestClient

from crew_pipeline.api.app import create_app
from crew_pipeline.client.signatures import new_secret, sign, verify
from crew_pipeline.settings import Settings
from crew_pipeline.storage import signing_keys, tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import ENGINE
from crew_pipeline_tests.receivers import ALLOWED, receiving

PUSH = "/api/conversations"
LINES = {"crew": "shop", "session_id": "s", "lines": [{"line": 1, "speaker": "Ann", "text": "pushed and signed"}]}
SECRET = new_secret()


@pytest.fixture
def headers(db: Database) -> dict[str, dict[str, str]]:
    with db.write() as connection:
        return {
            client: {"Authorization": f"Bearer {tokens.create(connection, client)}"} for client in ("acme", "rival")
        }


@pytest.fixture
def api(settings: Settings, database_url: str, headers: object) -> Iterator[TestClient]:
    changed = settings.model_copy(update={"webhook_networks": ALLOWED, "limit_webhooks": 3})
    with TestClient(create_app(changed, database_url, ENGINE), base_url="http://localhost") as api:
        yield api


@pytest.fixture
def key(db: Database) -> str:
    with db.write() as connection:
        return signing_keys.create(connection, "acme", "", SECRET)


def post(
    api: TestClient, key: str, told: object = LINES, name: str = "m1", at: float | None = None, **also: Any
) -> Any:
    body = orjson.dumps(told)
    signed = sign(also.pop("secret", SECRET), name, int(at or time.time()), body)
    path = also.pop("path", PUSH)
    return api.post(
        path,
        params={"key": key},
        content=body,
        headers={**signed, "Content-Type": "application/json", **also.pop("headers", {})},
    )


def test_a_webhook_is_added_told_listed_and_removed(api: TestClient, headers: dict[str, dict[str, str]]) -> None:
    mine = headers["acme"]
    with receiving() as receiver:
        added = api.post("/api/webhooks", json={"url": receiver.url, "events": ["day.ready"]}, headers=mine)
        assert added.status_code == 201
        webhook = added.json()["id"]
        assert api.post(f"/api/webhooks/{webhook}/test", headers=mine).status_code == 202
        (message,) = receiver.wait_for(1)
        verify(added.json()["secret"], message.headers, message.body)
        assert message.told["type"] == "test"
        deadline = time.monotonic() + 30
        while not api.get("/api/webhooks", headers=mine).json()["webhooks"][0]["delivered_at"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    (kept,) = api.get("/api/webhooks", headers=mine).json()["webhooks"]
    assert (kept["url"], kept["events"], kept["waiting"], kept["dead"]) == (receiver.url, ["day.ready"], 0, 0)
    assert "secret" not in kept
    (sent,) = api.get(f"/api/webhooks/{webhook}/deliveries", headers=mine).json()["deliveries"]
    assert (sent["type"], sent["status"], sent["attempts"]) == ("test", 204, 1)
    assert api.delete(f"/api/webhooks/{webhook}", headers=mine).json() == {"removed": webhook}
    assert api.get("/api/webhooks", headers=mine).json() == {"webhooks": []}


def test_a_webhook_is_its_clients_alone(api: TestClient, headers: dict[str, dict[str, str]]) -> None:
    with receiving() as receiver:
        webhook = api.post("/api/webhooks", json={"url": receiver.url}, headers=headers["acme"]).json()["id"]
        theirs = headers["rival"]
        assert api.get("/api/webhooks", headers=theirs).json() == {"webhooks": []}
        answers = [
            api.delete(f"/api/webhooks/{webhook}", headers=theirs),
            api.post(f"/api/webhooks/{webhook}/test", headers=theirs),
            api.post(f"/api/webhooks/{webhook}/retry", headers=theirs),
            api.get(f"/api/webhooks/{webhook}/deliveries", headers=theirs),
        ]
        assert [answer.status_code for answer in answers] == [404] * 4
        assert receiver.posted == []


def test_a_webhook_may_not_lead_inside(api: TestClient, headers: dict[str, dict[str, str]]) -> None:
    for url in ("http://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/", "ftp://x.org/"):
        answer = api.post("/api/webhooks", json={"url": url}, headers=headers["acme"])
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_a_client_has_so_many_webhooks(api: TestClient, headers: dict[str, dict[str, str]]) -> None:
    statuses = [
        api.post("/api/webhooks", json={"url": f"http://127.0.0.1/{number}"}, headers=headers["acme"]).status_code
        for number in range(4)
    ]
    assert statuses == [201, 201, 201, 409]


def test_a_source_that_signs_needs_no_token(api: TestClient, headers: dict[str, dict[str, str]], key: str) -> None:
    answer = post(api, key)
    assert (answer.status_code, answer.json()["conversation"]["client"]) == (201, "acme")
    assert len(api.get(PUSH, headers=headers["acme"]).json()["data"]) == 1
    assert api.get(PUSH, headers=headers["rival"]).json()["data"] == []


def test_a_message_that_was_seen_is_refused_and_one_that_is_sent_again_is_done_once(api: TestClient, key: str) -> None:
    told = {"crew": "shop", "session_id": "s", "lines": [{"speaker": "Ann", "text": "without a number"}]}
    first = post(api, key, told, at=time.time() - 5)
    assert post(api, key, told, at=time.time() - 5).status_code in {409, 201}
    replayed = [post(api, key, told, "m1", at=1e9), post(api, key, told, "m2", at=time.time() - 400)]
    assert [answer.status_code for answer in replayed] == [401, 401]
    again = post(api, key, told)
    assert (again.status_code, again.json()) == (first.status_code, first.json())


def test_the_very_same_message_is_refused(api: TestClient, key: str) -> None:
    at = int(time.time())
    assert [post(api, key, at=at).status_code for _ in range(3)] == [201, 409, 409]


def test_a_message_that_was_seen_is_refused_however_its_headers_are_written(
    api: TestClient, headers: dict[str, dict[str, str]], key: str
) -> None:
    told = {"crew": "shop", "session_id": "s", "lines": [{"speaker": "Ann", "text": "without a number"}]}
    body, at = orjson.dumps(told), int(time.time())
    signed = sign(SECRET, "m1", at, body)
    assert post(api, key, told, at=at).status_code == 201
    for number in range(3):
        also = {"webhook-signature": f"{signed['webhook-signature']} v1,{number}", "Idempotency-Key": f"x{number}"}
        again = api.post(PUSH, params={"key": key}, content=body, headers={**signed, **also})
        assert again.status_code == 409
    assert api.get(PUSH, headers=headers["acme"]).json()["data"][0]["line_count"] == 1


def test_the_name_of_a_key_alone_uses_nothing_up(
    settings: Settings, database_url: str, headers: dict[str, dict[str, str]], key: str
) -> None:
    changed = settings.model_copy(update={"limit_writes": 5, "limit_wrong_tokens": 0})
    with TestClient(create_app(changed, database_url, ENGINE), base_url="http://localhost") as api:
        wrong = [post(api, key, secret=new_secret(), name=str(number)).status_code for number in range(8)]
        assert wrong == [401] * 8
        assert api.put("/api/folding", json={"folding": "default"}, headers=headers["acme"]).status_code == 200


def test_what_is_not_signed_right_changes_nothing(
    api: TestClient, headers: dict[str, dict[str, str]], key: str, db: Database
) -> None:
    answers: list[httpx.Response] = [
        post(api, key, secret=new_secret()),
        post(api, "key_0000000000000000"),
        post(api, key, headers={"webhook-signature": "v1,AAAA"}),
        post(api, key, headers={"webhook-id": "another"}),
        api.post(PUSH, params={"key": key}, json=LINES),
        post(api, key, path="/api/forget", told={"everything": True}),
        post(api, key, path="/api/webhooks", told={"url": "http://127.0.0.1/"}),
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    with db.write() as connection:
        signing_keys.revoke(connection, key)
    assert post(api, key).status_code == 401
    assert api.get(PUSH, headers=headers["acme"]).json()["data"] == []


def test_a_conversation_that_is_complete_may_be_told_signed(api: TestClient, key: str) -> None:
    told = {"session_id": "s", "crew_code": "shop"}
    answer = post(api, key, told, path="/api/webhooks/conversation-complete")
    assert (answer.status_code, answer.json()["detail"]) == (
        404, "There is no crew shop of acme with a history table.",
    )  # fmt: skip
