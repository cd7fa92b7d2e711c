"""The indexes of search follow the documents, one run at a time, and one materialization makes them from nothing."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from crew_pipeline.history.search.index import SEARCH_FOLDER, OpenIndex
from crew_pipeline.history.search.searching import Search, find
from crew_pipeline.orchestration.history.search import index_of
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Run, bring, lines_at


def tick(definitions: dg.Definitions, instance: DagsterInstance) -> dg.ScheduleEvaluationContext:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 1, 20, 12, tzinfo=UTC),
        resources={"database": definitions.resources["database"]},
    )
    return definitions.resolve_schedule_def("index_search").evaluate_tick(context)


def found(db: Database, settings: Settings, client: str, words: str) -> int:
    opened = OpenIndex(index_of(settings, client))
    opened.look_again()
    return len(find(db, opened, client, Search(words, mode="words")))


def test_what_has_changed_is_taken_in_by_the_next_tick(
    db: Database, settings: Settings, definitions: dg.Definitions, fresh_instance: DagsterInstance, run_days: Run
) -> None:
    # Other tests have left indexes of clients that are not in this database.
    shutil.rmtree(settings.home_path / SEARCH_FOLDER, ignore_errors=True)
    assert tick(definitions, fresh_instance).skip_message == "everything is in the indexes"
    bring(db, lines_at("2025-01-14", "a", ("Ann", "the pump is running again")), client="acme")
    bring(db, lines_at("2025-01-14", "a", ("Ann", "the pump is broken")), client="rival")
    assert run_days("2025-01-14").success
    (request,) = tick(definitions, fresh_instance).run_requests
    job = definitions.resolve_job_def("index_search")
    result = job.execute_in_process(instance=fresh_instance, tags=request.tags)
    assert result.success
    (made,) = result.get_asset_materialization_events()
    figures = {key: value.value for key, value in made.materialization.metadata.items()}
    assert (figures["clients"], figures["days"], figures["documents"], figures["days_indexed"]) == (2, 2, 2, 2)
    assert "| acme | 1 | 1 |" in figures["by_client"]
    assert [found(db, settings, client, "running") for client in ("acme", "rival")] == [1, 0]
    assert tick(definitions, fresh_instance).skip_message == "everything is in the indexes"

    config = dg.RunConfig(ops={"search_index": {"config": {"anew": True}}})
    anew = job.execute_in_process(instance=fresh_instance, run_config=config)
    (made,) = anew.get_asset_materialization_events()
    assert made.materialization.metadata["days_indexed"].value == 2
    assert found(db, settings, "acme", "running") == 1


def test_a_tick_is_skipped_while_an_earlier_run_is_at_work(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, run_days: Run
) -> None:
    bring(db, lines_at("2025-01-14", "a", ("Ann", "the pump is running again")))
    assert run_days("2025-01-14").success
    fresh_instance.create_run_for_job(definitions.resolve_job_def("index_search"), status=DagsterRunStatus.STARTED)
    assert "still at work" in str(tick(definitions, fresh_instance).skip_message)
