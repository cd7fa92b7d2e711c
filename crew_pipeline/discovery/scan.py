"""Reading rows of a history table by their keys: some at a time, each turned into a line or refused with a reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, extract, func, or_, select
from sqlalchemy.sql.expression import ColumnElement

from crew_pipeline.discovery.messages import plain, speaker_and_text
from crew_pipeline.discovery.records import Limits, NotYetError, RejectedLineError, parse_record
from crew_pipeline.discovery.table import HistoryTable
from crew_pipeline.discovery.watermark import BLOCK_OF_IDS, BLOCK_OF_MICROSECONDS, TIES, Span
from crew_pipeline.storage.discovery import Block
from crew_pipeline.storage.ingest import SourceLine

MOST_ROWS = 5_000
"""Rows of one batch, however few sessions they belong to."""
MOST_CHARS = 16_000_000
"""Characters of one batch, so that long messages do not fill the memory."""
_ROWS_AT_ONCE = 500


class HistoryRow:
    """A row that was taken in.

    Attributes:
        key: see ``table``.
        line: its position is the key still; whoever merges it gives it its place.
    """

    __slots__ = ("key", "line")

    def __init__(self, key: int, line: SourceLine) -> None:
        self.key = key
        self.line = line

    @property
    def digest(self) -> str:
        """16 hex digits over session, speaker and text."""
        content = f"{self.line.session_id}\x1f{self.line.speaker}\x1f{self.line.text}"
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


@dataclass
class Batch:
    """Rows that one statement read, in the order of their keys.

    Attributes:
        refused: key, session and reason of rows that cannot be taken in.
        reached: the last key that was read; None where nothing was.
        more: whether there may be rows beyond.
        not_yet: keys of rows that are refused because their time lies ahead; which will be asked for again.
    """

    rows: list[HistoryRow] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    reached: int | None = None
    more: bool = False
    not_yet: set[int] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)

    @property
    def seen(self) -> list[int]:
        """Keys of the rows that need not be asked for again, ascending."""
        return sorted([*(row.key for row in self.rows), *(key for key, _, _ in self.refused)])

    def lowest(self) -> dict[str, int]:
        """The lowest key of each session."""
        found = {session: key for key, session, _ in reversed(self.refused)}
        for row in reversed(self.rows):
            found[row.line.session_id] = min(row.key, found.get(row.line.session_id, row.key))
        return found

    def extend(self, other: Batch) -> None:
        """Add what another statement read beyond."""
        self.rows += other.rows
        self.refused += other.refused
        self.sessions |= other.sessions
        self.not_yet |= other.not_yet

    def blocks(self, size: int) -> dict[int, Block]:
        """How many of the rows lie in each block of ``size`` keys."""
        rows: Counter[int] = Counter()
        sums: Counter[int] = Counter()
        for key in self.seen:
            rows[key // size] += 1
            sums[key // size] += key
        return {block: Block(rows[block], sums[block]) for block in sorted(rows)}


def block_size(table: HistoryTable) -> int:
    """Keys in a block."""
    return BLOCK_OF_IDS if table.kind == "id" else BLOCK_OF_MICROSECONDS


def above(table: HistoryTable, key: int | None) -> ColumnElement[bool] | None:
    """Rows beyond a key; all of them for None."""
    return None if key is None else table.key_column > table.bound(key)


def within(table: HistoryTable, spans: Sequence[Span]) -> ColumnElement[bool]:
    """Rows whose key lies in one of the spans."""
    single = [table.bound(first) for first, last in spans if first == last]
    wide = [table.key_column.between(table.bound(first), table.bound(last)) for first, last in spans if first != last]
    return or_(*([table.key_column.in_(single)] if single else []), *wide)


def read_batch(
    connection: Connection,
    table: HistoryTable,
    where: ColumnElement[bool] | None,
    limits: Limits,
    *,
    most_sessions: int,
    most_rows: int = MOST_ROWS,
) -> Batch:
    """Rows in the order of their keys, until there is enough for one batch; streamed."""
    batch = Batch()
    chars = 0
    previous: int | None = None
    query = _rows_query(table, where).limit(most_rows + TIES + 1)
    with connection.begin():
        for row in _streamed(connection, query):
            key = table.key_of(row.key)
            session = "" if row.session_id is None else str(row.session_id)
            full = len(batch.sessions) >= most_sessions and session not in batch.sessions
            enough = full or chars >= MOST_CHARS or len(batch.rows) + len(batch.refused) >= most_rows
            # Rows of one moment stay together: their order among each other is only known together.
            if enough and (table.kind == "id" or key != previous):
                batch.more = True
                break
            if not _take(batch, table, row, key, session, limits):
                break
            batch.sessions.add(session)
            batch.reached = previous = key
            chars += len(batch.rows[-1].line.text) if batch.rows else 0
    return batch


def _take(batch: Batch, table: HistoryTable, row: Any, key: int, session: str, limits: Limits) -> bool:
    """Turn a row into a line; whether reading may go on."""
    try:
        batch.rows.append(HistoryRow(key, _line(table, row, key, limits)))
    except NotYetError:
        batch.not_yet.add(key)
        return table.kind == "id"
    except RejectedLineError as refusal:
        batch.refused.append((key, session, str(refusal)))
    return True


def _line(table: HistoryTable, row: Any, key: int, limits: Limits) -> SourceLine:
    speaker, text = (row.speaker, plain(row.text)) if table.message is None else speaker_and_text(row.message)
    created_at = None if table.created_at is None else (row.key if table.kind == "time" else row.created_at)
    inferred = created_at is None
    line = parse_record(
        {
            "session_id": None if row.session_id is None else str(row.session_id),
            "line": key,
            "created_at": limits.now if inferred else _moment(created_at, limits),
            "speaker": speaker,
            "text": text,
        },
        key,
        limits,
    )
    return line._replace(time_inferred=inferred)


def _moment(value: object, limits: Limits) -> object:
    """A time as it may stand in a column: a moment, a text, or seconds or milliseconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if abs(value) > 10**11 else value
        try:
            return datetime.fromtimestamp(seconds, limits.zone)
        except (OverflowError, ValueError, OSError):
            raise RejectedLineError(f"created_at {value} is no time since 1970 in seconds or milliseconds") from None
    return value


def _rows_query(table: HistoryTable, where: ColumnElement[bool] | None) -> Select[Any]:
    columns = table.clause.c
    named = [table.key_column.label("key"), columns[table.session_id].label("session_id")]
    if table.message is not None:
        named.append(columns[table.message].label("message"))
    else:
        named += [columns[table.speaker or ""].label("speaker"), columns[table.text or ""].label("text")]
    if table.created_at is not None and table.kind == "id":
        named.append(columns[table.created_at].label("created_at"))
    query = select(*named).select_from(table.clause).order_by(table.key_column)
    return query if where is None else query.where(where)


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    result = connection.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE).execute(query)
    try:
        yield from result
    finally:
        result.close()


def placed_by_time(rows: Sequence[HistoryRow]) -> list[SourceLine]:
    """Lines of rows whose key is a time: a place for each, by its moment and its rank among equals of its session."""
    ranks: Counter[tuple[str, int]] = Counter()
    lines = []
    for row in rows:
        rank = ranks[row.line.session_id, row.key]
        ranks[row.line.session_id, row.key] += 1
        lines.append(row.line._replace(position=row.key * TIES + min(rank, TIES - 1)))
    return lines


def read_digests(
    connection: Connection, table: HistoryTable, keys: Sequence[int], limits: Limits
) -> tuple[dict[int, str], int | None]:
    """Digests of the rows at these keys, those that are there, and the table's highest key."""
    batch = read_batch(connection, table, within(table, [(key, key) for key in keys]), limits, most_sessions=len(keys))
    with connection.begin():
        highest = connection.execute(
            select(table.key_column).select_from(table.clause).order_by(table.key_column.desc()).limit(1)
        ).scalar()
    found = {row.key: row.digest for row in batch.rows} | {key: "" for key, _, _ in batch.refused}
    return found, None if highest is None else table.key_of(highest)


def read_blocks(
    connection: Connection, table: HistoryTable, first: int, below: int, top: int | None
) -> dict[int, Block]:
    """How many rows up to ``top`` the source has in each block from ``first`` on, below ``below``, by one aggregate."""
    size = block_size(table)
    last = below * size - 1 if top is None else min(below * size - 1, top)
    key: ColumnElement[Any] = table.key_column
    if table.kind == "time":
        key = _microseconds_of(table)
    inner = (
        select(key.label("key"))
        .select_from(table.clause)
        .where(table.key_column >= table.bound(first * size), table.key_column <= table.bound(last))
        .subquery()
    )
    block = func.floor(inner.c.key / size) if table.kind == "time" else inner.c.key // size
    query = select(block.label("block"), func.count().label("rows"), func.sum(inner.c.key).label("sum")).group_by(block)
    with connection.begin():
        return {int(row.block): Block(int(row.rows), int(row.sum)) for row in connection.execute(query)}


def _microseconds_of(table: HistoryTable) -> ColumnElement[Any]:
    if table.dialect == "postgresql":
        return func.round(extract("epoch", table.key_column) * 1_000_000)
    return func.round(func.unix_timestamp(table.key_column) * 1_000_000)


def sessions_present(
    connection: Connection, table: HistoryTable, sessions: Sequence[str], spans: Sequence[Span]
) -> dict[str, int]:
    """The lowest key of each of these sessions that the source still has, looked for within the spans."""
    session = table.clause.c[table.session_id]
    query = (
        select(session.label("session"), func.min(table.key_column).label("first"))
        .select_from(table.clause)
        .where(table.of_sessions(sessions), *([within(table, spans)] if spans else []))
        .group_by(session)
    )
    with connection.begin():
        return {str(row.session): table.key_of(row.first) for row in connection.execute(query)}
