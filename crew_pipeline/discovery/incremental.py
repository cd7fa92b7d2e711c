"""One round over one crew's history table: what is new, what came late, and a part of what was read before."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy import Connection, Engine, and_
from sqlalchemy.sql.expression import ColumnElement

from crew_pipeline.discovery import scan
from crew_pipeline.discovery.records import Limits
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.discovery.scan import Batch, HistoryRow
from crew_pipeline.discovery.table import HistoryTable, microseconds
from crew_pipeline.discovery.watermark import TIES, Watermark
from crew_pipeline.settings import Settings
from crew_pipeline.storage import discovery
from crew_pipeline.storage.crews import HistorySource
from crew_pipeline.storage.discovery import Block, StoredLine
from crew_pipeline.storage.ingest import SourceLine, ingest, withdraw

PATROL_ROWS = 50_000
"""Rows that one round holds against the source by their count and sum."""
PATROL_BLOCKS = 64
MOST_REREAD = 4
"""Blocks that one round reads again where they differ."""
RECENT = timedelta(days=2)
"""How far back every round compares, where keys are times."""


@dataclass
class CrewRound:
    """One round. A step is a transaction: the watermark's row is locked, rows are read and merged, the watermark set.

    Attributes:
        engine: of the application's database.
        reader: read-only connection to the source.
        deadline: of ``time.monotonic``; what is not read by then is read the next time.
        on_batch: called after each batch.
    """

    engine: Engine
    reader: Connection
    source: HistorySource
    table: HistoryTable
    settings: Settings
    limits: Limits
    report: CrewReport
    deadline: float
    on_batch: Callable[[CrewReport], None] | None = None

    def run(self, *, patrol: bool = True) -> None:
        """Read what is new and what came late; with ``patrol`` also look after what was read before."""
        if self.table.kind == "id":
            self._recognise()
            self._fill_gaps()
        while self._read_on():
            if time.monotonic() >= self.deadline:
                self.report.finished = False
                return
        if self.table.kind == "time":
            self._compare_recent()
        if patrol and time.monotonic() < self.deadline:
            self._patrol()

    def read_session(self, session_id: str) -> None:
        """Read all rows of one session, whatever the watermark says; it stays where it is."""
        wanted = self.table.of_sessions([session_id])
        reached: int | None = None
        while True:
            with self._turn() as (connection, mark):
                batch = self._read(_both(wanted, scan.above(self.table, reached)))
                self._take_in(connection, batch, mark)
            reached = batch.reached
            if not batch.more:
                return

    def read_all(self) -> None:
        """Read the whole table, as if nothing were known of it; the watermark stays where it is."""
        reached: int | None = None
        while True:
            with self._turn() as (connection, mark):
                batch = self._read(scan.above(self.table, reached))
                self._take_in(connection, batch, mark)
            reached = batch.reached
            if not batch.more:
                return

    @contextmanager
    def _turn(self) -> Iterator[tuple[Connection, Watermark]]:
        with self.engine.begin() as connection:
            mark = Watermark.of(discovery.lock_watermark(connection, self.source.crew_id))
            name = f"{self.source.source_env or ''}/{self.table.name}/{self.table.key}:{self.table.kind}"
            if mark.source and mark.source != name:
                mark = mark.anew()
                discovery.forget_blocks(connection, self.source.crew_id, -(2**62))
                self.report.begun_anew = True
            yield connection, replace(mark, source=name)

    def _save(self, connection: Connection, mark: Watermark) -> None:
        discovery.save_watermark(connection, self.source.crew_id, mark.as_dict())

    def _read(self, where: ColumnElement[bool] | None, most_sessions: int | None = None) -> Batch:
        return scan.read_batch(
            self.reader,
            self.table,
            where,
            self.limits,
            most_sessions=most_sessions or self.settings.discovery_batch,
        )

    def _recognise(self) -> None:
        """Make sure that it is still the table that was read, as far as it was read."""
        with self._turn() as (connection, mark):
            if not mark.anchors:
                return
            keys = [key for key, _ in mark.anchors]
            anew = mark.begins_anew(*scan.read_digests(self.reader, self.table, keys, self.limits))
            if anew is not None:
                self.report.begun_anew = True
                first = 0 if anew.top is None else anew.top // scan.block_size(self.table)
                discovery.forget_blocks(connection, self.source.crew_id, first)
                self._save(connection, anew)

    def _fill_gaps(self) -> None:
        while time.monotonic() < self.deadline:
            with self._turn() as (connection, mark):
                if not mark.gaps:
                    return
                batch = self._read(scan.within(self.table, mark.gaps))
                if not batch.seen:
                    return
                self._take_in(connection, batch, mark)
                self._count(connection, batch)
                self._save(connection, mark.filled(batch.seen))
            if not batch.more:
                return

    def _read_on(self) -> bool:
        """Read one batch above the watermark; whether there is more."""
        with self._turn() as (connection, mark):
            batch = self._read(scan.above(self.table, mark.top))
            if batch.reached is None:
                return False
            self._take_in(connection, batch, mark)
            self._count(connection, batch)
            digests = {row.key: row.digest for row in batch.rows}
            self._save(connection, mark.read_up(batch.seen, digests, batch.reached, dense=self.table.kind == "id"))
        return batch.more

    def _compare_recent(self) -> None:
        with self._turn() as (connection, mark):
            if mark.top is None:
                return
            size = scan.block_size(self.table)
            now = microseconds(self.limits.now if self.table.zoned else self.limits.now.replace(tzinfo=None))
            first = (min(mark.top, now) - RECENT // timedelta(microseconds=1)) // size
            after, _ = self._compare(connection, mark, first, mark.top // size + 1)
            self._save(connection, after)

    def _patrol(self) -> None:
        with self._turn() as (connection, mark):
            if mark.top is None:
                return
            below = mark.top // scan.block_size(self.table) + 1
            end = self._patrol_end(connection, mark.patrol, below)
            after, reached = self._compare(connection, mark, mark.patrol, end)
            self._save(connection, replace(after, patrol=0 if reached >= below else reached))

    def _patrol_end(self, connection: Connection, first: int, below: int) -> int:
        """How far the patrol goes this time: as many rows as are soon counted, and the emptiness between them."""
        listed = discovery.next_blocks(connection, self.source.crew_id, first, below, PATROL_BLOCKS)
        rows = 0
        for block, count in listed:
            rows += count
            if rows >= PATROL_ROWS:
                return block + 1
        return listed[-1][0] + 1 if len(listed) == PATROL_BLOCKS else below

    def _compare(self, connection: Connection, mark: Watermark, first: int, below: int) -> tuple[Watermark, int]:
        """Hold blocks against the source and read those again that differ.

        Returns:
            The watermark after that, and the first block that was not seen to.
        """
        known = discovery.blocks_between(connection, self.source.crew_id, first, below)
        found = scan.read_blocks(self.reader, self.table, first, below, mark.top)
        differing = sorted(block for block in {*known, *found} if known.get(block) != found.get(block))
        for block in differing[:MOST_REREAD]:
            mark = self._read_again(connection, mark, block)
        return mark, differing[MOST_REREAD] if len(differing) > MOST_REREAD else below

    def _read_again(self, connection: Connection, mark: Watermark, block: int) -> Watermark:
        size = scan.block_size(self.table)
        first, last = block * size, (block + 1) * size - 1
        end = last if mark.top is None else min(last, mark.top)
        whole = Batch()
        reached = first - 1
        while reached < end:
            batch = self._read(scan.within(self.table, [(reached + 1, end)]), most_sessions=size)
            self._take_in(connection, batch, mark)
            whole.extend(batch)
            if not batch.more or batch.reached is None:
                break
            reached = batch.reached
        discovery.set_blocks(connection, self.source.crew_id, {block: Block(0, 0)} | whole.blocks(size))
        self._notice_deleted(connection, mark, first, last, whole)
        return mark.filled(whole.seen)

    def _notice_deleted(self, connection: Connection, mark: Watermark, first: int, last: int, block: Batch) -> None:
        """Find sessions that began among these keys and have left the source, wholly or with their beginning."""
        crew_id = self.source.crew_id
        begun = discovery.sessions_beginning(connection, crew_id, self._place(mark, first), self._place(mark, last + 1))
        lowest = block.lowest()
        away = [one for one in begun if one.session_id not in lowest]
        if away:
            # Of a session that is not in this block any more only what lies beyond can be left.
            furthest = max(one.last for one in away) // (TIES if self.table.kind == "time" else 1)
            spans = [] if mark.shifts else [(last + 1, max(last + 1, furthest))]
            lowest |= scan.sessions_present(self.reader, self.table, [one.session_id for one in away], spans)
        for one in begun:
            left_from = lowest.get(one.session_id)
            if left_from is None:
                self.report.deleted.append(one.session_id)
                discovery.mark_deleted(connection, crew_id, one.session_id)
            if self.settings.deleted_sessions == "withdraw":
                position = None if left_from is None else self._place(mark, left_from)
                if position is None or position > one.first:
                    self._withdraw(connection, one.session_id, position)

    def _place(self, mark: Watermark, key: int) -> int:
        return key * TIES if self.table.kind == "time" else mark.position(key)

    def _withdraw(self, connection: Connection, session_id: str, before: int | None) -> None:
        days = withdraw(
            connection,
            client=self.source.client,
            crew_id=self.source.crew_id,
            session_id=session_id,
            before=before,
            zone=self.settings.timezone,
            today=self._today,
        )
        self.report.ingested.days = sorted({*self.report.ingested.days, *days})

    @property
    def _today(self) -> date:
        return self.limits.now.astimezone(self.settings.zone).date()

    def _take_in(self, connection: Connection, batch: Batch, mark: Watermark) -> None:
        """Merge a batch into the store and into the report."""
        report = self.report
        report.reading.lines_read += len(batch.rows) + len(batch.refused)
        report.not_yet |= batch.not_yet
        report.sessions |= batch.sessions
        for key, session, reason in batch.refused:
            report.reading.reject(key, reason)
            report.sessions_failed.add(session)
        discovery.refuse_rows(connection, self.source.crew_id, [(key, reason) for key, _, reason in batch.refused])
        if batch.rows:
            done = ingest(
                connection,
                client=self.source.client,
                crew=self.source.code,
                crew_id=self.source.crew_id,
                lines=self._placed(connection, batch.rows, mark),
                zone=self.settings.timezone,
                today=self._today,
            )
            report.ingested.add(done)
        if self.on_batch is not None:
            self.on_batch(report)

    def _placed(self, connection: Connection, rows: Sequence[HistoryRow], mark: Watermark) -> list[SourceLine]:
        if self.table.kind == "time":
            lines = scan.placed_by_time(rows)
        else:
            lines = [row.line._replace(position=mark.position(row.key)) for row in rows]
        if mark.known_below is None:
            return lines
        sessions = sorted({line.session_id for line in lines})
        known = discovery.lines_of_sessions(connection, self.source.crew_id, sessions, mark.known_below)
        return recognised(lines, [mark.position_before(row.key) for row in rows], known)

    def _count(self, connection: Connection, batch: Batch) -> None:
        discovery.count_rows(connection, self.source.crew_id, batch.blocks(scan.block_size(self.table)))


def recognised(
    lines: Sequence[SourceLine], places_before: Sequence[int], known: Sequence[StoredLine]
) -> list[SourceLine]:
    """Give lines that are known from before keys began anew the places that they have.

    A line is known by session, speaker, words and time; one whose time is only inferred by the place that its key gave
    it before instead. Each known line is taken once.
    """
    by_content: dict[tuple[str, str, str, object], list[int]] = defaultdict(list)
    for one in reversed(known):
        by_content[one.session_id, one.speaker, one.text, one.spoken_at].append(one.position)
        by_content[one.session_id, one.speaker, one.text, one.position].append(one.position)
    result = []
    for line, before in zip(lines, places_before, strict=True):
        mark: object = before if line.time_inferred else line.spoken_at
        places = by_content[line.session_id, line.speaker, line.text, mark]
        result.append(line._replace(position=places.pop()) if places else line)
    return result


def _both(one: ColumnElement[bool], other: ColumnElement[bool] | None) -> ColumnElement[bool]:
    return one if other is None else and_(one, other)
