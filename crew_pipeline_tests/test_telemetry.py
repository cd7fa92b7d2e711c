"""One trace from a request to the document, told to whom OpenTelemetry's variables name, and not a word of what was
said."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from crew_pipeline import telemetry
from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Run, bring, lines_at

DAY = "2025-01-15"
ROUTE = "GET /api/days/{day}/conversations"


class Collector:
    """What takes OTLP over HTTP, and what it was told."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.bytes = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told = ExportTraceServiceRequest.FromString(body)
                collector.bytes += body
                collector.spans += [
                    span for resource in told.resource_spans for scope in resource.scope_spans for span in scope.spans
                ]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def named(self, name: str) -> Any:
        """The one span of a name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


def said_of(span: Any) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in span.attributes}


@pytest.fixture(scope="module")
def exporting() -> Iterator[Collector]:
    """OpenTelemetry keeps one provider for a process, so the tests of this module share one."""
    collector = Collector()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        assert telemetry.start("crew-tests")
        assert not telemetry.start("again")
        yield collector
    telemetry.flush()
    telemetry._tracer = None
    collector.server.shutdown()


@pytest.fixture
def collector(exporting: Collector) -> Collector:
    telemetry.flush()
    exporting.spans.clear()
    exporting.bytes = b""
    return exporting


@pytest.fixture
def api(collector: Collector, settings: Settings, database_url: str) -> Iterator[TestClient]:
    with TestClient(create_app(settings, database_url, "engine"), base_url="http://localhost") as client:
        yield client


def test_a_request_its_claim_its_run_and_its_document_are_one_trace(
    api: TestClient, collector: Collector, db: Database, run_days: Run
) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "a secret of the house"), ("Ben", "a secret of the house")), client="default")
    asked = api.get(f"/api/days/{DAY}/conversations", headers={"X-Request-ID": "of-the-test"})
    assert asked.status_code == 202
    assert run_days(DAY).success
    telemetry.flush()

    request, made, waited = (collector.named(name) for name in (ROUTE, "make day", "wait for a worker"))
    assert said_of(request)["crew.request_id"] == "of-the-test"
    assert {made.trace_id, waited.trace_id} == {request.trace_id}
    assert {made.parent_span_id, waited.parent_span_id} == {request.span_id}
    assert said_of(made)["crew.client"], said_of(made)["crew.day"] == ("default", DAY)
    assert len(said_of(made)["crew.run_id"]) == 36
    for asset in ("line_embeddings", "semantic_clusters", "day_document"):
        step = collector.named(asset)
        assert (step.trace_id, step.parent_span_id) == (made.trace_id, made.span_id)
        assert made.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano
    assert abs(waited.end_time_unix_nano - made.start_time_unix_nano) < 1e9

    # Who asks for the next time begins a trace of its own.
    assert run_days(DAY, force=True).success
    telemetry.flush()
    again = [span for span in collector.spans if span.name == "make day"][-1]
    assert (again.trace_id != request.trace_id, again.parent_span_id) == (True, b"")
    assert b"secret" not in collector.bytes


def test_what_is_asked_for_is_not_told(api: TestClient, collector: Collector, db: Database, run_days: Run) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "hello")), client="default")
    assert run_days(DAY).success
    assert api.get(f"/api/days/{DAY}/conversations?wait_s=17&view=full").status_code in {200, 202}
    telemetry.flush()
    assert said_of(collector.named(ROUTE))["url.query"] == "wait_s&view"
    assert said_of(collector.named(ROUTE))["http.route"] == "/api/days/{day}/conversations"


def test_a_failure_is_told_by_its_kind_alone(collector: Collector) -> None:
    with pytest.raises(ValueError, match="secret"), telemetry.span("make day"):
        raise ValueError("a secret")
    telemetry.flush()
    assert said_of(collector.named("make day"))["error.type"] == "ValueError"
    assert collector.named("make day").status.code == 2
    assert b"secret" not in collector.bytes


def test_a_collector_that_is_away_costs_a_run_nothing(collector: Collector, db: Database, run_days: Run) -> None:
    collector.server.socket.close()
    bring(db, lines_at(DAY, "a", ("Ann", "hello")), client="default")
    started = time.monotonic()
    assert run_days(DAY).success
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("variables", "missing", "said"),
    [
        ({}, False, "off"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False, "off"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True, "off, and why"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}, False, "on"),
    ],
)
def test_nothing_of_it_is_loaded_where_nobody_wants_it(variables: dict[str, str], missing: bool, said: str) -> None:
    script = (
        "import logging, sys; logging.basicConfig()\n"
        + ("sys.modules['opentelemetry.sdk.trace'] = None\n" if missing else "")
        + "from crew_pipeline import telemetry\n"
        "print(telemetry.start('x'), telemetry.is_on(), bool(sys.modules.get('opentelemetry.sdk.trace')))\n"
        "with telemetry.span('nothing'): telemetry.note(a='b'); print(telemetry.traceparent() is None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PATH": "", **variables}
    )
    on = said == "on"
    assert done.stdout.split() == [str(on), str(on), str(on), str(not on)]
    assert ("pip install 'crew-pipeline[otel]'" in done.stderr) == (said == "off, and why")
