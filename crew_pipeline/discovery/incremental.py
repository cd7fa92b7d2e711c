"""One round over one crew's history table: what is new, what came late, and a part of what was read before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection, and_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.expression import ColumnElement

from crew_pipeline.discovery import scan
from crew_pipeline.discovery.placing import (
    HistoryRow,
    Placing,
    place,
    places_to_look_at,
    timed_key,
    timed_stretch,
)
from crew_pipeline.discovery.records import Limits
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.discovery.scan import RowBatch
from crew_pipeline.discovery.sources import SourceError
from crew_pipeline.discovery.table import HistoryTable, microseconds
from crew_pipeline.discovery.watermark import Watermark
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceTraits, ingest, withdraw
from crew_pipeline.storage.conversations.parts import Calendar, calendar_of
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources import watermarks as discovery
from crew_pipeline.storage.sources.crews import HistorySource
from crew_pipeline.storage.sources.watermarks import Block, Extent

logger = logging.getLogger(__name__)

PATROL_ROWS = 50_000
"""Rows that one step of the patrol compares with the source, by count and sum of keys."""
PATROL_BLOCKS = 1_000
MOST_REREAD = 8
"""Most blocks that one step reads again."""
PATROL_SESSIONS = 500
"""Sessions that one step of the patrol looks for in the source."""
EVERY_ROUND = timedelta(hours=1)
EVERY_PATROL = timedelta(days=2)
"""How far back rounds and patrols compare, where keys are times."""
_SESSIONS_KEPT = 10_000
_KEYS_TO_JUDGE_BY = 200
_FITS = 16


@dataclass
class CrewRound:
    """One round. A step is a transaction: the watermark's row is locked, rows are read and merged, the watermark set.

    Attributes:
        db: the application's database.
        source_connection: read-only connection to the source.
        deadline: of ``time.monotonic``; what is not read by then is read the next time.
        on_batch: called after each batch.
    """

    db: Database
    source_connection: Connection
    source: HistorySource
    table: HistoryTable
    settings: Settings
    limits: Limits
    report: CrewReport
    deadline: float
    on_batch: Callable[[CrewReport], None] | None = None

    def run(self, *, patrol: bool = True) -> None:
        """Read what is new and what came late; with ``patrol`` also check what was read before."""
        self._recognise()
        if not self._timed:
            self._fill_gaps()
        while self._read_on():
            if self._out_of_time:
                self.report.finished = False
                return
        if self._timed:
            self._compare_recent(EVERY_ROUND)
        if patrol:
            self._patrol()

    def read_session(self, session_id: str) -> None:
        """Read all rows of one session, whatever the watermark says; its top stays where it is."""
        self._recognise()
        reached: int | None = None
        while True:
            with self._turn() as (connection, mark):
                batch = self._read_of(session_id, reached)
                self._save(connection, self._take_in(connection, batch, mark).mark)
            if not batch.more:
                return
            reached = batch.reached

    def read_all(self) -> None:
        """Read the whole table as if nothing were known of it, going on where the last such reading ran out of time."""
        self._recognise()
        while True:
            with self._turn() as (connection, mark):
                batch = self._read(scan.above(self.table, mark.scanned))
                placed = self._take_in(connection, batch, mark)
                self._save(connection, replace(placed.mark, scanned=batch.reached if batch.more else None))
            if not batch.more:
                return
            if self._out_of_time:
                self.report.finished = False
                return

    @property
    def _timed(self) -> bool:
        return self.table.kind == "time"

    @property
    def _out_of_time(self) -> bool:
        return time.monotonic() >= self.deadline

    def _calendar(self, connection: Connection) -> Calendar:
        return calendar_of(connection, self.settings, self.source.client, self.limits.now)

    @property
    def _crew(self) -> CrewKey:
        return CrewKey(self.source.client, self.source.code, self.source.crew_id)

    @contextmanager
    def _turn(self) -> Iterator[tuple[Connection, Watermark]]:
        """A transaction with the watermark as it is now.

        Raises:
            SourceError: the crew has been set up otherwise or stopped since the round began.
        """
        with self.db.write() as connection:
            stored, source = discovery.lock_watermark(connection, self.source.crew_id)
            mark = Watermark.of(stored)
            if source != self.source:
                raise SourceError(f"{self.source.code} was set up otherwise while it was read; the next round goes on.")
            name = f"{self.source.source_env or ''}/{self.table.name}/{self.table.key}:{self.table.kind}"
            if mark.source and mark.source != name:
                mark = mark.anew(-1, scan.highest_key(self.source_connection, self.table), lift=True)
                mark = replace(mark, block=0, patrol=0, scanned=None)
                discovery.forget_blocks(connection, self.source.crew_id, None)
                self.report.begun_anew = True
            yield connection, replace(mark, source=name)

    def _save(self, connection: Connection, mark: Watermark) -> None:
        discovery.save_watermark(connection, self.source.crew_id, mark.as_dict())

    def _read(self, where: ColumnElement[bool] | None, most_sessions: int | None = None) -> RowBatch:
        most = most_sessions or self.settings.discovery_batch
        return scan.read_batch(self.source_connection, self.table, where, self.limits, most_sessions=most)

    def _read_of(self, session_id: str, reached: int | None) -> RowBatch:
        """Rows of a session beyond a key."""
        wanted, beyond = self.table.of_sessions([session_id]), scan.above(self.table, reached)
        return self._read(wanted if beyond is None else and_(wanted, beyond))

    def _recognise(self) -> None:
        """Check that rows read before are still the same; if not, set the watermark back."""
        with self._turn() as (connection, mark):
            keys = [key for key, _ in mark.anchors]
            anew = None
            if keys and not self._timed:
                anew = mark.begins_anew(*scan.read_digests(self.source_connection, self.table, keys, self.limits))
            if anew is not None:
                self.report.begun_anew |= anew.lift
                if anew.top != mark.top:
                    first = None if anew.top is None else anew.top // max(mark.block, 1)
                    discovery.forget_blocks(connection, self.source.crew_id, first)
            self._save(connection, anew or mark)

    def _fill_gaps(self) -> None:
        reached: int | None = None
        while not self._out_of_time:
            with self._turn() as (connection, mark):
                gaps = [gap for gap in mark.gaps if reached is None or gap[1] > reached]
                if not gaps:
                    return
                batch = scan.read_gaps(
                    self.source_connection,
                    self.table,
                    gaps,
                    reached,
                    self.limits,
                    most_sessions=self.settings.discovery_batch,
                )
                if batch.seen:
                    placed = self._take_in(connection, batch, mark)
                    self._count(connection, batch, placed.mark)
                    self._save(connection, placed.mark.filled(batch.seen))
                reached = batch.reached
            if not batch.more or reached is None:
                return

    def _read_on(self) -> bool:
        """Read one batch above the watermark and say whether there is more."""
        with self._turn() as (connection, mark):
            batch = self._read(scan.above(self.table, mark.top))
            if batch.reached is None:
                return False
            placed = self._take_in(connection, batch, mark)
            after = self._sized(connection, placed.mark, batch.seen)
            self._count(connection, batch, after)
            digests = {row.key: scan.digest(row) for row in doubling(batch.rows)}
            self._save(connection, after.read_up(batch.seen, digests, batch.reached, dense=not self._timed))
        return batch.more

    def _sized(self, connection: Connection, mark: Watermark, keys: Sequence[int]) -> Watermark:
        """The watermark with blocks sized to the distance of keys; if their size changes, all is counted anew."""
        size = scan.block_size(self.table, keys)
        if mark.block and (len(keys) < _KEYS_TO_JUDGE_BY or mark.block // _FITS < size < mark.block * _FITS):
            return mark
        discovery.forget_blocks(connection, self.source.crew_id, None)
        return replace(mark, block=size, patrol=0)

    def _compare_recent(self, back: timedelta) -> None:
        with self._turn() as (connection, mark):
            if mark.top is None or not mark.block:
                return
            now = microseconds(self.limits.now if self.table.zoned else self.limits.now.replace(tzinfo=None))
            first = (min(mark.top, now) - back // timedelta(microseconds=1)) // mark.block
            after, _, _ = self._compare(connection, mark, first, mark.top // mark.block + 1)
            self._save(connection, after)

    def _patrol(self) -> None:
        """Check what was read before; an error in that keeps no new rows from being read."""
        try:
            if self._timed and not self._out_of_time:
                self._compare_recent(EVERY_PATROL)
            while not self._out_of_time and self._patrol_step():
                pass
            if not self._timed and not self._out_of_time:
                self._look_for_sessions()
        except SQLAlchemyError as error:
            logger.warning("%s: looking after older rows failed (%s)", self.source.code, type(error).__name__)
            self.report.warnings.append(f"looking after older rows failed ({type(error).__name__}); it is tried again")

    def _patrol_step(self) -> bool:
        """Compare the next stretch; whether to go on at once, because something differed there."""
        with self._turn() as (connection, mark):
            if mark.top is None or not mark.block:
                return False
            below = mark.top // mark.block + 1
            end = self._patrol_end(connection, mark.patrol, below)
            after, reached, differed = self._compare(connection, mark, mark.patrol, end)
            self._save(connection, replace(after, patrol=0 if reached >= below else reached))
            return differed and reached < below

    def _patrol_end(self, connection: Connection, first: int, below: int) -> int:
        """How far the patrol goes this time: over rows that are counted quickly, and empty stretches between."""
        listed = discovery.next_blocks(connection, self.source.crew_id, first, below, PATROL_BLOCKS)
        rows = 0
        for block, count in listed:
            rows += count
            if rows >= PATROL_ROWS:
                return block + 1
        return listed[-1][0] + 1 if len(listed) == PATROL_BLOCKS else below

    def _compare(self, connection: Connection, mark: Watermark, first: int, below: int) -> tuple[Watermark, int, bool]:
        """Compare blocks with the source, and reread some of those that differ.

        Returns:
            The watermark after that, the first block not dealt with, and whether any differed.
        """
        known = discovery.blocks_between(connection, self.source.crew_id, first, below)
        in_source = scan.read_blocks(self.source_connection, self.table, mark.block, first, below, mark.top)
        differing = sorted(block for block in {*known, *in_source} if known.get(block) != in_source.get(block))
        for block in differing[:MOST_REREAD]:
            mark = self._read_again(connection, mark, block)
        return mark, differing[MOST_REREAD] if len(differing) > MOST_REREAD else below, bool(differing)

    def _read_again(self, connection: Connection, mark: Watermark, block: int) -> Watermark:
        first, last = block * mark.block, (block + 1) * mark.block - 1
        end = last if mark.top is None else min(last, mark.top)
        counted = Block(0, 0)
        sessions: set[str] = set()
        reached: int | None = first - 1
        while reached is not None and reached < end:
            if self._out_of_time:
                return mark
            batch = self._read(scan.within(self.table, [(reached + 1, end)]), most_sessions=scan.MOST_ROWS)
            mark = self._take_in(connection, batch, mark).mark.filled(batch.seen)
            counted = Block(counted.rows + len(batch.seen), counted.keys_sum + sum(batch.seen))
            sessions |= batch.sessions
            reached = batch.reached if batch.more else None
        discovery.set_blocks(connection, self.source.crew_id, {block: counted})
        begun = self._sessions_beginning(connection, mark, first, last + 1)
        return self._see_to_missing(connection, mark, [extent for extent in begun if extent.session_id not in sessions])

    def _sessions_beginning(self, connection: Connection, mark: Watermark, first: int, below: int) -> list[Extent]:
        """Sessions whose first line stands where rows with these keys may stand."""
        spans = [timed_stretch(first, below)] if self._timed else mark.stretches(first, below)
        return [
            extent
            for begin, end in spans
            for extent in discovery.sessions_beginning(connection, self.source.crew_id, begin, end)
        ]

    def _look_for_sessions(self) -> None:
        """Look for the next sessions in the source, by the keys that their first lines have."""
        with self._turn() as (connection, mark):
            begun = discovery.sessions_beginning(
                connection, self.source.crew_id, mark.checked, 2**63 - 1, PATROL_SESSIONS
            )
            keys = sorted({mark.key_at(extent.first) for extent in begun})
            present = scan.sessions_at(self.source_connection, self.table, keys) if keys else set()
            missing = [extent for extent in begun if extent.session_id not in present]
            mark_after = self._see_to_missing(connection, mark, missing)
            checked = begun[-1].first + 1 if len(begun) == PATROL_SESSIONS else 0
            self._save(connection, replace(mark_after, checked=checked))

    def _see_to_missing(self, connection: Connection, mark: Watermark, missing: Sequence[Extent]) -> Watermark:
        """For sessions whose beginning was not found: note those that are gone, and withdraw lost lines if set to."""
        names = sorted({extent.session_id for extent in missing})
        still = scan.sessions_present(self.source_connection, self.table, names) if names else {}
        for session in names:
            gone = session not in still
            if gone:
                self.report.deleted.append(session)
                discovery.mark_deleted(connection, self.source.crew_id, session)
                self._forget_blocks_of(connection, mark, session)
            if self.settings.deleted_sessions == "withdraw":
                mark = self._withdraw(connection, mark, session, gone=gone)
            elif not gone and not self._timed:
                # Note where it begins now, so that it is not looked for in vain each time.
                begins = max(mark.positions(still[session]), default=0)
                discovery.begin_at(connection, self.source.crew_id, session, begins)
        return mark

    def _forget_blocks_of(self, connection: Connection, mark: Watermark, session: str) -> None:
        """Have the blocks of a session's rows compared anew: the rows may come back just as they were."""
        lines = discovery.lines_of_sessions(connection, self.source.crew_id, [session])
        keys = [timed_key(line.position) if self._timed else mark.key_at(line.position) for line in lines]
        discovery.drop_blocks(connection, self.source.crew_id, sorted({key // mark.block for key in keys}))

    def _withdraw(self, connection: Connection, mark: Watermark, session: str, *, gone: bool) -> Watermark:
        """Take out of their day those lines that the source no longer has."""
        kept: list[int] = []
        more, reached = not gone, None
        while more:
            batch = self._read_of(session, reached)
            placed = self._take_in(connection, batch, mark)
            kept += [position for _, position in placed.places]
            mark, more, reached = placed.mark, batch.more, batch.reached
        days = withdraw(connection, crew=self._crew, session_id=session, keep=kept, calendar=self._calendar(connection))
        self.report.ingested.days = sorted({*self.report.ingested.days, *days})
        return mark

    def _take_in(self, connection: Connection, batch: RowBatch, mark: Watermark) -> Placing:
        """Merge a batch into the store and into the report."""
        report = self.report
        placed = self._place(connection, batch.rows, mark)
        refused = [*batch.refused, *((row.key, row.line.session_id, scan.CROWDED) for row in placed.crowded)]
        report.reading.lines_read += len(batch.rows) + len(batch.refused)
        report.reading.leave_out(*(kinds for _, kinds in batch.left_out), *(kinds for _, _, kinds in batch.passed_over))
        report.not_yet |= batch.not_yet
        report.sessions |= batch.sessions
        for key, session, reason in refused:
            report.reading.reject(key, reason)
            report.sessions_failed.add(session)
        discovery.refuse_rows(connection, self.source.crew_id, [(key, reason) for key, _, reason in refused])
        report.ingested.lines_unchanged += placed.unchanged
        if placed.unchanged:
            discovery.unmark_deleted(connection, self.source.crew_id, sorted(batch.sessions))
        if placed.lines:
            done = ingest(
                connection,
                crew=self._crew,
                lines=placed.lines,
                calendar=self._calendar(connection),
                source=SourceTraits(from_history=True),
            )
            report.ingested.add(done)
        if len(report.sessions) > _SESSIONS_KEPT:
            report.settle()
        if self.on_batch is not None:
            self.on_batch(report)
        return placed

    def _place(self, connection: Connection, rows: Sequence[HistoryRow], mark: Watermark) -> Placing:
        crew_id = self.source.crew_id
        known = discovery.lines_at(connection, crew_id, *places_to_look_at(rows, mark, timed=self._timed))
        copied = {row.line.session_id for row in rows if mark.recognise_to is not None and row.key <= mark.recognise_to}
        if copied:
            known = [*known, *discovery.lines_of_sessions(connection, crew_id, sorted(copied))]
        return place(rows, known, mark, timed=self._timed)

    def _count(self, connection: Connection, batch: RowBatch, mark: Watermark) -> None:
        discovery.count_rows(connection, self.source.crew_id, batch.blocks(mark.block))


def doubling(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """The last row and rows at doubling distances before it, as ``Watermark`` keeps them."""
    return [rows[-(1 << power)] for power in range(len(rows).bit_length())]
