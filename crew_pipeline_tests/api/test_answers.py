"""What every answer has, whatever it is of: a name, a form that the asker takes, problems of documented kinds."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator

import brotli
import pytest
from fastapi.testclient import TestClient

from crew_pipeline.api.app import create_app
from crew_pipeline.api.compression import chosen
from crew_pipeline.api.problems import TYPES
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

DAY = "2025-01-15"
PATH = f"/api/days/{DAY}/conversations"


@pytest.fixture
def ready(api: TestClient, db: Database, make_ready: Ready) -> Iterator[TestClient]:
    said = [("Ann", f"line number {number} of a long talk about printers") for number in range(60)]
    bring(db, lines_at(DAY, "a", *said), client="default")
    make_ready(DAY)
    return api


def raw(client: TestClient, accepted: str, **headers: str) -> tuple[bytes, dict[str, str], int]:
    with client.stream("GET", PATH, headers={"Accept-Encoding": accepted, **headers}) as answer:
        return b"".join(answer.iter_raw()), dict(answer.headers), answer.status_code


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("", None), ("identity", None), ("gzip", "gzip"), ("gzip, deflate, br, zstd", "br"), ("br;q=0, gzip", "gzip"),
     ("*", "br"), ("gzip;q=0.5", "gzip"), ("br;q=0.000", None), ("GZIP", "gzip"), ("deflate", None)],
)  # fmt: skip
def test_the_best_encoding_that_is_taken_is_used(accepted: str, encoding: str | None) -> None:
    assert chosen(accepted) == encoding


def test_answers_are_compressed_for_those_who_take_them_so(ready: TestClient) -> None:
    plain, headers, _ = raw(ready, "identity")
    assert "content-encoding" not in headers
    assert "Accept-Encoding" in headers["vary"]
    for accepted, unpack in (("gzip", gzip.decompress), ("br", brotli.decompress)):
        for _ in range(2):
            packed, told, _ = raw(ready, accepted)
            assert told["content-encoding"] == accepted
            assert unpack(packed) == plain
            assert len(packed) == int(told["content-length"]) < len(plain) / 5
            assert told["etag"] == f'{headers["etag"][:-1]}-{accepted}"'


def test_what_somebody_has_in_any_encoding_is_not_sent_again(ready: TestClient) -> None:
    tags = [raw(ready, accepted)[1]["etag"] for accepted in ("identity", "gzip", "br")]
    assert len(set(tags)) == 3
    for tag in tags:
        body, headers, status = raw(ready, "br", **{"If-None-Match": tag})
        assert (status, body) == (304, b"")
        assert headers["etag"] == tags[2]


def test_two_clients_with_the_same_talk_get_their_own(
    settings: Settings, database_url: str, db: Database, make_ready: Ready
) -> None:
    said = [("Ann", f"line number {number} of a long talk about printers") for number in range(60)]
    for client in ("acme", "rival"):
        bring(db, lines_at(DAY, "a", *said), client=client)
        make_ready(DAY, client)
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as api:
        for _ in range(2):
            for client in ("acme", "rival"):
                answer = api.get(PATH, params={"client": client}, headers={"Accept-Encoding": "br"})
                assert {entry["client"] for entry in answer.json()["data"]} == {client}


def test_head_is_get_without_a_body(ready: TestClient) -> None:
    for path in (PATH, "/", "/healthz", "/metrics", "/api/calendar"):
        head, whole = ready.head(path), ready.get(path)
        assert head.status_code == whole.status_code, path
        assert head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert ready.head("/api/days/no-day/conversations").status_code == 422


def test_options_says_what_there_is(api: TestClient) -> None:
    assert api.options("/api/folding").headers["allow"] == "GET, PUT, HEAD, OPTIONS"
    assert api.options("/api/webhooks/conversation-complete").headers["allow"] == "POST, OPTIONS"
    assert api.options("/api/nothing").status_code == 404


def test_pages_of_named_sites_may_ask_with_a_token_and_others_may_not(
    settings: Settings, database_url: str, db: Database
) -> None:
    with db.write() as connection:
        token = tokens.create(connection, "acme")
    allowed = settings.model_copy(update={"cors_origins": ("https://shop.example",)})
    with TestClient(create_app(allowed, database_url, ENGINE, "0.0.0.0")) as client:
        asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
        first = client.options("/api/folding", headers={"Origin": "https://shop.example", **asked})
        assert first.status_code == 200
        assert first.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in first.headers
        bearer = {"Authorization": f"Bearer {token}"}
        answer = client.get("/api/folding", headers={"Origin": "https://shop.example", **bearer})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        for origin in ("https://evil.example", "https://shop.example.evil.example", "null"):
            assert client.options("/api/folding", headers={"Origin": origin, **asked}).status_code == 400
            told = client.get("/api/folding", headers={"Origin": origin, **bearer}).headers
            assert "access-control-allow-origin" not in told


def test_a_request_has_a_name_in_its_answer_and_its_problem(api: TestClient) -> None:
    made = api.get("/healthz").headers["x-request-id"]
    assert len(made) > 8
    assert api.get("/healthz").headers["x-request-id"] != made
    brought = api.get("/api/days/no-day/conversations", headers={"X-Request-ID": "n8n-42"})
    assert brought.headers["x-request-id"] == brought.json()["request_id"] == "n8n-42"
    for odd in ("a" * 65, "x y", "a\tb"):
        assert api.get("/healthz", headers={"X-Request-ID": odd}).headers["x-request-id"] != odd


def test_lines_of_the_log_name_their_request(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from crew_pipeline.api import calendar
    from crew_pipeline.api.naming import InLog

    def broken(*_: object) -> None:
        raise RuntimeError("a secret of somebody")

    monkeypatch.setattr(calendar.calendar, "between", broken)
    caplog.handler.addFilter(InLog())
    with caplog.at_level(logging.ERROR):
        answer = api.get("/api/calendar", headers={"X-Request-ID": "run-7"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "run-7"
    assert "secret" not in answer.text
    assert {record.request_id for record in caplog.records} == {"run-7"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("PATCH", "/api/folding", 405), ("GET", "/api/days/no/conversations", 422),
     ("GET", "/api/lines/none", 404), ("POST", "/api/session", 422)],
)  # fmt: skip
def test_problems_are_of_documented_kinds(api: TestClient, method: str, path: str, status: int) -> None:
    answer = api.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.content)["type"] == f"urn:crew:problem:{TYPES[status]}"
