"""Who may read: anybody on this machine while there is no token, only token holders after that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from crew_pipeline.api.access import ExposedError, refuse_exposed
from crew_pipeline.api.app import create_app
from crew_pipeline.serving.origins import is_loopback
from crew_pipeline.settings import Settings
from crew_pipeline.storage import migrate, tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

PATH = "/api/days/2025-01-15/conversations"


@pytest.fixture
def token(db: Database, make_ready: Ready) -> str:
    for client in ("acme", "rival"):
        bring(db, lines_at("2025-01-15", "a", ("Ann", f"secret of {client}")), client=client)
        make_ready("2025-01-15", client)
    with db.write() as connection:
        return tokens.create(connection, "acme")


@pytest.fixture
def guarded(settings: Settings, database_url: str, token: str) -> Iterator[TestClient]:
    with TestClient(create_app(settings, database_url, ENGINE, "0.0.0.0")) as client:
        yield client


def with_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_token_opens_its_clients_days_and_no_others(guarded: TestClient, token: str) -> None:
    answer = guarded.get(PATH, headers=with_token(token))
    assert "secret of acme" in answer.text
    assert guarded.get(PATH, headers=with_token(token), params={"client": "rival"}).status_code == 403
    assert guarded.get(PATH, headers=with_token(token), params={"client": "acme"}).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", "Bearer", ""])
def test_without_a_valid_token_nothing_is_shown(guarded: TestClient, header: str | None) -> None:
    answer = guarded.get(PATH, headers={} if header is None else {"Authorization": header}, params={"client": "acme"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "secret" not in answer.text


def test_every_route_under_api_wants_the_token(guarded: TestClient) -> None:
    for path, operations in guarded.get("/openapi.json").json()["paths"].items():
        if path.startswith("/api"):
            # To sign in and out is for those who have none yet, and for those whose token is over.
            for method in ["get"] if path == "/api/session" else operations:
                address = path.replace("{day}", "2025-01-15").replace("{webhook_id}", f"wh_{0:016x}")
                address = address.replace("{theme_id}", "1").replace("{feedback_id}", "1")
                answer = guarded.request(method, address)
                assert answer.status_code == 401, (method, path)


def test_a_revoked_token_opens_nothing(guarded: TestClient, token: str, db: Database) -> None:
    assert guarded.get(PATH, headers=with_token(token)).status_code == 200
    with db.write() as connection:
        (info,) = tokens.list_all(connection)
        assert tokens.revoke(connection, info.id)
        assert not tokens.revoke(connection, info.id)
    guarded.app.state.services.doorkeeper.forget_what_it_knows()
    assert guarded.get(PATH, headers=with_token(token)).status_code == 401


def test_what_opens_something_is_stored_hashed(token: str, db: Database) -> None:
    with db.write() as connection:
        secrets = [token, tokens.sign_in(connection, 1, timedelta(hours=1))]
        secrets.append(tokens.make_ticket(connection, "acme", None, timedelta(hours=1)))
        kept = [
            str(value)
            for table in ("api_tokens", "api_sign_ins", "api_tickets")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
            for value in row
        ]
    assert not any(secret in value or secret.encode().hex() in value for secret in secrets for value in kept)


def test_a_token_is_good_for_what_it_was_made_for(guarded: TestClient, db: Database, token: str) -> None:
    with db.write() as connection:
        reads = tokens.create(connection, "acme", scopes=["read"], label="a display")
        operates = tokens.create(connection, scopes=["admin"])
        both = tokens.create(connection, "rival", "acme")
        over = tokens.create(connection, "acme", expires_in=timedelta(0))
        infos = tokens.list_all(connection)
    assert [(info.clients, info.scopes, info.label) for info in infos[1:4]] == [
        (["acme"], ["read"], "a display"),
        ([], ["admin"], ""),
        (["rival", "acme"], ["read", "write"], ""),
    ]
    folding = {"json": {"folding": "loose"}}
    assert guarded.get(PATH, headers=with_token(reads)).status_code == 200
    assert guarded.put("/api/folding", headers=with_token(reads), **folding).status_code == 403
    assert guarded.post("/api/ws-ticket", headers=with_token(reads)).status_code == 200
    assert guarded.get(PATH, headers=with_token(reads), params={"force_process": "true"}).status_code == 403
    assert guarded.put("/api/folding", headers=with_token(token), **folding).status_code == 200
    for path, status in ((PATH, 403), ("/api/status", 200), ("/metrics", 200), ("/api/session", 200)):
        assert guarded.get(path, headers=with_token(operates)).status_code == status, path
    assert guarded.get("/api/status", headers=with_token(token)).status_code == 403
    assert "secret of rival" in guarded.get(PATH, headers=with_token(both)).text
    assert "secret of acme" in guarded.get(PATH, headers=with_token(both), params={"client": "acme"}).text
    assert guarded.get(PATH, headers=with_token(both), params={"client": "third"}).status_code == 403
    assert guarded.get(PATH, headers=with_token(over)).status_code == 401


def test_when_a_token_was_used_last_is_known(settings: Settings, database_url: str, token: str, db: Database) -> None:
    with TestClient(create_app(settings, database_url, ENGINE, "0.0.0.0")) as client:
        assert client.get(PATH, headers=with_token(token)).status_code == 200
        assert client.get(PATH, headers=with_token("crew_wrong")).status_code == 401
    with db.read() as connection:
        assert [info.last_used_at is not None for info in tokens.list_all(connection)] == [True]


def test_forgetting_a_client_closes_it_to_tokens_of_others_as_well(
    guarded: TestClient, token: str, db: Database
) -> None:
    with db.write() as connection:
        both = tokens.create(connection, "acme", "rival")
    answer = guarded.post("/api/forget", headers=with_token(token), json={"everything": True})
    assert answer.status_code == 200
    with db.read() as connection:
        assert [info.clients for info in tokens.list_all(connection)] == [["rival"]]
    guarded.app.state.services.doorkeeper.forget_what_it_knows()
    assert "secret of rival" in guarded.get(PATH, headers=with_token(both)).text


def test_a_server_for_other_machines_needs_a_token(db: Database) -> None:
    refuse_exposed(db, "127.0.0.1")
    with pytest.raises(ExposedError, match="crew token create"):
        refuse_exposed(db, "0.0.0.0")
    with db.write() as connection:
        tokens.create(connection, "acme")
    refuse_exposed(db, "0.0.0.0")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "a`b.evil.com", "localhost:80:80", "evil.com:80:80", "", "localhost:",
     "[::1", "127.0.0.1@evil.com", "localhost/../evil.com"],
)  # fmt: skip
def test_another_sites_name_for_this_machine_is_refused(settings: Settings, database_url: str, host: str) -> None:
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert client.get(PATH, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_this_machines_own_names_are_answered(settings: Settings, database_url: str, host: str) -> None:
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert client.get(PATH, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
def test_without_tokens_no_proxys_requests_are_answered(settings: Settings, database_url: str, header: str) -> None:
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        for path in (PATH, "/metrics", "/api/status"):
            assert client.get(path, headers={header: "10.0.0.9"}).status_code == 403


def test_another_sites_page_is_refused_while_there_is_no_token(settings: Settings, database_url: str) -> None:
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert client.get(PATH, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
        for sent in (
            {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"},
            {"Origin": "http://["},
        ):  # fmt: skip
            assert client.get(PATH, headers=sent).status_code == 403
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(
                "ws://localhost/ws/semantic/2025-01-15", headers={"Origin": "https://evil.example"}
            ),
        ):
            pass


def test_revoking_the_last_token_does_not_open_the_door(
    settings: Settings, database_url: str, db: Database, token: str
) -> None:
    with db.write() as connection:
        tokens.revoke(connection, tokens.list_all(connection)[0].id)
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert client.get(PATH, params={"client": "acme"}).status_code == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("evil.localhost.example", False), ("", False)],
)  # fmt: skip
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_whether_it_can_serve_is_asked_of_the_database_once_a_second(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    pending = migrate.pending
    monkeypatch.setattr(migrate, "pending", lambda db: asked.append(1) or pending(db))
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert {client.get("/readyz").status_code for _ in range(30)} == {200}
    assert len(asked) <= 3
