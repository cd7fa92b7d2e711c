"""Two clients with the same sessions, days and texts: whatever one asks for, in whatever way, is its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

DAY = "2025-01-15"
PATH = f"/api/days/{DAY}/conversations"
SAID = (("Ann", "the same words"), ("Ben", "an answer to them"), ("Ann", "the same words"))


class Visitor:
    """A client's program, and what it knows of its own days."""

    def __init__(self, api: TestClient, client: str, token: str) -> None:
        self.api = api
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}
        answer = self.get(PATH, params={"view": "full"})
        (entry, *_) = answer.json()["data"]
        self.tag = answer.headers["etag"]
        self.conversation = entry["id"]
        self.lines = [line["line_id"] for line in entry["display_conversation"]]
        self.version = self.get(f"/api/days/{DAY}/versions").json()["versions"][0]["version"]
        self.cursor = self.get("/api/conversations", params={"limit": 1}).json()["next_cursor"]
        said = {"verdict": "same", "line_id": self.lines[0], "other_line_id": self.lines[1]}
        self.said = self.post(f"/api/days/{DAY}/feedback", json=said).json()["id"]
        self.ticket = self.post("/api/ws-ticket").json()["ticket"]

    def get(self, path: str, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        return self.api.get(path, headers=headers, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.api.post(path, headers=self.headers, **more)

    @property
    def own(self) -> list[str]:
        """What nobody else should be shown."""
        return [self.client, self.conversation, *self.lines, self.version]


@pytest.fixture
def both(settings: Settings, database_url: str, db: Database, make_ready: Ready) -> Iterator[tuple[Visitor, Visitor]]:
    made = []
    for client in ("acme", "rival"):
        for day, session in ((DAY, "a"), ("2025-01-14", "b")):
            bring(db, lines_at(day, session, *SAID), client=client)
            make_ready(day, client)
        with db.write() as connection:
            made.append((client, tokens.create(connection, client)))
    with TestClient(create_app(settings, database_url, ENGINE, "0.0.0.0")) as api:
        acme, rival = (Visitor(api, client, token) for client, token in made)
        yield acme, rival


def shows(answer: httpx.Response, other: Visitor) -> list[str]:
    """What an answer says of another client, beyond what the question has said."""
    asked, told = str(answer.request.url), answer.text + str(answer.headers)
    return [name for name in other.own if name in told and name not in asked]


def test_no_route_shows_what_is_another_clients(both: tuple[Visitor, Visitor]) -> None:
    acme, rival = both
    described = acme.api.get("/openapi.json").json()["paths"]
    asked = 0
    for path, operations in described.items():
        if "get" not in operations or path in {"/healthz", "/readyz"}:
            continue
        named = {parameter["name"] for parameter in operations["get"].get("parameters", ())}
        values = {"from": rival.version, "to": rival.version} if path.endswith("/changes") else {}
        values |= {"at": "loose"} if path.endswith("/folding") and "{day}" in path else {}
        values |= {"cursor": rival.cursor} if "cursor" in named else {}
        values |= {"q": "the same words"} if "q" in named else {}
        address = path.replace("{day}", DAY).replace("{line_id}", rival.lines[0])
        address = address.replace("{conversation_id}", rival.conversation)
        address = address.replace("{webhook_id}", f"wh_{0:016x}").replace("{theme_id}", "1")
        answer = acme.get(address, params=values)
        assert answer.status_code in {200, 202, 403, 404, 409}, (path, answer.text)
        assert shows(answer, rival) == [], path
        if "client" in named:
            assert acme.get(address, params={**values, "client": "rival"}).status_code == 403, path
        asked += 1
    assert asked > 15


def test_what_another_client_names_is_not_there(both: tuple[Visitor, Visitor]) -> None:
    acme, rival = both
    same = {"verdict": "different", "line_id": rival.lines[0], "other_line_id": rival.lines[1]}
    mixed = {"verdict": "different", "line_id": acme.lines[0], "other_line_id": rival.lines[1]}
    refused = [
        acme.get(f"/api/lines/{rival.lines[0]}"),
        acme.get(f"/api/days/{DAY}/changes", params={"from": rival.version, "to": rival.version}),
        acme.post(f"/api/days/{DAY}/feedback", json=same),
        acme.post(f"/api/days/{DAY}/feedback", json=mixed),
        acme.post("/api/forget", json={"conversation_id": rival.conversation}),
        acme.post("/api/forget", json={"line_id": rival.lines[0]}),
    ]
    assert [answer.status_code for answer in refused] == [404] * len(refused)
    # Verdicts are numbered by client: this one is its own, or none.
    acme.api.delete(f"/api/feedback/{rival.said}", headers=acme.headers)
    assert [line["text"] for entry in rival.get(PATH).json()["data"] for line in entry["display_conversation"]]
    assert [one["id"] for one in rival.get("/api/feedback").json()["feedback"]] == [rival.said]


def test_tags_cursors_and_tickets_of_another_client_open_nothing(both: tuple[Visitor, Visitor]) -> None:
    acme, rival = both
    answer = acme.get(PATH, params={"view": "full"}, headers={"If-None-Match": rival.tag})
    assert (answer.status_code, shows(answer, rival)) == (200, [])
    page = acme.get("/api/conversations", params={"cursor": rival.cursor, "limit": 1})
    assert shows(page, rival) == []
    with (
        pytest.raises(WebSocketDisconnect),
        acme.api.websocket_connect(f"/ws/semantic/{DAY}?ticket={rival.ticket}&client=acme"),
    ):
        pass
    with acme.api.websocket_connect(f"/ws/semantic/{DAY}", headers=acme.headers) as socket:
        assert "rival" not in str(socket.receive_json())


def test_the_same_key_and_the_same_lines_are_each_clients_own(both: tuple[Visitor, Visitor]) -> None:
    acme, rival = both
    body = {"crew": "shop", "session_id": "s", "lines": [{"speaker": "Ann", "text": "pushed"}]}
    answers = [
        visitor.api.post("/api/conversations", json=body, headers={**visitor.headers, "Idempotency-Key": "k"})
        for visitor in (acme, rival)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["conversation"]["client"] for answer in answers] == ["acme", "rival"]
    assert acme.post("/api/forget", json={"everything": True}).status_code == 200
    assert rival.get(PATH).json()["data"]
