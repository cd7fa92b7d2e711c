"""``crew worker`` keeps warm workers alive; ``crew worker-process`` is one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import in_home, log_to_stderr, open_store
from crew_pipeline.settings import load_settings


@in_home
def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Worker processes; each makes one day at a time.", min=1, max=64)
    ] = None,
) -> None:
    """Run warm workers in the foreground and keep them alive (``crew up`` runs them for you)."""
    from crew_pipeline.orchestration.instance import prepare_home
    from crew_pipeline.processes.pool import READY_WITHIN_S, environment, grace_s, worker_children
    from crew_pipeline.processes.supervisor import Supervisor

    supervisor = Supervisor()
    supervisor.stop_on_signals()
    log_to_stderr(load_settings())
    with open_store() as (settings, databases):
        count = concurrency or settings.workers
        variables = environment(settings, databases, prepare_home(settings), count)
        processes = worker_children(settings, databases, count, logged=False)
        supervisor.watch(processes, variables, databases.revive, grace_s(settings))
        try:
            if supervisor.start(READY_WITHIN_S, lambda name: console.say(f"{name} is ready")):
                supervisor.run()
        finally:
            supervisor.stop()


@in_home
def worker_process() -> None:
    """Run one worker; its exit status asks for a new start when it has grown too large."""
    from crew_pipeline import telemetry

    log_to_stderr(load_settings())
    telemetry.start("crew-worker")
    with open_store() as (settings, databases):
        if settings.on_demand == "dagster":
            from crew_pipeline.workers.dispatcher import run_dispatcher as run
        else:
            from crew_pipeline.workers.worker import run_worker as run
        code = run(settings, databases)
    raise typer.Exit(code)
