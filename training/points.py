"""Fits the classifier of decisions and tasks: ``crew_pipeline/history/summaries/points.json``.

    python -m training.points

Fitted to the conversations of ``points/marks.jsonl`` that are not kept aside, lines of meetings that readers marked as
what minutes must not miss, by reading all of them; and to ``points/written.jsonl``, talk of other kinds that was
invented for it. Thresholds and calibration come from series of meetings, and from kinds, that the fit has not seen.
``benchmarks.summaries`` measures what is shipped on conversations that were kept aside.
"""

from __future__ import annotations

import gzip
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.text import count_words, normalise, text_hash
from crew_pipeline.history.summaries import classifier
from crew_pipeline.history.summaries.cues import cues
from crew_pipeline.history.summaries.sentences import Sentence
from crew_pipeline.history.themes.grid import NORM, Grid, on_grid
from crew_pipeline.model import BUNDLED_MODEL
from training.corpora import SHARED

MEETINGS = "ami_meetings"
MARKS = Path(__file__).parent / "points" / "marks.jsonl"
WRITTEN = Path(__file__).parent / "points" / "written.jsonl"
PRECISION = {"decision": 0.45, "task": 0.5}
"""At which a kind's sentences are shown, on meetings of series that were not fitted to. Open questions, which readers
marked as well, cannot be told so: one in ten of those that such a model is surest of was one."""
_RARE = 4
_C = 0.1
_POSITIVE = 2.0
_OF_VECTOR = 3.0
_SPLITS = 7
_SHIFT = 10
_SMALLEST = 10
_FEWEST = 10

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Marked(NamedTuple):
    """A conversation that was read.

    Attributes:
        read: by how many.
        marks: by line, what each reader took it for; '' for nothing.
    """

    corpus: str
    session_id: str
    read: int
    kept_aside: bool
    marks: dict[int, list[str]]

    @property
    def series(self) -> str:
        """What goes together: the meetings of one group; all other talk of one kind."""
        if self.corpus == MEETINGS:
            return self.session_id[:-1]
        return self.session_id.split()[0] if self.corpus == "written" else self.corpus

    def readings(self, line: int) -> list[str]:
        """Of a line."""
        return self.marks.get(line, [""] * self.read)


def marked() -> Iterator[Marked]:
    """All conversations that were read."""
    for raw in MARKS.open("rb"):
        row = orjson.loads(raw)
        yield Marked(
            row["corpus"],
            row["session_id"],
            row["read"],
            row["kept_aside"],
            {line: readings for line, *readings in row["marks"]},
        )


def conversations(corpus: str) -> dict[str, list[Sentence]]:
    """The lines of a corpus by session, as sentences."""
    found: dict[str, list[Sentence]] = defaultdict(list)
    with gzip.open(SHARED / f"{corpus}.jsonl.gz") as file:
        for raw in file:
            line = orjson.loads(raw)
            said = datetime.fromisoformat(line["created_at"])
            found[line["session_id"]].append(_sentence(line["line"], line["speaker"], line["text"], said))
    return found


def vectors_of(talks: Sequence[list[Sentence]]) -> list[Grid]:
    """The vectors of the sentences of each conversation, on the grid."""
    texts = {sentence.text_hash: normalise(sentence.text) for talk in talks for sentence in talk}
    encoded = on_grid(np.asarray(SentenceTransformerEncoder(BUNDLED_MODEL).encode(list(texts.values()))))
    row_of = {digest: row for row, digest in enumerate(texts)}
    return [encoded[[row_of[sentence.text_hash] for sentence in talk]] for talk in talks]


def written() -> Iterator[tuple[Marked, list[Sentence]]]:
    """Talk that was invented for this: of kinds that no corpus has. Its lines have one label each."""
    for number, raw in enumerate(WRITTEN.open("rb")):
        row = orjson.loads(raw)
        lines = [_sentence(place, *line[:2], _AT + timedelta(minutes=place)) for place, line in enumerate(row["lines"])]
        marks = {place: [label] for place, (_, _, label) in enumerate(row["lines"]) if label}
        yield Marked("written", f"{row['kind']} {number}", 1, kept_aside=False, marks=marks), lines


_AT = datetime(2025, 1, 15, 9, tzinfo=UTC)


def _sentence(position: int, speaker: str, text: str, said: datetime) -> Sentence:
    digest = text_hash(normalise(text))
    return Sentence(position, 0, len(text), speaker, said, text, count_words(text), 1, digest)


class Table(NamedTuple):
    """Sentences to be fitted to.

    Attributes:
        seen: their cues.
        vectors: int8 (n, dimension).
        readings: what each of two readers took them for; of one, twice the same.
        series: of their meetings.
        twice: bool (n,), read by two.
    """

    seen: list[list[str]]
    vectors: Grid
    readings: list[list[str]]
    series: list[str]
    twice: Flags


def table() -> Table:
    """The sentences of the meetings that are not kept aside."""
    chosen = [one for one in marked() if not one.kept_aside]
    corpora = {name: conversations(name) for name in sorted({one.corpus for one in chosen})}
    read = [(one, corpora[one.corpus][one.session_id]) for one in chosen]
    read += written()
    seen, vectors, readings, series, twice = [], [], [], [], []
    for (one, talk), grid in zip(read, vectors_of([talk for _, talk in read]), strict=True):
        ranks = classifier.ranks_of(talk)
        for place, sentence in enumerate(talk):
            if sentence.words >= classifier.SHORTEST:
                seen.append([*cues(talk, place), ranks[sentence.speaker]])
                vectors.append(grid[place])
                readings.append((one.readings(sentence.position) * 2)[:2])
                series.append(one.series)
                twice.append(one.read > 1)
    return Table(seen, np.stack(vectors), readings, series, np.array(twice))


def agreed(readings: Sequence[Sequence[str]], kind: str) -> tuple[Flags, Flags]:
    """Which sentences both readers took for a kind, and on which they agree whether they are of it."""
    either = np.array([[reading == kind for reading in pair] for pair in readings], np.bool_)
    return either.all(axis=1), either.all(axis=1) | ~either.any(axis=1)


class Fit(NamedTuple):
    """A linear model: of cues (float64 (k,)), of a vector (float64 (dimension,)) and a bias."""

    of_cues: Floats
    of_vector: Floats
    bias: float


def fit(rows: Any, target: Floats, cue_count: int) -> Fit:
    """A model of one kind; what half of the readers saw counts half."""
    weights = np.where(target > 0, target, 1.0)
    model = LogisticRegression(C=_C, max_iter=600, class_weight={0: 1.0, 1: _POSITIVE})
    model.fit(rows, target > 0, sample_weight=weights)
    found = model.coef_[0]
    return Fit(found[:cue_count], found[cue_count:] * _OF_VECTOR / NORM, float(model.intercept_[0]))


def stored(model: Fit, names: Sequence[str]) -> dict[str, Any]:
    """A model in whole numbers; what weighs next to nothing is left out."""
    scaled = np.rint(model.of_cues * classifier.SCALE).astype(int)
    terms = {name: int(weight) for name, weight in zip(names, scaled, strict=True) if abs(weight) >= _SMALLEST}
    vector = np.rint(model.of_vector * classifier.SCALE * 2**_SHIFT).astype(int)
    return {
        "bias": round(model.bias * classifier.SCALE),
        "terms": dict(sorted(terms.items())),
        "vector": vector.tolist(),
        "shift": _SHIFT,
    }


def scores(model: dict[str, Any], data: Table, rows: Sequence[int]) -> NDArray[np.int64]:
    """What a stored model gives, as it does when it is shipped."""
    kind = classifier.KindModel.read(model | {"threshold": 0, "slope": 1.0, "offset": 0.0})
    return np.array([kind.score(data.seen[row], data.vectors[row]) for row in rows], np.int64)


def threshold(given: NDArray[np.int64], right: Flags, precision: float) -> int:
    """The lowest score from which on so many are right."""
    order = np.argsort(-given, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share[_FEWEST:] >= precision)
    place = int(good[-1]) + _FEWEST if len(good) else _FEWEST
    print(f"  {place + 1} found, {share[place]:.2f} right, {right[order][: place + 1].sum() / right.sum():.2f} of all")
    return int(given[order[place]])


def _tell_of_kinds(data: Table, found: Flags, right: Flags) -> None:
    """What is found in other talk than meetings, each kind as one that the fit has not seen."""
    series = np.array(data.series)
    for kind in sorted({*data.series} - {name for name in data.series if name.startswith("ami-")}):
        of = series == kind
        hits, all_found, all_right = (int((some & of).sum()) for some in (found & right, found, right))
        print(f"  {kind}: {hits} right of {all_found} found, {all_right} marked")


def main() -> None:
    """Fit and write."""
    data = table()
    counted = Counter(cue for seen in data.seen for cue in seen)
    names = sorted(cue for cue, count in counted.items() if count >= _RARE)
    column = {name: number for number, name in enumerate(names)}
    places = [[column[cue] for cue in seen if cue in column] for seen in data.seen]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in places])])
    flat = np.concatenate([np.array(one, np.int64) for one in places])
    of_cues = csr_matrix((np.ones(len(flat)), flat, starts), shape=(len(places), len(names)))
    rows = hstack([of_cues, csr_matrix(data.vectors * (_OF_VECTOR / NORM))]).tocsr()
    kinds = {}
    for kind, precision in PRECISION.items():
        target = np.array([np.mean([reading == kind for reading in pair]) for pair in data.readings])
        given = np.zeros(len(target), np.int64)
        for train, test in GroupKFold(_SPLITS).split(rows, target, data.series):
            given[test] = scores(stored(fit(rows[train], target[train], len(names)), names), data, test.tolist())
        both, clear = agreed(data.readings, kind)
        measured = clear & data.twice & np.char.startswith(np.array(data.series), "ami-")
        print(f"{kind}: {int(both[measured].sum())} marked by both readers, of series left out:")
        lowest = threshold(given[measured], both[measured], precision)
        _tell_of_kinds(data, given >= lowest, both)
        calibrated = LogisticRegression(C=1e6).fit(given[measured, np.newaxis] / classifier.SCALE, both[measured])
        kinds[kind] = stored(fit(rows, target, len(names)), names) | {
            "threshold": lowest,
            "slope": round(float(calibrated.coef_[0][0]), 4),
            "offset": round(float(calibrated.intercept_[0]), 4),
        }
    classifier.FILE.write_bytes(orjson.dumps({"kinds": kinds}, option=orjson.OPT_APPEND_NEWLINE))
    print(f"{classifier.FILE.name}: {classifier.FILE.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
