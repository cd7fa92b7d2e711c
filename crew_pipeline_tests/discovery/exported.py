"""Exports as tests write and read them: talk that is invented, in the shapes that the makers publish."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from crew_pipeline.discovery.exports.export import Export, open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import NOW

LIMITS = Limits(ZoneInfo("UTC"), date(2000, 1, 1), NOW)
NINE = 1736931600  # 2025-01-15T09:00:00Z


class Outcome(NamedTuple):
    """An export as it was opened, its lines, and what came of reading it."""

    export: Export
    lines: list[SourceLine]
    reading: Reading

    @property
    def said(self) -> list[tuple[str, int, str, str]]:
        """Session, position, speaker and text of each line."""
        return [(line.session_id, line.position, line.speaker, line.text) for line in self.lines]

    @property
    def reasons(self) -> list[str]:
        """Why lines were refused."""
        return [reason for _, reason in self.reading.rejections]


def read(path: Path, requested: str = "auto", columns: Mapping[str, str] | None = None, **limits: Any) -> Outcome:
    """Open and read an export."""
    export = open_export(path, requested, columns)
    reading = Reading()
    return Outcome(export, list(export.lines(replace(LIMITS, **limits), reading)), reading)


def by_time(moment: str, rank: int = 0) -> int:
    """The position of a row of a table without a column for the line."""
    milliseconds = round(datetime.fromisoformat(moment).timestamp() * 1000)
    return milliseconds * 1_000_000 + rank


def as_file(path: Path, content: object) -> Path:
    """Content as JSON, or as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(content))
    return path


def as_folder(path: Path, members: Mapping[str, object]) -> Path:
    """Members as files below a folder."""
    for name, content in members.items():
        as_file(path / name, content)
    return path


def as_zip(path: Path, members: Mapping[str, object]) -> Path:
    """Members as a ZIP archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, _encoded(content))
    return path


def import_twice(path: Path, db: Database, settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reports of importing an export, and of importing it again."""
    first, second = (
        import_export(db, open_export(path), client="acme", crew="desk", settings=settings, now=NOW).as_dict()
        for _ in range(2)
    )
    return first, second


def _encoded(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()
