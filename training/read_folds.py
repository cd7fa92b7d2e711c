"""Whether what a day hides is hidden rightly: folds drawn from whole days, read blind, and what came of it.

    python -m training.read_folds draw FOLDER [--kinds support,agents] [--folds 60] [--days 6] [--folding balanced]
    python -m training.read_folds report FOLDER FIRST.jsonl [SECOND.jsonl]

``draw`` folds days that no label and no fold was drawn from and writes ``FOLDER/sheet.jsonl``: a hidden line and the
visible line that it lies under, with the line before each, in random order, and among them decoys that no fold
connects. Neither probability nor reason stands there. Word-for-word repeats are left out. A reader writes
``{"id", "right"}`` for each: is all that the hidden line says, asks, wants or gives said by the visible one too, for
the same person's purpose?
``FOLDER/key.jsonl`` names the lines by reference and holds no text of a corpus, so that it may be kept.

``report`` counts what one reader says, or what two agree on.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
from scipy.stats import binomtest

from crew_pipeline.dedup import frames, judging, lexicon
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import normalise
from crew_pipeline.dedup.traits import Traits
from crew_pipeline.model import OperatingPoint
from training import corpora, fold_readings
from training.corpora import Day, Engine

FOLDS, DAYS, SEED = 60, 6, 1
DECOYS = 0.2
"""Decoys for each fold."""
COMPARED = 200
"""Lines that a decoy is chosen from."""
BANDS = (0.0, 0.5, 0.8, 0.9, 0.95)

Place = tuple[str, int]
"""Conversation and position of a line."""
Verdicts = Mapping[str, bool]


@dataclass(frozen=True)
class Key:
    """What the sheet keeps from its reader.

    Attributes:
        id: follows from the two lines alone.
        talk: the kind of talk.
        visible, hidden: places of the two lines.
        decoy: whether no fold connects them.
        probability: how sure the engine was; 0 for a decoy.
        says: what the hidden line is: ``courtesy``, ``question``, ``request`` or ``statement``.
        voices: ``one`` where one name says both, else ``two``.
    """

    id: str
    talk: str
    day: str
    visible: Place
    hidden: Place
    decoy: bool
    probability: float
    says: str
    voices: str


def main() -> None:
    """Draw a sheet, or report on one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    does = parser.add_subparsers(dest="does", required=True)
    drawing, reporting = does.add_parser("draw"), does.add_parser("report")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("--kinds", default=",".join(corpora.FILES))
    drawing.add_argument("--folds", type=int, default=FOLDS, help="of each kind of talk")
    drawing.add_argument("--days", type=int, default=DAYS, help="of each kind of talk")
    drawing.add_argument("--folding", choices=get_args(OperatingPoint), default="balanced")
    drawing.add_argument("--seed", type=int, default=SEED)
    reporting.add_argument("folder", type=Path)
    reporting.add_argument("verdicts", type=Path, nargs="+")
    chosen = parser.parse_args()
    if chosen.does == "draw":
        kinds = chosen.kinds.split(",")
        unknown = sorted(set(kinds) - set(corpora.FILES))
        if unknown:
            parser.error(f"there is no kind of talk {', '.join(unknown)}; there are {', '.join(corpora.FILES)}")
        engine = Engine(EngineConfig(folding=chosen.folding))
        draw(chosen.folder, kinds, chosen.folds, chosen.days, chosen.seed, engine)
    else:
        keys = [_key(orjson.loads(raw)) for raw in (chosen.folder / "key.jsonl").open("rb")]
        print(*report(keys, [read_verdicts(path) for path in chosen.verdicts]), sep="\n")


def draw(folder: Path, kinds: Sequence[str], folds: int, days: int, seed: int, engine: Engine) -> None:
    """Write a sheet and its key. The same engine and seed write the same bytes."""
    rows: list[tuple[Key, Mapping[str, object]]] = []
    for kind in kinds:
        chance = random.Random(f"{seed} {kind}")
        used = corpora.days_labelled(kind) | fold_readings.days_read(kind)
        unread = {day: lines for day, lines in corpora.days_of(kind).items() if day not in used}
        picked = sorted(chance.sample(sorted(unread), min(days, len(unread))))
        of_kind = [row for day in picked for row in _of_day(kind, day, unread[day], engine, chance)]
        for decoys, most in ((False, folds), (True, round(DECOYS * folds))):
            some = [row for row in of_kind if row[0].decoy == decoys]
            rows.extend(chance.sample(some, min(most, len(some))))
    random.Random(seed).shuffle(rows)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "sheet.jsonl", (shown for _, shown in rows))
    _write(folder / "key.jsonl", (asdict(key) for key, _ in rows))


def _of_day(
    kind: str, day: str, rows: Day, engine: Engine, chance: random.Random
) -> Iterator[tuple[Key, Mapping[str, object]]]:
    """The folds of a day that are not word for word, each pair of texts once; and a decoy for each."""
    said = _Said(kind, day, rows, engine)
    members = list(frames.rows(engine.fold(day, rows)))
    heads = {row.cluster_id: (row.conversation_id, row.position) for row in members if row.is_canonical}
    cluster_of = {(row.conversation_id, row.position): row.cluster_id for row in members}
    seen: set[tuple[str, str]] = set()
    for row in members:
        hidden, visible = (row.conversation_id, row.position), heads[row.cluster_id]
        texts = said.text(visible), said.text(hidden)
        if row.is_canonical or row.reason in (judging.EXACT, judging.TO_OTHERS) or texts in seen:
            continue
        seen.add(texts)
        yield said.item(visible, hidden, float(row.probability))
        strangers = [place for place in said.places if cluster_of.get(place) != row.cluster_id]
        nearest = said.nearest(hidden, chance.sample(strangers, min(COMPARED, len(strangers))))
        if nearest is not None:
            yield said.item(nearest, hidden, None)


class _Said:
    """The lines of a day, by their places, and what they are like."""

    def __init__(self, kind: str, day: str, rows: Day, engine: Engine) -> None:
        self._kind, self._day = kind, day
        texts = sorted({str(row[5]) for row in rows})
        self._vectors = dict(zip(texts, engine.encode(texts), strict=True))
        self._lines = {(row[1], row[2]): row for row in rows}
        self.places = sorted(self._lines)
        self._before = {
            place: self.text(earlier) if earlier[0] == place[0] else ""
            for earlier, place in zip([("", 0), *self.places], self.places, strict=False)
        }

    def text(self, place: Place) -> str:
        return str(self._lines[place][5])

    def nearest(self, hidden: Place, others: Sequence[Place]) -> Place | None:
        """Of lines that say something else, the one most like ``hidden``; None where there is none."""
        words, vector = normalise(self.text(hidden)), self._vectors[self.text(hidden)]
        others = [place for place in others if normalise(self.text(place)) != words]
        likeness = [float(self._vectors[self.text(place)] @ vector) for place in others]
        return others[int(np.argmax(likeness))] if others else None

    def item(self, visible: Place, hidden: Place, probability: float | None) -> tuple[Key, Mapping[str, object]]:
        """A row of the key and of the sheet; ``probability`` is None for a decoy."""
        reference = "\x1f".join(map(str, (self._kind, self._day, *visible, *hidden)))
        voices = {normalise(self._lines[place][3]) for place in (visible, hidden)}
        key = Key(
            hashlib.blake2b(reference.encode(), digest_size=6).hexdigest(),
            self._kind,
            self._day,
            visible,
            hidden,
            probability is None,
            probability or 0.0,
            says(self.text(hidden)),
            "one" if len(voices) == 1 else "two",
        )
        return key, {"id": key.id, "visible": self._shown(visible), "hidden": self._shown(hidden)}

    def _shown(self, place: Place) -> Mapping[str, str]:
        line = self._lines[place]
        return {"conversation": line[1], "speaker": line[3], "before": self._before[place], "text": line[5]}


def says(text: str) -> str:
    """What a line is, by its words: ``courtesy``, ``question``, ``request`` or ``statement``."""
    utterance = Utterance.of(normalise(text))
    traits = Traits.of([utterance])
    told = set(utterance.words) - lexicon.FUNCTION_WORDS - lexicon.THANKS - lexicon.GREETINGS
    if not told or (len(told) == 1 and (traits.thanks[0] or traits.greets[0])):
        return "courtesy"
    if traits.question[0]:
        return "question"
    return "request" if traits.seeks[0] else "statement"


def read_verdicts(path: Path) -> Verdicts:
    """What a reader says, by id.

    Raises:
        ValueError: a line is not of the shape ``{"id", "right"}``, or an id stands there twice.
    """
    verdicts: dict[str, bool] = {}
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        row = orjson.loads(raw)
        if not isinstance(row.get("id"), str) or not isinstance(row.get("right"), bool) or row["id"] in verdicts:
            raise ValueError(f'{path}, line {number}: expected {{"id", "right": true or false}}, each id once.')
        verdicts[row["id"]] = row["right"]
    return verdicts


def report(keys: Sequence[Key], readers: Sequence[Verdicts]) -> Iterator[str]:
    """What one reader says, or all agree on: lines to print."""
    unread = sum(any(key.id not in verdicts for verdicts in readers) for key in keys)
    both = [key for key in keys if all(key.id in verdicts for verdicts in readers)]
    agreed = [key for key in both if len({verdicts[key.id] for verdicts in readers}) == 1]
    right = {key.id for key in agreed if readers[0][key.id]}
    folds = [key for key in agreed if not key.decoy]
    decoys = [key for key in agreed if key.decoy]
    yield f"{len(both)} pairs read, {unread} not; the readers agree on {len(agreed)}"
    yield f"decoys called right: {sum(key.id in right for key in decoys)} of {len(decoys)}"
    yield from _table("all", folds, right, lambda key: "folds")
    yield from _table("by kind of talk", folds, right, lambda key: key.talk)
    yield from _table("by what the hidden line is", folds, right, lambda key: key.says)
    yield from _table("by voices", folds, right, lambda key: key.voices)
    yield from _table("by how sure the engine was", folds, right, _band)


def _band(key: Key) -> str:
    return f"{max(bound for bound in BANDS if key.probability >= bound):.2f} and more"


def _table(title: str, folds: Sequence[Key], right: set[str], group: Callable[[Key], str]) -> Iterator[str]:
    yield f"\n{title}: right of read, share, interval of 95%"
    for name in sorted({group(key) for key in folds}):
        members = [key for key in folds if group(key) == name]
        hits = sum(key.id in right for key in members)
        interval = binomtest(hits, len(members)).proportion_ci(method="wilson")
        share = hits / len(members)
        yield f"  {name:16} {hits:4} of {len(members):4}  {share:.2f}  {interval.low:.2f} to {interval.high:.2f}"


def _key(row: Mapping[str, Any]) -> Key:
    return Key(**{**row, "visible": tuple(row["visible"]), "hidden": tuple(row["hidden"])})


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))


if __name__ == "__main__":
    main()
