"""What Dagster loads: quickly, without the heavy libraries, and exactly what the design names."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterInstance

from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.days.checks import CHECKS
from crew_pipeline.orchestration.partitions import day_partitions
from crew_pipeline.orchestration.resources import build_resources
from crew_pipeline.orchestration.tags import Asset
from crew_pipeline.processes.everything import Addresses, children
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.opening import DATABASE_URL_VARIABLE, Databases

TOP = Path(__file__).resolve().parents[2]
OUTSIDE = {"source_tables", "export_files", "served_days"}
HEAVY = ("torch", "faiss", "transformers", "sentence_transformers")


def test_loading_the_definitions_imports_nothing_heavy_and_opens_nothing() -> None:
    code = f"""
import sys, socket
socket.socket.connect = lambda *a: (_ for _ in ()).throw(AssertionError("connected while loading"))
import crew_pipeline.definitions
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert done.stdout.strip() == "[]"


def test_the_assets_jobs_schedules_and_sensors_are_those_of_the_design() -> None:
    definitions = build_defs(load_settings())
    graph = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "history_tables",
        "discovered_conversations",
        "line_embeddings",
        "semantic_clusters",
        "day_document",
        "text_embeddings",
        "summaries",
        "search_index",
        "themes",
        "system_health",
        "housekeeping",
        *OUTSIDE,
    }
    assert {key.to_user_string() for key in graph.external_asset_keys} == OUTSIDE
    assert {job.name for job in definitions.jobs or ()} == {
        "materialize_days",
        "discover_conversations",
        "embed_texts",
        "index_search",
        "follow_themes",
        "summarise_days",
        "take_health_sample",
        "keep_house",
    }
    assert {one.name for one in definitions.schedules or ()} == {
        "sweep",
        "discovery",
        "embed_texts",
        "index_search",
        "follow_themes",
        "summarise_days",
        "health",
        "housekeeping",
    }
    assert {one.name for one in definitions.sensors or ()} == {
        "new_sessions",
        "settle_after_success",
        "settle_after_failure",
        "settle_after_canceled",
        "lost_runs",
    }
    assert {key.name for key in graph.asset_check_keys} == {*(check.name for check in CHECKS), "recent_days_are_fresh"}


def test_every_asset_covers_several_days_in_a_run_and_retries_with_backoff() -> None:
    for asset in build_defs(load_settings()).resolve_asset_graph().assets_defs:
        if not asset.keys or not asset.is_executable:
            continue
        if asset.partitions_def is None:
            assert asset.op.retry_policy.backoff == dg.Backoff.EXPONENTIAL
            continue
        assert asset.backfill_policy.max_partitions_per_run == 31
        assert asset.op.retry_policy.backoff == dg.Backoff.EXPONENTIAL


def test_a_backfill_is_parted_into_runs_as_the_settings_say() -> None:
    graph = build_defs(load_settings(backfill_days=2)).resolve_asset_graph()
    (day,) = (asset for asset in graph.assets_defs if dg.AssetKey("day_document") in asset.keys and asset.is_executable)
    assert day.backfill_policy.max_partitions_per_run == 2


def test_every_asset_is_a_few_lines_around_what_it_calls() -> None:
    lengths = {}
    for asset in build_defs(load_settings()).resolve_asset_graph().assets_defs:
        if asset.keys and asset.is_executable:
            source = inspect.getsource(asset.op.compute_fn.decorated_fn)
            lengths[asset.op.name] = len(source[source.index("def ") :].strip().splitlines())
    assert len(lengths) == 8
    assert max(lengths.values()) <= 15, lengths


def test_a_document_leads_back_to_the_history_tables() -> None:
    graph = build_defs(load_settings()).resolve_asset_graph()
    upstream, looked_at = {dg.AssetKey("day_document")}, set()
    while upstream - looked_at:
        key = (upstream - looked_at).pop()
        looked_at.add(key)
        upstream |= graph.get(key).parent_keys
    names = {key.to_user_string() for key in upstream}
    assert {"history_tables", "source_tables", "export_files"} <= names
    assert graph.get(dg.AssetKey("served_days")).parent_keys == {dg.AssetKey("day_document")}


def test_today_has_a_partition_in_the_configured_zone() -> None:
    partitions = day_partitions(load_settings(timezone="Asia/Tokyo", first_day=date(2025, 1, 1)))
    with dg.partition_loading_context(effective_dt=datetime(2025, 1, 15, 15, 30, tzinfo=UTC)):
        keys = partitions.get_partition_keys()
    assert (keys[0], keys[-1]) == ("2025-01-01", "2025-01-16")


def test_the_address_of_the_database_is_given_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_URL_VARIABLE, "postgresql://user:hunter2@db/crew")
    resource = build_resources(load_settings())["database"]
    assert "hunter2" not in repr(resource)


def test_definitions_work_in_the_database_of_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_URL_VARIABLE, "postgresql://db/one")
    given = load_settings(database_url="postgresql://db/another")
    assert build_resources(given)["database"].url == "postgresql://db/another"
    embedded = load_settings(database_url=None)
    assert build_resources(embedded)["database"].url == dg.EnvVar(DATABASE_URL_VARIABLE)


def test_the_shipped_configuration_is_one_that_dagster_takes(instance: DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert not instance.run_retries_enabled  # the queue tries again by itself
    assert not instance.telemetry_enabled
    content = yaml.safe_load(shipped("dagster.yaml").read_text())
    assert content["storage"]["postgres"]["postgres_url"] == {"env": "DAGSTER_POSTGRES_URL"}
    assert content["concurrency"]["pools"]["granularity"] == "run"


def test_the_workspace_names_the_definitions() -> None:
    content = yaml.safe_load(shipped("workspace.yaml").read_text())
    (loaded,) = (one["python_module"] for one in content["load_from"])
    assert loaded == {"module_name": "crew_pipeline.definitions", "location_name": "crew_pipeline"}
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["dagster"]
    assert project == {"module_name": loaded["module_name"], "code_location_name": loaded["location_name"]}


def test_everything_that_starts_dagster_loads_the_same_workspace(settings: Settings) -> None:
    databases = Databases("postgresql://db/crew", "postgresql://db/dagster")
    started = children(settings, databases, Addresses("127.0.0.1", 8000, 3000), lambda: None)
    commands = {child.name: child.command for child in started if child.name.startswith("dagster")}
    assert len(commands) == 2
    for command in commands.values():
        assert command[command.index("-w") + 1] == str(shipped("workspace.yaml"))
        assert "crew_pipeline.definitions" not in command


def test_imports_run_downwards_only() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=TOP,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_deployment_of_celery_has_the_lanes_and_limits_of_the_shipped_one() -> None:
    shipped_one, celery = (
        yaml.safe_load(path.read_text()) for path in (shipped("dagster.yaml"), TOP / "examples" / "dagster-celery.yaml")
    )

    def limited(content: dict[str, Any]) -> set[tuple[str, str]]:
        rules = content["concurrency"]["runs"]["tag_concurrency_limits"]
        return {(rule["key"], str(rule.get("value"))) for rule in rules}

    assert limited(celery) == limited(shipped_one)
    for name in ("run_retries", "telemetry", "retention"):
        assert celery.get(name) == shipped_one.get(name), name
    kept = shipped_one["run_monitoring"], celery["run_monitoring"]
    assert [one["max_runtime_seconds"] for one in kept] == [3600, 3600]


def test_launched_runs_keep_what_they_print_and_a_process_of_ours_does_not(instance: DagsterInstance) -> None:
    assert "compute_logs" not in yaml.safe_load(shipped("dagster.yaml").read_text())
    assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"
    with DagsterInstance.from_config(instance.root_directory) as of_a_launched_run:
        manager = of_a_launched_run.compute_log_manager
    assert type(manager).__name__ == "LocalComputeLogManager"


def test_what_the_project_says_of_itself_is_what_dg_loads() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]
    told = project["dg"]["project"]
    assert told["code_location_target_module"] == project["dagster"]["module_name"]
    assert told["code_location_name"] == project["dagster"]["code_location_name"]
    assert project["dg"]["directory_type"] == "project"


def test_a_partition_tells_the_engine_that_made_it() -> None:
    settings = load_settings()
    graph = build_defs(settings).resolve_asset_graph()
    versions = {graph.get(dg.AssetKey(asset.value)).code_version for asset in Asset}
    assert versions == {fingerprint_of(settings)}


def test_assets_tell_their_table_their_source_and_their_owners() -> None:
    graph = build_defs(load_settings(asset_owners="team:talk, ann@example.org")).resolve_asset_graph()
    for asset in Asset:
        spec = graph.get(dg.AssetKey(asset.value))
        assert spec.owners == ["team:talk", "ann@example.org"]
        columns = [column.name for column in spec.metadata["dagster/column_schema"].columns]
        assert len(columns) > 2, spec.metadata
        (reference, *_) = spec.metadata["dagster/code_references"].code_references
        assert Path(reference.file_path).name == "assets.py"
