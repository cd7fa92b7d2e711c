"""What becomes of a day's claim when the deployment refuses, breaks, keeps silent, or its run ends early."""

from __future__ import annotations

import base64
import json
import logging
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crew_pipeline.days import claims, requests
from crew_pipeline.deployment.graphql import Deployment, DeploymentError
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline.storage.days.states import set_status
from crew_pipeline.workers import dispatcher as dispatching
from crew_pipeline.workers.dispatcher import DagsterMaker
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
MakeMaker = Callable[..., DagsterMaker]
DAY = date(2025, 1, 15)
CLIENT_DAY = ClientDay("default", DAY)
TOP = Path(__file__).resolve().parents[2]
REPOSITORIES = {
    "__typename": "RepositoryConnection",
    "nodes": [
        {"name": "other", "location": {"name": "elsewhere"}, "jobs": [{"name": "a_job"}]},
        {"name": "__repository__", "location": {"name": "crew"}, "jobs": [{"name": "materialize_days"}]},
    ],
}


class StandIn:
    """A deployment as far as failures need one: it keeps runs, and answers a launch as it is told to."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.launched: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.authorization: list[str | None] = []
        self.launch: Callable[[StandIn, dict[str, Any]], tuple[int, Any]] = launches
        self.silent = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stand_in.authorization.append(self.headers.get("Authorization"))
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = stand_in.answer(asked["query"], asked["variables"])
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    return

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, userinfo: str = "") -> str:
        return f"http://{userinfo}127.0.0.1:{self._server.server_port}/graphql"

    def answer(self, query: str, variables: dict[str, Any]) -> tuple[int, Any]:
        if "repositoriesOrError" in query:
            return found(REPOSITORIES)
        if "launchRun" in query:
            return self.launch(self, variables["params"])
        if "terminateRuns" in query:
            self.ended += variables["ids"]
            return found({"__typename": "TerminateRunsResult"})
        unfinished, named = variables["waiting"]["statuses"], variables["named"]["runIds"]
        chosen = {
            "waiting": [run for run in self.runs.values() if run["status"] in unfinished],
            **({"named": [self.runs[one] for one in named if one in self.runs]} if variables["some"] else {}),
        }
        return 200, {"data": {name: {"__typename": "Runs", "results": runs} for name, runs in chosen.items()}}

    def add(self, params: dict[str, Any]) -> str:
        self.launched.append(params)
        run_id = f"run {len(self.launched)}"
        self.runs[run_id] = {"runId": run_id, "status": "QUEUED", "tags": params["executionMetadata"]["tags"]}
        return run_id

    def set_status(self, status: str) -> None:
        for run in self.runs.values():
            run["status"] = status

    def stop(self) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()


def found(answer: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"data": {"found": answer}}


def launches(server: StandIn, params: dict[str, Any]) -> tuple[int, Any]:
    return found({"__typename": "LaunchRunSuccess", "run": {"runId": server.add(params)}})


def refuses(status: int, answer: object) -> Callable[[StandIn, dict[str, Any]], tuple[int, Any]]:
    return lambda _server, _params: (status, answer)


def keeps_silent(server: StandIn, _params: dict[str, Any]) -> tuple[int, Any]:
    server.silent.wait(30)
    return 500, b""


CERTAIN = {
    "no right": refuses(401, b"who are you"),
    "no such page": refuses(404, b"nothing here"),
    "redirected": refuses(302, b""),
    "another schema": refuses(400, {"errors": [{"message": "Unknown argument 'x'"}]}),
    "no such job": refuses(200, {"data": {"found": {"__typename": "PipelineNotFoundError", "message": "no job"}}}),
    "unauthorized": refuses(200, {"data": {"found": {"__typename": "UnauthorizedError", "message": "read only"}}}),
    "configuration": refuses(
        200, {"data": {"found": {"__typename": "RunConfigValidationInvalid", "errors": [{"message": "no such op"}]}}}
    ),
}
UNCLEAR = {
    "500": refuses(500, b"Internal Server Error"),
    "502 of a proxy": refuses(502, b"<html>"),
    "no JSON": refuses(200, b"<html>"),
    "no data": refuses(200, {"data": None}),
    "GraphQL error": refuses(200, {"errors": [{"message": "boom\nand more"}], "data": None}),
    "PythonError": refuses(200, {"data": {"found": {"__typename": "PythonError", "message": "boom\nand more"}}}),
    "silence": keeps_silent,
}


@pytest.fixture
def deployed() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def database(db: Database) -> Database:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    with db.write() as connection:
        assert requests.request(connection, CLIENT_DAY)
    return db


@pytest.fixture
def make_maker(
    settings: Settings, database: Database, deployed: StandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeMaker]:
    """A dispatcher without pauses, which gives a launch no time to become a run after all unless it is told to."""
    monkeypatch.setattr(dispatching, "LONGEST_PAUSE_S", 0.0)
    opened: list[Deployment] = []

    def make(url: str | None = None, unclear_s: float = 0.0, **changes: object) -> DagsterMaker:
        chosen = settings.model_copy(update={"poll_s": 0.0, **changes})
        opened.append(Deployment(url or deployed.url(), timeout_s=0.5))
        return DagsterMaker(chosen, database, opened[-1], unclear_s=unclear_s)

    yield make
    for deployment in opened:
        deployment.__exit__()


def submit(maker: DagsterMaker, db: Database) -> bool:
    """What the worker does at every look."""
    maker.tend()
    with db.read() as connection:
        waiting = queue.work(connection, "engine", which="urgent")
    return any(maker.make(work) for work in waiting)


def outcomes(query: Query) -> list[object]:
    return [outcome for (outcome,) in query("SELECT outcome FROM day_claims ORDER BY claimed_at")]


def status(query: Query) -> object:
    ((found,),) = query("SELECT semantic_status FROM data_items")
    return found


def start_run(db: Database, deployed: StandIn, run_id: str) -> bool:
    """What storing its work does in a run that starts."""
    deployed.runs[run_id]["status"] = "STARTED"
    (claim,) = [tag["value"] for tag in deployed.runs[run_id]["tags"] if tag["key"] == "crew/claim"]
    with db.write() as connection:
        if not queue.work(connection, "engine", days=[DAY], claimed_as=[run_id, claim]):
            return False
        return claims.take(connection, CLIENT_DAY, run_id, 60, after=claim)


def test_a_day_is_submitted_once_for_its_client_ahead_of_the_background(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker()
    assert submit(maker, database)
    assert not submit(maker, database)
    (params,) = deployed.launched
    assert params["selector"] == {
        "repositoryName": "__repository__",
        "repositoryLocationName": "crew",
        "jobName": "materialize_days",
    }
    scope = params["runConfigData"]["ops"]["make_days"]["config"]
    assert scope == {"client": "default", "force": False, "retry_failed": True}
    tagged = {tag["key"]: tag["value"] for tag in params["executionMetadata"]["tags"]}
    ((claim,),) = query("SELECT token FROM day_claims WHERE ended_at IS NULL")
    assert tagged == {
        "dagster/partition": "2025-01-15",
        "dagster/priority": "12",
        "dagster/max_retries": "0",
        "dagster/max_runtime": "600",
        "dagster-celery/queue": "urgent",
        "crew/trigger": "on-demand",
        "crew/client": "default",
        "crew/turn_s": "30",
        "crew/claim": claim,
    }
    assert status(query) == "queued"


@pytest.mark.parametrize("refusal", CERTAIN)
def test_a_refused_launch_gives_the_claim_back_and_is_tried_again(
    refusal: str,
    make_maker: MakeMaker,
    deployed: StandIn,
    database: Database,
    query: Query,
    caplog: pytest.LogCaptureFixture,
) -> None:
    maker = make_maker()
    deployed.launch = CERTAIN[refusal]
    assert not submit(maker, database)
    assert outcomes(query) == ["released"]
    assert status(query) == "queued"
    (warning,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("the Dagster deployment at 127.0.0.1:")
    assert warning.endswith("Trying again in 0 s.")
    deployed.launch = launches
    assert submit(maker, database)
    assert len(deployed.launched) == 1


def test_a_deployment_that_is_down_costs_the_day_nothing_and_is_asked_again_after_a_pause(
    make_maker: MakeMaker,
    deployed: StandIn,
    database: Database,
    query: Query,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maker = make_maker(url="http://127.0.0.1:9/graphql")
    with database.read() as connection:
        (work,) = queue.work(connection, "engine", which="urgent")
    assert not maker.make(work)
    assert outcomes(query) == ["released"]
    assert "start dagster-webserver, or correct CREW_DAGSTER_GRAPHQL_URL" in caplog.text
    monkeypatch.setattr(dispatching, "LONGEST_PAUSE_S", 60.0)
    maker.tend()
    assert not maker.make(work)
    assert outcomes(query) == ["released"]
    assert submit(make_maker(), database)


@pytest.mark.parametrize("silence", UNCLEAR)
def test_a_launch_without_an_answer_keeps_its_claim_until_it_is_known_that_there_is_no_run(
    silence: str, make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker(unclear_s=math.inf)
    deployed.launch = UNCLEAR[silence]
    assert not submit(maker, database)
    deployed.launch = launches
    assert not submit(maker, database)
    assert outcomes(query) == [None]
    maker._unclear_s = 0.0
    assert submit(maker, database)
    assert outcomes(query) == ["released", None]
    assert len(deployed.launched) == 1


@pytest.mark.parametrize("silence", UNCLEAR)
def test_a_launch_without_an_answer_that_became_a_run_is_not_repeated(
    silence: str, make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    def launches_and_says_otherwise(server: StandIn, params: dict[str, Any]) -> tuple[int, Any]:
        server.add(params)
        return UNCLEAR[silence](server, params)

    maker = make_maker()
    deployed.launch = launches_and_says_otherwise
    assert not submit(maker, database)
    deployed.launch = launches
    assert not submit(maker, database)
    assert start_run(database, deployed, "run 1")
    assert not submit(maker, database)
    assert len(deployed.launched) == 1
    assert query("SELECT token FROM day_claims") == [("run 1",)]


def test_claims_of_runs_that_wait_are_kept_alive_also_while_the_deployment_is_down(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker(claim_ttl_s=5)
    assert submit(maker, database)
    deployed.stop()
    for look in (maker.tend, lambda: maker.oversee(None)):
        query("UPDATE day_claims SET expires_at = now() + interval '1 second'")
        maker._keep_at = 0.0
        look()
        assert query("SELECT claim_lives(expires_at, ttl_s), expires_at > now() + interval '3 seconds' "
                     "FROM day_claims") == [(True, True)]  # fmt: skip


def test_a_run_that_fails_before_it_took_the_day_is_tried_again_and_then_set_aside(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker(on_demand_retries=2, background_retries=0)
    for _ in range(3):
        assert submit(maker, database)
        deployed.set_status("FAILURE")
    assert not submit(maker, database)
    assert outcomes(query) == ["retried", "retried", "failed"]
    assert query("SELECT semantic_status, semantic_error FROM data_items") == [
        ("failed", "the Dagster run run 3 failed; its log says why")
    ]


def test_a_run_that_fails_after_it_took_the_day_is_settled_at_the_next_look(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker()
    assert submit(maker, database)
    assert start_run(database, deployed, "run 1")
    assert status(query) == "processing"
    maker.tend()
    assert outcomes(query) == [None]
    deployed.set_status("FAILURE")
    assert submit(maker, database)
    assert outcomes(query) == ["retried", None]
    assert len(deployed.launched) == 2


@pytest.mark.parametrize("started", [False, True])
def test_a_cancelled_day_waits_for_the_next_reader(
    started: bool, make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker()
    assert submit(maker, database)
    if started:
        assert start_run(database, deployed, "run 1")
    deployed.set_status("CANCELED")
    assert not submit(maker, database)
    assert outcomes(query) == ["released"]
    assert status(query) == "pending"
    with database.write() as connection:
        requests.request(connection, CLIENT_DAY)
    assert submit(maker, database)


def test_a_run_that_was_deleted_is_submitted_anew(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker()
    assert submit(maker, database)
    deployed.runs.clear()
    assert submit(maker, database)
    assert outcomes(query) == ["released", None]


def test_a_run_that_ends_well_without_the_day_counts_as_a_failure(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker(on_demand_retries=0, background_retries=0)
    assert submit(maker, database)
    deployed.set_status("SUCCESS")
    assert not submit(maker, database)
    assert status(query) == "failed"


def test_only_so_many_runs_are_submitted_that_the_most_urgent_day_comes_next(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    for day in ("2025-01-16", "2025-01-17"):
        bring(database, lines_at(day, day, ("Ann", "one two three")), client="default")
        with database.write() as connection:
            requests.request(connection, ClientDay("default", date.fromisoformat(day)))
    maker = make_maker(dagster_max_submitted=2)
    assert submit(maker, database)
    assert submit(maker, database)
    assert not submit(maker, database)
    assert start_run(database, deployed, "run 1")
    with database.write() as connection:
        claims.finish(connection, CLIENT_DAY, "run 1", "completed")
        set_status(connection, CLIENT_DAY, DayState.COMPLETED)
    deployed.runs["run 1"]["status"] = "SUCCESS"
    assert submit(maker, database)


def test_the_next_dispatcher_goes_on_with_the_runs_of_one_that_died(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    assert submit(make_maker(), database)
    query("UPDATE day_claims SET expires_at = now() - interval '1 second'")
    successor = make_maker()
    successor.tend()
    successor._keep_at = 0.0
    assert not submit(successor, database)
    assert query("SELECT claim_lives(expires_at, ttl_s) FROM day_claims") == [(True,)]
    deployed.set_status("FAILURE")
    assert submit(successor, database)
    assert outcomes(query) == ["retried", None]


def test_a_run_that_starts_after_its_claim_was_lost_finds_the_day_taken(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    assert submit(make_maker(), database)
    query("UPDATE day_claims SET expires_at = now() - interval '1 second'")
    with database.read() as connection:
        (work,) = queue.work(connection, "engine", which="urgent")
    assert make_maker().make(work)
    assert not start_run(database, deployed, "run 1")
    assert start_run(database, deployed, "run 2")
    assert outcomes(query) == ["overtaken", None]


def test_the_deployment_is_told_of_a_run_whose_process_died(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker()
    assert submit(maker, database)
    assert start_run(database, deployed, "run 1")
    query("UPDATE day_claims SET expires_at = now() - interval '1 second'")
    assert submit(maker, database)
    assert deployed.ended == ["run 1"]
    assert len(deployed.launched) == 2


def test_a_day_whose_runs_all_died_is_set_aside(
    make_maker: MakeMaker, deployed: StandIn, database: Database, query: Query
) -> None:
    maker = make_maker(on_demand_retries=1, background_retries=0)
    for number in (1, 2):
        assert submit(maker, database)
        assert start_run(database, deployed, f"run {number}")
        query("UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE ended_at IS NULL")
    assert not submit(maker, database)
    assert status(query) == "failed"


def test_a_password_in_the_address_is_sent_but_neither_logged_nor_told(
    make_maker: MakeMaker, deployed: StandIn, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    deployed.launch = CERTAIN["no right"]
    assert not submit(make_maker(url=deployed.url("crew:hunter2@")), database)
    expected = f"Basic {base64.b64encode(b'crew:hunter2').decode()}"
    assert set(deployed.authorization) == {expected}
    assert "hunter2" not in caplog.text


def test_a_deployment_without_the_day_job_says_what_to_load(deployed: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REPOSITORIES, "nodes", REPOSITORIES["nodes"][:1])  # type: ignore[index]
    with Deployment(deployed.url()) as deployment, pytest.raises(DeploymentError, match=r"load .*crew_pipeline\.def"):
        deployment.launch({}, {})


def test_the_dispatcher_loads_no_model() -> None:
    code = (
        "import sys; import crew_pipeline.workers.dispatcher; "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'faiss') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert done.stdout.strip() == "[]"
