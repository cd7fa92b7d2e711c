"""Tables as text: CSV and its kin with tabs, semicolons or bars, quoted cells over many lines, plain or gzip."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
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
_MOST_OPEN_QUOTES = 1_000
# The line by which Excel tells what separates the cells.
_SEPARATOR = re.compile(rb"(?:\xef\xbb\xbf)?sep=[^\r\n]\r?\n", re.IGNORECASE)


def looks_like_one(head: bytes, given: Mapping[str, str]) -> bool:
    """Whether a file's beginning is a table with a column for the text and one more that is known."""
    try:
        header, _ = _sampled(_decoded(_SEPARATOR.sub(b"", head, count=1), "it"), given)
    except (ExportError, csv.Error):
        return False
    known = {*tables.guess(header, lambda column: True), *(field for field, name in given.items() if name in header)}
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
        if said := _SEPARATOR.match(head):
            content.read(said.end())
        skipped = int(said is not None)
        for line_number, row in _rows(content, delimiter):
            number = line_number + skipped
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
    text = _decoded(_SEPARATOR.sub(b"", head, count=1), name)
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
    """Header and delimiter, chosen for most known columns, then for most rows as wide as the header."""
    best: tuple[tuple[int, float, int], list[str], str] = ((0, 0.0, 0), [], ",")
    for delimiter in _DELIMITERS:
        rows = list(_sample(text, delimiter))
        if not rows:
            continue
        header = rows[0]
        known = len(tables.guess(header, lambda column: True)) + sum(name in header for name in given.values())
        alike = sum(len(row) == len(header) for row in rows) / len(rows)
        best = max(best, ((known, alike, len(header)), header, delimiter), key=lambda candidate: candidate[0])
    return best[1], best[2]


def _sample(text: str, delimiter: str) -> Iterator[list[str]]:
    rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
    for _, row in zip(range(_SAMPLED_ROWS), rows, strict=False):
        yield row


def _rows(content: IO[bytes], delimiter: str) -> Iterator[tuple[int, list[str] | RejectedLineError]]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    lines = _Lines(content)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.begin_row()
        row: list[str] | RejectedLineError
        try:
            row = next(reader)
        except StopIteration:
            yield from lines.refused()
            return
        except csv.Error as error:
            row = RejectedLineError(f"the row cannot be read ({error}); check its quotes")
        first = lines.first
        if lines.is_open or (isinstance(row, RejectedLineError) and len(lines.of_row) > 1):
            # A quote that nothing closes would swallow all that follows; so only its own line is refused.
            row = RejectedLineError("a quote is opened and not closed; close it")
            lines.give_back()
            reader = csv.reader(lines, delimiter=delimiter)
        yield from lines.refused()
        if isinstance(row, RejectedLineError) or any(cell.strip() for cell in row):
            yield first, row


class _Lines:
    """Lines as text; one that cannot be read is given as an empty line, and its reason by ``refused``.

    Attributes:
        of_row: the lines that the row at hand has taken, with their numbers.
        is_open: whether the row was still going on when the file ended.
    """

    def __init__(self, content: IO[bytes]) -> None:
        self._lines = bounded_lines(content, MAX_LINE_BYTES)
        self._again: deque[tuple[int, str]] = deque()
        self._refused: list[tuple[int, RejectedLineError]] = []
        self._given_back = 0
        self.of_row: list[tuple[int, str]] = []
        self.is_open = False

    @property
    def first(self) -> int:
        """The number of the row's first line."""
        return self.of_row[0][0] if self.of_row else 0

    def begin_row(self) -> None:
        """Lines from now on are of another row."""
        self.of_row = []
        self.is_open = False

    def give_back(self) -> None:
        """Have all lines of the row but the first read again.

        Raises:
            ExportError: that has been necessary too often for a table.
        """
        self._given_back += 1
        if self._given_back > _MOST_OPEN_QUOTES:
            raise ExportError("Too many quotes are opened and not closed; export the table again as CSV.")
        self._again.extendleft(reversed(self.of_row[1:]))

    def refused(self) -> Iterator[tuple[int, RejectedLineError]]:
        """Lines that could not be read, since the last call."""
        yield from self._refused
        self._refused = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            number, text = self._again.popleft()
        else:
            try:
                number, line = next(self._lines)
            except StopIteration:
                self.is_open = bool(self.of_row)
                raise
            text = self._text(number, line)
        self.of_row.append((number, text))
        return text

    def _text(self, number: int, line: bytes) -> str:
        if len(line) >= MAX_LINE_BYTES:
            reason = f"the line is longer than {MAX_LINE_BYTES // 1024**2} MiB; split it"
        else:
            try:
                return line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                reason = "the line is not UTF-8; save the table as UTF-8"
        self._refused.append((number, RejectedLineError(reason)))
        return "\n"


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
