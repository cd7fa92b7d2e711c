"""Which column of a table holds what: guessed by common names, or as the user says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from cachetools import LRUCache

from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.exports.found import Found, from_epoch, is_number
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError, parse_moment

COMMON_NAMES: dict[str, tuple[str, ...]] = {
    "session_id": (
        *("session_id", "conversation_id", "thread_id", "chat_id", "dialogue_id", "dialog_id", "session"),
        *("conversation", "thread", "chat", "channel_id", "room_id", "ticket_id", "channel", "room"),
    ),
    "text": ("text", "content", "message", "body", "utterance", "message_text", "transcript"),
    "speaker": (
        *("speaker", "role", "sender", "author", "speaker_name", "sender_name", "author_name", "user_name"),
        *("username", "name", "user", "from", "participant"),
    ),
    "created_at": (
        *("created_at", "timestamp", "datetime", "date_time", "time", "date", "sent_at", "spoken_at", "create_time"),
        *("created", "ts"),
    ),
    "line": ("line", "line_number", "position", "index", "message_index", "sequence", "message_id", "msg_id"),
    "title": ("title", "conversation_title", "session_title", "subject", "topic"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANKS = 1_000_000
_MOMENTS_REMEMBERED = 100_000
NEEDED = ("created_at", "speaker", "text")
# Moments since 1970 have 9 digits or more: the 8 of 20250115 are a day, as ISO 8601 writes it.
_DIGITS = re.compile(r"-?\d{9,17}(\.\d{1,9})?")
_WHOLE = re.compile(r"\d{1,19}(\.0{1,6})?")


def choose(header: Sequence[str], given: Mapping[str, str], whole: Callable[[str], bool], name: str) -> dict[str, str]:
    """The column of each field that has one.

    Args:
        header: names of the columns.
        given: names of columns by field, as the user says.
        whole: whether most rows of a column hold a whole number; only such a column is guessed to be ``line``.
        name: of the export, for errors.

    Raises:
        ExportError: a needed column cannot be found, or a given one does not exist.
    """
    for column in given.values():
        if column not in header:
            raise ExportError(f"{name} has no column {column!r}; its columns are {_listed(header)}.")
    chosen = {**guess([column for column in header if column not in given.values()], whole), **given}
    missing = [field for field in NEEDED if field not in chosen]
    if missing:
        raise ExportError(
            f"No column of {name} is known to hold {' or '.join(missing)}; its columns are {_listed(header)}. "
            f"Say which: {' '.join(f'--column {field}=NAME' for field in missing)}."
        )
    return chosen


def guess(header: Sequence[str], whole: Callable[[str], bool]) -> dict[str, str]:
    """Columns whose names are common for a field; each for one field at most."""
    plain = {_plain(column): column for column in reversed(header)}
    chosen: dict[str, str] = {}
    for field, names in COMMON_NAMES.items():
        for known in names:
            column = plain.get(known)
            if column is not None and column not in chosen.values() and (field != "line" or whole(column)):
                chosen[field] = column
                break
    return chosen


def is_whole(value: object) -> bool:
    """Whether a cell can be the number of a line."""
    return isinstance(value, int) or (isinstance(value, str) and _WHOLE.fullmatch(value.strip()) is not None)


class Rows:
    """Turns rows of a table into records, and fills in what the table leaves out.

    A table without a column for the session has one session a day, named after the file. Without a column for the line,
    a row's position is its millisecond plus its rank among the rows of that millisecond, so that another table of the
    same session brings other lines.
    """

    def __init__(self, stem: str, limits: Limits, reading: Reading) -> None:
        self._stem = stem
        self._limits = limits
        self._reading = reading
        self._ranks: LRUCache[tuple[str, int], int] = LRUCache(_MOMENTS_REMEMBERED)

    def found(self, cells: Mapping[str, object], number: int) -> Iterator[Found]:
        """The row with these cells by field, as a record; one that says nothing is counted as left out."""
        if isinstance(cells["text"], str) and not cells["text"].strip():
            self._reading.leave_out({"empty messages": 1})
            return
        try:
            moment = self._moment(cells["created_at"])
            session_id = self._session(cells, moment)
            position = _position(cells["line"]) if "line" in cells else self._by_time(session_id, moment)
        except RejectedLineError as refusal:
            yield Found(refusal, number)
            return
        self._reading.entitle(session_id, cells.get("title"))
        record = {
            "session_id": session_id,
            "line": position,
            "created_at": moment,
            "speaker": cells["speaker"],
            "text": cells["text"],
        }
        yield Found(record, number)

    def _by_time(self, session_id: str, moment: datetime) -> int:
        milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
        rank = self._ranks.get((session_id, milliseconds), 0)
        self._ranks[session_id, milliseconds] = rank + 1
        return max(0, milliseconds) * _RANKS + rank

    def _moment(self, cell: object) -> datetime:
        if isinstance(cell, str) and _DIGITS.fullmatch(cell.strip()):
            cell = Decimal(cell.strip())
        if isinstance(cell, date) and not isinstance(cell, datetime):
            cell = datetime.combine(cell, time.min)
        if isinstance(cell, int | float | Decimal) and is_number(cell):
            cell = from_epoch(cell)
        return parse_moment(cell, self._limits)

    def _session(self, cells: Mapping[str, object], moment: datetime) -> str:
        if "session_id" not in cells:
            return f"{self._stem}/{moment.astimezone(self._limits.zone).date()}"
        cell = cells["session_id"]
        if cell is None or cell == "":
            raise RejectedLineError("session_id is empty; every line needs the name of its conversation")
        return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def stem(name: str) -> str:
    """A file's name without its folder and its endings."""
    return re.sub(r"(\.(gz|csv|tsv|txt|parquet|jsonl?|ndjson|log))+$", "", name.rpartition("/")[2], flags=re.IGNORECASE)


def _position(cell: object) -> object:
    if isinstance(cell, str) and is_whole(cell):
        return int(cell.strip().partition(".")[0])
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _plain(column: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip())
    return re.sub(r"[\s\-.]+", "_", words).casefold()


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(column[:60] or "(without a name)" for column in header[:30])
    return f"{shown} and {len(header) - 30} more" if len(header) > 30 else shown
