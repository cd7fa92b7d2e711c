"""What stands in a message and stood before in the day: runs of passages, folded in place under their first occurrence.

A run is a sequence of passages with at least ``FEWEST_CHARACTERS`` code points and ``FEWEST_WORDS`` words that stood in
the same sequence in an earlier visible line of the day, or earlier in the same line. Word for word, so nothing is
judged. Every passage of a run is folded under a passage that is visible itself; where these lie in several lines, the
run is several repeats. A line of one passage, as chats have them, is folded whole or not at all, which is not decided
here.

Found with the *least runs*: those that would be too short without their first or without their last passage. A passage
belongs to a run that stood before if and only if it belongs to a least run that did, so one look-up for each of the two
that a passage begins or ends finds them all, in time that is linear in the passages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crew_pipeline.dedup.passages import Form, Kind, Passage, enclosing, form, passages
from crew_pipeline.model import Line, LineKey, Repeat

FEWEST_CHARACTERS, FEWEST_WORDS = 40, 3
MOST_PASSAGES = 64
"""Of a least run; rows so short that more of them would be needed fold only as parts of longer runs."""
REASON = "word for word"
_NONE = -1
"""The number of what is no passage, or of one that nothing can fold under."""


class ReadLine(NamedTuple):
    """A line, parted: its passages have the numbers ``begin`` and following."""

    text: str
    parts: Sequence[Passage]
    begin: int


def _whole_numbers() -> array[int]:
    return array("q")


@dataclass
class DayPassages:
    """The passages of the visible lines of one client's day, in order of time, and what repeats of them.

    Attributes:
        lines: each line, parted.
        numbers: of each passage; equal numbers say the same. Between lines stands one that is no passage's.
        roots: of each passage the place of the visible one that it stands under; its own where it is visible.
        keys, of_line, starts: the lines in order; of each passage its line, as a place in ``keys``, and its start.
        first, alone: where each least run stood first, by a hash of its numbers, or by its one number.
        shown: hashes of passages that repeat nothing, for people want to see them wherever they stand.
    """

    lines: dict[LineKey, ReadLine] = field(default_factory=dict)
    # Arrays, not lists: a day of agents has millions of passages, and an object for each would be collected and cached.
    numbers: array[int] = field(default_factory=_whole_numbers)
    roots: array[int] = field(default_factory=_whole_numbers)
    keys: list[LineKey] = field(default_factory=list)
    of_line: array[int] = field(default_factory=_whole_numbers)
    starts: array[int] = field(default_factory=_whole_numbers)
    first: dict[int, int] = field(default_factory=dict)
    alone: dict[int, int] = field(default_factory=dict)
    shown: frozenset[bytes] = frozenset()
    _by_text: dict[tuple[str, Kind], int] = field(default_factory=dict)
    _by_key: dict[str, int] = field(default_factory=dict)
    _forms: list[Form] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[Line], shown: frozenset[bytes] = frozenset()) -> DayPassages:
        """Those of ``lines``; the same for any order of them."""
        day = cls(shown=shown)
        for line in sorted(lines, key=lambda line: (line.spoken_at, line.conversation_id, line.position)):
            day._add(line)
        return day

    def repeats(self, key: LineKey, head: int = 0, head_reason: str = REASON) -> Iterator[Repeat]:
        """What repeats in a line, in the order of its text, without overlap.

        Args:
            head: how many passages at its beginning are folded for a reason of their own, ``head_reason``.
        """
        line = self.lines[key]
        kept = self._joined(line, line.begin + head)
        stretch = kept[0][0].start if kept else 0
        for number, (run, times) in enumerate(kept):
            if number and kept[number - 1][0].stop != run.start:
                stretch = run.start
            first, last = line.parts[run.start - line.begin], line.parts[run.stop - 1 - line.begin]
            root = self.roots[run.start]
            of, start = self.keys[self.of_line[root]], self.starts[root]
            more_folds = number + 1 < len(kept) and kept[number + 1][0].start == run.stop
            is_last = run.stop == line.begin + len(line.parts)
            folded_and_next = line.parts[stretch - line.begin : run.stop + 1 - line.begin]
            within = "" if more_folds or is_last else enclosing(line.text, folded_and_next)
            reason = head_reason if run.start < line.begin + head else REASON
            yield Repeat(first.start, last.end, of, start, last.row - first.row + 1, times, reason, within)

    def form_at(self, place: int) -> Form:
        """How a passage is compared."""
        return self._forms[self.numbers[place]]

    def _add(self, line: Line) -> None:
        parts = passages(line.text)
        begin = len(self.numbers)
        key = (line.conversation_id, line.position)
        self.lines[key] = ReadLine(line.text, parts, begin)
        self.of_line.extend([len(self.keys)] * (len(parts) + 1))
        self.keys.append(key)
        self.starts.extend(part.start for part in parts)
        if len(parts) == 1:
            self._number_alone(line.text, parts[0])
        else:
            self.numbers.extend(self._number(line.text, part) for part in parts)
            self._find_roots(begin)
        self.numbers.append(_NONE)
        self.roots.append(_NONE)
        self.starts.append(len(line.text))

    def _number_alone(self, text: str, part: Passage) -> None:
        """Take in a line of one passage: it is never folded here, but others may fold under it."""
        place = len(self.numbers)
        self.numbers.append(self._number(text, part) if len(text) >= FEWEST_CHARACTERS else _NONE)
        self.roots.append(place)
        if self.numbers[place] != _NONE:
            made = self.form_at(place)
            if _Size(made.length, made.words).enough:
                self.alone.setdefault(self.numbers[place], place)

    def _number(self, text: str, part: Passage) -> int:
        passage = text[part.start : part.end], part.kind
        number = self._by_text.get(passage)
        if number is None:
            made = form(*passage)
            if self.shown and made.hash in self.shown:
                # A number of its own each time, so that it is no part of a run.
                self._forms.append(made)
                return len(self._forms) - 1
            number = self._by_key.setdefault(made.key, len(self._forms))
            if number == len(self._forms):
                self._forms.append(made)
            self._by_text[passage] = number
        return number

    def _find_roots(self, begin: int) -> None:
        """Find where each passage from ``begin`` on stood before, as part of a run that did."""
        numbers, end = self.numbers, len(self.numbers)
        stood = [-1] * (end - begin)
        for start, stop in self._least_runs(begin):
            before = self._stood_first(start, stop)
            if before < start:
                for place in range(start, stop):
                    if stood[place - begin] < 0:
                        stood[place - begin] = before + place - start
        source = -1
        for place in range(begin, end):
            if stood[place - begin] < 0:
                source = -1
                self.roots.append(place)
                continue
            # As long as the run goes on where it came from, it is one.
            source = source + 1 if source >= 0 and numbers[source + 1] == numbers[place] else stood[place - begin]
            self.roots.append(self.roots[source])

    def _stood_first(self, start: int, stop: int) -> int:
        """Where a least run stood first: at ``start`` where it has not stood before."""
        if stop == start + 1:
            return self.alone.setdefault(self.numbers[start], start)
        # A hash in the place of the numbers, which would take memory of their square; so what it finds is looked at.
        run = self.numbers[start:stop]
        before = self.first.setdefault(hash(tuple(run)), start)
        return before if self.numbers[before : before + len(run)] == run else start

    def _least_runs(self, begin: int) -> Iterator[tuple[int, int]]:
        """Start and end of each least run: the shortest that begin with a passage, then those that end in one."""
        end, stop = len(self.numbers), begin
        size = _Size()
        for start in range(begin, end):
            while stop < end and not size.enough:
                size.take(self.form_at(stop))
                stop += 1
            if not size.enough:
                break
            if stop - start <= MOST_PASSAGES:
                yield start, stop
            size.leave(self.form_at(start))
        start, size = begin, _Size()
        for stop in range(begin + 1, end + 1):
            size.take(self.form_at(stop - 1))
            while size.without(self.form_at(start)).enough:
                size.leave(self.form_at(start))
                start += 1
            if size.enough and 1 < stop - start <= MOST_PASSAGES:
                yield start, stop

    def _runs(self, begin: int, end: int, border: int) -> Iterator[range]:
        """Of the passages from ``begin`` to ``end`` the longest stretches that are folded under a sequence of passages
        of one line; none goes over ``border``."""
        roots, start = self.roots, begin
        for place in range(begin + 1, end + 1):
            if place < end and place != border and roots[place] == roots[place - 1] + 1:
                continue
            if roots[start] != start:
                yield range(start, place)
            start = place

    def _joined(self, line: ReadLine, border: int) -> list[tuple[range, int]]:
        """The runs of a line, the same one several times on end as one, with how often."""
        kept: list[tuple[range, int]] = []
        for run in self._runs(line.begin, line.begin + len(line.parts), border):
            before, times = kept[-1] if kept else (range(0), 0)
            again = before.stop == run.start != border and len(run) * times == len(before)
            if again and self.roots[before.start] == self.roots[run.start]:
                kept[-1] = range(before.start, run.stop), times + 1
            else:
                kept.append((run, 1))
        return kept


def is_repeat(text: str, other: str) -> bool:
    """Whether a part of a message folds where it stood before as ``other``: passage by passage the same, and enough."""
    mine, theirs = ([form(one[part.start : part.end], part.kind) for part in passages(one)] for one in (text, other))
    size = _Size()
    for made in mine:
        size.take(made)
    return size.enough and [made.key for made in mine] == [made.key for made in theirs]


@dataclass
class _Size:
    """How much a run of passages holds."""

    length: int = 0
    words: int = 0

    @property
    def enough(self) -> bool:
        return self.length >= FEWEST_CHARACTERS and self.words >= FEWEST_WORDS

    def take(self, made: Form) -> None:
        self.length += made.length
        self.words += made.words

    def leave(self, made: Form) -> None:
        self.length -= made.length
        self.words -= made.words

    def without(self, made: Form) -> _Size:
        return _Size(self.length - made.length, self.words - made.words)
