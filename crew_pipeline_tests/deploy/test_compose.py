"""The processes of compose.yaml, started one by one from its own lines and the example of its environment file."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SECRETS = {
    "CREW_APP_PASSWORD": "appsecret1",
    "CREW_OWNER_PASSWORD": "ownersecret2",
    "POSTGRES_PASSWORD": "adminsecret3",
}
PATIENCE_S = 120.0


def filled(value: str, known: dict[str, str]) -> str:
    """A value as compose fills it in."""

    def one(found: re.Match[str]) -> str:
        name, sign, rest = found[1], found[2], found[3]
        if known.get(name):
            return known[name]
        assert sign == ":-", f"{name} is not in the environment file"
        return str(rest)

    return re.sub(r"\$\{([A-Z_]+)(?:(:[-?])([^}]*))?\}", one, value)


def environment_file() -> dict[str, str]:
    known: dict[str, str] = {}
    for line in (DEPLOY / "crew.env.example").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            known[name] = SECRETS.get(name) or filled(value, known)
    return known


class Deployment:
    """Services of the file as processes of this machine, with hosts, ports and folders of its own."""

    def __init__(self, folder: Path, postgres: str) -> None:
        self.folder = folder
        self.known = environment_file()
        self.postgres = urlsplit(postgres)
        self.ports = {name: self._free_port() for name in ("8000", "3000", "4000")}
        home = folder / "dagster"
        (home / "storage").mkdir(parents=True)
        shutil.copy(DEPLOY / "container" / "dagster.yaml", home)
        workspace = (DEPLOY / "container" / "workspace.yaml").read_text()
        (folder / "workspace.yaml").write_text(self._here(workspace))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @staticmethod
    def _free_port() -> str:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            return str(probe.getsockname()[1])

    def _here(self, text: str) -> str:
        for port, other in self.ports.items():
            text = re.sub(rf"\b{port}\b", other, text)
        return text.replace("/etc/crew/workspace.yaml", str(self.folder / "workspace.yaml"))

    def environment(self, service: str) -> dict[str, str]:
        told = {
            name: filled(str(value), self.known).replace("@postgres/", f"@127.0.0.1:{self.postgres.port}/")
            for name, value in COMPOSE["services"][service]["environment"].items()
        }
        own = {"CREW_CODE_HOST": "127.0.0.1"} if "CREW_CODE_HOST" in told else {}
        image = {"CREW_HOME": str(self.folder / service), "DAGSTER_HOME": str(self.folder / "dagster")}
        machine = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(self.folder)}
        return {**machine, **image, **told, **own}

    def run(self, service: str, command: list[str] | None = None) -> str:
        done = subprocess.run(
            command or [self._here(part) for part in COMPOSE["services"][service]["command"]],
            env=self.environment(service), capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, service: str) -> None:
        log = (self.folder / f"{service}.log").open("wb")
        command = [self._here(part) for part in COMPOSE["services"][service]["command"]]
        self.running[service] = subprocess.Popen(
            command, env=self.environment(service), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )

    def is_healthy(self, service: str) -> bool:
        assert self.running[service].poll() is None, (self.folder / f"{service}.log").read_text()[-2000:]
        test = [self._here(part) for part in COMPOSE["services"][service]["healthcheck"]["test"][1:]]
        return subprocess.run(test, env=self.environment(service), capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.5)


@pytest.fixture
def deployment(external_url: str, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path, external_url)
    with ExitStack() as stack:
        stack.callback(made.stop)
        yield made


def test_the_file_needs_nothing_but_its_environment_file() -> None:
    known = environment_file()
    for service in COMPOSE["services"].values():
        for value in service["environment"].values():
            filled(str(value), known)
    # Nobody but who migrates knows the owner's password.
    knowing = {
        name
        for name, service in COMPOSE["services"].items()
        if any("CREW_OWNER" in str(value) for value in service["environment"].values())
    }
    assert knowing == {"migrate", "postgres"}
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("psql") is None, reason="needs psql")
def test_the_services_work_together(deployment: Deployment) -> None:
    server = deployment.postgres
    administrator = {
        **os.environ, "PGHOST": str(server.hostname), "PGPORT": str(server.port), "PGPASSWORD": str(server.password),
        **SECRETS,
    }  # fmt: skip
    subprocess.run(["sh", DEPLOY / "postgres" / "roles.sh"], env=administrator, check=True)
    assert "up to date" in deployment.run("migrate")
    token = deployment.run("migrate", ["crew", "token", "create", "--client", "me"]).strip()
    for service in ("api", "worker", "code"):
        deployment.start(service)
    until(lambda: deployment.is_healthy("code"), "the definitions are served")
    for service in ("webserver", "daemon"):
        deployment.start(service)
    for service in ("api", "webserver", "daemon"):
        until(lambda service=service: deployment.is_healthy(service), f"{service} is healthy")  # type: ignore[misc]
    api = httpx.Client(
        base_url=f"http://127.0.0.1:{deployment.ports['8000']}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    until(lambda: api.get("/readyz").json()["dependencies"]["worker"] == "ok", "a worker is ready")
    lines = [{"speaker": name, "text": "the printer is broken", "created_at": "2025-01-15T10:00:00Z", "line": number}
             for number, name in enumerate(("Ann", "Bo", "Ann"))]  # fmt: skip
    pushed = api.post("/api/conversations", json={"crew": "talk", "session_id": "s", "lines": lines})
    assert pushed.status_code == 201
    day = api.get("/api/days/2025-01-15/conversations", params={"wait_s": 30})
    assert (day.status_code, day.json()["data"][0]["hidden_count"]) == (200, 1)
    # A run of the background is launched by the daemon and executed by the code location.
    graphql = f"http://127.0.0.1:{deployment.ports['3000']}/graphql"
    assert httpx.post(graphql, json={"query": "{ version }"}, headers=api.headers).status_code == 401
    operator = deployment.run("migrate", ["crew", "token", "create", "--scope", "admin"]).strip()
    dagster = httpx.Client(auth=("operator", operator), timeout=60)
    until(lambda: dagster.post(graphql, json={"query": "{ version }"}).status_code == 200, "the operator is known")
    launch = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
        __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
    selector = {
        "repositoryLocationName": "crew_pipeline", "repositoryName": "__repository__",
        "pipelineName": "materialize_days",
    }  # fmt: skip
    params = {
        "selector": selector, "runConfigData": {},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "2025-01-15"}]},
    }  # fmt: skip
    told = dagster.post(graphql, json={"query": launch, "variables": {"params": params}}).json()
    run = told["data"]["launchRun"]["run"]["runId"]

    def status() -> str:
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        asked = dagster.post(graphql, json={"query": query, "variables": {"id": run}})
        return str(asked.json()["data"]["runOrError"]["status"])

    until(lambda: status() in {"SUCCESS", "FAILURE"}, "the run has ended")
    assert status() == "SUCCESS"
    # Nothing shows a password: no command line, and no log.
    for process in deployment.running.values():
        command = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert not any(secret in command for secret in SECRETS.values())
    for log in deployment.folder.glob("*.log"):
        assert not any(secret in log.read_text() for secret in SECRETS.values()), log
    shown = "query($id: ID!) { runOrError(runId: $id) { ... on Run { runConfigYaml tags { value } } } }"
    everything = dagster.post(graphql, json={"query": shown, "variables": {"id": run}}).text
    assert not any(secret in everything for secret in SECRETS.values())
