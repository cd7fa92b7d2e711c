"""A day that is ready, over HTTP, against a bare route that selects the same bytes from the same database."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from typing import Any

import psutil

from benchmarks.common import days_by_size, fetch, free_port, loaded_store, options, progress, quantile, report, running
from crew_pipeline.orchestration.bulk import process_days


def main() -> None:
    """Measure both in turn, request by request, then under load."""
    chosen = options(__doc__ or "")
    requests, seconds, days = (400, 3.0, 1) if chosen.quick else (3_000, 10.0, 5)
    with loaded_store(chosen.corpus) as (settings, databases):
        ready = [day for day, _ in days_by_size(databases)[:days]]
        progress(f"processing {len(ready)} days")
        for day in ready:
            process_days(settings, databases, (day, day))
        ours, bare = free_port(), free_port()
        with (
            running(["-m", "crew_pipeline.cli", "api", "--port", str(ours)], f"http://127.0.0.1:{ours}/healthz") as api,
            running(["-m", "benchmarks.bare_route", str(bare)], f"http://127.0.0.1:{bare}/healthz"),
        ):
            paths = {
                ours: [f"/api/days/{day}/conversations" for day in ready],
                bare: [f"/bare/{day}" for day in ready],
            }
            progress("one request after the other")
            latencies = in_turn(paths, requests)
            progress("under load")
            throughput = {port: [] for port in paths}
            for _ in range(3):
                for port, listed in paths.items():
                    throughput[port].append(under_load(port, listed, seconds / 3))
            content: dict[str, Any] = {
                "median_ratio": round(statistics.median(latencies[ours]) / statistics.median(latencies[bare]), 3),
                "throughput_ratio": round(statistics.median(throughput[ours]) / statistics.median(throughput[bare]), 3),
                "median_ms": round(1000 * statistics.median(latencies[ours]), 3),
                "p99_ms": round(1000 * quantile(latencies[ours], 0.99), 3),
                "bare_median_ms": round(1000 * statistics.median(latencies[bare]), 3),
                "bare_p99_ms": round(1000 * quantile(latencies[bare], 0.99), 3),
                "requests_per_s": round(statistics.median(throughput[ours])),
                "rss_mb": round(psutil.Process(api.pid).memory_info().rss / 2**20, 1),
                "requests": requests,
                "days": len(ready),
            }
    report(content, as_json=chosen.json)


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


if __name__ == "__main__":
    main()
