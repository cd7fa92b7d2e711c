"""The client library against a real server: days, waiting, streams that break, and servers that misbehave."""

from __future__ import annotations

import ast
import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

import crew_pipeline.client
from crew_pipeline.api.app import create_app
from crew_pipeline.client import AsyncClient, Client, CrewError, DayFailedError
from crew_pipeline.client.protocol import Answer, pause_s
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import EventType, emit
from crew_pipeline_tests.api.following import DEADLINE_S, served
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

DAY = "2025-01-15"
HERE = Path(crew_pipeline.client.__file__).parent


@pytest.fixture
def url(settings: Settings, database_url: str, db: Database) -> Iterator[str]:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three"), ("Bo", "one two three")), client="acme")
    with served(create_app(settings, database_url, ENGINE)) as server:
        yield f"http://127.0.0.1:{server.config.port}"


@pytest.fixture
def api(url: str) -> Iterator[Client]:
    with Client(url, client="acme") as api:
        yield api


def happen(db: Database, name: str) -> None:
    with db.write() as connection:
        emit(connection, ClientDay("acme", date.fromisoformat(DAY)), EventType.PROGRESS, {"message": name}, None)


def test_a_day_is_read_as_it_is_and_asked_for_again_at_little_cost(api: Client, make_ready: Ready) -> None:
    raw = api.day(DAY, wait_s=0)
    assert (raw.state, raw.version) == ("processing", None)
    assert [line["text"] for line in raw.conversations[0]["display_conversation"]] == ["one two three"] * 2
    make_ready(DAY, "acme")
    ready = api.day(DAY)
    assert (ready.state, ready.stale, ready.day) == ("ready", False, date(2025, 1, 15))
    assert api.day(DAY, known=ready) is ready


def test_one_waits_for_a_day_and_is_told_how_it_goes(api: Client, db: Database, make_ready: Ready) -> None:
    def make() -> None:
        time.sleep(0.5)
        happen(db, "half of it")
        make_ready(DAY, "acme")

    api.day(DAY, wait_s=0)
    thread = threading.Thread(target=make)
    thread.start()
    told: list[str] = []
    found = api.finished_day(DAY, within_s=DEADLINE_S, on_progress=lambda event: told.append(event["type"]))
    thread.join()
    assert found.state == "ready"
    assert set(told) <= {"processing_progress", "processing_completed"}


def test_one_does_not_wait_for_ever(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crew_pipeline.serving.feed.PING_S", 0.1)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="not ready in time"):
        Client(str(api._address.url), client="acme", http=httpx.Client(timeout=0.5)).finished_day(DAY, within_s=0.5)
    assert time.monotonic() - started < DEADLINE_S


def test_a_day_that_failed_is_an_error_that_holds_what_was_said(
    api: Client, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    query("UPDATE data_items SET semantic_status = 'failed', semantic_error = 'It broke.'")
    with pytest.raises(DayFailedError, match="It broke") as error:
        api.finished_day(DAY)
    assert len(error.value.day.conversations[0]["display_conversation"]) == 2


def test_events_go_on_where_a_stream_broke(api: Client, db: Database) -> None:
    happen(db, "before")
    seen = []
    told = api.events()
    assert next(told)["type"] == "snapshot"
    for number in range(3):
        happen(db, str(number))
        seen.append(next(told))
    assert [event["message"] for event in seen] == ["0", "1", "2"]
    # The connection is lost, and meanwhile something happens.
    api._http.close()
    api._http = httpx.Client(timeout=10)
    happen(db, "3")
    again = api.events(seen[-1]["seq"])
    assert [next(again)["type"], next(again)["message"]] == ["snapshot", "3"]


def test_where_nothing_streams_it_is_asked_again_and_again(url: str, db: Database) -> None:
    class NoStreams(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["Accept"] = "application/json"
            return super().handle_request(request)

    with Client(url, client="acme", http=httpx.Client(transport=NoStreams())) as api:
        api._poll_s = 0.05
        told = api.events(0)
        for number in range(3):
            happen(db, str(number))
            assert next(told)["message"] == str(number)


def test_lines_are_pushed_once_and_the_index_is_read_page_by_page(api: Client) -> None:
    for number in range(3):
        answer = api.push("shop", f"s{number}", [{"speaker": "Ann", "text": "pushed"}], idempotency_key=f"k{number}")
        again = api.push("shop", f"s{number}", [{"speaker": "Ann", "text": "pushed"}], idempotency_key=f"k{number}")
        assert answer == again
    assert sorted(one["session_id"] for one in api.conversations(crew="shop")) == ["s0", "s1", "s2"]
    assert [row["date"] for row in api.calendar(DAY, DAY)] == [DAY]
    assert api.status(DAY)["semantic_status"] == "pending"


def test_what_is_refused_is_an_error_that_says_why(url: str, db: Database) -> None:
    with Client(url, client="acme") as api:
        with pytest.raises(CrewError) as missing:
            api.line("nothing")
        assert (missing.value.status, missing.value.type) == (404, "urn:crew:problem:not-there")
        with pytest.raises(CrewError) as wrong:
            api.complete("s", "no such crew")
        assert wrong.value.request_id
    with db.write() as connection:
        token = tokens.create(connection, "acme")
    time.sleep(1.1)
    with Client(url, token="wrong") as api, pytest.raises(CrewError, match="valid token"):
        next(iter(api.events()))
    with Client(url, token=token) as api:
        assert api.day(DAY, wait_s=0).conversations[0]["client"] == "acme"


def test_what_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crew_pipeline.client.protocol.pause_s", lambda *asked: pause_s(*asked) and 0.01)
    answers = [503, 0, 429, 200]
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status = answers.pop(0)
            if not status:
                self.close_connection = True
                return
            body = b'{"semantic_status": "completed"}' if status == 200 else b"<html>busy</html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}") as api:
            assert api.status(DAY) == {"semantic_status": "completed"}
            answers = [500]
            with pytest.raises(CrewError, match="500"):
                api.status(DAY)
        assert len(asked) == 5
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pauses_follow_the_server_and_end() -> None:
    busy = Answer(429, {"retry-after": "7"}, b"")
    assert pause_s(0, busy) == 7
    assert pause_s(0, Answer(503, {"retry-after": "86400"}, b"")) == 30
    assert [pause_s(attempt, None) for attempt in range(4)] == [0.25, 0.5, 1.0, None]
    assert pause_s(0, Answer(404, {}, b"")) is None


def test_the_client_for_event_loops_does_the_same(url: str, db: Database, make_ready: Ready) -> None:
    async def work() -> tuple[str, list[str], list[str]]:
        async with AsyncClient(url, client="acme") as api:
            await api.day(DAY, wait_s=0)
            making = asyncio.create_task(asyncio.to_thread(make_ready, DAY, "acme"))
            found = await api.finished_day(DAY, within_s=DEADLINE_S)
            await making
            await asyncio.to_thread(happen, db, "after it")
            told: list[str] = []
            async for event in api.events(0):
                told.append(event["type"])
                if event.get("message") == "after it":
                    break
            return found.state, told, [one["session_id"] async for one in api.conversations()]

    state, told, listed = asyncio.run(work())
    assert (state, listed) == ("ready", ["a"])
    assert told[0] == "snapshot"
    assert told[-2:] == ["processing_completed", "processing_progress"]


class _Blocking(ast.NodeTransformer):
    """What a module for event loops would be without them."""

    NAMES: ClassVar = {
        "AsyncClient": "Client", "AsyncGenerator": "Generator", "AsyncIterator": "Iterator", "aclosing": "closing",
        "aiter_sse": "iter_sse", "__aenter__": "__enter__", "__aexit__": "__exit__", "aclose": "close",
        "asyncio": "time",
    }  # fmt: skip

    def generic_visit(self, node: ast.AST) -> Any:
        node = super().generic_visit(node)
        if isinstance(node, ast.Await):
            return node.value
        for kind, plain in (
            (ast.AsyncFunctionDef, ast.FunctionDef), (ast.AsyncFor, ast.For), (ast.AsyncWith, ast.With),
        ):  # fmt: skip
            if isinstance(node, kind):
                node = plain(**dict(ast.iter_fields(node)))
        if isinstance(node, ast.For) and isinstance(node.body[0], ast.Expr) and len(node.body) == 1:
            value = node.body[0].value
            if isinstance(value, ast.Yield):
                return ast.Expr(ast.YieldFrom(node.iter))
        if isinstance(node, ast.Name):
            node.id = self.NAMES.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            node.attr = self.NAMES.get(node.attr, node.attr)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.name = self.NAMES.get(node.name, node.name)
        return node


def test_the_two_clients_differ_in_waiting_alone() -> None:
    def body(name: str) -> list[str]:
        tree = ast.parse((HERE / name).read_text())
        kept = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr))]
        for node in kept:
            if isinstance(node, ast.ClassDef) and "Client" in node.name:
                del node.body[0]
        plain = [ast.unparse(ast.fix_missing_locations(_Blocking().visit(node))) for node in kept]
        return [source.replace("Generator[Event, None]", "Generator[Event, None, None]") for source in plain]

    assert body("asynchronous.py") == body("blocking.py")
