"""The tags by which runs of the day job tell who asked for them and what they may do."""

from crew_pipeline.settings import Settings

TRIGGER = "crew/trigger"
CLIENT = "crew/client"
CLAIM = "crew/claim"
"""A claim that was made for the run before it started."""
TURN = "crew/turn_s"
"""How long the run may embed before it lets others go first (s)."""
LANE = "crew/lane"
"""Of the background runs of one lane one is executed at a time (``dagster.yaml``)."""
CORES = "crew/cores"
"""How many cores a background run may keep busy."""
PRIORITY = "dagster/priority"
RUN_RETRIES = "dagster/max_retries"
MAX_RUNTIME = "dagster/max_runtime"
CELERY_QUEUE = "dagster-celery/queue"
"""The queue that the Celery run launcher puts the run into; other launchers do not mind it."""

ON_DEMAND = "on-demand"
SWEEP = "sweep"
SENSOR = "sensor"
URGENT = "urgent"


def on_demand(settings: Settings, client: str) -> dict[str, str]:
    """The tags of a run that a reader waits for."""
    return {TRIGGER: ON_DEMAND, CLIENT: client, TURN: f"{settings.on_demand_limit_s:g}"}
