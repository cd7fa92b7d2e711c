"""Export files: recognised by their content, read line by line, never larger in memory than one line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from crew_pipeline.discovery.records import Limits, RejectedLineError, parse_record
from crew_pipeline.storage.ingest import SourceLine

FORMATS = ("auto", "jsonl")
MAX_LINE_BYTES = 4 * 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_REPORTED = 10_000


class ExportError(ValueError):
    """A file cannot be imported at all; the message says why and what to do."""


@dataclass
class Reading:
    """What came of reading a file; filled while it is read.

    Attributes:
        lines_read: lines that hold anything.
        rejected: how many of them were refused.
        rejections: line number and reason of the first ``10,000``, in order.
    """

    lines_read: int = 0
    rejected: int = 0
    rejections: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, source_line: int, reason: str) -> None:
        """Count a refused line and keep the reason."""
        self.rejected += 1
        if len(self.rejections) < _MOST_REPORTED:
            self.rejections.append((source_line, reason))


def recognise(path: Path, requested: str = "auto") -> str:
    """The format of a file.

    Raises:
        ExportError: it cannot be read, is empty, or is nothing that is known.
    """
    if requested not in FORMATS:
        raise ExportError(f"Unknown format {requested!r}; known are {', '.join(FORMATS)}.")
    if path.is_dir():
        raise ExportError(f"{path} is a folder; give a file.")
    try:
        with path.open("rb") as raw, _decompressed(raw) as file:
            head = file.read(65_536)
    except FileNotFoundError:
        raise ExportError(f"There is no file {path}; check the path.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ExportError(f"{path} cannot be read ({_why(error)}); check its rights and that it is whole.") from None
    if not head.strip():
        raise ExportError(f"{path} is empty; nothing was imported.")
    if requested != "auto":
        return requested
    if not _mentions_json(head):
        raise ExportError(
            f"{path} is in no format that is known (it is {'binary' if _is_binary(head) else 'not JSON lines'}); "
            "give JSON lines, one object a line with session_id, line, created_at, speaker and text."
        )
    return "jsonl"


def read_lines(
    path: Path, limits: Limits, reading: Reading, on_progress: Callable[[int], None] | None = None
) -> Iterator[SourceLine]:
    """The lines of a JSONL file (plain or gzip) that can be imported; the others are counted in ``reading``.

    ``on_progress`` is called now and then with the position in the file as it lies on disk (bytes).

    Raises:
        ExportError: the file breaks off in the middle of its compression, or cannot be read on.
    """
    try:
        with path.open("rb") as raw, _decompressed(raw) as file:
            for number, line in _bounded_lines(file):
                if not line.strip():
                    continue
                reading.lines_read += 1
                try:
                    yield _parse(line, number, limits)
                except RejectedLineError as refusal:
                    reading.reject(number, str(refusal))
                if on_progress and number % 2_000 == 0:
                    on_progress(raw.tell())
    except (OSError, EOFError, zlib.error) as error:
        raise ExportError(
            f"{path} breaks off after {reading.lines_read} lines ({_why(error)}); nothing was imported. Get it whole."
        ) from error


def _parse(line: bytes, number: int, limits: Limits) -> SourceLine:
    if len(line) >= MAX_LINE_BYTES:
        raise RejectedLineError(f"the line is longer than {MAX_LINE_BYTES // 1024 // 1024} MiB; split it")
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if b"\\ud" in line.lower():
            raise RejectedLineError("half of a surrogate pair; export it again as valid UTF-8") from None
        raise RejectedLineError(f"not valid JSON ({error.msg} at character {error.colno})") from None
    return parse_record(record, number, limits)


def _bounded_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1; of a line beyond ``MAX_LINE_BYTES`` only the beginning, the rest is skipped."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        yield number, line
        while not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
            line = file.readline(MAX_LINE_BYTES)


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(2)
    raw.seek(0)
    return gzip.open(raw, "rb") if magic == _GZIP_MAGIC else raw  # type: ignore[return-value]


def _mentions_json(head: bytes) -> bool:
    """Whether any of the first lines is a JSON object: one broken line at the top does not make it another format."""
    return any(line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{") for line in head.splitlines()[:50])


def _is_binary(head: bytes) -> bool:
    return b"\x00" in head or sum(byte < 9 or 13 < byte < 32 for byte in head) > len(head) // 100


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
