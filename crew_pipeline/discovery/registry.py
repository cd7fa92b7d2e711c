"""Clients and crews as a YAML file: what it lists is set up, and nothing else is touched unless asked."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import Connection

from crew_pipeline.model import OperatingPoint
from crew_pipeline.settings import Settings, TimeZone
from crew_pipeline.storage.conversations import clients, rezoning
from crew_pipeline.storage.sources import crews
from crew_pipeline.storage.sources.crews import CrewError


class ListedCrew(BaseModel, extra="forbid"):
    """A crew of the file."""

    table: str
    source_env: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    active: bool = True


class ListedClient(BaseModel, extra="forbid"):
    """A client of the file."""

    active: bool = True
    folding: OperatingPoint | None = None
    timezone: TimeZone | None = None
    crews: dict[str, ListedCrew] = Field(default_factory=dict)


class Registry(BaseModel, extra="forbid"):
    """The whole file: ``clients``, each with its ``crews``."""

    clients: dict[str, ListedClient]


class Applied(NamedTuple):
    """What a file has set up, as ``client/crew``."""

    read: list[str]
    stopped: list[str]


def read_registry(path: Path) -> Registry:
    """The clients and crews that a file lists.

    Raises:
        CrewError: it cannot be read, is no YAML, or lists something that is not known.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CrewError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise CrewError(f"{path}{place} is no YAML; write clients: NAME: crews: NAME: table: NAME.") from None
    try:
        return Registry.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CrewError(f"{path}: {place}: {first['msg']}; write clients: NAME: crews: NAME: table: NAME.") from None


def apply_registry(
    connection: Connection, registry: Registry, settings: Settings, now: datetime, *, prune: bool = False
) -> Applied:
    """Set up what is listed; with ``prune``, crews that are not listed are no longer read.

    Raises:
        CrewError: a name cannot be used; nothing has been changed if the caller rolls back.
    """
    read: list[str] = []
    stopped: list[str] = []
    for client, listed in sorted(registry.clients.items()):
        clients.set_active(connection, client, active=listed.active)
        if listed.folding is not None:
            clients.set_folding(connection, client, listed.folding)
        if listed.timezone is not None:
            rezoning.set_timezone(connection, settings, client, listed.timezone, now)
        for code, crew in sorted(listed.crews.items()):
            crews.set_history(connection, client, code, crew.source_env, crew.table, crew.columns)
            if not crew.active:
                crews.deactivate(connection, client, code)
            (read if crew.active and listed.active else stopped).append(f"{client}/{code}")
    if prune:
        for source in crews.history_sources(connection):
            known = registry.clients.get(source.client)
            if known is None or source.code not in known.crews:
                crews.deactivate(connection, source.client, source.code)
                stopped.append(f"{source.client}/{source.code}")
    return Applied(read, stopped)
