"""``crew env``: the variables for a Dagster of your own."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime

from crew_pipeline.commands.common import in_home, open_store


@in_home
def env() -> None:
    """Print the variables by which a Dagster of your own finds the databases: eval "$(crew env)"."""
    from crew_pipeline.orchestration import partitions
    from crew_pipeline.orchestration.instance import prepare_home

    with open_store() as (settings, databases):
        with databases.db.read() as connection:
            shown = partitions.variables(connection, settings, datetime.now(UTC))
        variables = {**databases.environment(), "DAGSTER_HOME": str(prepare_home(settings)), **shown}
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
