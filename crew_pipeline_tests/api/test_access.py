"""Who may read: anybody on this machine while there is no token, only token holders after that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from crew_pipeline.api.access import ExposedError, is_loopback, refuse_exposed
from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
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
                answer = guarded.request(method, path.replace("{day}", "2025-01-15"))
                assert answer.status_code == 401, (method, path)


def test_a_revoked_token_opens_nothing(guarded: TestClient, token: str, db: Database) -> None:
    assert guarded.get(PATH, headers=with_token(token)).status_code == 200
    with db.write() as connection:
        (info,) = tokens.list_all(connection)
        assert tokens.revoke(connection, info.id)
        assert not tokens.revoke(connection, info.id)
    guarded.app.state.services.doorkeeper._read_at = float("-inf")
    assert guarded.get(PATH, headers=with_token(token)).status_code == 401


def test_tokens_are_stored_hashed(token: str, db: Database) -> None:
    with db.read() as connection:
        (row,) = connection.exec_driver_sql("SELECT * FROM api_tokens")
        assert token not in " ".join(str(value) for value in row)
        assert tokens.clients_by_hash(connection) == {tokens.token_hash(token): "acme"}


def test_a_server_for_other_machines_needs_a_token(db: Database) -> None:
    refuse_exposed(db, "127.0.0.1")
    with pytest.raises(ExposedError, match="crew token create"):
        refuse_exposed(db, "0.0.0.0")
    with db.write() as connection:
        tokens.create(connection, "acme")
    refuse_exposed(db, "0.0.0.0")


def test_another_sites_name_for_this_machine_is_refused(settings: Settings, database_url: str) -> None:
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://evil.example") as client:
        assert client.get(PATH).status_code == 403


def test_another_sites_page_is_refused_while_there_is_no_token(settings: Settings, database_url: str) -> None:
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert client.get(PATH, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
        for sent in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
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
