"""The machine of a simulated fortnight: when background runs and the warm worker's runs begin and end.

Between the two moments a run holds its days by the claims that it would hold, made by the functions that it would call;
at the end the run is executed, with the same token. So whoever looks in between sees days that are being worked at, and
documents from before.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest

from benchmarks.simulated_clock import SimulatedClock
from crew_pipeline.days import claims
from crew_pipeline.days.planning import DayBatch, day_batch
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.model import ClaimOutcome, ClientDay, Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.dagster_internals import TagConcurrencyLimitsCounter, new_run_id
from crew_pipeline.orchestration.runs import DayRunner
from crew_pipeline.orchestration.tags import DAY_JOB
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline.storage.days.queue import Work

# Stands for a heartbeat: longer than any run takes.
_TTL_S = 6 * 3600
_NOT_READ = "days that a run did not find at its start"
_LOOKED_AT = 8


@dataclass(frozen=True)
class Costs:
    """What takes how long.

    Attributes:
        cores: of the machine.
        core_s_per_line: seconds of one core for a line: both encode some 250 lines a second (docs/benchmarks.md). What
            is known from before, vectors and judged pairs, is charged as if it were new.
        lines_each: how many lines of a larger team each line stands for; only time is reckoned with them.
        dequeue_s: until Dagster's daemon looks at its run queue again, at most (s).
        start_s: start of a background run's process, which imports the model's libraries (s).
        on_demand_s: an on-demand run apart from its lines (s).
        least_cores: what an on-demand run gets, however many cores background runs keep busy.
    """

    cores: int = 2
    core_s_per_line: float = 2 / 250
    lines_each: int = 8
    dequeue_s: float = 5.0
    start_s: float = 10.0
    on_demand_s: float = 0.5
    least_cores: float = 0.5

    def background_s(self, lines: int, cores: float) -> float:
        """Seconds from the moment that a run may start to its end."""
        return self.dequeue_s + self.start_s + self._core_s(lines) / min(cores, self.cores)

    def on_demand(self, lines: int, busy: float) -> float:
        """Seconds of an on-demand run while background runs keep ``busy`` cores."""
        return self.on_demand_s + self._core_s(lines) / max(self.least_cores, self.cores - busy)

    def _core_s(self, lines: int) -> float:
        return lines * self.lines_each * self.core_s_per_line


class Agenda:
    """What is going to happen, in order; the clock is moved to each moment."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self._numbers = itertools.count()
        self._heap: list[tuple[datetime, int, Callable[[], object]]] = []

    def at(self, moment: datetime, action: Callable[[], object]) -> None:
        """Have something happen; what is planned for one moment happens in the order in which it was planned."""
        heapq.heappush(self._heap, (moment, next(self._numbers), action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have something happen so much later than now."""
        self.at(self.clock.now + timedelta(seconds=seconds), action)

    def work_off(self, until: datetime) -> None:
        """Let everything happen that is due before ``until``, and stop there."""
        while self._heap and self._heap[0][0] < until:
            moment, _, action = heapq.heappop(self._heap)
            self.clock.move_to(moment)
            action()
        self.clock.move_to(until)


@dataclass
class Counts:
    """What was done since it was last asked."""

    background: int = 0
    on_demand: int = 0

    def taken(self) -> Counts:
        """The counts, which begin anew."""
        before = Counts(self.background, self.on_demand)
        self.background = self.on_demand = 0
        return before


@dataclass
class _Background:
    """A background run; ``record`` stands for it in Dagster's storage until it is executed."""

    record: DagsterRun
    batch: DayBatch
    run_id: str = field(default_factory=new_run_id)
    taken: list[date] = field(default_factory=list)

    @property
    def cores(self) -> float:
        return float(self.record.tags[tags.CORES])


class Machine:
    """Background runs as Dagster's queue lets them start, and one warm worker."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        instance: DagsterInstance,
        runner: DayRunner,
        agenda: Agenda,
        costs: Costs,
        on_change: Callable[[], object],
    ) -> None:
        """Args:
        on_change: called when a day has been given back or finished.
        """
        self.counts = Counts()
        self._settings = settings
        self._db = db
        self._instance = instance
        self._runner = runner
        self._agenda = agenda
        self._costs = costs
        self._on_change = on_change
        self._fingerprint = fingerprint_of(settings)
        self._limits = instance.get_concurrency_config().run_queue_config
        self._keys: set[str] = set()
        self._waiting: list[_Background] = []
        self._running: list[_Background] = []
        self._worker_is_busy = False

    def submit(self, requests: list[RunRequest]) -> None:
        """Queue what a sensor or a schedule asks for, each run key once for ever."""
        for request in requests:
            assert request.run_key is not None
            if request.run_key in self._keys:
                continue
            self._keys.add(request.run_key)
            record = DagsterRun(DAY_JOB, new_run_id(), tags=dict(request.tags), status=DagsterRunStatus.NOT_STARTED)
            self._instance.add_run(record)
            self._waiting.append(_Background(record, _batch_of(request)))
        self._dequeue()

    def work(self) -> None:
        """Let the worker take the most urgent day that was asked for, unless it is at work."""
        if self._worker_is_busy:
            return
        with self._db.read() as connection:
            waiting = queue.work(connection, self._fingerprint, which="urgent", most=_LOOKED_AT)
        for work in waiting:
            run_id = new_run_id()
            with self._db.write() as connection:
                taken = claims.take(connection, work.client_day, run_id, _TTL_S, work.lines)
            if taken:
                self._worker_is_busy = True
                busy = sum(run.cores for run in self._running)
                seconds = self._costs.on_demand(work.lines, busy)
                self._agenda.after(seconds, partial(self._worked, work, run_id))
                return

    def _dequeue(self) -> None:
        """Start what the limits of ``dagster.yaml`` allow, by priority, then in the order of arrival."""
        assert self._limits is not None
        counter = TagConcurrencyLimitsCounter(
            self._limits.tag_concurrency_limits, [run.record for run in self._running]
        )
        for run in sorted(self._waiting, key=lambda one: -one.batch.priority):
            if len(self._running) < self._limits.max_concurrent_runs and not counter.is_blocked(run.record):
                counter.update_counters_with_launched_item(run.record)
                self._waiting.remove(run)
                self._start(run)

    def _start(self, run: _Background) -> None:
        """Find and claim what the run's first asset would find and claim."""
        self._running.append(run)
        self.counts.background += 1
        lines = 0
        with self._db.write() as connection:
            found = queue.work(
                connection, self._fingerprint, days=_days(run.batch), which="waiting", claimed_as=[run.run_id]
            )
            for work in found:
                if claims.take(connection, work.client_day, run.run_id, _TTL_S, work.lines, background=True):
                    run.taken.append(work.day)
                    lines += work.lines
        seconds = self._costs.background_s(lines, run.cores)
        longest = float(run.record.tags.get("dagster/max_runtime", "inf"))
        if seconds > longest:
            raise RuntimeError(f"a run over {lines} lines would be ended after {longest:.0f} s; it takes {seconds:.0f}")
        self._agenda.after(seconds, partial(self._end, run))

    def _end(self, run: _Background) -> None:
        if run.taken:
            batch = run.batch._replace(first=min(run.taken), last=max(run.taken))
            others = [ClientDay(client, day) for client, day in self._units(batch) if day not in run.taken]
            self._kept_from(others, partial(self._execute, batch, run))
        self._running.remove(run)
        self._instance.delete_run(run.record.run_id)
        self._dequeue()
        self.work()
        self._on_change()

    def _execute(self, batch: DayBatch, run: _Background) -> None:
        # The share of the cores is in the simulated time already; the run itself need not rest.
        outcome = self._runner.run(batch, trigger=Trigger(run.record.tags[tags.TRIGGER]), run_id=run.run_id)
        self._settle(run.run_id, outcome.error)

    def _kept_from(self, client_days: list[ClientDay], act: Callable[[], None]) -> None:
        """Act while ``client_days`` are claimed: a run must not take days that it did not find at its start."""
        token = f"{_NOT_READ} {new_run_id()}"
        with self._db.write() as connection:
            kept = [
                client_day
                for client_day in client_days
                if claims.acquire(connection, client_day, token, _TTL_S, background=True)
            ]
        act()
        with self._db.write() as connection:
            for client_day in kept:
                claims.finish(connection, client_day, token, ClaimOutcome.RELEASED)

    def _units(self, batch: DayBatch) -> list[tuple[str, date]]:
        with self._db.read() as connection:
            found = queue.work(connection, self._fingerprint, days=_days(batch), force=True)
        return [(work.client, work.day) for work in found]

    def _worked(self, work: Work, run_id: str) -> None:
        self.counts.on_demand += 1
        outcome = self._runner.run(
            day_batch(work),
            trigger=Trigger.ON_DEMAND,
            client=work.client,
            force=True,
            run_id=run_id,
            more_tags=tags.on_demand_tags(self._settings, work.client),
        )
        self._settle(run_id, outcome.error)
        self._worker_is_busy = False
        self.work()
        self._on_change()

    def _settle(self, run_id: str, error: str | None) -> None:
        if error is not None:
            raise RuntimeError(f"a run failed: {error}")
        with self._db.write() as connection:
            claims.give_back(connection, run_id)


def _batch_of(request: RunRequest) -> DayBatch:
    one = request.tags.get("dagster/partition")
    first = one or request.tags["dagster/asset_partition_range_start"]
    last = one or request.tags["dagster/asset_partition_range_end"]
    return DayBatch(date.fromisoformat(first), date.fromisoformat(last), 0, 0, int(request.tags[tags.PRIORITY]))


def _days(batch: DayBatch) -> list[date]:
    return [batch.first + timedelta(days=number) for number in range((batch.last - batch.first).days + 1)]
