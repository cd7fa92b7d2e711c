"""An export of any known format, read as lines."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path

import ijson

from crew_pipeline.discovery.exports import (
    agents,
    captions,
    chatgpt,
    claude,
    delimited,
    discord,
    jsonl,
    limitless,
    mail,
    messages,
    notes,
    openwebui,
    parquet,
    slack,
    telegram,
    whatsapp,
)
from crew_pipeline.discovery.exports.archive import opened
from crew_pipeline.discovery.exports.columns import COMMON_NAMES
from crew_pipeline.discovery.exports.files import ExportError, Files, Member, why
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.recognise import FORMATS, recognise
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError, parse_record
from crew_pipeline.storage.conversations.ingest import SourceLine

_LINES_BETWEEN_PROGRESS = 2_000
_SIGNS_OF_AN_END = ("EOF", "unallowed token", "premature", "incomplete")
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, LZMAError, NotImplementedError)
_MALFORMED = (ijson.JSONError, RecursionError, ValueError)
_READERS = {
    "limitless": limitless.read,
    "chatgpt": chatgpt.read,
    "claude": claude.read,
    "slack": slack.read,
    "whatsapp": whatsapp.read,
    "telegram": telegram.read,
    "discord": discord.read,
    "captions": captions.read,
    "claude-code": agents.read_claude_code,
    "codex": agents.read_codex,
    "openwebui": openwebui.read,
    "messages": messages.read,
    "mail": mail.read,
    "notes": notes.read,
}
_TABLES = {"csv": (delimited.check, delimited.read), "parquet": (parquet.check, parquet.read)}
_WITH_COLUMNS = {**{name: read for name, (_, read) in _TABLES.items()}, "jsonl": jsonl.read}


@dataclass(frozen=True)
class Export:
    """An export that can be read.

    Attributes:
        format: one of ``FORMATS``, never ``auto``.
        size: bytes that reading advances through, for a progress bar.
        columns: column names by field, as the user gave them; for tables only.
    """

    path: Path
    format: str
    members: tuple[Member, ...]
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes on disk of all that is read."""
        return sum(member.size for member in self.members)

    @property
    def whole_sessions(self) -> bool:
        """Whether it holds its conversations whole, so that lines that a newer export lacks are gone from them."""
        return self.format in {"chatgpt", "claude", "limitless", "openwebui", "notes"}

    def lines(
        self, limits: Limits, reading: Reading, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[SourceLine]:
        """The lines that can be imported; the others are counted in ``reading`` with the reason.

        ``on_progress`` is called now and then with the bytes on disk that have been read.

        Raises:
            ExportError: the export breaks off, is malformed, or cannot be read on.
        """
        try:
            with opened(self.path) as files:
                for candidate in self._candidates(files, limits, reading):
                    reading.lines_read += 1
                    if on_progress and reading.lines_read % _LINES_BETWEEN_PROGRESS == 0:
                        on_progress(files.position)
                    number = candidate.number or reading.lines_read
                    try:
                        line = _line(candidate, number, limits)
                        reading.moved += candidate.moved
                        yield line
                    except RejectedLineError as refusal:
                        reading.spare(candidate.record)
                        reading.reject(number, f"{candidate.where}: {refusal}" if candidate.where else str(refusal))
        except ExportError:
            raise
        except (*_BROKEN, *_MALFORMED) as error:
            raise ExportError(_explained(self.path, reading.lines_read, error)) from error

    def _candidates(self, files: Files, limits: Limits, reading: Reading) -> Iterator[Found]:
        if self.format in _WITH_COLUMNS:
            return _WITH_COLUMNS[self.format](files, self.members, limits, reading, self.columns)
        return _READERS[self.format](files, self.members, limits, reading)


def open_export(path: Path, requested: str = "auto", columns: Mapping[str, str] | None = None) -> Export:
    """An export, recognised by its content where no format is requested.

    Args:
        requested: one of ``FORMATS``.
        columns: column names by field (``session_id``, ``line``, ``created_at``, ``speaker``, ``text``, ``title``),
            for tables and JSON lines whose columns have uncommon names.

    Raises:
        ExportError: it cannot be read, is empty, or is nothing that is known.
    """
    if requested not in FORMATS:
        raise ExportError(f"Unknown format {requested!r}; known are {', '.join(FORMATS)}.")
    given = dict(columns or {})
    if unknown := [name for name in given if name not in COMMON_NAMES]:
        raise ExportError(f"Unknown field {unknown[0]!r}; known are {', '.join(COMMON_NAMES)}.")
    try:
        with opened(path) as files:
            recognised = recognise(files, requested, given)
            if recognised.format in _TABLES:
                check, _ = _TABLES[recognised.format]
                check(files, recognised.members, given)
            elif given and recognised.format not in _WITH_COLUMNS:
                raise ExportError(f"{path} is no table but {recognised.format}; leave the columns away.")
    except ExportError:
        raise
    except _BROKEN as error:
        raise ExportError(f"{path} cannot be read ({why(error)}); check its rights and that it is whole.") from None
    return Export(path, recognised.format, recognised.members, given)


def _line(candidate: Found, number: int, limits: Limits) -> SourceLine:
    if isinstance(candidate.record, RejectedLineError):
        raise candidate.record
    return parse_record(candidate.record, number, limits)


def _explained(path: Path, lines: int, error: BaseException) -> str:
    reason = _json_reason(error) if isinstance(error, ijson.JSONError) else why(error)
    is_whole = isinstance(error, _MALFORMED) and not any(sign in reason for sign in _SIGNS_OF_AN_END)
    if is_whole:
        return f"{path} is malformed after {lines} lines ({reason}); nothing was imported. Export it again."
    return f"{path} breaks off after {lines} lines ({reason}); nothing was imported. Get it whole."


def _json_reason(error: BaseException) -> str:
    """A parser's message, without the piece of the document that it quotes."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return " ".join((text.splitlines() or [type(error).__name__])[0].split())[:120]
