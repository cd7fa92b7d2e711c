"""``crew api``: the API alone."""

from __future__ import annotations

import gc
import signal
import sys
from typing import Annotated

import typer

from crew_pipeline.commands.common import in_home, log_to_stderr, open_store


@in_home
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
) -> None:
    """Run the API alone in the foreground (``crew up`` runs it for you)."""
    import uvicorn

    from crew_pipeline import telemetry
    from crew_pipeline.api.access import refuse_exposed
    from crew_pipeline.api.app import create_app
    from crew_pipeline.api.connections import server_options
    from crew_pipeline.api.naming import InLog
    from crew_pipeline.dedup.config import fingerprint_of

    # What threads compute must not keep those waiting whose day is ready: the loop has its turn ten times as often.
    sys.setswitchinterval(0.0005)
    # Uvicorn raises the signal again once it has stopped; the embedded server is left on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open_store() as (settings, databases):
        log_to_stderr(settings, InLog())
        refuse_exposed(databases.db, host)
        telemetry.start("crew-api")
        application = create_app(settings, databases.application, fingerprint_of(settings), host)
        # What is there now stays: to look through all of it again and again would make everybody wait.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)
        uvicorn.run(
            application, host=host, port=port, log_level=settings.log_level, **server_options(settings.trusted_proxies)
        )
