"""The language model is asked once for the same, within its budget, and left alone for a while where it fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from crew_pipeline.serving.prose import Prose
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations.clients import ensure_client
from crew_pipeline.storage.database import Database, database_at
from crew_pipeline_tests.api.following import until

POINT = {"line_id": "a-1", "start": 0, "speaker": "Ann", "text": "we go for the rubber case"}
SUMMARY: dict[str, Any] = {"key_points": [], "decisions": [POINT], "tasks": [], "questions": []}
NOTHING: dict[str, Any] = {"key_points": [], "decisions": [], "tasks": [], "questions": []}


class Model:
    """A server that speaks the protocol. ``answers``: what it says, by request: a text, a status, or bytes."""

    def __init__(self) -> None:
        self.answers: list[Any] = ["Rubber it is [1].\nIt costs 7 euros [1]."]
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.wait_s = 0.0
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                model.asked.append(
                    (orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))), dict(self.headers))
                )
                time.sleep(model.wait_s)
                answer = model.answers[min(len(model.asked), len(model.answers)) - 1]
                status = answer if isinstance(answer, int) else 200
                message = {"choices": [{"message": {"content": answer}}], "usage": {"total_tokens": 60}}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer if isinstance(answer, bytes) else orjson.dumps(message))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.close()


Tell = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tell(database_url: str, db: Database, settings: Settings, model: Model) -> Tell:
    """What each of some summaries is told as, asked for at once or one after the other."""

    def told(*summaries: dict[str, Any], at_once: bool = False, **more: Any) -> list[dict[str, Any]]:
        chosen = settings.model_copy(update={"llm_url": model.url, "llm_model": "small", **more})

        async def ask() -> list[dict[str, Any]]:
            own = database_at(database_url, closed=True)
            await own.open_in_loop()
            await db.open_in_loop()
            prose = Prose(own, db, chosen)
            try:
                if at_once:
                    return list(await asyncio.gather(*(prose.tell("default", one) for one in summaries)))
                return [await prose.tell("default", one) for one in summaries]
            finally:
                await db.close_in_loop()
                await own.close_in_loop()
                own.close()

        return asyncio.run(ask())

    return told


def test_what_is_borne_out_is_told_and_the_rest_is_named(
    tell: Tell, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    (found,) = tell(SUMMARY, llm_key_env="MY_KEY")
    assert found["sentences"] == [{"text": "Rubber it is.", "line_ids": ["a-1"]}]
    assert found["dropped"] == [{"text": "It costs 7 euros.", "why": "7 is not in its lines"}]
    asked, headers = model.asked[0]
    assert (asked["model"], asked["temperature"], headers["Authorization"]) == ("small", 0, "Bearer secret")
    assert "we go for the rubber case" in asked["messages"][1]["content"]


def test_the_same_is_asked_once_also_by_several_at_a_time(tell: Tell, model: Model) -> None:
    model.wait_s = 0.3
    assert len({repr(one) for one in tell(*[SUMMARY] * 5, at_once=True)}) == 1
    tell(SUMMARY)
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [500, 429, b"no json", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 7}}]}', b"x" * 300_000],
)
def test_a_server_that_fails_is_left_alone_for_a_while(tell: Tell, model: Model, answer: Any) -> None:
    model.answers = [answer]
    first, second = tell(SUMMARY, SUMMARY)
    assert first["problem"]
    assert first["sentences"] == []
    assert "ask again" in second["problem"]
    assert len(model.asked) == 1


def test_one_that_does_not_answer_in_time_is_given_up(tell: Tell, model: Model) -> None:
    model.wait_s = 1.0
    (found,) = tell(SUMMARY, llm_timeout_s=0.2)
    assert "in time" in found["problem"]


def test_a_days_budget_holds_for_all_clients_together(tell: Tell, model: Model) -> None:
    assert "budget" in tell(SUMMARY, llm_tokens_per_day=500)[0]["problem"]
    assert model.asked == []
    assert tell(SUMMARY, llm_tokens_per_day=5_000)[0]["problem"] is None
    assert tell(SUMMARY, llm_tokens_per_day=0)[0]["problem"] is None, "what is kept costs nothing"


def test_what_was_erased_while_it_was_told_is_not_kept(tell: Tell, model: Model, db: Database) -> None:
    with db.write() as connection:
        ensure_client(connection, "default")

    def forget() -> None:
        until(lambda: len(model.asked) == 1, "it is asked")
        with db.write() as connection:
            connection.execute(text("UPDATE clients SET forgotten_at = clock_timestamp() WHERE client = 'default'"))

    model.wait_s = 0.5
    forgetting = threading.Thread(target=forget)
    forgetting.start()
    assert tell(SUMMARY)[0]["sentences"]
    forgetting.join()
    with db.read() as connection:
        kept, tokens = connection.execute(text("SELECT sentences, tokens FROM told_prose")).one()
    assert (kept, tokens) == ({}, 60)
    assert tell(SUMMARY)[0]["sentences"]
    assert len(model.asked) == 2


def test_nobody_is_asked_where_there_is_nothing_to_tell(tell: Tell, model: Model) -> None:
    assert "nothing to tell" in tell(NOTHING)[0]["problem"]
    assert "CREW_LLM_URL" in tell(SUMMARY, llm_url=None)[0]["problem"]
    assert model.asked == []
