"""Where a row's line stands in its conversation, so that reading a row again changes nothing. Pure decisions.

A line's position is its row's key plus a *base*, 0 at first. A row that is read again is found under one of the bases
that were ever in use, with the same words and time, and is left alone. Where another line stands at its place the key
has been used for two messages, and a new base is taken that leads above every position ever given: no line ever takes
the place of another, and every base has a stretch of positions of its own. Only an edit changes a line: a row that kept
its key, its session and its time, or, where the source tells no time, whose speaker goes on from what it said.

Where keys are times, a line's position is its millisecond and its rank among the lines of its session in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from crew_pipeline.discovery.watermark import HIGHEST, Watermark
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.sources.watermarks import StoredLine

RANKS = 1_000_000
"""Lines of a session in one millisecond, where keys are times."""
_MICROSECONDS = 1_000

Place = tuple[str, int]
"""Session and position."""


def timed_stretch(first: int, below: int) -> tuple[int, int]:
    """From which position on, and below which, rows of these keys stand, where keys are times."""
    return first // _MICROSECONDS * RANKS, (below // _MICROSECONDS + 1) * RANKS


def timed_key(position: int) -> int:
    """The millisecond of a line, as a key, where keys are times."""
    return position // RANKS * _MICROSECONDS


class HistoryRow:
    """A row of a history table as a line whose position is its key still."""

    __slots__ = ("key", "line")

    def __init__(self, key: int, line: SourceLine) -> None:
        self.key = key
        self.line = line


@dataclass
class Placing:
    """Rows at their places.

    Attributes:
        mark: the watermark with the bases and the highest position after them.
        lines: those that are new or were edited.
        places: of every row that has one.
        unchanged: rows whose lines are there already.
        crowded: rows for which there is no place left that a number of 64 bits could name.
    """

    mark: Watermark
    lines: list[SourceLine] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    unchanged: int = 0
    crowded: list[HistoryRow] = field(default_factory=list)


def places_to_look_at(rows: Iterable[HistoryRow], mark: Watermark, *, timed: bool) -> set[tuple[str, int, int]]:
    """Session, first position and the one behind the last of every stretch at which these rows may stand already."""
    found = set()
    for row in rows:
        session = row.line.session_id
        if timed:
            begin = row.key // _MICROSECONDS * RANKS
            found.add((session, begin, begin + RANKS))
        else:
            found |= {(session, position, position + 1) for position in mark.positions(row.key)}
    return found


def place(rows: Sequence[HistoryRow], known: Iterable[StoredLine], mark: Watermark, *, timed: bool) -> Placing:
    """Give every row its place.

    Args:
        known: lines at the places to look at, and for rows up to ``mark.recognise_to`` all of their sessions.
        timed: whether keys are times.
    """
    at = {(one.session_id, one.position): one for one in known}
    work = _Work(Placing(mark), at, timed=timed)
    # What is there already finds its own line first, so that no other row is taken for its edited form.
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
            one = at[session, position]
            self._by_content[session, one.speaker, one.text, one.spoken_at].append(position)
            self._by_moment[session, one.speaker, one.spoken_at].append((session, position))
            # Descending, so that the first that is met is the last of its millisecond.
            self._next.setdefault((session, position // RANKS * RANKS), position + 1)

    def find(self, row: HistoryRow) -> bool:
        """Whether the row's line is there already, as it is."""
        usual = self._usual(row)
        same = next((one for one in usual if one not in self._taken and self._is(one, row.line)), None)
        same = same or self._elsewhere(row)
        if same is not None:
            self.done.unchanged += 1
            self._take(same)
        return same is not None

    def add(self, row: HistoryRow) -> None:
        """Put a line that is new at a place of its own, and one that was edited where it was."""
        session = row.line.session_id
        usual = self._usual(row)
        earlier = self._by_moment[session, row.line.speaker, row.line.spoken_at] if self._timed else usual
        edited = next((one for one in earlier if one not in self._taken and self._was(one, row)), None)
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
        """Whether the line there is an earlier form of this one."""
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
        places = self._by_content[line.session_id, line.speaker, line.text, line.spoken_at]
        while places:
            found = (line.session_id, places.pop())
            if found not in self._taken:
                return found
        return None

    def _unused(self, row: HistoryRow, usual: Sequence[Place]) -> Place:
        """A place under one of the bases, the newest if it can be, or under one that is taken anew."""
        free = None if self.done.mark.lift else next((one for one in usual if one not in self._at), None)
        if free is None:
            self.done.mark = self.done.mark.lifted(row.key, self._given)
            free = (row.line.session_id, self._given + 1)
        return free

    def _next_rank(self, row: HistoryRow) -> Place:
        session, begin = row.line.session_id, row.key // _MICROSECONDS * RANKS
        rank = self._next.setdefault((session, begin), begin)
        self._next[session, begin] = rank + 1
        return session, rank if rank < begin + RANKS else HIGHEST + 1
