"""A token for a cookie: what browsers sign in by, and other sites cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

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


@pytest.fixture
def token(db: Database, make_ready: Ready) -> str:
    for client in ("acme", "rival"):
        bring(db, lines_at(DAY, "a", ("Ann", f"secret of {client}"), ("Ben", "an answer to that")), client=client)
        make_ready(DAY, client)
    with db.write() as connection:
        return tokens.create(connection, "acme")


@pytest.fixture
def page(settings: Settings, database_url: str, token: str) -> Iterator[TestClient]:
    app = create_app(settings, database_url, ENGINE, "0.0.0.0")
    with TestClient(app) as client:
        yield client


def sign_in(page: TestClient, token: str) -> None:
    answer = page.post("/api/session", json={"token": token})
    assert answer.json() == {"client": "acme", "open": False, "clients": ["acme"], "timezone": "UTC"}


def test_a_browser_that_has_signed_in_sees_its_client_also_over_sockets(page: TestClient, token: str) -> None:
    assert page.get(PATH).status_code == 401
    assert "secret" not in page.get("/", params={"day": DAY}).text
    sign_in(page, token)
    assert "secret of acme" in page.get(PATH).text
    shown = page.get("/", params={"day": DAY}).text
    assert "secret of acme" in shown
    assert token not in shown
    assert token not in str(page.cookies)
    assert page.get(PATH, params={"client": "rival"}).status_code == 403
    assert "rival" not in page.get("/", params={"day": DAY, "client": "rival"}).text.replace("client=rival", "")
    with page.websocket_connect(f"/ws/semantic/{DAY}", headers={"origin": "http://testserver"}) as socket:
        assert socket.receive_json()["type"] == "snapshot"
    cookie = page.cookies["crew_session"]
    assert page.delete("/api/session").status_code == 204
    assert page.get(PATH).status_code == 401
    # Who has kept the cookie has kept nothing.
    assert page.get(PATH, headers={"Cookie": f"crew_session={cookie}"}).status_code == 401


def test_a_token_is_no_cookie_and_a_cookie_no_token(page: TestClient, token: str) -> None:
    sign_in(page, token)
    cookie = page.cookies["crew_session"]
    page.cookies.clear()
    assert page.get(PATH, headers={"Cookie": f"crew_session={token}"}).status_code == 401
    assert page.get(PATH, headers={"Authorization": f"Bearer {cookie}"}).status_code == 401


def test_a_ticket_opens_one_socket_once(page: TestClient, token: str, db: Database) -> None:
    assert page.post("/api/ws-ticket").status_code == 401
    made = page.post("/api/ws-ticket", headers={"Authorization": f"Bearer {token}"}).json()
    assert made["expires_in_s"] == 30
    path = f"/ws/semantic/{DAY}?ticket={made['ticket']}"
    with page.websocket_connect(path, headers={"origin": "https://shop.example"}) as socket:
        assert socket.receive_json()["type"] == "snapshot"
    with db.write() as connection:
        over = tokens.make_ticket(connection, "acme", tokens.token_hash(token), timedelta(0))
        gone = tokens.make_ticket(connection, "acme", tokens.token_hash("revoked"), timedelta(hours=1))
        other = tokens.make_ticket(connection, "acme", tokens.token_hash(token), timedelta(hours=1))
    for refused in (path, f"/ws/semantic/{DAY}?ticket={over}", f"/ws/semantic/{DAY}?ticket={gone}",
                    f"/ws/semantic/{DAY}?ticket={other}&client=rival", f"/ws/semantic/{DAY}?ticket=no"):  # fmt: skip
        with pytest.raises(WebSocketDisconnect), page.websocket_connect(refused):
            pass


def test_the_cookie_is_read_by_no_script_and_sent_to_no_other_site(page: TestClient, token: str) -> None:
    cookie = page.post("/api/session", json={"token": token}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Max-Age" not in cookie
    kept = page.post("/api/session", json={"token": token, "keep": True}).headers["set-cookie"]
    assert "Max-Age=2592000" in kept


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://testserver:81"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_what_another_site_asks_for_with_the_cookie_is_refused(
    page: TestClient, token: str, headers: dict[str, str]
) -> None:
    sign_in(page, token)
    assert page.put("/api/folding", json={"folding": "loose"}, headers=headers).status_code == 403
    assert page.post("/api/session", json={"token": token}, headers=headers).status_code == 403
    assert page.delete("/api/session", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), page.websocket_connect(f"/ws/semantic/{DAY}", headers=headers):
        pass
    assert page.get("/api/folding").json()["own"] is False


def test_behind_a_proxy_the_browser_says_whose_page_it_is(page: TestClient, token: str) -> None:
    sign_in(page, token)
    behind = {"origin": "https://crew.example", "host": "127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert page.put("/api/folding", json={"folding": "default"}, headers=behind).status_code == 200
    assert page.put("/api/folding", json={"folding": "default"}, headers={"origin": "http://["}).status_code == 403


def test_a_token_that_is_not_in_force_opens_nothing(page: TestClient, token: str, db: Database) -> None:
    for wrong in ("crew_wrong", "é", " "):
        assert page.post("/api/session", json={"token": wrong}).status_code == 401
    sign_in(page, token)
    with db.write() as connection:
        assert tokens.revoke(connection, 1)
    page.app.state.services.doorkeeper.forget_what_it_knows()  # type: ignore[attr-defined]
    assert page.get(PATH).status_code == 401
    assert page.post("/api/session", json={"token": token}).status_code == 401


def test_where_no_token_is_configured_every_client_may_be_looked_at(api: TestClient, db: Database) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one")), client="acme")
    assert api.get("/api/session").json() == {
        "client": "default", "open": True, "clients": ["acme"], "timezone": "UTC",
    }  # fmt: skip


def test_the_systems_figures_are_for_the_machine_itself(page: TestClient, api: TestClient, token: str) -> None:
    sign_in(page, token)
    assert page.get("/api/status").status_code == 403
    assert page.get("/status").status_code == 200
