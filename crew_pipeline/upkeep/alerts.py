"""Raises each alert once, resolves it when it is over, and tells the log and the webhook of the settings."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

import httpx

from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.rounds import health
from crew_pipeline.storage.upkeep import alerts
from crew_pipeline.storage.upkeep.alerts import News
from crew_pipeline.upkeep.alert_rules import DISCOVERY_KINDS, of_discovery

logger = logging.getLogger(__name__)
# httpx logs every address that it posts to; that of a webhook is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)

_TELL_WITHIN_S = 5.0


def announce(db: Database, settings: Settings, turns: Iterable[News]) -> None:
    """Log each turn of an alert, and tell the webhook whatever it has not been told yet.

    To be called after the turns are committed. A webhook that does not take them is told the next time.
    """
    for turn in turns:
        log = logger.warning if turn.state == "raised" else logger.info
        log("alert %s: %s", turn.state, turn.alert.message)
    if settings.alert_webhook_url:
        _tell(db, settings.alert_webhook_url)


def _tell(db: Database, url: str) -> None:
    """Post what has not been told yet; what cannot be told now is told the next time."""
    with db.write() as connection, httpx.Client(timeout=_TELL_WITHIN_S) as client:
        for news in alerts.untold(connection):
            try:
                client.post(url, json=alerts.content(news)).raise_for_status()
            except httpx.HTTPError as error:
                logger.warning("the alert webhook does not take alerts (%s); trying again later", type(error).__name__)
                return
            alerts.told(connection, news)


def watch_discovery(db: Database, settings: Settings, now: datetime) -> list[News]:
    """Raise, resolve and announce the alerts of discovery; returns those turns."""
    with db.write() as connection:
        conditions = of_discovery(health(connection), now, background=settings.enable_background_jobs)
        news = alerts.settle(connection, DISCOVERY_KINDS, conditions, now)
    announce(db, settings, news)
    return news
