"""The rules that turn the system's samples and discovery's records into alerts. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from crew_pipeline.storage.sources.rounds import Health
from crew_pipeline.storage.upkeep.alerts import Condition
from crew_pipeline.storage.upkeep.health import Sample

# Specification D: errors over 10%; CPU over 95% or memory under 1 GB; queue over 1,000. It says nothing of
# worker and daemon; the daemon beats every 30 s.
MOST_FAILED_RUNS = 0.10
LEAST_RUNS = 10
"""Fewer runs in the hour make no rate. Of ten, one failure (10%) raises no alert, two do."""
MOST_CPU_PERCENT = 95.0
CPU_SUSTAINED_WITHIN = timedelta(minutes=15)
"""Two samples in a row count as one busy time only if they are at most this far apart."""
LEAST_MEMORY_MB = 1_000
MOST_DAYS_WAITING = 1_000
LONGEST_DAEMON_SILENCE_S = 120.0
SYSTEM_KINDS = ("runs_failing", "cpu_busy", "memory_low", "queue_long", "worker_missing", "daemon_silent")


# Specification B.
LONGEST_DISCOVERY_SILENCE = timedelta(minutes=10)
LONGEST_ROUND_S = 30.0
MOST_FAILED_SESSIONS = 0.05
MOST_FAILURES = 3
DISCOVERY_KINDS = ("discovery_silent", "discovery_slow", "discovery_errors", "discovery_failing")

_SUBJECT = "system"


def of_system(samples: Sequence[Sample], *, background: bool = True) -> list[Condition]:
    """What is wrong with the system.

    Args:
        samples: the newest first; two of them are enough.
        background: whether Dagster's daemon is expected to be at work.
    """
    if not samples:
        return []
    sample = samples[0]
    conditions = [*_of_the_queue(sample), *_of_the_machine(samples)]
    silence = sample.daemon_heartbeat_age_s
    if background and silence is not None and silence > LONGEST_DAEMON_SILENCE_S:
        conditions.append(_condition("daemon_silent", f"Dagster's daemon has not been heard of for {silence:,.0f} s"))
    return conditions


def _of_the_queue(sample: Sample) -> list[Condition]:
    conditions = []
    if sample.runs_ended >= LEAST_RUNS and sample.runs_failed / sample.runs_ended > MOST_FAILED_RUNS:
        share = f"{sample.runs_failed:,} of {sample.runs_ended:,}"
        conditions.append(_condition("runs_failing", f"{share} runs of the last hour failed"))
    if sample.days_waiting > MOST_DAYS_WAITING:
        conditions.append(_condition("queue_long", f"{sample.days_waiting:,} days wait to be processed"))
    if sample.days_asked and not sample.workers:
        conditions.append(
            _condition("worker_missing", f"{sample.days_asked:,} days were asked for and no worker is alive")
        )
    return conditions


def _of_the_machine(samples: Sequence[Sample]) -> list[Condition]:
    sample = samples[0]
    conditions = []
    busy = [sample for sample in samples[:2] if sample.cpu_percent > MOST_CPU_PERCENT]
    if len(busy) == 2 and busy[0].taken_at - busy[1].taken_at <= CPU_SUSTAINED_WITHIN:
        conditions.append(_condition("cpu_busy", f"the processors of {sample.host} are {sample.cpu_percent:.0f}% busy"))
    if sample.memory_free_mb < LEAST_MEMORY_MB:
        conditions.append(_condition("memory_low", f"{sample.host} has {sample.memory_free_mb:,} MB of memory left"))
    return conditions


def _condition(kind: str, message: str) -> Condition:
    return Condition(kind, _SUBJECT, message)


def of_discovery(crews: Sequence[Health], now: datetime, *, background: bool = True) -> list[Condition]:
    """What is wrong with discovery.

    Silent for 10 minutes; a round of over 30 s; over 5% of its sessions with errors; over three failures in a row.

    Args:
        background: whether rounds are expected to come by themselves.
    """
    conditions = []
    for crew in crews:
        name = f"{crew.client}/{crew.crew}"
        if background and crew.last_round_at is not None and now - crew.last_round_at > _patience(crew):
            minutes = int((now - crew.last_round_at).total_seconds() // 60)
            conditions.append(
                Condition("discovery_silent", name, f"{name} has not been discovered for {minutes} minutes")
            )
        if crew.last_seconds is not None and crew.last_seconds > LONGEST_ROUND_S and crew.last_finished:
            conditions.append(
                Condition("discovery_slow", name, f"the last round over {name} took {crew.last_seconds:.0f} s")
            )
        if crew.last_scanned and (crew.last_failed or 0) / crew.last_scanned > MOST_FAILED_SESSIONS:
            share = f"{crew.last_failed} of {crew.last_scanned} sessions"
            conditions.append(Condition("discovery_errors", name, f"{share} of {name} had rows that were refused"))
        if crew.consecutive_failures > MOST_FAILURES:
            times = f"{crew.consecutive_failures} times in a row"
            conditions.append(
                Condition("discovery_failing", name, f"discovery of {name} has failed {times}: {crew.last_error}")
            )
    return conditions


def _patience(crew: Health) -> timedelta:
    """How long a crew may be silent: longer after a failure, when it is left alone on purpose."""
    if crew.next_attempt_at is None or crew.last_round_at is None:
        return LONGEST_DISCOVERY_SILENCE
    return LONGEST_DISCOVERY_SILENCE + max(crew.next_attempt_at - crew.last_round_at, timedelta())
