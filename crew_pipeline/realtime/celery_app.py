"""``celery -A crew_pipeline.realtime.celery_app``: the old path of ``crew_pipeline.workers.celery_app``."""

from crew_pipeline.workers.celery_app import app

__all__ = ["app"]
