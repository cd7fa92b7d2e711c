"""Which days go into which run is a pure decision."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.days.planning import DayBatch, batches, run_key
from crew_pipeline.days.rests import LONGEST as QUIET
from crew_pipeline.days.rests import SHORTEST, quiet_needed
from crew_pipeline.orchestration.days.arrivals import MOST_OLDER_DAYS, day_requests
from crew_pipeline.orchestration.days.sweep import sweep_requests
from crew_pipeline.orchestration.discovery.schedule import discovery_cron
from crew_pipeline.orchestration.tags import partition_tags
from crew_pipeline.settings import DEFAULT_DISCOVERY_CRON, load_settings
from crew_pipeline.storage.days.queue import Change, Work

FIRST = date(2025, 1, 1)


def work(offset: int, conversations: int = 10, priority: int = 1, client: str = "acme") -> Work:
    return Work(client, FIRST + timedelta(days=offset), priority, conversations, conversations * 10)


works = st.lists(
    st.builds(work, st.integers(0, 60), st.integers(0, 90), st.integers(0, 3), st.sampled_from(["acme", "rival"])),
    max_size=25,
    unique_by=lambda one: (one.client, one.day),
)


@given(works, st.integers(1, 100), st.integers(1, 31))
def test_every_day_is_in_a_batch_and_no_batch_is_too_long(listed: list[Work], most: int, days: int) -> None:
    planned = batches(listed, max_conversations=most, max_days=days)
    for one in listed:
        assert any(batch.first <= one.day <= batch.last and batch.priority == one.priority for batch in planned)
    for batch in planned:
        assert (batch.last - batch.first).days < days
        assert batch.conversations <= most or batch.first == batch.last
    assert [batch.priority for batch in planned] == sorted((batch.priority for batch in planned), reverse=True)
    assert sum(batch.conversations for batch in planned) == sum(one.conversations for one in listed)


def test_neighbouring_days_are_joined_and_far_ones_are_not() -> None:
    planned = batches([work(0), work(1), work(4), work(20)], max_conversations=75, max_days=31)
    assert [(batch.first.day, batch.last.day) for batch in planned] == [(1, 5), (21, 21)]


def test_clients_of_one_day_are_in_one_run() -> None:
    (batch,) = batches([work(0), work(0, client="rival")], max_conversations=75, max_days=31)
    assert (batch.conversations, batch.first) == (20, batch.last)


def test_a_run_key_is_new_exactly_when_there_is_something_new_to_do() -> None:
    batch = DayBatch(FIRST, FIRST, 1, 1, 3)
    assert run_key(batch, ["a 1", "b 2"]) == run_key(batch, ["b 2", "a 1"])
    assert run_key(batch, ["a 1"]) != run_key(batch, ["a 2"])


def test_a_sweep_takes_the_whole_queue_in_order_over_its_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    settings = load_settings(sweep_batch=10, sweep_concurrency=3)
    tick = datetime(2025, 1, 20, 2, tzinfo=UTC)
    requests = sweep_requests([work(0), work(1), work(9, priority=3)], settings, tick)
    assert [request.tags["dagster/partition"] for request in requests] == ["2025-01-10", "2025-01-01", "2025-01-02"]
    assert [request.tags["crew/lane"] for request in requests] == ["background-0", "background-1", "background-0"]
    assert {request.tags["crew/cores"] for request in requests} == {"1.40"}
    assert requests[0].tags["dagster/priority"] == "3"
    assert requests[0].tags["dagster/max_runtime"] == "3600"
    assert requests[0].run_key != sweep_requests([work(9, priority=3)], settings, tick + timedelta(hours=2))[0].run_key


def test_a_sweep_asks_for_what_fits_into_the_time_until_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    backlog = [work(offset * 10, conversations=400) for offset in range(200)]  # 4,000 lines each
    night, noon = (
        sweep_requests(backlog, load_settings(), datetime(2025, 1, 20, hour, tzinfo=UTC)) for hour in (2, 12)
    )
    assert len(noon) * (15 + 4_000 / 120 / 0.6) <= 2 * 3600 < (len(noon) + 1) * (15 + 4_000 / 120 / 0.6)
    assert len(noon) < len(night) < 200
    huge = [work(0, conversations=100_000)]
    assert len(sweep_requests(huge, load_settings(), datetime(2025, 1, 20, 12, tzinfo=UTC))) == 1


def test_days_that_are_only_made_anew_come_last_and_newest_first() -> None:
    listed = [work(0, priority=1), *(work(day, conversations=40, priority=0) for day in (3, 4, 30, 31))]
    planned = batches(listed, max_conversations=80, max_days=31)
    assert [(batch.first.day, batch.last.day) for batch in planned] == [(1, 1), (31, 1), (4, 5)]


def test_a_run_over_several_days_is_tagged_with_its_range() -> None:
    assert partition_tags(DayBatch(FIRST, FIRST + timedelta(days=2), 1, 1, 1)) == {
        "dagster/asset_partition_range_start": "2025-01-01",
        "dagster/asset_partition_range_end": "2025-01-03",
    }


def test_a_conversation_that_still_goes_on_is_waited_for() -> None:
    now = datetime(2025, 1, 1, 12, tzinfo=UTC)
    quiet, busy = Change(work(0, priority=3), now - QUIET), Change(work(9, priority=3), now - QUIET / 2)
    requests = day_requests([quiet, busy], load_settings(), now)
    assert [request.tags["dagster/partition"] for request in requests] == ["2025-01-01"]
    again = day_requests([quiet._replace(updated_at=now - 2 * QUIET)], load_settings(), now)
    assert again[0].run_key != requests[0].run_key


def test_a_backlog_of_older_days_is_left_to_the_sweep() -> None:
    now = datetime(2025, 6, 1, 12, tzinfo=UTC)
    today = Change(Work("acme", date(2025, 6, 1), 3, 1, 10), now - QUIET)
    few = [Change(work(2 * number), now - QUIET) for number in range(MOST_OLDER_DAYS)]
    days = {request.tags.get("dagster/partition") for request in day_requests([today, *few], load_settings(), now)}
    assert "2025-06-01" in days
    assert len(day_requests([today, *few], load_settings(), now)) > 1
    many = [*few, Change(work(100), now - QUIET)]
    (only,) = day_requests([today, *many], load_settings(), now)
    assert only.tags["dagster/partition"] == "2025-06-01"


@pytest.mark.parametrize("wrong", ["every day", "61 * * * *", ""])
def test_a_wrong_cron_expression_falls_back_with_a_warning(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    assert discovery_cron(load_settings(discovery_cron=wrong)) == DEFAULT_DISCOVERY_CRON
    assert "is no cron expression" in caplog.text


def test_a_right_cron_expression_is_taken() -> None:
    assert discovery_cron(load_settings(discovery_cron="*/15 * * * *")) == "*/15 * * * *"


@pytest.mark.parametrize(
    ("usual_s", "last_said", "needed_s"),
    [
        (None, [], 60),
        (None, ["so what about the printer"], 60),
        (4.0, ["so what about the printer"], 12),
        (0.5, ["so what about the printer"], 10),
        (300.0, ["so what about the printer"], 60),
        (None, ["Thanks, goodbye!"], 10),
        (None, ["Vielen Dank, auf Wiedersehen."], 10),
        (None, ["have a nice day :)"], 10),
        (None, ["hasta luego"], 10),
        (None, ["goodbye to the old printer, what now?"], 60),
        (None, ["bye", "and the other one goes on"], 60),
    ],
)
def test_a_conversation_is_over_after_a_farewell_or_when_it_has_rested_as_such_ones_do(
    usual_s: float | None, last_said: list[str], needed_s: int
) -> None:
    assert quiet_needed(usual_s, last_said) == timedelta(seconds=needed_s)
    assert SHORTEST <= quiet_needed(usual_s, last_said) <= QUIET
