"""Reading rows of a history table by their keys: some at a time, each turned into a line or refused with a reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Select, Text, cast, extract, func, or_, select, union_all
from sqlalchemy.sql.expression import ColumnElement

from crew_pipeline.discovery.messages import speaker_and_text, text_of
from crew_pipeline.discovery.placing import HistoryRow
from crew_pipeline.discovery.records import LeftOutError, Limits, NotYetError, RejectedLineError, parse_record
from crew_pipeline.discovery.table import HistoryTable
from crew_pipeline.discovery.watermark import Span
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.sources.watermarks import Block

MOST_ROWS = 5_000
"""Rows of one batch, however few sessions they belong to."""
MOST_CHARS = 16_000_000
"""Characters of one batch, so that long messages do not fill the memory."""
BLOCK_OF_IDS = 8_192
BLOCK_OF_MICROSECONDS = 600_000_000
CROWDED = "its key, or how often it was used, leads beyond what a position can be"

_ROWS_AT_ONCE = 100
_GAPS_AT_ONCE = 32
_KEYS_AT_ONCE = 500
_MOST_APART_BITS = 45


@dataclass
class RowBatch:
    """Rows that one statement read, in the order of their keys; those of one key are all there.

    Attributes:
        refused: key, session and reason of rows that cannot be taken in.
        passed_over: key, session and kinds of rows that are no talk.
        left_out: key of rows of which a part is no talk, and how much of each kind.
        reached: the last key that was read; None where nothing was.
        more: whether there may be rows beyond.
        not_yet: keys of rows that are put off because their time lies ahead; they will be asked for again.
    """

    rows: list[HistoryRow] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    passed_over: list[tuple[int, str, Mapping[str, int]]] = field(default_factory=list)
    left_out: list[tuple[int, Mapping[str, int]]] = field(default_factory=list)
    reached: int | None = None
    more: bool = False
    not_yet: set[int] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)

    @property
    def seen(self) -> list[int]:
        """Keys of the rows that need not be asked for again, ascending."""
        return sorted([*(row.key for row in self.rows), *(key for key, _, _ in (*self.refused, *self.passed_over))])

    def blocks(self, size: int) -> dict[int, Block]:
        """How many of the rows lie in each block of ``size`` keys."""
        rows: Counter[int] = Counter()
        sums: Counter[int] = Counter()
        for key in self.seen:
            rows[key // size] += 1
            sums[key // size] += key
        return {block: Block(rows[block], sums[block]) for block in sorted(rows)}

    def without(self, key: int) -> RowBatch:
        """The batch without the rows of this key, its last one."""
        rows = [row for row in self.rows if row.key != key]
        refused = [refusal for refusal in self.refused if refusal[0] != key]
        passed_over = [passed for passed in self.passed_over if passed[0] != key]
        sessions = {row.line.session_id for row in rows} | {session for _, session, _ in (*refused, *passed_over)}
        left_out = [counted for counted in self.left_out if counted[0] != key]
        left = RowBatch(rows, refused, passed_over, left_out, None, True, self.not_yet - {key}, sessions)
        left.reached = max([*left.seen, *left.not_yet], default=None)
        return left


def block_size(table: HistoryTable, keys: Sequence[int]) -> int:
    """Keys in a block, chosen to hold some thousand rows if keys lie as far apart as these."""
    if table.kind == "time":
        return BLOCK_OF_MICROSECONDS
    distances = sorted(after - before for before, after in pairwise(keys)) or [1]
    apart = max(1, distances[len(distances) // 2])
    return BLOCK_OF_IDS << min(apart.bit_length() - 1, _MOST_APART_BITS)


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
) -> RowBatch:
    """Rows in the order of their keys, until there is enough for one batch; streamed."""
    query = _rows_query(table, where)
    with connection.begin():
        batch, read = _read(connection, table, query.limit(most_rows + 1), limits, most_sessions, most_rows)
        if read <= most_rows or batch.reached is None or batch.more:
            return batch
        # The limit cut through the rows of one key: give the rows before it or, if there are none, all of that key.
        shorter = batch.without(batch.reached)
        if shorter.reached is not None:
            return shorter
        only = _rows_query(table, table.key_column == table.bound(batch.reached))
        whole, _ = _read(connection, table, only, limits, most_sessions, most_rows)
        whole.more = True
        return whole


def read_gaps(
    connection: Connection,
    table: HistoryTable,
    gaps: Sequence[Span],
    beyond: int | None,
    limits: Limits,
    *,
    most_sessions: int,
) -> RowBatch:
    """Rows in the gaps beyond a key, read like ``read_batch``; each gap is looked up on its own, by the key's index."""
    for start in range(0, len(gaps), _GAPS_AT_ONCE):
        some = gaps[start : start + _GAPS_AT_ONCE]
        spans = [(first if beyond is None else max(first, beyond + 1), last) for first, last in some]
        parts = [select(_rows_query(table, within(table, [span])).limit(MOST_ROWS + 1).subquery()) for span in spans]
        united = union_all(*parts).subquery()
        query = select(united).order_by(united.c.key).limit(MOST_ROWS + 1)
        with connection.begin():
            batch, read = _read(connection, table, query, limits, most_sessions, MOST_ROWS)
        if batch.reached is None:
            continue
        if not batch.more and read <= MOST_ROWS:
            batch.reached = spans[-1][1]
            batch.more = start + _GAPS_AT_ONCE < len(gaps)
        else:
            batch.more = True
        return batch
    return RowBatch()


def _read(
    connection: Connection,
    table: HistoryTable,
    query: Select[Any],
    limits: Limits,
    most_sessions: int,
    most_rows: int,
) -> tuple[RowBatch, int]:
    """A batch, and how many rows the statement has given."""
    batch = RowBatch()
    chars = read = 0
    for row in _streamed(connection, query):
        read += 1
        key = table.key_of(row.key)
        session = "" if row.session_id is None else str(row.session_id)
        full = len(batch.sessions) >= most_sessions and session not in batch.sessions
        taken = len(batch.rows) + len(batch.refused) + len(batch.passed_over)
        # Rows of one key stay in one batch: how they relate to each other is only seen together.
        if (full or chars >= MOST_CHARS or taken >= most_rows) and key != batch.reached:
            batch.more = True
            break
        if not _take(batch, table, row, key, session, limits):
            break
        batch.sessions.add(session)
        batch.reached = key
        chars += len(str(row.message if table.message is not None else row.text))
    return batch, read


def _take(batch: RowBatch, table: HistoryTable, row: Any, key: int, session: str, limits: Limits) -> bool:
    """Turn a row into a line and say whether reading may go on."""
    try:
        left_out: Counter[str] = Counter()
        batch.rows.append(HistoryRow(key, _line(table, row, key, limits, left_out)))
        if left_out:
            batch.left_out.append((key, left_out))
    except NotYetError:
        batch.not_yet.add(key)
        return table.kind == "id"
    except LeftOutError as passed:
        batch.passed_over.append((key, session, passed.kinds))
    except RejectedLineError as refusal:
        batch.refused.append((key, session, str(refusal)))
    return True


def _line(table: HistoryTable, row: Any, key: int, limits: Limits, left_out: Counter[str]) -> SourceLine:
    framework = table.framework
    if table.says_kind is not None and framework is not None and row.kind not in framework.talk:
        raise LeftOutError({framework.otherwise: 1})
    if table.message is None:
        speaker, text = row.speaker, text_of(row.text, left_out, is_json=table.text_is_json)
        speaker = framework.speakers.get(speaker, speaker) if framework is not None else speaker
    else:
        speaker, text = speaker_and_text(row.message, left_out)
    created_at = None if table.created_at is None else (row.key if table.kind == "time" else row.created_at)
    inferred = created_at is None
    line = parse_record(
        {
            "session_id": None if row.session_id is None else str(row.session_id),
            "line": key if table.kind == "id" else 0,
            "created_at": limits.now if inferred else _moment(table, created_at, limits),
            "speaker": speaker,
            "text": text,
        },
        key,
        limits,
    )
    return line._replace(time_inferred=inferred)


def _moment(table: HistoryTable, value: object, limits: Limits) -> object:
    """A time as it may stand in a column: a moment, a text, or seconds or milliseconds since 1970."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if table.naive_is_utc and value.tzinfo is None else value
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdigit():
        value = float(value)
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
        named.append(_as_written(table, table.message).label("message"))
    else:
        named.append(_as_written(table, table.speaker or "").label("speaker"))
        named.append(_as_written(table, table.text or "").label("text"))
    if table.says_kind is not None:
        named.append(_as_written(table, table.says_kind).label("kind"))
    if table.created_at is not None and table.kind == "id":
        named.append(_as_written(table, table.created_at).label("created_at"))
    query = select(*named).select_from(table.clause).where(table.readable).order_by(table.key_column)
    return query if where is None else query.where(where)


def _as_written(table: HistoryTable, name: str) -> ColumnElement[Any]:
    """A column; as text where the driver might fail on its values: times without end, JSON nested too deep."""
    column = table.clause.c[name]
    return cast(column, Text()) if table.dialect == "postgresql" else column


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    result = connection.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE).execute(query)
    try:
        yield from result
    finally:
        result.close()


def digest(row: HistoryRow) -> str:
    """16 hex digits that tell whether a key still belongs to the same message: by its time, or else by its words."""
    line = row.line
    told = f"{line.speaker}\x1f{line.text}" if line.time_inferred else line.spoken_at.astimezone(UTC).isoformat()
    return hashlib.blake2b(f"{line.session_id}\x1f{told}".encode(), digest_size=8).hexdigest()


def read_digests(
    connection: Connection, table: HistoryTable, keys: Sequence[int], limits: Limits
) -> tuple[dict[int, set[str]], int | None]:
    """Digests of the rows that are there at these keys, and the table's highest key."""
    batch = read_batch(connection, table, within(table, [(key, key) for key in keys]), limits, most_sessions=len(keys))
    digests: dict[int, set[str]] = {}
    for row in batch.rows:
        digests.setdefault(row.key, set()).add(digest(row))
    for key, _, _ in (*batch.refused, *batch.passed_over):
        digests.setdefault(key, set()).add("")
    return digests, highest_key(connection, table)


def highest_key(connection: Connection, table: HistoryTable) -> int | None:
    """The highest key of the table; None where it is empty."""
    query = select(table.key_column).select_from(table.clause).where(table.readable)
    with connection.begin():
        value = connection.execute(query.order_by(table.key_column.desc()).limit(1)).scalar()
    return None if value is None else table.key_of(value)


def read_blocks(
    connection: Connection, table: HistoryTable, size: int, first: int, below: int, top: int | None
) -> dict[int, Block]:
    """How many rows up to ``top`` the source has in each block from ``first`` on, below ``below``, by one aggregate."""
    last = below * size - 1 if top is None else min(below * size - 1, top)
    key: ColumnElement[Any] = table.key_column
    if table.kind == "time":
        key = _microseconds_of(table)
    inner = (
        select(key.label("key"))
        .select_from(table.clause)
        .where(table.readable, table.key_column >= table.bound(first * size), table.key_column <= table.bound(last))
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


def sessions_at(connection: Connection, table: HistoryTable, keys: Sequence[int]) -> set[str]:
    """The sessions of the rows at these keys."""
    session = table.clause.c[table.session_id]
    sessions: set[str] = set()
    with connection.begin():
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = table.key_column.in_([table.bound(key) for key in keys[start : start + _KEYS_AT_ONCE]])
            rows = connection.execute(select(session).select_from(table.clause).where(some))
            sessions |= {str(row[0]) for row in rows}
    return sessions


def sessions_present(connection: Connection, table: HistoryTable, sessions: Sequence[str]) -> dict[str, int]:
    """Those of these sessions that have any row in the source, and the lowest key of each."""
    session = table.clause.c[table.session_id]
    query = (
        select(session.label("session"), func.min(table.key_column).label("first"))
        .select_from(table.clause)
        .where(table.of_sessions(sessions), table.readable)
        .group_by(session)
    )
    with connection.begin():
        # Padded names, and names that differ in case where the source does not tell them apart, count as present.
        lowest = {_folded(str(row.session)): table.key_of(row.first) for row in connection.execute(query)}
    return {name: lowest[_folded(name)] for name in sessions if _folded(name) in lowest}


def _folded(session: str) -> str:
    return session.strip().casefold()
