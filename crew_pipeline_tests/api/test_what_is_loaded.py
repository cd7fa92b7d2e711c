"""The API process stays small: whatever it is asked, it loads no data frames, no model and no Dagster."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from crew_pipeline.api.app import create_app
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import set_history
from crew_pipeline_tests.conftest import Run, bring, lines_at
from crew_pipeline_tests.deployments import free_port, wait_until

DAY = "2025-01-15"
PUSHED = {"crew": "shop", "session_id": "p", "lines": [{"line": 1, "speaker": "Ann", "text": "pushed"}]}
HEAVY = {"pandas", "torch", "dagster", "transformers", "sentence_transformers", "pyarrow"}

API = """
import signal, sys
from pathlib import Path
told, port = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGUSR1, lambda *_: told.write_text("\\n".join(sys.modules)))
sys.argv = ["crew", "api", "--port", port]
from crew_pipeline.cli import main
main()
"""


@contextmanager
def api_process(
    environment: dict[str, str], loaded: Path
) -> Iterator[tuple[httpx.Client, int, subprocess.Popen[bytes]]]:
    """``crew api``, which writes the names of its modules to a file when it is sent SIGUSR1."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", API, str(loaded), str(port)], env={**os.environ, **environment})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def answers() -> bool:
                try:
                    return client.get("/healthz").is_success
                except httpx.HTTPError:
                    return False

            wait_until(answers, "the API answers")
            yield client, port, process
    finally:
        process.terminate()
        process.wait(timeout=30)


def history_of(folder: Path) -> str:
    path = folder / "agents.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE talk (id INTEGER PRIMARY KEY, session_id, speaker, text, created_at)")
        connection.execute(f"INSERT INTO talk VALUES (1, 's', 'Ann', 'It works again.', '{DAY} 10:00:00')")
    return f"sqlite:///{path}"


def test_every_route_is_served_without_data_frames_model_and_dagster(
    db: Database, database_url: str, run_days: Run, tmp_path: Path
) -> None:
    said = [("Mara", "The invoice export still times out."), ("Jonas", "The invoice export is timing out again today.")]
    bring(db, lines_at(DAY, "a", *said, ("Tom", "The invoice export still times out.")), client="default")
    assert run_days(DAY).success
    bring(db, lines_at("2025-01-16", "b", *said), client="default")
    with db.write() as connection:
        set_history(connection, "default", "agents", "AGENTS_DB", "talk", {})
    loaded = tmp_path / "loaded"
    environment = {"CREW_DATABASE_URL": database_url, "AGENTS_DB": history_of(tmp_path), "CREW_HOME": str(tmp_path)}
    with api_process(environment, loaded) as (client, port, process):
        day = f"/api/days/{DAY}/conversations"
        (first, second, *_), *_ = [
            [line["line_id"] for line in conversation["display_conversation"]]
            for conversation in client.get(day, params={"view": "full"}).json()["data"]
        ]
        given = client.post(
            f"/api/days/{DAY}/feedback", json={"verdict": "same", "line_id": first, "other_line_id": second}
        )
        assert given.json()["refolded"] == [DAY]
        answers: dict[str, httpx.Response] = {
            "POST /api/days/{day}/feedback": given,
            "GET /api/days/{day}/conversations": client.get(day),
            "DELETE /api/feedback/{feedback_id}": client.delete(f"/api/feedback/{given.json()['id']}"),
            "POST /api/webhooks/conversation-complete": client.post(
                "/api/webhooks/conversation-complete", json={"session_id": "s", "crew_code": "agents"}
            ),
            "POST /api/semantic/retry/{day}": client.post(f"/api/semantic/retry/{DAY}"),
            "PUT /api/folding": client.put("/api/folding", json={"folding": "strict"}),
            "GET /api/days/{day}/folding": client.get(f"/api/days/{DAY}/folding", params={"at": "loose"}),
            "GET /api/days/{day}/export": client.get(f"/api/days/{DAY}/export", params={"format": "csv"}),
            "POST /api/session": client.post("/api/session", json={"token": "none"}),
            "DELETE /api/session": client.delete("/api/session"),
            "POST /api/ws-ticket": client.post("/api/ws-ticket"),
            "POST /api/conversations": client.post("/api/conversations", json=PUSHED),
            "POST /api/webhooks": client.post("/api/webhooks", json={"url": "https://127.0.0.1/"}),
            **{
                f"{method} /api/webhooks/{{webhook_id}}{rest}": client.request(
                    method, f"/api/webhooks/wh_{0:016x}{rest}"
                )
                for method, rest in (("DELETE", ""), ("POST", "/test"), ("POST", "/retry"))
            },
            "POST /api/themes": client.post(
                "/api/themes", json={"name": "Exports", "examples": ["the export is slow"]}
            ),
            "PUT /api/themes/{theme_id}/name": client.put("/api/themes/1/name", json={"name": "Exports"}),
            **{
                f"POST /api/themes/{{theme_id}}/{what}": client.post(f"/api/themes/1/{what}", json=body)
                for what, body in (("merge", {"into": 2}), ("split", {}), ("lines", {"line_id": first}))
            },
            "DELETE /api/themes/{theme_id}": client.delete("/api/themes/1"),
            "PUT /api/themes/words/{word}": client.put("/api/themes/words/invoice"),
            "DELETE /api/themes/words/{word}": client.delete("/api/themes/words/invoice"),
            "GET /api/themes/{theme_id}": client.get("/api/themes/2"),
            "GET /api/themes/{theme_id}/segments": client.get("/api/themes/2/segments"),
            "POST /api/live": client.post(
                "/api/live",
                json={"session_id": "s", "lines": [{"speaker": "Ann", "text": "the invoice export is slow again"}]},
            ),
            **{
                f"GET /api/{of}/{what}": client.get(f"/api/{of}/{what}".format(**named))
                for of, named in (
                    ("conversations/{conversation_id}", {"conversation_id": first.rpartition("-")[0]}),
                    ("lines/{line_id}", {"line_id": first}),
                    ("themes/{theme_id}", {"theme_id": 2}),
                )
                for what in {"lines/{line_id}": ("said",), "themes/{theme_id}": ("summary", "development")}.get(
                    of, ("summary", "recall")
                )
            },
            "POST /api/forget": client.post("/api/forget", json={"line_id": first, "dry_run": True}),
        }
        for path in create_app(load_settings(), database_url, "").openapi()["paths"]:
            answers.setdefault(f"GET {path}", client.get(path.replace("{day}", DAY)))
        missing = client.get("/api/days/2025-01-16/conversations", params={"wait_s": 0})
        with connect(f"ws://127.0.0.1:{port}/ws/semantic/{DAY}") as socket:
            assert "snapshot" in socket.recv(timeout=30)
        assert client.get("/").is_success
        assert driven(create_app(load_settings(), database_url, "").openapi()["paths"]) <= set(answers)
        assert {route: answer.status_code for route, answer in answers.items() if answer.status_code >= 500} == {}
        assert answers["POST /api/webhooks/conversation-complete"].status_code == 200
        assert answers["DELETE /api/feedback/{feedback_id}"].json()["refolded"] == [DAY]
        assert missing.status_code == 202
        process.send_signal(signal.SIGUSR1)
        wait_until(loaded.exists, "the process has told what it has loaded")
        time.sleep(0.2)
        assert HEAVY & set(loaded.read_text().split()) == set()


def driven(paths: dict[str, dict[str, Any]]) -> set[str]:
    """The routes that the OpenAPI document names."""
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
