"""The figures for Prometheus: read from the tables, so that all processes tell the same; and what one has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

from cachetools import TTLCache
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from crew_pipeline.api.traffic import Traffic
from crew_pipeline.storage import webhooks
from crew_pipeline.storage.conversations import index as conversations
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents, visits
from crew_pipeline.storage.sources import rounds
from crew_pipeline.storage.upkeep import alerts, health, workers

_FRESH_S = 5.0
_LABELS = ("client", "crew")
_TOTALS = (
    ("rounds", "Rounds of discovery."),
    ("failures", "Rounds of discovery that failed."),
    ("seconds", "Seconds spent on discovery."),
    ("scanned", "Sessions that rows were read of, once a round."),
    ("created", "Conversations that were new."),
    ("changed", "Conversations that had changed."),
    ("skipped", "Sessions that were read and had not changed."),
    ("refused", "Rows that could not be taken in."),
)


class TableCollector(Collector):
    """The figures from the tables; with a client, only those of its own crews."""

    def __init__(self, db: Database, client: str | None) -> None:
        self._db = db
        self._client = client

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering must not read the tables."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every figure, read in one go."""
        with self._db.read() as connection:
            crews = [crew for crew in rounds.totals(connection) if self._client in {None, crew.client}]
            waiting = conversations.unfinished(connection, self._client)
            open_alerts = alerts.in_force(connection) if self._client is None else []
            alive = workers.alive(connection)
            served = visits.since(connection, timedelta(days=1), self._client)
            held = documents.totals(connection, self._client)
            messages = webhooks.totals(connection, self._client)
            system = list(_system(connection)) if self._client is None else []
        yield from _discovery(crews)
        left = GaugeMetricFamily("crew_conversations_unfinished", "Conversations not completed.", labels=["status"])
        for status, count in waiting.items():
            left.add_metric([status], count)
        yield left
        raised = GaugeMetricFamily("crew_alerts_open", "Alerts that last.", labels=["kind"])
        for kind in sorted({alert.kind for alert in open_alerts}):
            raised.add_metric([kind], sum(alert.kind == kind for alert in open_alerts))
        yield raised
        counted = GaugeMetricFamily("crew_day_visits_last_day", "Requests for days, by how they went.", labels=["kind"])
        for kind, total in served.items():
            counted.add_metric([kind], total.visits)
        yield counted
        if (share := visits.instant_share(served)) is not None:
            yield GaugeMetricFamily("crew_day_visits_instant_ratio", "Answered at once, of the last day.", value=share)
        yield GaugeMetricFamily("crew_ready_days", "Clients' days with a document.", value=held.days)
        for name, meaning, all_of_it, hidden in (
            ("crew_ready_lines", "Lines of those days.", held.lines, held.hidden_lines),
            ("crew_ready_characters", "Characters of those lines.", held.characters, held.hidden_characters),
        ):
            folded = GaugeMetricFamily(name, meaning, labels=["shown"])
            folded.add_metric(["folded"], hidden)
            folded.add_metric(["visible"], all_of_it - hidden)
            yield folded
        yield GaugeMetricFamily("crew_workers_alive", "Warm workers that are alive.", value=alive)
        told = GaugeMetricFamily("crew_webhook_messages", "Messages to webhooks that are kept.", labels=["state"])
        for state, count in messages:
            told.add_metric([state], count)
        yield told
        yield from system


def _discovery(crews: Sequence[rounds.Totals]) -> Iterator[Metric]:
    """What discovery has done, by crew."""
    for name, meaning in _TOTALS:
        counter = CounterMetricFamily(f"crew_discovery_{name}", meaning, labels=_LABELS)
        for crew in crews:
            counter.add_metric([crew.client, crew.crew], float(getattr(crew, name)))
        yield counter
    failing = GaugeMetricFamily("crew_discovery_consecutive_failures", "Failures in a row.", labels=_LABELS)
    last = GaugeMetricFamily("crew_discovery_last_round_timestamp_seconds", "End of the last round.", labels=_LABELS)
    for crew in crews:
        failing.add_metric([crew.client, crew.crew], crew.consecutive_failures)
        if crew.last_round_at is not None:
            last.add_metric([crew.client, crew.crew], crew.last_round_at.timestamp())
    yield from (failing, last)


def _system(connection: Connection) -> Iterator[Metric]:
    """The queue of all clients as it is, and the newest sample of the system."""
    waiting = health.queue(connection)
    figures: list[tuple[str, str, float | None]] = [
        ("crew_queue_days", "Clients' days that wait.", waiting.days_waiting),
        ("crew_queue_conversations", "Conversations that wait.", waiting.conversations_waiting),
        (
            "crew_queue_longest_wait_seconds",
            "How long the conversation that waits longest does.",
            waiting.longest_wait_s,
        ),
        ("crew_days_failed", "Clients' days that have failed.", waiting.days_failed),
    ]
    if (newest := health.newest_with_age(connection)) is not None:
        sample, age = newest
        disk = sample.disk_free_mb
        figures += [
            ("crew_health_sample_age_seconds", "Age of the newest sample, which the following are of.", age),
            ("crew_worker_heartbeat_age_seconds", "Of the freshest worker.", sample.worker_heartbeat_age_s),
            ("crew_daemon_heartbeat_age_seconds", "Of Dagster's daemon.", sample.daemon_heartbeat_age_s),
            ("crew_cpu_ratio", "How busy the processors are.", sample.cpu_percent / 100),
            ("crew_memory_free_bytes", "Memory that is left.", sample.memory_free_mb * 1e6),
            ("crew_disk_free_bytes", "Disk that is left to the data directory.", None if disk is None else disk * 1e6),
            ("crew_runs_ended_last_hour", "Runs of days that ended.", sample.runs_ended),
            ("crew_runs_failed_last_hour", "Of these, failed or died.", sample.runs_failed),
        ]
    for name, meaning, value in figures:
        if value is not None:
            yield GaugeMetricFamily(name, meaning, value=float(value))


class Metrics:
    """The pages that Prometheus reads; read anew from the tables every few seconds at most."""

    def __init__(self, db: Database, traffic: Traffic) -> None:
        self._db = db
        self._traffic = traffic
        self._pages: TTLCache[str | None, bytes] = TTLCache(maxsize=64, ttl=_FRESH_S)
        self._reading = asyncio.Lock()

    async def page(self, client: str | None) -> bytes:
        """The text of the page: for one client, or for all and the system as a whole."""
        async with self._reading:
            if client not in self._pages:
                self._pages[client] = await self._db.calling(self._read, client)
            page: bytes = self._pages[client]
        return page if client is not None else page + self._traffic.page()

    def _read(self, client: str | None) -> bytes:
        registry = CollectorRegistry()
        registry.register(TableCollector(self._db, client))
        return generate_latest(registry)
