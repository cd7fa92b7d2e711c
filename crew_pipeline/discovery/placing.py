"""Where a row's line stands in its conversation, so that reading a row again changes nothing. Pure decisions.

A line's position is its row's key plus a *base*, 0 at first. A row that is read again is found under one of the bases
that were ever in use, with the same words and time, and is left alone. Where another line stands at its place the key
has been used for two messages, and a new base is taken that leads above every position ever given: no line ever takes
the place of another, and every base has a stretch of positions of its own. Only an edit changes a line: a row that kept
its key, its session and its time, or, where the source tells no time, that goes on from what it said.

Where keys are times, a line's position is its millisecond and its rank among the lines of its session in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from crew_pipeline.discovery.watermark import MOST_BASES, Watermark
from crew_pipeline.storage.discovery import StoredLine
from crew_pipeline.storage.ingest import SourceLine

RANKS = 1_000_000
"""Lines of a session in one millisecond, where keys are times."""
_MICROSECONDS = 1_000

Place = tuple[str, int]
"""Session and position."""


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
        places: of every row, in order.
        unchanged: rows whose lines are there already.
        crowded: rows that have no place, since their keys have been used too often.
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
    work = _Work(Placing(mark), at)
    for row in rows:
        work.place(row, timed=timed)
    done = work.done
    highest = max([mark.highest, *(position for _, position in done.places)])
    done.mark = replace(done.mark, highest=highest)
    return done


class _Work:
    def __init__(self, done: Placing, at: dict[Place, StoredLine]) -> None:
        self.done = done
        self._at = at
        self._taken: set[Place] = set()
        self._next: dict[Place, int] = {}
        self._by_content: dict[tuple[str, str, str, object], list[int]] = defaultdict(list)
        for session, position in sorted(at, reverse=True):
            one = at[session, position]
            self._by_content[session, one.speaker, one.text, one.spoken_at].append(position)
            # Descending, so that the first that is met is the last of its millisecond.
            self._next.setdefault((session, position // RANKS * RANKS), position + 1)

    def place(self, row: HistoryRow, *, timed: bool) -> None:
        session = row.line.session_id
        usual = [] if timed else [(session, position) for position in self.done.mark.positions(row.key)]
        same = next((one for one in usual if one not in self._taken and self._is(one, row.line)), None)
        same = same or self._elsewhere(row, timed=timed)
        if same is not None:
            self._keep(same)
            return
        edited = next((one for one in usual if one not in self._taken and self._was(one, row.line)), None)
        free = edited or (self._next_rank(row) if timed else self._unused(row, usual))
        if free is None:
            self.done.crowded.append(row)
            return
        line = row.line._replace(position=free[1])
        self.done.lines.append(line)
        self.done.places.append(free)
        self._taken.add(free)
        self._at[free] = StoredLine(session, free[1], line.speaker, line.spoken_at, line.text)

    def _is(self, place: Place, line: SourceLine) -> bool:
        at = self._at.get(place)
        return (
            at is not None
            and (at.speaker, at.text) == (line.speaker, line.text)
            and (line.time_inferred or at.spoken_at == line.spoken_at)
        )

    def _was(self, place: Place, line: SourceLine) -> bool:
        """Whether the line there is an earlier form of this one."""
        at = self._at.get(place)
        if at is None:
            return False
        if line.time_inferred:
            return line.text.startswith(at.text)
        return at.spoken_at == line.spoken_at

    def _elsewhere(self, row: HistoryRow, *, timed: bool) -> Place | None:
        """The place of the same words at the same time in the same session, under another key."""
        line, mark = row.line, self.done.mark
        copied = mark.recognise_to is not None and row.key <= mark.recognise_to
        if line.time_inferred or not (timed or copied):
            return None
        places = self._by_content[line.session_id, line.speaker, line.text, line.spoken_at]
        while places:
            found = (line.session_id, places.pop())
            if found not in self._taken:
                return found
        return None

    def _keep(self, place: Place) -> None:
        self.done.unchanged += 1
        self.done.places.append(place)
        self._taken.add(place)

    def _unused(self, row: HistoryRow, usual: Sequence[Place]) -> Place | None:
        """The row's place under the newest base that it can have, or under one that is taken anew."""
        if usual and usual[0] not in self._at:
            return usual[0]
        if len(self.done.mark.bases) >= MOST_BASES:
            return None
        given = max([self.done.mark.highest, *(position for _, position in self.done.places)])
        self.done.mark = self.done.mark.lifted(row.key, given)
        return row.line.session_id, given + 1

    def _next_rank(self, row: HistoryRow) -> Place | None:
        session, begin = row.line.session_id, row.key // _MICROSECONDS * RANKS
        rank = self._next.setdefault((session, begin), begin)
        self._next[session, begin] = rank + 1
        return (session, rank) if rank < begin + RANKS else None
