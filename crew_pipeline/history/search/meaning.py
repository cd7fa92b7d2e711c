"""The index of meanings: a compressed vector of each distinct text that has one, scanned whole.

Vectors are compressed by product quantisation (Jégou et al., 2011) and scanned with FAISS' kernels for it (André et
al., 2017); the best are rescored exactly by whoever has their vectors. A small history is kept as it is, in 16 bits.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.text import HASH_BYTES
from crew_pipeline.history.search.texts import KEY_BYTES, DayText
from crew_pipeline.history.search.words import Filter

Floats = NDArray[np.float32]
COMPRESSED_FROM = 20_000
"""Texts; fewer are no more than a few megabytes."""
TRAINED_WITH = 60_000
_PARTS, _BITS = 192, 4
_LEAST_SAMPLE = 200
_DECODED_AT_ONCE = 16_384
"""Texts: all of them would take gigabytes."""
_TRAIN_AGAIN = 4
"""The codes fit what they were made from; they are made anew when there is so many times as much."""


class Rows(NamedTuple):
    """Where texts were said, a row for each text, day, crew and speaker.

    Attributes:
        text: int32, the number of the text in the index.
        day: int32, the day's ordinal.
        crew, speaker: int32, their numbers in ``Names``.
    """

    text: NDArray[np.int32]
    day: NDArray[np.int32]
    crew: NDArray[np.int32]
    speaker: NDArray[np.int32]


class Meanings(NamedTuple):
    """What a file holds.

    Attributes:
        hashes: uint8 (n, 16), of the texts, ascending.
        codes: uint8 (n, bytes a text): compressed vectors, or float16 ones.
        trained: the quantiser's state, empty where vectors are kept as they are.
        trained_with: of how many texts it was made.
    """

    hashes: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    trained: NDArray[np.uint8]
    trained_with: int
    rows: Rows
    crews: NDArray[np.str_]
    speakers: NDArray[np.str_]

    @property
    def keys(self) -> NDArray[np.uint64]:
        """uint64 (n,), ascending: the texts as indexes know them, see ``texts.key_of``."""
        return self.hashes[:, :KEY_BYTES].copy().view(">u8").ravel().astype(np.uint64)


def empty() -> Meanings:
    """No texts."""
    numbers, names, no_bytes = np.zeros(0, np.int32), np.zeros(0, np.str_), np.zeros(0, np.uint8)
    rows = Rows(numbers, numbers, numbers, numbers)
    return Meanings(no_bytes.reshape(0, HASH_BYTES), no_bytes.reshape(0, 0), no_bytes, 0, rows, names, names)


def load(path: Path) -> Meanings:
    """What a file holds; nothing where there is none, or one that cannot be read."""
    try:
        with np.load(path) as stored:
            rows = Rows(*(stored[f"row_{name}"] for name in Rows._fields))
            return Meanings(
                stored["hashes"], stored["codes"], stored["trained"], int(stored["trained_with"]), rows,
                stored["crews"], stored["speakers"],
            )  # fmt: skip
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return empty()


def is_whole(path: Path) -> bool:
    """Whether a file is there and was written to its end, as far as that is seen without reading it."""
    return zipfile.is_zipfile(path)


def count(path: Path) -> int:
    """How many texts a file holds; its vectors are not read."""
    if not is_whole(path):
        return 0
    with np.load(path) as stored:
        return len(stored["hashes"])


def save(path: Path, held: Meanings) -> None:
    """Put a file in the place of the one that is there, whole or not at all."""
    beside = path.with_suffix(".new.npz")
    np.savez(
        beside, hashes=held.hashes, codes=held.codes, trained=held.trained, trained_with=held.trained_with,
        crews=held.crews, speakers=held.speakers, **{f"row_{name}": part for name, part in held.rows._asdict().items()},
    )  # fmt: skip
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(beside, path)


class Quantiser:
    """Compresses vectors of one dimension, and lets them be scanned."""

    def __init__(self, dimension: int, trained: NDArray[np.uint8] | None = None) -> None:
        self.dimension = dimension
        self._index: Any = None
        if trained is not None and trained.size:
            import faiss

            self._index = faiss.deserialize_index(trained)

    @property
    def is_trained(self) -> bool:
        """Whether it compresses; else vectors are kept in 16 bits."""
        return self._index is not None

    def train(self, vectors: Floats) -> None:
        """Make the codes from some vectors: float32 (n, dimension)."""
        import faiss

        made = faiss.IndexPQ(self.dimension, _PARTS, _BITS, faiss.METRIC_INNER_PRODUCT)
        made.pq.cp.seed = 1
        made.pq.cp.niter = 15
        made.train(np.ascontiguousarray(vectors, np.float32))
        self._index = made

    @property
    def state(self) -> NDArray[np.uint8]:
        """What it is made again from."""
        if not self.is_trained:
            return np.zeros(0, np.uint8)
        import faiss

        return np.asarray(faiss.serialize_index(self._index), np.uint8)

    def codes(self, vectors: Floats) -> NDArray[np.uint8]:
        """Vectors as they are kept: uint8 (n, bytes a text)."""
        if not self.is_trained:
            return np.ascontiguousarray(vectors, "<f2").view(np.uint8).reshape(len(vectors), 2 * self.dimension)
        return np.asarray(self._index.pq.compute_codes(np.ascontiguousarray(vectors, np.float32)), np.uint8)

    def scanned(self, codes: NDArray[np.uint8]) -> Any:
        """An index of FAISS over codes."""
        import faiss

        if not self.is_trained:
            flat = faiss.IndexFlatIP(self.dimension)
            flat.add(np.ascontiguousarray(codes.view("<f2"), np.float32).reshape(len(codes), self.dimension))
            return flat
        held: Any = faiss.clone_index(self._index)
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), held.codes)
        held.ntotal = len(codes)
        return faiss.IndexPQFastScan(held)

    def decoded(self, codes: NDArray[np.uint8]) -> Floats:
        """Vectors as far as codes tell: float32 (n, dimension)."""
        if not self.is_trained:
            return np.asarray(codes.view("<f2"), np.float32).reshape(len(codes), self.dimension)
        return np.asarray(self._index.pq.decode(np.ascontiguousarray(codes)), np.float32)


def needs_training(held: Meanings, count: int) -> bool:
    """Whether codes are to be made anew for so many texts."""
    if count < COMPRESSED_FROM:
        return bool(held.trained.size)
    return not held.trained.size or count >= _TRAIN_AGAIN * held.trained_with


class MeaningIndex:
    """What a file holds, ready to be searched."""

    def __init__(self, held: Meanings, dimension: int) -> None:
        self.held = held
        self._keys = held.keys
        self._quantiser = Quantiser(dimension, held.trained)
        self._scanned = self._quantiser.scanned(held.codes) if len(self) else None
        self._sample = self._quantiser.decoded(held.codes[:: max(1, len(self) // 1000)]) if len(self) else None

    def __len__(self) -> int:
        return len(self.held.hashes)

    def near(self, vector: Floats, among: Filter, most: int) -> NDArray[np.uint8]:
        """The hashes of the texts nearest to a vector, as far as codes tell: uint8 (k, 16), the nearest first."""
        if self._scanned is None:
            return self.held.hashes
        best: NDArray[np.uint8]
        if among.is_open:
            _, found = self._scanned.search(vector[None], min(most, len(self)))
            best = self.held.hashes[found[0][found[0] >= 0]]
            return best
        chosen = self._chosen(among)
        scores = np.empty(len(chosen), np.float32)
        for start in range(0, len(chosen), _DECODED_AT_ONCE):
            some = chosen[start : start + _DECODED_AT_ONCE]
            scores[start : start + len(some)] = self._quantiser.decoded(self.held.codes[some]) @ vector
        best = self.held.hashes[chosen[np.argsort(-scores, kind="stable")[:most]]]
        return best

    def hashes_of(self, keys: Sequence[int]) -> set[bytes]:
        """The hashes of texts, as far as they have a meaning here."""
        places = np.searchsorted(self._keys, np.array(keys, np.uint64))
        return {
            bytes(self.held.hashes[place])
            for place, key in zip(places.tolist(), keys, strict=True)
            if place < len(self) and int(self._keys[place]) == key
        }

    def usual(self, vector: Floats) -> tuple[float, float]:
        """How near texts are to a vector that have nothing to do with it: mean and spread over a sample. Where there
        are few texts they may all have to do with it, and nothing is usual."""
        if self._sample is None or len(self._sample) < _LEAST_SAMPLE:
            return 0.0, 0.0
        scores = self._sample @ vector
        return float(scores.mean()), float(scores.std())

    def _chosen(self, among: Filter) -> NDArray[np.intp]:
        """The numbers of the texts that were said where a filter looks."""
        rows = self.held.rows
        kept = np.ones(len(rows.text), np.bool_)
        for day, bound in ((among.first, np.greater_equal), (among.last, np.less_equal)):
            if isinstance(day, date):
                kept &= bound(rows.day, day.toordinal())
        for value, names, numbers in (
            (among.crew, self.held.crews, rows.crew),
            (among.speaker, self.held.speakers, rows.speaker),
        ):
            if value is not None:
                kept &= np.isin(numbers, np.flatnonzero(names == value))
        marked = np.zeros(len(self), np.bool_)
        marked[rows.text[kept]] = True
        return np.flatnonzero(marked)


class Builder:
    """Changes what a file holds, day by day."""

    def __init__(self, held: Meanings, quantiser: Quantiser, trained_with: int) -> None:
        self._held = held
        self._quantiser = quantiser
        self._trained_with = trained_with
        self._known = held.keys
        self._crews = {name: number for number, name in enumerate(held.crews.tolist())}
        self._speakers = {name: number for number, name in enumerate(held.speakers.tolist())}
        self._kept = np.ones(len(held.rows.text), np.bool_)
        self._added: dict[bytes, int] = {}
        self._codes: list[NDArray[np.uint8]] = []
        self._rows: list[tuple[int, int, int, int]] = []

    def drop(self, days: Iterable[date]) -> None:
        """Let go of what was said on some days."""
        ordinals = np.array([day.toordinal() for day in days], np.int32)
        self._kept &= ~np.isin(self._held.rows.day, ordinals)

    def lacks(self, texts: Iterable[DayText]) -> list[bytes]:
        """Hashes of those texts that have no code yet."""
        return [said.text_hash for said in texts if self._number(said) is None]

    def add(self, day: date, texts: Iterable[DayText], vectors: Mapping[bytes, Floats]) -> None:
        """Take in what was said on a day, as far as it has a vector; what is lacking must be among ``vectors``."""
        if vectors:
            first = len(self._held.hashes) + len(self._added)
            self._codes.append(self._quantiser.codes(np.stack(list(vectors.values()))))
            self._added |= {digest: first + number for number, digest in enumerate(vectors)}
        for said in texts:
            number = self._number(said)
            if number is None:
                continue
            for crew, speaker in sorted(said.places):
                crew_number = self._crews.setdefault(crew, len(self._crews))
                speaker_number = self._speakers.setdefault(speaker, len(self._speakers))
                self._rows.append((number, day.toordinal(), crew_number, speaker_number))

    def finish(self) -> Meanings:
        """What the file is to hold: texts that are still said somewhere."""
        held = self._held
        rows = [part[self._kept] for part in held.rows]
        if self._rows:
            added = np.array(self._rows, np.int32)
            rows = [np.concatenate([part, added[:, column]]) for column, part in enumerate(rows)]
        digests = np.frombuffer(b"".join(self._added), np.uint8).reshape(-1, HASH_BYTES)
        hashes = np.concatenate([held.hashes, digests])
        width = self._quantiser.codes(np.zeros((1, self._quantiser.dimension), np.float32)).shape[1]
        codes = np.concatenate([held.codes.reshape(-1, width), *self._codes])
        said = np.unique(rows[0])
        order = said[np.argsort(hashes[said, :KEY_BYTES].copy().view(">u8").ravel(), kind="stable")]
        renumbered = np.zeros(len(hashes), np.int32)
        renumbered[order] = np.arange(len(order), dtype=np.int32)
        by_text = np.lexsort((rows[3], rows[2], rows[1], renumbered[rows[0]]))
        return Meanings(
            hashes[order],
            codes[order],
            self._quantiser.state,
            self._trained_with,
            Rows(renumbered[rows[0]][by_text], *(part[by_text] for part in rows[1:])),
            np.array(list(self._crews), np.str_),
            np.array(list(self._speakers), np.str_),
        )

    def _number(self, said: DayText) -> int | None:
        added = self._added.get(said.text_hash)
        if added is not None:
            return added
        place = int(np.searchsorted(self._known, np.uint64(said.key)))
        return place if place < len(self._known) and int(self._known[place]) == said.key else None
