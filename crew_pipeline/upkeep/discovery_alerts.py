"""Is discovery well? Conditions from its own records, alerts from conditions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.rounds import Health, health
from crew_pipeline.storage.upkeep import alerts
from crew_pipeline.storage.upkeep.alerts import Condition, News
from crew_pipeline.upkeep.announcing import announce

SILENCE = timedelta(minutes=10)
LONGEST_ROUND_S = 30.0
MOST_FAILED_SESSIONS = 0.05
MOST_FAILURES = 3
KINDS = ("discovery_silent", "discovery_slow", "discovery_errors", "discovery_failing")


def conditions(crews: Sequence[Health], now: datetime, *, background: bool = True) -> list[Condition]:
    """What is wrong with discovery (specification B).

    Silent for 10 minutes; a round of over 30 s; over 5% of its sessions with errors; over three failures in a row.

    Args:
        background: whether rounds are expected to come by themselves.
    """
    found = []
    for crew in crews:
        name = f"{crew.client}/{crew.crew}"
        if background and crew.last_round_at is not None and now - crew.last_round_at > _patience(crew):
            minutes = int((now - crew.last_round_at).total_seconds() // 60)
            found.append(Condition(KINDS[0], name, f"{name} has not been discovered for {minutes} minutes"))
        if crew.last_seconds is not None and crew.last_seconds > LONGEST_ROUND_S and crew.last_finished:
            found.append(Condition(KINDS[1], name, f"the last round over {name} took {crew.last_seconds:.0f} s"))
        if crew.last_scanned and (crew.last_failed or 0) / crew.last_scanned > MOST_FAILED_SESSIONS:
            share = f"{crew.last_failed} of {crew.last_scanned} sessions"
            found.append(Condition(KINDS[2], name, f"{share} of {name} had rows that were refused"))
        if crew.consecutive_failures > MOST_FAILURES:
            times = f"{crew.consecutive_failures} times in a row"
            found.append(Condition(KINDS[3], name, f"discovery of {name} has failed {times}: {crew.last_error}"))
    return found


def _patience(crew: Health) -> timedelta:
    """How long a crew may be silent: one that has failed is left alone on purpose for a while."""
    if crew.next_attempt_at is None or crew.last_round_at is None:
        return SILENCE
    return SILENCE + max(crew.next_attempt_at - crew.last_round_at, timedelta())


def watch(db: Database, settings: Settings, now: datetime) -> list[News]:
    """Raise and resolve the alerts of discovery, log each turn, and tell the webhook; returns what has turned."""
    with db.write() as connection:
        found = conditions(health(connection), now, background=settings.enable_background_jobs)
        news = alerts.settle(connection, KINDS, found, now)
    announce(db, settings, news)
    return news
