"""The Dagster UI answers this machine's own pages and programs alone, and does nothing for a GET."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance

from crew_pipeline.shipped import shipped
from crew_pipeline_tests.deployments import free_port, wait_until

QUERY = "{ version }"
LAUNCH = "mutation { reloadWorkspace { __typename } }"


@pytest.fixture(scope="module")
def port(instance: DagsterInstance, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    command = ["-m", "crew_pipeline.processes.dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "DAGSTER_HOME": str(home / "dagster"), "CREW_HOME": str(home)}
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
    return httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": QUERY}, headers=headers).status_code


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
