"""A backfill by one, two and three Celery workers over one Postgres and one Redis, each on a host of its own.

The hosts are processes with homes, temporary files and a core of their own. Where there are fewer cores than workers,
and the databases and the daemon need some too, the days an hour of more workers say little; what a day costs each part
is measured beside them, for reckoning what more machines would reach. So is what a run costs that finds nothing to do,
and, where the days follow each other, what they cost as one run.
"""

from __future__ import annotations

import os
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from dagster import DagsterEventType, DagsterInstance, RunRecord, RunsFilter
from sqlalchemy import make_url, text

from benchmarks.common import (
    answers,
    days_by_size,
    free_port,
    loaded_store,
    options,
    progress,
    report,
)
from benchmarks.hosts import Host, cpu_s, redis_command
from benchmarks.latency import LAUNCH, REPOSITORY, ask
from crew_pipeline.orchestration.instance import dagster_instance
from crew_pipeline.orchestration.tags import DAY_JOB
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import Databases

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "dagster-celery.yaml"
WORKERS, WORKERS_QUICK = 3, 2
DAYS, DAYS_QUICK = 30, 6
QUEUE = "dagster"
LONGEST_S = 900.0
ASSETS = ("discovered_conversations", "line_embeddings", "semantic_clusters", "day_document")
MADE = (
    "pair_readings",
    "day_documents",
    "semantic_clusters",
    "day_comparisons",
    "day_claims",
    "day_events",
    "preliminary_documents",
)
OURS = ("worker_cpu_s", "postgres_cpu_s", "daemon_cpu_s", "redis_cpu_s")
IDLE_S, SETTLED_S = 20.0, 15.0
IN_A_ROW = 8
"""Runs that are launched at once; the example allows ten of backfills."""
NAMED = "crew/benchmark"
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}
"""
_SPENT = """
SELECT sum(active_time) FILTER (WHERE datname = :application) / 1000 AS application_s,
       sum(active_time) FILTER (WHERE datname <> :application) / 1000 AS dagster_s,
       sum(xact_commit) FILTER (WHERE datname = :application) AS application_commits,
       sum(xact_commit) FILTER (WHERE datname <> :application) AS dagster_commits,
       (pg_current_wal_lsn() - '0/0'::pg_lsn) / 1e6 AS log_mb
FROM pg_stat_database WHERE datname IN (:application, :dagster)
"""
_CLAIMED = "SELECT sum(extract(epoch FROM ended_at - claimed_at)) FROM day_claims WHERE token = ANY(:runs)"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


def main() -> None:
    """Backfill the same days by ever more workers, everything about them forgotten in between."""
    chosen = options(__doc__ or "", days=DAYS)
    count = DAYS_QUICK if chosen.quick else chosen.days
    with loaded_store(chosen.corpus) as (settings, databases):
        picked = sorted(days_by_size(databases)[:count])
        keep_only(databases.db, [day for day, _ in picked])
        with deployment(settings.home_path, databases) as there:
            idle = there.idle()
            there.add_worker()
            nothing = there.backfilled([(day, 0) for day in days_before(picked[0][0], len(picked))], idle, held=True)
            together = (picked[-1][0] - picked[0][0]).days + 1 == len(picked)
            whole = there.backfilled(picked, idle, as_one=True) if together else None
            measured = []
            for workers in range(1, (WORKERS_QUICK if chosen.quick else WORKERS) + 1):
                if workers > 1:
                    there.add_worker()
                measured.append({"workers": workers, **there.backfilled(picked, idle)})
                progress(f"{workers} workers: {measured[-1]['days_per_hour']} days an hour")
    content = {
        "days": len(picked),
        "lines": sum(lines for _, lines in picked),
        "cores": os.cpu_count(),
        "processor": processor(),
        "idle_cpu": {name: round(value, 4) for name, value in idle.items()},
        "runs_over_empty_days": nothing,
        "all_days_as_one_run": whole,
        "measured": measured,
    }
    report(content, as_json=chosen.json)


def days_before(first: date, count: int) -> list[date]:
    """Days on which nobody has said anything: a year earlier, in order."""
    return [first - timedelta(days=365 + number) for number in reversed(range(count))]


def processor() -> str:
    """The name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def keep_only(db: Database, picked: Sequence[date]) -> None:
    """Leave only the days that are measured in the store."""
    with db.write() as connection:
        connection.execute(text("DELETE FROM data_items WHERE NOT days_date = ANY(:days)"), {"days": list(picked)})


class Deployment:
    """The first host, with the daemon, the webserver and Redis, and the hosts of the workers."""

    def __init__(
        self, databases: Databases, first: Host, redis: Host, url: str, new_host: Callable[[int], Host]
    ) -> None:
        self._databases = databases
        self._db = databases.db
        self._first = first
        self._redis = redis
        self._url = url
        self._new_host = new_host
        self._workers: list[Host] = []

    def add_worker(self) -> None:
        """Start one more host with a worker, and wait until it has its model loaded."""
        host = self._new_host(len(self._workers))
        host.start_celery(QUEUE)
        self._workers.append(host)
        until(host.has_loaded, f"{host.name} has its model loaded")

    def idle(self) -> dict[str, float]:
        """What the parts spend in a second in which nobody asks for anything."""
        before = self._spent()
        time.sleep(IDLE_S)
        return {name: (value - before[name]) / IDLE_S for name, value in self._spent().items()}

    def backfilled(
        self, picked: Sequence[tuple[date, int]], idle: dict[str, float], *, held: bool = False, as_one: bool = False
    ) -> dict[str, Any]:
        """The figures of one backfill over these days, of which nothing is known before it.

        Args:
            idle: what the parts spend in a second anyway; left out of what a day costs.
            held: the workers stand still until all runs are submitted, so that the daemon has the machine to itself.
            as_one: one run takes all days, in the place of one each.
        """
        forget(self._db)
        connections = [self._connections()]
        before, asked = self._spent(), time.time()
        if held:
            self._signal(signal.SIGSTOP)
        name = f"{len(self._workers)} {asked}"
        (ask_for_run if as_one else ask_for_backfill)(self._url, name, [day.isoformat() for day, _ in picked])
        runs_expected = 1 if as_one else len(picked)
        with dagster_instance(Path(os.environ["DAGSTER_HOME"])) as instance:
            if held:
                until(lambda: len(runs_of(instance, name)) == len(picked), "the runs are submitted")
                time.sleep(IN_A_ROW)
                self._signal(signal.SIGCONT)
            until(lambda: self._finished(instance, name, runs_expected, connections), "the backfill is made")
            time.sleep(2)  # the server tells its statistics late
            spent, passed = self._spent(), time.time() - asked
            runs = runs_of(instance, name)
            figures = {
                **of_runs(self._db, runs, len(self._workers), len(picked)),
                **({} if as_one else of_queue(instance, runs)),
            }
        others_s = spent.pop("machine_cpu_s") - before["machine_cpu_s"] - sum(spent[one] - before[one] for one in OURS)
        days, lines = len(picked), sum(size for _, size in picked)
        a_day = {f"{part}_a_day": (spent[part] - before[part] - idle[part] * passed) / days for part in spent}
        return {
            "days_per_hour": round(3600 * days / figures["seconds"]),
            "lines_per_hour": round(3600 * lines / figures["seconds"]),
            "asked_to_begun_s": round(min(run.start_time or asked for run in runs) - asked, 2),
            **{name: round(value, 3) for name, value in {**figures, **a_day}.items()},
            "connections": max(connections) - connections[0],
            "cores_busy_with_other_work": round(others_s / passed, 2),
        }

    def _signal(self, number: signal.Signals) -> None:
        for host in self._workers:
            host.signal(number)

    def _finished(self, instance: DagsterInstance, name: str, expected: int, connections: list[int]) -> bool:
        connections.append(self._connections())
        with self._db.read() as connection:
            if connection.scalar(text("SELECT count(*) FROM day_claims WHERE ended_at IS NULL")):
                return False
        runs = runs_of(instance, name)
        return len(runs) == expected and all(run.dagster_run.is_finished for run in runs)

    def _connections(self) -> int:
        with self._db.read() as connection:
            return int(connection.scalar(text(_CONNECTIONS)) or 0)

    def _spent(self) -> dict[str, float]:
        """What every part has spent so far: processor time and time in statements (s), commits, log written (MB)."""
        names = {
            "application": make_url(self._databases.application).database,
            "dagster": make_url(self._databases.dagster).database,
        }
        with self._db.read() as connection:
            row = connection.execute(text(_SPENT), names).one()
        assert self._databases.embedded is not None
        postgres = int((self._databases.embedded.folder / "postmaster.pid").read_text().split()[0])
        return {
            "worker_cpu_s": sum(host.cpu_s() for host in self._workers),
            "postgres_cpu_s": cpu_s(postgres),
            "daemon_cpu_s": self._first.cpu_s(),
            "redis_cpu_s": self._redis.cpu_s(),
            "machine_cpu_s": busy_s(),
            **{name: float(value) for name, value in row._mapping.items()},
        }


@contextmanager
def deployment(folder: Path, databases: Databases) -> Iterator[Deployment]:
    """A deployment of the example's configuration, without a worker as yet."""
    redis_port, webserver_port = free_port(), free_port()
    variables = {
        **databases.environment(),
        "CREW_CELERY_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "CREW_BACKFILL_DAYS": "1",
        "CREW_ENABLE_BACKGROUND_JOBS": "false",
        # The hosts of workers do nothing else.
        "CREW_CPU_SHARE_BUSINESS": "1",
        "CREW_CPU_SHARE_OUTSIDE": "1",
        "CREW_THREADS": "1",
    }
    configuration = EXAMPLE.read_text(encoding="utf-8")
    cores = os.cpu_count() or 1
    with ExitStack() as stack:

        def new_host(name: str, core: int | None = None) -> Host:
            host = Host(name, folder, configuration, variables, core)
            stack.callback(host.stop)
            return host

        redis, first = new_host("redis"), new_host("first")
        redis.start_program("redis", redis_command(redis_port))
        url = f"http://127.0.0.1:{webserver_port}"
        workspace = ["-w", str(shipped("workspace.yaml"))]
        first.start("daemon", ["dagster._daemon", "run", *workspace])
        first.start("webserver", ["dagster_webserver", "-h", "127.0.0.1", "-p", str(webserver_port), *workspace])
        os.environ.update({**variables, "DAGSTER_HOME": str(first.dagster_home)})
        until(lambda: answers(f"{url}/server_info"), "the webserver answers")
        time.sleep(SETTLED_S)
        yield Deployment(
            databases,
            first,
            redis,
            f"{url}/graphql",
            lambda number: new_host(f"worker-{number + 1}", (cores - 1 - number) % cores),
        )


def ask_for_backfill(url: str, name: str, days: Sequence[str]) -> None:
    """Ask for a backfill whose runs have a tag with a name."""
    tags = [{"key": NAMED, "value": name}]
    params = {"assetSelection": [{"path": [asset]} for asset in ASSETS], "partitionNames": list(days), "tags": tags}
    ask(url, BACKFILL, params=params)


def ask_for_run(url: str, name: str, days: Sequence[str]) -> None:
    """Ask for one run over all days from the first to the last, with a tag with a name."""
    (repository,) = ask(url, REPOSITORY)["repositoriesOrError"]["nodes"]
    tags = {
        "dagster/asset_partition_range_start": days[0],
        "dagster/asset_partition_range_end": days[-1],
        NAMED: name,
    }
    params = {
        "selector": {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
            "jobName": DAY_JOB,
            "assetSelection": [{"path": [asset]} for asset in ASSETS],
        },
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }
    ask(url, LAUNCH, params=params)


def runs_of(instance: DagsterInstance, name: str) -> Sequence[RunRecord]:
    """The runs that were asked for by a name."""
    return instance.get_run_records(RunsFilter(tags={NAMED: name}))


def of_runs(db: Database, runs: Sequence[RunRecord], workers: int, days: int) -> dict[str, float]:
    """From the first run's start to the last one's end, and where a worker's time went, a day each (s)."""
    with db.read() as connection:
        claimed = float(connection.scalar(text(_CLAIMED), {"runs": [run.dagster_run.run_id for run in runs]}) or 0)
    starts, ends = [run.start_time or 0.0 for run in runs], [run.end_time or 0.0 for run in runs]
    seconds = max(ends) - min(starts)
    in_runs = sum(ends) - sum(starts)
    return {
        "seconds": seconds,
        "claimed_s_a_day": claimed / days,
        "rest_of_run_s_a_day": (in_runs - claimed) / days,
        "between_runs_s_a_day": (workers * seconds - in_runs) / days,
    }


def of_queue(instance: DagsterInstance, runs: Sequence[RunRecord]) -> dict[str, float]:
    """How long the daemon takes to submit a run and to launch one, where it does several in a row (s), and events."""
    created = sorted(run.create_timestamp.timestamp() for run in runs)
    launched, events = [], 0
    for run in runs:
        log = instance.all_logs(run.dagster_run.run_id)
        events += len(log)
        launched += [one.timestamp for one in log if one.dagster_event_type == DagsterEventType.RUN_STARTING]
    launched.sort()
    return {
        "submit_s": statistics.median(after - before for before, after in pairwise(created)),
        "launch_s": statistics.median(after - before for before, after in pairwise(launched[:IN_A_ROW])),
        "dagster_events_a_day": events / len(runs),
    }


def forget(db: Database) -> None:
    """Make all days ones that were never processed."""
    with db.write() as connection:
        for table in MADE:
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE data_items SET semantic_status = 'pending'"))


def busy_s() -> float:
    """Processor time of everything on this machine so far, that of its host's other guests included (s)."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def until(happened: Callable[[], bool], what: str) -> None:
    """Look twice a second until something has happened."""
    deadline = time.monotonic() + LONGEST_S
    while not happened():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {LONGEST_S:.0f} s: {what}")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
