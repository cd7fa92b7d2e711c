"""Vectors of what the days show are made after the document, in runs of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy import text

from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Run, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]


def tick(
    definitions: dg.Definitions, instance: DagsterInstance, schedule: str = "embed_texts"
) -> dg.ScheduleEvaluationContext:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 1, 20, 12, tzinfo=UTC),
        resources={"database": definitions.resources["database"]},
    )
    return definitions.resolve_schedule_def(schedule).evaluate_tick(context)


def test_the_newest_days_are_embedded_in_one_run_after_their_documents(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    bring(db, lines_at("2025-01-14", "a", ("Ann", "The pump is running again.")))
    bring(db, lines_at("2025-01-15", "b", ("Bo", "The pump is running again."), ("Bo", "Who has the key?")))
    assert tick(definitions, fresh_instance).skip_message == "what every day shows is embedded"
    assert run_days("2025-01-14", "2025-01-15").success
    (request,) = tick(definitions, fresh_instance).run_requests
    assert request.tags["dagster/asset_partition_range_start"] == "2025-01-14"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-01-15"
    job = definitions.resolve_job_def("embed_texts")
    result = job.execute_in_process(instance=fresh_instance, tags=request.tags)
    assert result.success
    made, summarised = (
        {
            event.partition: {key: value.value for key, value in event.materialization.metadata.items()}
            for event in result.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey(asset)
        }
        for asset in ("text_embeddings", "summaries")
    )
    assert {day: figures["open_questions"] for day, figures in summarised.items()} == {
        "2025-01-14": 0,
        "2025-01-15": 0,
    }
    assert summarised["2025-01-15"]["clients"] == 1
    assert query("SELECT day::text FROM point_days ORDER BY 1") == [("2025-01-14",), ("2025-01-15",)]
    assert sorted(figures["new_texts"] for figures in made.values()) == [1, 1]
    assert made["2025-01-15"]["distinct_texts"] == 2
    ((texts, size),) = query("SELECT count(*), max(octet_length(vector)) FROM line_embeddings")
    assert (texts, size) == (2, 384 * 4)
    assert tick(definitions, fresh_instance).skip_message == "what every day shows is embedded"


def test_days_that_have_vectors_and_no_points_are_summarised_alone(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    asked = "Does anybody know who has the key of the pump house?"
    bring(db, lines_at("2025-01-15", "b", ("Ann", "The pump is running again."), ("Bo", asked)))
    assert run_days("2025-01-15").success
    (request,) = tick(definitions, fresh_instance).run_requests
    definitions.resolve_job_def("embed_texts").execute_in_process(instance=fresh_instance, tags=request.tags)
    assert tick(definitions, fresh_instance, "summarise_days").skip_message == "every day has its points"
    with db.write() as connection:
        connection.execute(text("UPDATE point_days SET made_by = 'an older way'"))
        connection.execute(text("DELETE FROM points"))
    (request,) = tick(definitions, fresh_instance, "summarise_days").run_requests
    job = definitions.resolve_job_def("summarise_days")
    assert job.execute_in_process(instance=fresh_instance, tags=request.tags).success
    assert query("SELECT kind FROM points WHERE kind = 'question'") == [("question",)]
    assert tick(definitions, fresh_instance, "summarise_days").skip_message == "every day has its points"


def test_a_tick_is_skipped_while_an_earlier_run_is_at_work(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, run_days: Run
) -> None:
    bring(db, lines_at("2025-01-14", "a", ("Ann", "The pump is running again.")))
    assert run_days("2025-01-14").success
    job = definitions.resolve_job_def("embed_texts")
    fresh_instance.create_run_for_job(job, status=DagsterRunStatus.STARTED)
    assert "still at work" in str(tick(definitions, fresh_instance).skip_message)
