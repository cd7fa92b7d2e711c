"""Tables as text: CSV and its kin with tabs, semicolons or bars, quoted cells over many lines, plain or gzip."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from crew_pipeline.discovery.exports import columns as tables
from crew_pipeline.discovery.exports.files import ExportError, Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

MAX_LINE_BYTES = 4 * 1024 * 1024
_DELIMITERS = ",\t;|"
_HEAD_BYTES = 65_536
_SAMPLED_ROWS = 50


def looks_like_one(head: bytes, given: Mapping[str, str]) -> bool:
    """Whether a file's beginning is a table with a column for the text and one more that is known."""
    try:
        header, _ = _sampled(_decoded(head, "it"), given)
    except (ExportError, csv.Error):
        return False
    known = {*tables.guess(header, lambda column: True), *(one for one, name in given.items() if name in header)}
    return "text" in known and len(known) > 1


def check(files: Files, members: Sequence[Member], given: Mapping[str, str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ExportError: it does, or is not UTF-8.
    """
    with files.open(members[0]) as content:
        _chosen(content.read(_HEAD_BYTES), given, str(files.path))


def read(
    files: Files, members: Sequence[Member], limits: Limits, reading: Reading, given: Mapping[str, str]
) -> Iterator[Found]:
    """The rows of a table as records, with the line of the file on which each begins.

    Raises:
        ExportError: it is not UTF-8.
    """
    member = members[0]
    with files.open(member) as content:
        head = content.peek(_HEAD_BYTES)[:_HEAD_BYTES]
        chosen, delimiter = _chosen(head, given, str(files.path))
        rows = tables.Rows(tables.stem(member.name), limits, reading)
        places: dict[str, int] = {}
        width = 0
        for number, row in _rows(content, delimiter, str(files.path)):
            if isinstance(row, RejectedLineError):
                yield Found(row, number)
            elif not places:
                width = len(row)
                places = {field: row.index(column) for field, column in chosen.items()}
            elif len(row) != width:
                yield Found(RejectedLineError(f"the row has {len(row)} cells, the header {width}; quote it"), number)
            else:
                yield from rows.found({field: row[place] for field, place in places.items()}, number)


def _chosen(head: bytes, given: Mapping[str, str], name: str) -> tuple[dict[str, str], str]:
    text = _decoded(head, name)
    try:
        header, delimiter = _sampled(text, given)
        sample = list(_sample(text, delimiter))
    except csv.Error as error:
        raise ExportError(f"{name} cannot be read as a table ({error}); export it again as CSV.") from None

    def whole(column: str) -> bool:
        place = header.index(column)
        cells = [row[place] for row in sample[1:-1] or sample[1:] if len(row) > place]
        return 2 * sum(tables.is_whole(cell) for cell in cells) > len(cells)

    return tables.choose(header, given, whole, name), delimiter


def _sampled(text: str, given: Mapping[str, str]) -> tuple[list[str], str]:
    """Header and delimiter: the one that makes most known columns, and of those most rows as wide as the header."""
    best: tuple[tuple[int, float, int], list[str], str] = ((0, 0.0, 0), [], ",")
    for delimiter in _DELIMITERS:
        rows = list(_sample(text, delimiter))
        if not rows:
            continue
        header = rows[0]
        known = len(tables.guess(header, lambda column: True)) + sum(name in header for name in given.values())
        alike = sum(len(row) == len(header) for row in rows) / len(rows)
        best = max(best, ((known, alike, len(header)), header, delimiter), key=lambda one: one[0])
    return best[1], best[2]


def _sample(text: str, delimiter: str) -> Iterator[list[str]]:
    rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
    for _, row in zip(range(_SAMPLED_ROWS), rows, strict=False):
        yield row


def _rows(content: IO[bytes], delimiter: str, name: str) -> Iterator[tuple[int, list[str] | RejectedLineError]]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    lines = _Lines(content, name)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        first = lines.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield first, RejectedLineError(f"the row cannot be read ({error}); check its quotes")
            continue
        if lines.was_cut:
            lines.was_cut = False
            yield first, RejectedLineError(f"the line is longer than {MAX_LINE_BYTES // 1024**2} MiB; split it")
        elif any(cell.strip() for cell in row):
            yield first, row


class _Lines:
    """Lines as text, with the number of the last one, and whether one was cut short."""

    def __init__(self, content: IO[bytes], name: str) -> None:
        self._lines = bounded_lines(content, MAX_LINE_BYTES)
        self._name = name
        self.number = 0
        self.was_cut = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        self.was_cut = self.was_cut or len(line) >= MAX_LINE_BYTES
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8", "ignore" if self.was_cut else "strict")
        except UnicodeDecodeError:
            raise ExportError(_wrong_encoding(self._name, f"line {self.number}")) from None


def _decoded(head: bytes, name: str) -> str:
    """The beginning of a file as text; a character that the end cuts through is left out."""
    try:
        return head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.end == len(head) and len(head) - error.start < 4 and error.reason == "unexpected end of data":
            return head[: error.start].decode("utf-8-sig")
        raise ExportError(_wrong_encoding(name, f"byte {error.start + 1}")) from None


def _wrong_encoding(name: str, where: str) -> str:
    return f"{name} is not UTF-8 ({where}); save it as UTF-8 and import it again."
