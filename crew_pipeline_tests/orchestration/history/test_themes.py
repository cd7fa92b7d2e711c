"""Themes follow the days by ticks, one run at a time, and one materialization fits them from nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Ready
from crew_pipeline_tests.history.themes.talk import SUBJECTS, History


def tick(definitions: dg.Definitions, instance: DagsterInstance) -> Any:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 2, 20, 12, tzinfo=UTC),
        resources={"database": definitions.resources["database"]},
    )
    return definitions.resolve_schedule_def("follow_themes").evaluate_tick(context)


def figures(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (made,) = result.get_asset_materialization_events()
    return {key: value.value for key, value in made.materialization.metadata.items()}


def test_new_days_are_taken_in_by_the_next_tick(
    db: Database, make_ready: Ready, definitions: dg.Definitions, fresh_instance: DagsterInstance
) -> None:
    assert tick(definitions, fresh_instance).skip_message == "every day is in the themes"
    history = History(db, make_ready)
    history.weeks(2)
    history.weeks(1, client="rival")
    (request,) = tick(definitions, fresh_instance).run_requests
    job = definitions.resolve_job_def("follow_themes")
    done = figures(job.execute_in_process(instance=fresh_instance, tags=request.tags))
    assert (done["clients"], done["days"], done["fitted"], done["segments"]) == (2, 15, 2, 90)
    assert "| acme | 60 |" in done["by_client"]
    # Dagster's tables hold no words of conversations.
    assert not any(subject in repr(done) for subject in SUBJECTS)
    assert tick(definitions, fresh_instance).skip_message == "every day is in the themes"
    config = dg.RunConfig(ops={"themes": {"config": {"anew": True}}})
    again = figures(job.execute_in_process(instance=fresh_instance, run_config=config))
    assert (again["days"], again["fitted"], again["moved"], again["drift"]) == (0, 2, 0, 0)


def test_a_tick_is_skipped_while_an_earlier_run_is_at_work(
    db: Database, make_ready: Ready, definitions: dg.Definitions, fresh_instance: DagsterInstance
) -> None:
    History(db, make_ready).weeks(1)
    fresh_instance.create_run_for_job(definitions.resolve_job_def("follow_themes"), status=DagsterRunStatus.STARTED)
    assert "still at work" in str(tick(definitions, fresh_instance).skip_message)
