"""A day that is ready, over HTTP, against a bare route that selects the same bytes from the same database."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from datetime import date
from typing import Any

import psutil

from benchmarks.common import (
    TOP,
    days_by_size,
    fetch,
    free_port,
    loaded_store,
    options,
    progress,
    quantile,
    report,
    running,
)
from crew_pipeline.client.signatures import new_secret
from crew_pipeline.orchestration.bulk import process_days
from crew_pipeline.storage import embedded, tokens, webhooks
from crew_pipeline.storage.opening import Databases

PEOPLE, DAYS_READ, FLOOD_CONNECTIONS, FOLLOWERS = 500, 50, 64, 50
Asked = dict[str, tuple[int, str, dict[str, str]]]


def main() -> None:
    """Measure both in turn, request by request, then under load."""
    chosen = options(__doc__ or "")
    requests, seconds, days = (400, 3.0, 1) if chosen.quick else (3_000, 10.0, 5)
    with loaded_store(chosen.corpus) as (settings, databases):
        listed = [day for day, _ in days_by_size(databases)]
        # The crowd reads as many days as there are people's favourites; short ones are made quickly.
        ready = listed[:days]
        crowd = [] if chosen.quick else listed[-DAYS_READ:]
        progress(f"processing {len(ready) + len(crowd)} days")
        for day in (*ready, *crowd):
            process_days(settings, databases, (day, day))
        content = measured(databases, ready, requests, seconds)
        if not chosen.quick:
            missing = listed[days:-DAYS_READ][:20]
            content |= among_others(databases, ready[0], crowd or ready, missing)
        content |= {"requests": requests, "days": len(ready)}
    report(content, as_json=chosen.json)


def measured(databases: Databases, ready: list[date], requests: int, seconds: float) -> dict[str, Any]:
    """One reader's figures, and the throughput of a few."""
    ours, bare, unguarded = free_port(), free_port(), free_port()
    assert databases.embedded is not None
    # A superuser is above row security.
    above = {"CREW_DATABASE_URL": databases.embedded.url(embedded.APPLICATION_DATABASE)}
    with (
        running(["-m", "crew_pipeline.cli", "api", "--port", str(ours)], f"http://127.0.0.1:{ours}/healthz") as api,
        running(["-m", "benchmarks.bare_route", str(bare)], f"http://127.0.0.1:{bare}/healthz"),
        running(
            ["-m", "crew_pipeline.cli", "api", "--port", str(unguarded)],
            f"http://127.0.0.1:{unguarded}/healthz",
            **above,
        ),
    ):
        path = [f"/api/days/{day}/conversations" for day in ready]
        progress("one request after the other")
        took = in_turn({ours: path, bare: [f"/bare/{day}" for day in ready]}, requests)
        # Each of these differs from the one it is set against in one thing, and is measured beside it.
        tag = tag_of(ours, path[0])
        forms = {
            "plain": (ours, path[0], {}),
            "compressed": (ours, path[0], {"Accept-Encoding": "br"}),
            "not_modified": (ours, path[0], {"If-None-Match": tag}),
            "unguarded": (unguarded, path[0], {}),
        }
        formed = {name: statistics.median(each) for name, each in in_forms(forms, requests).items()}
        progress("under load")
        throughput = {port: [] for port in (ours, bare)}
        for _ in range(3):
            for port, listed in ((ours, path), (bare, [f"/bare/{day}" for day in ready])):
                throughput[port].append(under_load(port, listed, seconds / 3))
        return {
            "median_ratio": round(statistics.median(took[ours]) / statistics.median(took[bare]), 3),
            "throughput_ratio": round(statistics.median(throughput[ours]) / statistics.median(throughput[bare]), 3),
            "median_ms": round(1000 * statistics.median(took[ours]), 3),
            "p99_ms": round(1000 * quantile(took[ours], 0.99), 3),
            "bare_median_ms": round(1000 * statistics.median(took[bare]), 3),
            "bare_p99_ms": round(1000 * quantile(took[bare], 0.99), 3),
            "requests_per_s": round(statistics.median(throughput[ours])),
            "not_modified_ratio": round(formed["not_modified"] / formed["plain"], 3),
            "compressed_ratio": round(formed["compressed"] / formed["plain"], 3),
            "row_security_ratio": round(formed["plain"] / formed["unguarded"], 3),
            "rss_mb": round(psutil.Process(api.pid).memory_info().rss / 2**20, 1),
        }


def in_turn(paths: dict[int, list[str]], requests: int) -> dict[int, list[float]]:
    """Seconds of each request, the servers asked alternately over connections that are kept."""
    connections = {port: http.client.HTTPConnection("127.0.0.1", port) for port in paths}
    latencies: dict[int, list[float]] = {port: [] for port in paths}
    for number in range(requests + 50):
        for port, connection in connections.items():
            started = time.perf_counter()
            fetch(connection, paths[port][number % len(paths[port])])
            if number >= 50:
                latencies[port].append(time.perf_counter() - started)
    return latencies


def tag_of(port: int, path: str) -> str:
    """The tag of a day."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return str(answer.headers["ETag"])


def in_forms(forms: Asked, requests: int) -> dict[str, list[float]]:
    """Seconds of each request, the forms of it in turn."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", port) for name, (port, _, _) in forms.items()}
    latencies: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(requests + 50):
        for name, (_, path, headers) in forms.items():
            started = time.perf_counter()
            connections[name].request("GET", path, headers=headers)
            answer = connections[name].getresponse()
            answer.read()
            if answer.status not in {200, 304}:
                raise RuntimeError(f"{path} answered {answer.status}")
            if number >= 50:
                latencies[name].append(time.perf_counter() - started)
    return latencies


def under_load(port: int, paths: list[str], seconds: float, clients: int = 4) -> float:
    """Answers per second with several clients at once."""
    counts = [0] * clients
    stop = time.perf_counter() + seconds

    def run(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.perf_counter() < stop:
            fetch(connection, paths[counts[client] % len(paths)])
            counts[client] += 1

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def among_others(databases: Databases, day: date, crowd: list[date], missing: list[date]) -> dict[str, Any]:
    """Hits of one client beside another client's flood; then 500 people, with days that are missing, followers of the
    stream and a webhook that is told of each day that becomes ready."""
    with databases.owners_db.write() as connection:
        token, rival = tokens.create(connection, "default"), tokens.create(connection, "rival")
        webhooks.add(connection, "default", "http://127.0.0.1:9/hook", webhooks.KINDS, "", new_secret())
    port = free_port()
    paths = [f"/api/days/{one}/conversations" for one in crowd]
    with running(
        ["-m", "crew_pipeline.cli", "api", "--port", str(port)],
        f"http://127.0.0.1:{port}/healthz",
        CREW_LIMIT_REQUESTS="100000",
    ):
        progress("500 people")
        people = asked(
            {"do": "read", "port": port, "token": token, "paths": paths, "people": PEOPLE, "seconds": 20.0,
             "followers": FOLLOWERS,
             "missing": [f"/api/days/{one}/conversations?wait_s=0" for one in missing]}
        )  # fmt: skip
    with running(["-m", "crew_pipeline.cli", "api", "--port", str(port)], f"http://127.0.0.1:{port}/healthz"):
        hits = {"do": "read", "port": port, "token": token, "paths": [f"/api/days/{day}/conversations"],
                "missing": [], "people": 30, "seconds": 15.0}  # fmt: skip
        progress("a few people alone, then beside a flood of another client")
        alone = asked(hits)
        flooding = started(
            {"do": "flood", "port": port, "token": rival, "path": f"/api/days/{day}/conversations?wait_s=0",
             "connections": FLOOD_CONNECTIONS, "seconds": 17.0}
        )  # fmt: skip
        time.sleep(1)
        beside = asked(hits)
        flooded = ended(flooding)
    return {
        "crowd": people,
        "flood": {
            "p50_ratio": round(beside["p50_ms"] / alone["p50_ms"], 3),
            "p99_ratio": round(beside["p99_ms"] / alone["p99_ms"], 3),
            "alone": alone,
            "beside": beside,
            **flooded,
        },
    }


def started(what: dict[str, Any]) -> subprocess.Popen[str]:
    """A process of ``benchmarks.crowd``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd"], cwd=TOP, env={**os.environ}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(what))
    process.stdin.close()
    return process


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it has found."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.read())
    process.wait()
    return found


def asked(what: dict[str, Any]) -> dict[str, Any]:
    """What such a process finds."""
    return ended(started(what))


if __name__ == "__main__":
    main()
