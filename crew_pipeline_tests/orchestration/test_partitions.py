"""Dagster lists the days from where data begin to today, wherever its clients live."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg
import pytest

from crew_pipeline.days.pace import allowance
from crew_pipeline.orchestration import partitions
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.days.arrivals import day_requests
from crew_pipeline.orchestration.partitions import Span, any_day, day_partitions, span_of_data, variables
from crew_pipeline.orchestration.tags import recent_lane_tags
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline_tests.conftest import NOW, bring, lines_at

TODAY = NOW.date()


def test_they_begin_with_the_year_of_the_oldest_talk_and_older_talk_moves_that_back(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed() -> list[str]:
        """What Dagster lists that is started with the variables of now."""
        with db.read() as connection:
            for name, value in variables(connection, load_settings(), NOW).items():
                monkeypatch.setenv(name, value)
        with dg.partition_loading_context(effective_dt=NOW):
            graph = build_defs(load_settings()).resolve_asset_graph()
            days = graph.get(dg.AssetKey("day_document")).partitions_def
            assert days is not None
            return list(days.get_partition_keys())

    assert listed()[0] == f"{TODAY.year}-01-01"
    bring(db, lines_at("2023-05-06", "s", ("Ann", "a line")))
    assert (listed()[0], listed()[-1]) == ("2023-01-01", TODAY.isoformat())
    bring(db, lines_at("2011-12-31", "old", ("Ann", "a line")), client="other")
    assert listed()[0] == "2011-01-01"


def test_what_was_set_beyond_the_data_stays(db: Database) -> None:
    chosen = load_settings(first_partition=date(2001, 2, 3), days_ahead=1)
    with db.read() as connection:
        told = variables(connection, chosen, NOW)
    assert told == {"CREW_FIRST_PARTITION": "2001-02-03", "CREW_DAYS_AHEAD": "1"}


def test_a_client_ahead_of_the_configured_zone_has_its_day_when_it_begins(db: Database, settings: Settings) -> None:
    with db.write() as connection:
        clients.set_timezone(connection, "acme", "America/New_York")
        assert span_of_data(connection, settings, NOW).ahead == 0
        clients.set_timezone(connection, "kita", "Asia/Tokyo")
        assert span_of_data(connection, settings, NOW).ahead == 1
    keys = day_partitions(load_settings(days_ahead=1))
    with dg.partition_loading_context(effective_dt=datetime(2025, 1, 15, 16, tzinfo=UTC)):
        assert keys.get_last_partition_key() == "2025-01-16"


def test_runs_of_our_own_processes_take_days_that_are_not_listed() -> None:
    narrow = load_settings(first_partition=date(2024, 1, 1))
    with dg.partition_loading_context(effective_dt=NOW):
        assert day_partitions(any_day(narrow)).has_partition_key("2004-11-15")
        assert not day_partitions(narrow).has_partition_key("2004-11-15")


def test_the_background_asks_for_no_day_that_is_not_listed(settings: Settings) -> None:
    narrow = settings.model_copy(update={"first_partition": date(2024, 1, 1)})
    changes = [
        queue.Change(queue.Work("acme", day, 3, 1, 10), datetime(2025, 1, 1, tzinfo=UTC))
        for day in (date(2004, 11, 15), date(2024, 11, 15), date(2030, 1, 1))
    ]
    asked = day_requests(changes, narrow, NOW)
    assert [request.tags["dagster/partition"] for request in asked] == ["2024-11-15"]
    assert Span.of(narrow).first == date(2024, 1, 1)


def test_today_waits_for_no_lane_of_a_sweep(settings: Settings) -> None:
    changes = [
        queue.Change(queue.Work("acme", day, 3, 1, 10), datetime(2025, 1, 1, tzinfo=UTC))
        for day in (TODAY, date(2024, 11, 15))
    ]
    lanes = {
        request.tags["dagster/partition"]: request.tags["crew/lane"] for request in day_requests(changes, settings, NOW)
    }
    assert lanes == {TODAY.isoformat(): "recent", "2024-11-15": "background-0"}
    allowed = allowance(settings, NOW)
    assert recent_lane_tags(allowed, 3)["crew/cores"] == f"{allowed.cores:.2f}"
    assert partitions.days_of(["2024-11-15"]) == [date(2024, 11, 15)]


def test_a_run_of_a_day_from_before_those_that_are_listed_says_so(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    later = settings.model_copy(update={"first_partition": date(2025, 1, 1)})
    job = build_defs(later).resolve_job_def("materialize_days")
    ran = job.execute_in_process(instance=instance, tags={"dagster/partition": "2024-12-31"}, raise_on_error=False)
    assert not ran.success
    (failed,) = [event for event in ran.all_events if event.is_step_failure]
    assert "2024-12-31 lies before 2025-01-01" in str(failed.step_failure_data.user_failure_data)
