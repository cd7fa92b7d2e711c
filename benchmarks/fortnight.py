"""Two weeks of a team, simulated: how many visits are answered at once, day by day.

Everything is real but the passing of time: the embedded Postgres (whose ``now()`` follows the simulated clock), the
sweep and the sensor as defined, Dagster's limits, the service that answers readers, and every run that makes a day. A
system with 90 days behind it that nobody has processed is switched on at nine on a Monday, while its readers are there.
Exit status 1 where fewer than 95% of the second week's visits are answered at once.

That share alone does not tell what background work is worth: readers who come back find what their own first visits had
made. So the first visits of days are told apart, and ``--no-background`` leaves out every run that nobody asked for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

import dagster as dg
import psycopg
from sqlalchemy import text

from benchmarks.common import CLIENT, empty_home, opened_store, options, progress
from benchmarks.fortnight_life import QUICK, Arrival, Life, Visit, arrivals, visits
from benchmarks.fortnight_machine import Agenda, Costs, Machine
from benchmarks.simulated_clock import SimulatedClock, simulated_clock
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.days.arrivals import QUIET
from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.runs import DayRunner
from crew_pipeline.orchestration.ticks import next_run
from crew_pipeline.serving.listener import Listener
from crew_pipeline.serving.service import DayService
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database, ensure_database, libpq_url
from crew_pipeline.storage.days import states as stored_days
from crew_pipeline.storage.days import visits as stored_visits
from crew_pipeline.storage.days.visits import Kind, Visits
from crew_pipeline.storage.embedded import APPLICATION_DATABASE, embedded_postgres
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.sources.crews import set_history
from crew_pipeline.workers.warm import warm_up

FIRST = date(2026, 1, 5)
SWITCHED_ON = datetime(2026, 1, 5, 9, tzinfo=UTC)
DAYS = 14
REQUIRED = 0.95

_TICK = timedelta(seconds=30)
_HISTORY = (
    "CREATE TABLE told (id bigserial PRIMARY KEY, session_id text NOT NULL, message jsonb NOT NULL, "
    "created_at timestamptz NOT NULL)"
)


def main() -> int:
    """Live through the fortnight; the exit status."""
    chosen = options(__doc__ or "", seed=1)
    started = time.monotonic()
    with store() as (settings, databases, clock):
        life = QUICK if chosen.quick else Life()
        with Fortnight(settings, databases, clock, life, chosen.seed, not chosen.no_background).opened() as fortnight:
            days = fortnight.live()
    weeks = [days[:7], days[7:]]
    first, second = (instant([day["counts"] for day in week]) for week in weeks)
    busy = [without_empty(day["counts"]) for day in weeks[1]]
    content = {
        "days": [shown(day) for day in days],
        "first_week_instant": first,
        "second_week_instant": second,
        "second_week_instant_without_empty_days": instant(busy),
        "first_visits_instant": instant([day["firsts"] for day in days]),
        "second_week_first_visits_instant": instant([day["firsts"] for day in weeks[1]]),
        "second_week_first_visits": sum(day["firsts"].total() for day in weeks[1]),
        "required": REQUIRED,
        "visits": sum(day["counts"].total() for day in days),
        "seed": chosen.seed,
        "background": not chosen.no_background,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(content, indent=2) if chosen.json else table(content))
    return 0 if second is not None and second >= REQUIRED else 1


@contextmanager
def store() -> Iterator[tuple[Settings, Databases, SimulatedClock]]:
    """A fresh store that lives by a clock of its own.

    The reader is off: it weighs pairs more carefully, which costs this process minutes and readers no visit.
    """
    with (
        empty_home(CREW_READER="off", CREW_THREADS="1", DAGSTER_EVENT_BATCH_SIZE="64") as settings,
        embedded_postgres(settings.home_path) as server,
    ):
        ensure_database(server.url("postgres"), APPLICATION_DATABASE)
        with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as connection:
            # Nothing here has to outlive a crash, and no time is measured.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        with (
            simulated_clock(server.url(APPLICATION_DATABASE), SWITCHED_ON) as clock,
            opened_store(settings) as databases,
        ):
            yield settings, databases, clock


def chance(seed: int, what: str) -> random.Random:
    """A source of chance of its own for each purpose, so that more of the one does not change the other."""
    return random.Random(f"{seed} {what}")  # noqa: S311 - not for secrets


class Fortnight:
    """Two weeks, event by event."""

    def __init__(
        self, settings: Settings, databases: Databases, clock: SimulatedClock, life: Life, seed: int, background: bool
    ) -> None:
        self._settings = settings
        self._databases = databases
        self._db: Database = databases.db
        self._clock = clock
        self._agenda = Agenda(clock)
        self._costs = Costs()
        self._background = background
        self._counts: Counter[str] = Counter()
        self._firsts: Counter[str] = Counter()
        self._visited: set[date] = set()
        self._ticks: set[datetime] = set()
        self._has_arrived = False
        oldest = FIRST - timedelta(days=life.backlog_days)
        told = arrivals(life, oldest, life.backlog_days + DAYS, chance(seed, "sessions"))
        self._backlog = [line for line in told if line.arrives_at <= SWITCHED_ON]
        self._to_come = [line for line in told if line.arrives_at > SWITCHED_ON]
        asked = visits(life, FIRST, DAYS, oldest, chance(seed, "visits"))
        self._visits = [visit for visit in asked if visit.at >= SWITCHED_ON]

    @contextmanager
    def opened(self) -> Iterator[Fortnight]:
        """With the instance, the definitions and the service that it needs."""
        url = libpq_url(self._databases.application)
        with (
            dagster_instance(prepare_home(self._settings)) as self._instance,
            psycopg.connect(url, autocommit=True) as self._history,
            asyncio.Runner() as self._loop,
        ):
            self._database = DatabaseResource(url=self._databases.application)
            definitions = build_defs(self._settings, {"database": self._database})
            self._sensor = definitions.resolve_sensor_def("new_sessions")
            self._sweep = definitions.resolve_schedule_def("sweep")
            self._machine = Machine(
                self._settings,
                self._db,
                self._instance,
                DayRunner(definitions, self._instance),
                self._agenda,
                self._costs,
                self._look_again,
            )
            self._scorer = (definitions.resources or {})["scorer"]
            self._service = DayService(
                self._db, Listener(self._db), fingerprint_of(self._settings), self._settings.document_cache_mb
            )
            self._loop.run(self._db.open_in_loop())
            try:
                yield self
            finally:
                self._loop.run(self._db.close_in_loop())

    def live(self) -> list[dict[str, Any]]:
        """Let it all happen; the figures of each day."""
        progress(f"{len(self._backlog):,} lines wait, {len(self._to_come):,} and {len(self._visits)} visits come")
        warm_up(self._scorer)
        self._switch_on()
        days = []
        for number in range(DAYS):
            day = FIRST + timedelta(days=number)
            midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
            self._agenda.work_off(midnight)
            # Days have grown older: the sensor and the sweep judge some of them otherwise.
            self._look_again()
            days.append(self._day_is_over(day))
        self._check_visits(days)
        return days

    def _switch_on(self) -> None:
        self._history.execute(_HISTORY)
        with self._db.write() as connection:
            set_history(connection, CLIENT, "agents", None, "told")
        self._tell(self._backlog)
        self._agenda.at(self._clock.now, self._check_clock)
        for line in self._to_come:
            self._agenda.at(line.arrives_at, partial(self._tell, [line]))
        for visit in self._visits:
            self._agenda.at(visit.at, partial(self._visit, visit))
        self._plan_sweep()

    def _check_clock(self) -> None:
        with self._db.read() as connection:
            found = connection.execute(text("SELECT DISTINCT created_at FROM data_items")).scalars().all()
        if found != [self._clock.now]:
            raise RuntimeError(f"the database does not live by the simulated clock: {found}")

    def _check_visits(self, days: Sequence[dict[str, Any]]) -> None:
        with self._db.read() as connection:
            stored = stored_visits.since(connection, timedelta(days=DAYS + 1))
        if sum(one.visits for one in stored.values()) != sum(day["counts"].total() for day in days):
            raise RuntimeError("the store has counted other visits")

    def _tell(self, lines: Sequence[Arrival]) -> None:
        rows = [
            (line.session, json.dumps({"type": line.speaker, "data": {"content": line.text}}), line.said_at)
            for line in lines
        ]
        with self._history.cursor() as cursor:
            cursor.executemany("INSERT INTO told (session_id, message, created_at) VALUES (%s, %s, %s)", rows)
        self._has_arrived = True
        self._look_again()

    def _look_again(self, after: timedelta = timedelta()) -> None:
        """Have the sensor evaluated at its next tick.

        It ticks every 30 s. A tick finds nothing new unless a line has arrived, a quiet period has ended, a day has
        been given back, asked for or finished, or midnight has passed since the last; the others are left out.
        """
        moment = self._clock.now + after
        whole = timedelta(seconds=-(moment - SWITCHED_ON).total_seconds() % _TICK.total_seconds())
        if (tick := moment + whole) not in self._ticks:
            self._ticks.add(tick)
            self._agenda.at(tick, self._tick)

    def _tick(self) -> None:
        self._ticks.discard(self._clock.now)
        resources = {"database": self._database}
        with self._evaluating(), dg.build_sensor_context(instance=self._instance, resources=resources) as context:
            found = self._sensor.evaluate_tick(context).run_requests or []
        if self._has_arrived:
            self._has_arrived = False
            self._look_again(after=QUIET)
        self._submit(found)

    def _submit(self, requests: Sequence[dg.RunRequest]) -> None:
        if self._background:
            self._machine.submit(list(requests))

    def _plan_sweep(self) -> None:
        cron = self._sweep.cron_schedule
        assert isinstance(cron, str)
        self._agenda.at(next_run(cron, self._settings, self._clock.now), self._sweep_tick)

    def _sweep_tick(self) -> None:
        context = dg.build_schedule_context(
            instance=self._instance,
            scheduled_execution_time=self._clock.now,
            resources={"database": self._database},
        )
        with self._evaluating():
            found = self._sweep.evaluate_tick(context).run_requests or []
        self._submit(found)
        self._plan_sweep()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """With the simulated machine's cores, whatever this one has; what the evaluations log is left out."""
        logging.disable(logging.INFO)
        try:
            with mock.patch.object(os, "cpu_count", return_value=self._costs.cores):
                yield
        finally:
            logging.disable(logging.NOTSET)

    def _visit(self, visit: Visit) -> None:
        """Ask as ``api.days`` does, without waiting, and count as it counts."""
        answer = self._loop.run(self._service.read(ClientDay(CLIENT, visit.day), wait_s=0))
        kind: Kind = "stale" if answer.stale else "hit" if answer.hit else "miss"
        with self._db.write() as connection:
            stored_visits.add(connection, {(CLIENT, kind): Visits(1, 1.0)})
        empty = answer.body == b"[]"
        self._counts["empty" if empty else kind] += 1
        if not empty and visit.day not in self._visited:
            self._visited.add(visit.day)
            self._firsts[kind] += 1
        if kind != "hit":
            self._machine.work()
            self._look_again()

    def _day_is_over(self, day: date) -> dict[str, Any]:
        with self._db.read() as connection:
            counts = stored_days.counts_by_status(connection)
        runs = self._machine.counts.taken()
        counted, self._counts = self._counts, Counter()
        firsts, self._firsts = self._firsts, Counter()
        figures = {
            "day": day,
            "counts": counted,
            "firsts": firsts,
            "waiting": sum(number for status, (number, _) in counts.items() if status != "completed"),
            "runs": runs,
        }
        progress(f"{day}: {counted.total()} visits, {counted['miss']} misses, {runs.background} background runs")
        return figures


def instant(counts: Sequence[Counter[str]]) -> float | None:
    """The share of visits that were answered at once, as ``storage.visits`` tells it; a day without conversations is a
    hit."""
    together: Counter[str] = sum(counts, Counter())
    kinds = {"hit": together["hit"] + together["empty"], "stale": together["stale"], "miss": together["miss"]}
    share = stored_visits.instant_share({kind: Visits(kinds[kind], 0.0) for kind in stored_visits.KINDS})
    return None if share is None else round(share, 4)


def without_empty(counts: Counter[str]) -> Counter[str]:
    """The visits of days that had conversations."""
    return Counter({kind: number for kind, number in counts.items() if kind != "empty"})


def shown(day: dict[str, Any]) -> dict[str, Any]:
    """The figures of a day as they are printed."""
    counts, runs = day["counts"], day["runs"]
    return {
        "day": day["day"].isoformat(),
        "visits": counts.total(),
        "hits": counts["hit"] + counts["empty"],
        "of_empty_days": counts["empty"],
        "stale": counts["stale"],
        "misses": counts["miss"],
        "instant": instant([counts]),
        "waiting_at_midnight": day["waiting"],
        "background_runs": runs.background,
        "on_demand_runs": runs.on_demand,
    }


def table(content: dict[str, Any]) -> str:
    """The figures for people."""
    names = list(content["days"][0])
    rows = [" ".join(f"{name:>19}" for name in names)]
    rows += [" ".join(f"{day[name]!s:>19}" for name in names) for day in content["days"]]
    rows += [f"{name:>40}  {value}" for name, value in content.items() if name != "days"]
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(main())
