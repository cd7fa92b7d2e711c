"""When the newest days are embedded, and summarised where that was left out."""

from collections.abc import Callable

from dagster import ScheduleDefinition

from crew_pipeline.dedup.embedding import vectors_id
from crew_pipeline.history.summaries import update
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.history import by_day, following
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.storage.evidence import embeddings


def build_embedding_schedule(settings: Settings) -> ScheduleDefinition:
    """Every five minutes, as long as any day is without vectors."""
    model = vectors_id(settings.model, settings.precision)

    def without(db: Database) -> list[Work]:
        with db.read() as connection:
            return embeddings.days_without(connection, model, by_day.MOST_DAYS)

    said = ("Embeds what the newest days show, and summarises them.", "what every day shows is embedded")
    return _build(settings, tags.EMBEDDING_JOB, "*/5 * * * *", without, said)


def build_summaries_schedule(settings: Settings) -> ScheduleDefinition:
    """For days that have vectors and no points: after an upgrade, or where a run broke off."""

    def without(db: Database) -> list[Work]:
        return update.days_without(db, by_day.MOST_DAYS)

    said = ("Chooses the points of days that have none.", "every day has its points")
    return _build(settings, tags.SUMMARIES_JOB, "2-59/10 * * * *", without, said)


def _build(
    settings: Settings, job: str, cron: str, without: Callable[[Database], list[Work]], said: tuple[str, str]
) -> ScheduleDefinition:
    return following.build_schedule(settings, job, cron, lambda db: by_day.newest(without(db), settings), said)
