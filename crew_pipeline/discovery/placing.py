"""Where a row's line stands in its conversation, so that reading a row again changes nothing. Pure decisions.

A line's position is its row's key plus a *base*, 0 at first. When a row is read again, its line is looked for under
every base ever used; if it is there with the same words and time, nothing changes. If another line stands there, the
key has been used for two messages, and a new base puts the row above every position ever given. So no line takes the
place of another, and every base has its own stretch of positions. Only an edit changes a line: its row kept key,
session and time or, where the source tells no time, the same speaker's text goes on from what it was.

Where keys are times, a line's position is its millisecond plus its rank among its session's lines of that millisecond.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from crew_pipeline.discovery.watermark import HIGHEST, Watermark
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.sources.watermarks import StoredLine

RANKS = 1_000_000
"""Most lines of a session in one millisecond, where keys are times."""
_MICROSECONDS = 1_000

Place = tuple[str, int]
"""Session and position."""


def timed_stretch(first: int, below: int) -> tuple[int, int]:
    """The first position of rows with these keys, and the one behind the last, where keys are times."""
    return first // _MICROSECONDS * RANKS, (below // _MICROSECONDS + 1) * RANKS


def timed_key(position: int) -> int:
    """The millisecond of a line, as a key, where keys are times."""
    return position // RANKS * _MICROSECONDS


class HistoryRow:
    """A row of a history table as a line, whose position is yet to be decided."""

    __slots__ = ("key", "line")

    def __init__(self, key: int, line: SourceLine) -> None:
        self.key = key
        self.line = line


@dataclass
class Placing:
    """Rows at their places.

    Attributes:
        mark: the watermark, with bases and highest position as they are afterwards.
        lines: those that are new or were edited.
        places: the place of every row that has one.
        unchanged: rows whose lines are there already.
        crowded: rows whose position would be too large for 64 bits.
    """

    mark: Watermark
    lines: list[SourceLine] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    unchanged: int = 0
    crowded: list[HistoryRow] = field(default_factory=list)


def places_to_look_at(rows: Iterable[HistoryRow], mark: Watermark, *, timed: bool) -> tuple[set[Place], int]:
    """Where these rows may stand already: first places of stretches, and how many positions each of these has."""
    if timed:
        return {(row.line.session_id, row.key // _MICROSECONDS * RANKS) for row in rows}, RANKS
    return {(row.line.session_id, position) for row in rows for position in mark.positions(row.key)}, 1


def place(rows: Sequence[HistoryRow], known: Iterable[StoredLine], mark: Watermark, *, timed: bool) -> Placing:
    """Give every row its place.

    Args:
        known: lines at ``places_to_look_at``, and all lines of the sessions of rows up to ``mark.recognise_to``.
        timed: whether keys are times.
    """
    at = {(line.session_id, line.position): line for line in known}
    work = _Work(Placing(mark), at, timed=timed)
    # Rows that are stored already take their lines first, so that no other row is taken for an edit of them.
    for row in [row for row in rows if not work.find(row)]:
        work.add(row)
    done = work.done
    highest = max([done.mark.highest, *(position for _, position in done.places)])
    done.mark = replace(done.mark, highest=highest)
    return done


class _Work:
    def __init__(self, done: Placing, at: dict[Place, StoredLine], *, timed: bool) -> None:
        self.done = done
        self._at = at
        self._timed = timed
        self._given = done.mark.highest
        self._taken: set[Place] = set()
        self._next: dict[Place, int] = {}
        self._by_content: dict[tuple[str, str, str, object], list[int]] = defaultdict(list)
        self._by_moment: dict[tuple[str, str, object], list[Place]] = defaultdict(list)
        for session, position in sorted(at, reverse=True):
            line = at[session, position]
            self._by_content[session, line.speaker, line.text, line.spoken_at].append(position)
            self._by_moment[session, line.speaker, line.spoken_at].append((session, position))
            # Positions descend, so the first one met in a millisecond is its last.
            self._next.setdefault((session, position // RANKS * RANKS), position + 1)

    def find(self, row: HistoryRow) -> bool:
        """Whether the row's line is there already, as it is."""
        usual = self._usual(row)
        same = next((place for place in usual if place not in self._taken and self._is(place, row.line)), None)
        same = same or self._elsewhere(row)
        if same is not None:
            self.done.unchanged += 1
            self._take(same)
        return same is not None

    def add(self, row: HistoryRow) -> None:
        """Put a new line at a place of its own, and an edited one where it was."""
        session = row.line.session_id
        usual = self._usual(row)
        earlier = self._by_moment[session, row.line.speaker, row.line.spoken_at] if self._timed else usual
        edited = next((place for place in earlier if place not in self._taken and self._was(place, row)), None)
        free = edited or (self._next_rank(row) if self._timed else self._unused(row, usual))
        if free[1] > HIGHEST:
            self.done.crowded.append(row)
            return
        line = row.line._replace(position=free[1])
        self.done.lines.append(line)
        self._at[free] = StoredLine(session, free[1], line.speaker, line.spoken_at, line.text)
        self._take(free)

    def _usual(self, row: HistoryRow) -> list[Place]:
        if self._timed:
            return []
        return [(row.line.session_id, position) for position in self.done.mark.positions(row.key)]

    def _take(self, place: Place) -> None:
        self.done.places.append(place)
        self._taken.add(place)
        self._given = max(self._given, place[1])

    def _is(self, place: Place, line: SourceLine) -> bool:
        at = self._at.get(place)
        return (
            at is not None
            and (at.speaker, at.text) == (line.speaker, line.text)
            and (line.time_inferred or at.spoken_at == line.spoken_at)
        )

    def _was(self, place: Place, row: HistoryRow) -> bool:
        """Whether the line at this place is an earlier form of the row's."""
        at, line = self._at.get(place), row.line
        if at is None:
            return False
        goes_on = at.speaker == line.speaker and line.text.startswith(at.text)
        if self._timed:
            return goes_on
        if line.time_inferred:
            return goes_on and not self._may_be_copy(row)
        return at.spoken_at == line.spoken_at

    def _may_be_copy(self, row: HistoryRow) -> bool:
        return self.done.mark.recognise_to is not None and row.key <= self.done.mark.recognise_to

    def _elsewhere(self, row: HistoryRow) -> Place | None:
        """The place of the same words at the same time in the same session, under another key."""
        line = row.line
        if line.time_inferred or not (self._timed or self._may_be_copy(row)):
            return None
        positions = self._by_content[line.session_id, line.speaker, line.text, line.spoken_at]
        while positions:
            place = (line.session_id, positions.pop())
            if place not in self._taken:
                return place
        return None

    def _unused(self, row: HistoryRow, usual: Sequence[Place]) -> Place:
        """A free place under an existing base, the newest if possible, or else under a new one."""
        free = None if self.done.mark.lift else next((place for place in usual if place not in self._at), None)
        if free is None:
            self.done.mark = self.done.mark.lifted(row.key, self._given)
            free = (row.line.session_id, self._given + 1)
        return free

    def _next_rank(self, row: HistoryRow) -> Place:
        session, begin = row.line.session_id, row.key // _MICROSECONDS * RANKS
        rank = self._next.setdefault((session, begin), begin)
        self._next[session, begin] = rank + 1
        return session, rank if rank < begin + RANKS else HIGHEST + 1
