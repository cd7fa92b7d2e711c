"""``crew up``: everything on this machine, until it is told to stop."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import in_home, open_store
from crew_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from crew_pipeline.processes.everything import Addresses
    from crew_pipeline.processes.partitions import ShownDays
    from crew_pipeline.storage.opening import Databases


@in_home
def up(
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API.", min=1, max=65535)] = 8000,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.", min=1, max=65535)] = 3000,
) -> None:
    """Start everything on this machine: database, Dagster, warm worker, API. Ctrl-C stops all of it."""
    from crew_pipeline.api.access import refuse_exposed
    from crew_pipeline.orchestration.instance import daemon_age_s, dagster_instance, prepare_home
    from crew_pipeline.processes.dagster_webserver import SECRET_VARIABLE
    from crew_pipeline.processes.everything import Addresses, alone_in, children, refuse_taken_port
    from crew_pipeline.processes.partitions import ShownDays
    from crew_pipeline.processes.pool import READY_WITHIN_S, environment, grace_s
    from crew_pipeline.processes.supervisor import Supervisor

    supervisor = Supervisor()
    supervisor.stop_on_signals()
    with alone_in(load_settings().home_path), open_store() as (settings, databases):
        refuse_exposed(databases.db, host)
        refuse_taken_port(host, port)
        refuse_taken_port("127.0.0.1", dagster_port)
        home = prepare_home(settings)
        addresses = Addresses(host, port, dagster_port)
        variables = environment(settings, databases, home, settings.workers)
        secret = variables.setdefault(SECRET_VARIABLE, secrets.token_urlsafe(24))
        within = addresses.dagster.replace("://", f"://crew:{secret}@")
        variables.setdefault("CREW_DAGSTER_GRAPHQL_URL", f"{within}/graphql")
        with dagster_instance(home) as instance:
            # Dagster's tables are made here, once: the processes would otherwise race to create them.
            instance.get_runs_count()
            days = ShownDays(settings, databases, instance, supervisor.start_anew)
            processes = children(settings, databases, addresses, lambda: daemon_age_s(instance))
            supervisor.watch(processes, variables | days.variables, _upkeep(databases, days), grace_s(settings))
            try:
                console.say("Starting database, worker, API and Dagster…")
                if supervisor.start(READY_WITHIN_S, lambda name: console.say(f"  {name} is ready")):
                    _say_where(settings, addresses, guarded=_has_tokens(databases))
                    supervisor.run()
            finally:
                console.say("Stopping…")
                supervisor.stop()


def _upkeep(databases: Databases, days: ShownDays) -> Callable[[], None]:
    def keep_up() -> None:
        databases.revive()
        days.follow()

    return keep_up


def _say_where(settings: Settings, addresses: Addresses, *, guarded: bool) -> None:
    console.say(f"\nThe day page and API   {addresses.api}   (docs: {addresses.api}/docs)")
    signed_in = "   (sign in with a token of scope admin)" if guarded else ""
    console.say(f"The Dagster UI         {addresses.dagster}{signed_in}")
    console.say(f"\n{_next_discovery(settings)}")
    console.say(f"Data and logs are in {settings.home_path}. Ctrl-C stops everything.")


def _has_tokens(databases: Databases) -> bool:
    from crew_pipeline.storage import tokens

    with databases.db.read() as connection:
        return tokens.any_created(connection)


def _next_discovery(settings: Settings) -> str:
    from crew_pipeline.orchestration.discovery.schedule import discovery_cron
    from crew_pipeline.orchestration.ticks import next_run

    if not settings.enable_background_jobs:
        return "Background jobs are off: 'crew discover' and 'crew process' do their work."
    cron = discovery_cron(settings)
    return f"History tables are looked at by {cron}, next at {next_run(cron, settings, datetime.now(UTC)):%H:%M %Z}."
