"""The documentation names everything that there is, and nothing that there is not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from crew_pipeline.api import exposition, problems, traffic
from crew_pipeline.api.app import create_app
from crew_pipeline.cli import app as command_line
from crew_pipeline.settings import Settings, load_settings, variable_of
from crew_pipeline.upkeep.alert_rules import DISCOVERY_KINDS, SYSTEM_KINDS

TOP = Path(__file__).resolve().parents[1]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
REFERENCE = (TOP / "docs" / "reference.md").read_text()
EVERYTHING = "\n".join(page.read_text() for page in PAGES)
OTHER_VARIABLES = {"CREW_READER", "CREW_CELERY_BROKER_URL"}
"""An older name, and one that the example of a deployment chooses."""


def settings() -> set[str]:
    return {variable_of(field) for field in Settings.model_fields}


def routes() -> set[str]:
    app = create_app(load_settings(), "postgresql://nobody@localhost/nothing", "")
    described = app.openapi()["paths"]
    return {
        *(f"{method.upper()} {path}" for path, methods in described.items() for method in methods),
        "WS /ws/semantic/{day}",
        "WS /ws/days",
        "WS /ws/live/{session_id}",
        "GET /",
        "GET /digest",
        "GET /status",
        "GET /themes",
    }


def commands(group: typer.Typer = command_line, name: str = "crew") -> Iterator[str]:
    for command in group.registered_commands:
        if not command.hidden:
            yield f"{name} {command.name}"
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from commands(below.typer_instance, f"{name} {below.name}")


def metrics() -> set[str]:
    written = re.findall(r'"(crew_[a-z_]+)",', inspect.getsource(exposition) + inspect.getsource(traffic))
    return {*written, *(f"crew_discovery_{name}_total" for name, _ in exposition._TOTALS)}


def alerts() -> set[str]:
    return {*SYSTEM_KINDS, *DISCOVERY_KINDS}


def named_in_reference(section: str) -> set[str]:
    """What the first column of a section's table names."""
    (part,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", REFERENCE, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `([^`]+)` \|", part, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "there"),
    [
        ("Settings", settings()),
        ("Commands", set(commands())),
        ("Routes", routes()),
        ("Metrics", metrics()),
        ("Alerts", alerts()),
    ],
)
def test_the_reference_is_complete_and_names_nothing_that_is_not_there(section: str, there: set[str]) -> None:
    assert named_in_reference(section) == there


def test_the_reference_gives_the_defaults() -> None:
    documented = dict(re.findall(r"^\| `(CREW_[A-Z_]+)` \| `?([^`|]*?)`? \|", REFERENCE, flags=re.MULTILINE))
    defaults = {variable_of(name): field.default for name, field in Settings.model_fields.items()}
    assert documented == {variable: _written(variable, default) for variable, default in defaults.items()}


def _written(variable: str, default: object) -> str:
    if isinstance(default, tuple):
        return ("-" if variable == "CREW_BUSINESS_HOURS" else ",").join(map(str, default))
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def test_settings_that_the_pages_name_exist() -> None:
    named = set(re.findall(r"\bCREW_[A-Z_]+[A-Z]\b", EVERYTHING))
    assert named - settings() - OTHER_VARIABLES == set()


def test_commands_that_the_pages_name_exist() -> None:
    there = set(commands())
    groups = {name.rsplit(" ", 1)[0] for name in there}
    named = set(re.findall(r"[`'(/]crew ([a-z]+(?:-[a-z]+)?)", EVERYTHING))
    assert {word for word in named if f"crew {word}" not in there | groups} == set()


def test_routes_that_the_pages_name_exist() -> None:
    there = {re.sub(r"\{[a-z_]+\}", "{}", route.split(" ")[1]) for route in routes()}
    paths = re.findall(r"(?:GET|POST|PUT|DELETE|WS) (/[a-z{}_/.-]+)", EVERYTHING)
    assert {re.sub(r"\{[a-z_]+\}", "{}", path) for path in paths} - there == set()


def test_files_and_modules_that_the_pages_name_exist() -> None:
    missing = []
    for page in PAGES:
        text = page.read_text()
        links = re.findall(r"\]\((?!http)([^)#\s]+)\)", text)
        missing += [f"{page.name}: {link}" for link in links if not (page.parent / link).exists()]
        paths = re.findall(
            r"`((?:crew_pipeline|crew_pipeline_tests|benchmarks|training|docs|examples)/[\w/.-]*)`", text
        )
        missing += [f"{page.name}: {path}" for path in paths if not (TOP / path).exists()]
        modules = re.findall(r"\b((?:crew_pipeline|benchmarks|training)(?:\.(?!md\b)[a-z_]+)+)", text)
        for module in modules:
            place = TOP / module.replace(".", "/")
            if not (place.exists() or place.with_suffix(".py").exists()):
                missing.append(f"{page.name}: {module}")
    assert missing == []


def test_files_that_the_architecture_names_by_their_room_exist() -> None:
    page = (TOP / "docs" / "architecture.md").read_text()
    rooms = "dedup|storage|days|discovery|upkeep|orchestration|deployment|serving|workers|processes|api|web|commands"
    named = set(re.findall(rf"\b((?:{rooms})/(?:[a-z_]+/)*[a-z_]+\.py)", page))
    assert named
    assert {path for path in named if not (TOP / "crew_pipeline" / path).exists()} == set()


def test_make_targets_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", EVERYTHING, flags=re.MULTILINE))
    assert named - targets == set()


def test_the_kinds_of_problems_are_told() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|$", (TOP / "docs" / "access.md").read_text(), flags=re.MULTILINE)
    assert {int(status): kind for kind, status in told} == problems.TYPES
