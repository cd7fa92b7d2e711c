"""The Dagster UI answers this machine's own pages and programs alone, and does nothing for a GET."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance
from sqlalchemy import text
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from crew_pipeline.shipped import shipped
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database, application_url, ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline.storage.migrate import migrate
from crew_pipeline_tests.deployments import free_port, wait_until

SECRET = "between processes that were started together"
QUERY = "{ version }"
LAUNCH = "mutation { reloadWorkspace { __typename } }"


@pytest.fixture(scope="module")
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    """That of the application, which knows the tokens."""
    url = application_url(server.url("postgres")).set(database="of_the_webserver").render_as_string(hide_password=False)
    ensure_database(server.url("postgres"), "of_the_webserver")
    made = Database(url)
    migrate(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def port(
    instance: DagsterInstance, home: Path, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    port = free_port()
    command = ["-m", "crew_pipeline.processes.dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "DAGSTER_HOME": str(home / "dagster"), "CREW_HOME": str(home),
                   "CREW_DATABASE_URL": database.url, "CREW_DAGSTER_SECRET": SECRET}  # fmt: skip
    log = tmp_path_factory.mktemp("webserver") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "-w", str(shipped("workspace.yaml"))],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/server_info").is_success
            except httpx.HTTPError:
                return False

        try:
            wait_until(answers, "the webserver answers", 120)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def graphql(port: int, **headers: str) -> int:
    return httpx.post(
        f"http://127.0.0.1:{port}/graphql", json={"query": QUERY}, headers=headers, timeout=60
    ).status_code


def test_programs_and_pages_of_this_machine_are_answered(port: int) -> None:
    assert graphql(port) == 200
    assert graphql(port, Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
    page = httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True)
    assert "Dagster" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"X-Forwarded-For": "10.0.0.9"},
    ],
)
def test_what_another_site_asks_for_is_refused(port: int, headers: dict[str, str]) -> None:
    assert graphql(port, **headers) == 403


def test_nothing_is_done_by_a_get(port: int) -> None:
    for query in (QUERY, LAUNCH):
        assert httpx.get(f"http://127.0.0.1:{port}/graphql", params={"query": query}).status_code == 405


def test_a_link_of_another_site_shows_the_page_and_no_more(port: int) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    def asked(path: str, **headers: str) -> int:
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers).status_code

    assert asked("/runs", **followed) == 200
    assert asked("/runs", **followed, Host="evil.example") == 403
    assert asked("/server_info", **{"Sec-Fetch-Site": "cross-site"}) == 403


@pytest.fixture
def admin(database: Database) -> Iterator[tuple[str, str]]:
    """Tokens of the operator and of a client."""
    with database.write() as connection:
        made = tokens.create(connection, scopes=["admin"]), tokens.create(connection, "acme")
    time.sleep(1.1)
    yield made
    with database.write() as connection:
        connection.execute(text("DELETE FROM api_tokens"))
    time.sleep(1.1)


def test_once_there_is_a_token_the_operators_is_asked_for(
    port: int, admin: tuple[str, str], database: Database
) -> None:
    operators, clients = admin
    url = f"http://127.0.0.1:{port}"

    def asked(token: str = "", password: str = "") -> list[int]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        auth = ("anybody", password) if password else None
        with httpx.Client(headers=headers, auth=auth, timeout=60) as program:
            answers = program.post(f"{url}/graphql", json={"query": QUERY}), program.get(f"{url}/runs")
        return [answer.status_code for answer in answers]

    assert asked() == asked(token="crew_wrong") == asked(token=clients) == asked(password=clients) == [401, 401]
    assert asked(token=operators) == asked(password=operators) == asked(password=SECRET) == [200, 200]
    refused = httpx.get(url)
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert "crew token create" in refused.text
    assert httpx.get(f"{url}/server_info").status_code == 200
    for authorization in ("Basic", "Basic %%%", "Basic Og==", "Bearer", "Digest x", "Basic /w=="):
        assert httpx.get(url, headers={"Authorization": authorization}).status_code == 401
    with pytest.raises((InvalidStatus, ConnectionClosedError)):
        connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=["graphql-ws"]).recv()  # type: ignore[list-item]

    with database.write() as connection:
        connection.execute(text("UPDATE api_tokens SET revoked_at = now()"))
    time.sleep(1.1)
    # Revoking the last opens nothing.
    assert asked(token=operators) == asked() == [401, 401]
