"""Background work keeps to its share of the cores: less in business hours, more outside."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import faiss
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.days.pace import Pace, allowance
from crew_pipeline.orchestration.tags import lane_tags
from crew_pipeline.settings import Settings, SettingsError, load_settings

MONDAY = "2025-01-13"


@pytest.mark.parametrize(
    ("moment", "share"),
    [
        (f"{MONDAY}T07:59", 0.7),
        (f"{MONDAY}T08:00", 0.3),
        (f"{MONDAY}T17:59", 0.3),
        (f"{MONDAY}T18:00", 0.7),
        ("2025-01-18T12:00", 0.7),
        ("2025-03-31T08:30", 0.3),  # the first Monday of summer time
    ],
)
def test_business_hours_are_those_of_the_configured_time_zone(moment: str, share: float) -> None:
    settings = load_settings(timezone="Europe/Berlin")
    now = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    allowed = allowance(settings, now.astimezone(ZoneInfo("UTC")), cores=10)
    assert allowed.slots * allowed.cores == pytest.approx(10 * share)


def test_the_cores_may_be_those_of_many_machines() -> None:
    settings = load_settings(background_cores=400, sweep_concurrency=100)
    assert allowance(settings, datetime(2025, 1, 18, 12, tzinfo=ZoneInfo("UTC"))) == (100, pytest.approx(2.8))


@given(st.integers(1, 256), st.integers(0, 23), st.integers(1, 8))
def test_all_slots_together_never_get_more_than_the_share(cores: int, hour: int, concurrency: int) -> None:
    settings = Settings(sweep_concurrency=concurrency)
    allowed = allowance(settings, datetime(2025, 1, 13, hour, tzinfo=ZoneInfo("UTC")), cores)
    share = 0.3 if 8 <= hour < 18 else 0.7
    assert 1 <= allowed.slots <= concurrency
    assert allowed.slots * allowed.cores <= share * cores + 1e-9
    assert allowed.slots == 1 or allowed.cores >= 1
    lanes = {lane_tags(allowed, number)["crew/lane"] for number in range(20)}
    assert len(lanes) == min(20, allowed.slots)


def test_hours_and_days_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_BUSINESS_HOURS", "22-24")
    monkeypatch.setenv("CREW_BUSINESS_DAYS", "sat, Sun")
    settings = load_settings()
    assert (settings.business_hours, settings.business_days) == ((22, 24), ("sat", "sun"))
    monkeypatch.setenv("CREW_BUSINESS_HOURS", "late")
    with pytest.raises(SettingsError, match="CREW_BUSINESS_HOURS='late' cannot be used: expected two hours of the day"):
        load_settings()


def test_a_run_rests_until_it_is_back_within_its_share() -> None:
    pace = Pace(0.25)
    started, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.2:
        sum(range(1000))
    pace.rest()
    assert (time.process_time() - used) / (time.monotonic() - started) <= 0.3
    Pace().rest()


def test_a_run_uses_no_more_threads_than_cores_and_gives_them_back() -> None:
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    with Pace(1.4).kept():
        assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (1, 1)
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before
