"""Celery workers for the runs of a Dagster deployment: a process has the model loaded before its first run.

    celery -A crew_pipeline.workers.celery_app worker -Q urgent

Broker, result store and default queue are those of the run launcher in the ``dagster.yaml`` of ``DAGSTER_HOME``. Each
worker process executes one run at a time; two in threads of one process would deadlock.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init
from dagster import DagsterInstance
from dagster_celery.config import TASK_EXECUTE_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_resume_job_task

from crew_pipeline.orchestration import dagster_internals
from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
from crew_pipeline.orchestration.runs import release_memory
from crew_pipeline.settings import Settings, process_settings
from crew_pipeline.workers.warm import warm_up

logger = logging.getLogger(__name__)

_LOADED_WITHIN_S = 600.0


class LauncherError(RuntimeError):
    """The deployment does not launch runs through Celery; the message says what to configure."""


def build_app(settings: Settings) -> Celery:
    """The application that executes what the instance's Celery run launcher sends.

    Raises:
        LauncherError: the instance has another run launcher.
    """
    with DagsterInstance.get() as instance:
        launcher = instance.run_launcher
    if not isinstance(launcher, CeleryRunLauncher):
        raise LauncherError(
            f"The dagster.yaml in DAGSTER_HOME names {type(launcher).__name__} as run launcher; Celery workers need "
            "dagster_celery.launcher.CeleryRunLauncher there, see docs/dagster-way.md."
        )
    app = launcher.celery
    app.task(execute_run, name=TASK_EXECUTE_JOB_NAME, track_started=True)
    create_resume_job_task(app)
    app.conf.update(
        worker_pool="prefork",
        worker_concurrency=1,
        # A run that waits is left to whichever process is free, not kept for one that is at work.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # Celery ends a process that is not up after 4 s; importing torch alone takes longer.
        worker_proc_alive_timeout=_LOADED_WITHIN_S,
        worker_max_memory_per_child=settings.memory_limit_mb * 1024,
    )
    return app


def execute_run(execute_job_args_packed: Any) -> int:
    """Execute a run as dagster-celery's own task does, but over connections that are kept for its length.

    Otherwise Dagster stores each event over a connection of its own, which costs a short day a second.

    Returns:
        0, or 1 for a run that failed.
    """
    with dagster_instance(prepare_home(process_settings())) as instance:
        status = dagster_internals.execute_run(execute_job_args_packed, instance)
    release_memory()
    return status


def load_model(**_: Any) -> None:
    """Load the model in a process that Celery has just forked; not before, since torch's threads do not survive it."""
    from crew_pipeline.definitions import defs  # what the runs of this process load

    started = time.monotonic()
    warm_up((defs.resources or {})["scorer"])
    logger.info("process %d has its model loaded after %.1f s", os.getpid(), time.monotonic() - started)


worker_process_init.connect(load_model)
app = build_app(process_settings())
