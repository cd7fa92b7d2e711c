"""The state of the whole system in figures, as ``crew status`` shows it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from crew_pipeline.days import claims, requests
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue, states, visits
from crew_pipeline.storage.sources.rounds import Health, conversations_by_crew, health, left_out_by_crew
from crew_pipeline.storage.upkeep import alerts, workers
from crew_pipeline.storage.upkeep import health as system_health

_STATES_SHOWN = (
    DayState.COMPLETED,
    DayState.PROCESSING,
    DayState.QUEUED,
    DayState.PENDING,
    DayState.FAILED,
)
_QUEUE_SHOWN = 10
_RUNS_SHOWN = 10
_SAMPLES_SHOWN = 150
_VISITS_OVER = {"day": timedelta(days=1), "two_weeks": timedelta(days=14)}


def overview(db: Database, settings: Settings) -> dict[str, Any]:
    """Days by status, the head of the queue, the last runs, workers, the system, discovery and what is wrong."""
    with db.read() as connection:
        by_status = states.counts_by_status(connection)
        counts = conversations_by_crew(connection)
        waiting = queue.work(connection, fingerprint_of(settings), most=_QUEUE_SHOWN)
        return {
            "by_status": {
                name.value: {"days": by_status.get(name, (0, 0))[0], "conversations": by_status.get(name, (0, 0))[1]}
                for name in _STATES_SHOWN
            },
            "queue": [
                {
                    "day": work.day.isoformat(),
                    "client": work.client,
                    "priority": work.priority,
                    "conversations": work.conversations,
                    "lines": work.lines,
                }
                for work in waiting
            ],
            "last_runs": claims.last_ended(connection, _RUNS_SHOWN),
            "workers": workers.alive(connection),
            "system": _system(connection),
            "hit_rate": {name: _served(connection, back) for name, back in _VISITS_OVER.items()},
            "discovery": [_crew(crew, counts.get((crew.client, crew.crew), 0)) for crew in health(connection)],
            "left_out": [
                {"client": client, "crew": crew, "kinds": kinds}
                for (client, crew), kinds in left_out_by_crew(connection).items()
            ],
            "alerts": [alert._asdict() for alert in alerts.in_force(connection)],
        }


def operators_view(db: Database, settings: Settings) -> dict[str, Any]:
    """What the operator's page shows: the overview, failed days, a day of samples, two weeks of visits."""
    told = overview(db, settings)
    with db.read() as connection:
        samples = system_health.over(connection, _VISITS_OVER["day"], _SAMPLES_SHOWN)
        served = visits.by_day(connection, _VISITS_OVER["two_weeks"])
    return {
        **told,
        "failed": failed_days(db)["days"],
        "samples": [{**sample._asdict(), "longest_wait_s": sample.longest_wait_s} for sample in samples],
        "visits": [{"date": day, **kinds} for day, kinds in served],
    }


def _system(connection: Connection) -> dict[str, Any] | None:
    newest = system_health.newest_with_age(connection)
    if newest is None:
        return None
    sample, age_s = newest
    return {**sample._asdict(), "longest_wait_s": sample.longest_wait_s, "age_s": round(age_s, 1)}


def _served(connection: Connection, back: timedelta) -> dict[str, Any]:
    served = visits.since(connection, back)
    share = visits.instant_share(served)
    return {
        **{kind: total.visits for kind, total in served.items()},
        "instant": None if share is None else round(share, 4),
        "average_ms": {
            kind: round(total.milliseconds / total.visits, 1) if total.visits else None
            for kind, total in served.items()
        },
    }


def _crew(crew: Health, conversations: int) -> dict[str, Any]:
    return {
        "client": crew.client,
        "crew": crew.crew,
        "conversations": conversations,
        "last_run": crew.last_round_at,
        "last_success": crew.last_discovered_at,
        "last_seconds": None if crew.last_seconds is None else round(crew.last_seconds, 3),
        "consecutive_failures": crew.consecutive_failures,
        "last_error": crew.last_error,
        "next_attempt_at": crew.next_attempt_at,
        "last_day": {
            "rounds": crew.rounds,
            "scanned": crew.sessions_scanned,
            "created": crew.sessions_created,
            "changed": crew.sessions_changed,
            "skipped": crew.sessions_skipped,
            "errors": crew.rows_refused,
            "error_rate": round(crew.error_rate, 4),
        },
    }


def day_overview(db: Database, day: date) -> dict[str, Any]:
    """One day of every client."""
    with db.read() as connection:
        summaries = states.summaries(connection, day, day)
    return {"day": day.isoformat(), "days": [_day(summary) for summary in summaries]}


def failed_days(db: Database) -> dict[str, Any]:
    """The days whose last try failed, newest first, with their errors and when they are tried again."""
    with db.read() as connection:
        return {"days": [_failed(failed) for failed in queue.failed(connection)]}


def release_failed(db: Database, day: date | None, client: str | None) -> list[dict[str, Any]]:
    """Have days whose last try failed made again: one day at once, all of them in the background; returns them."""
    with db.read() as connection:
        chosen = [failed for failed in queue.failed(connection, client) if day in {None, failed.day}]
    for failed in chosen:
        client_day = ClientDay(failed.client, failed.day)
        with db.write() as connection:
            if day is None:
                requests.release(connection, client_day)
            else:
                requests.request(connection, client_day, force=True)
    state = DayState.QUEUED if day else DayState.PENDING
    return [{**_failed(failed), "status": state, "retry_at": None} for failed in chosen]


def _failed(failed: queue.FailedDay) -> dict[str, Any]:
    return {
        **failed._asdict(),
        "day": failed.day.isoformat(),
        "status": DayState.FAILED,
        "hidden": None,
        "characters": None,
        "hidden_characters": None,
    }


def _day(summary: states.Summary) -> dict[str, Any]:
    return {**summary._asdict(), "day": summary.day.isoformat()}
