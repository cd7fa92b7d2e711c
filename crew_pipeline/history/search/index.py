"""The indexes of a client's history in a folder of this machine: made from the database, at any time anew.

::

    search/<hash of the client>/
        lock                who holds it writes; it is the kernel's, so a process that dies leaves it
        current             the name of the generation in force
        <generation>/       words/ (tantivy), meaning.npz, manifest.json

Readers need no lock: a generation changes by whole commits and by files that are replaced. What was erased on request
leaves with its generation: the next is made from what there is, and the last is deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

from crew_pipeline.dedup.embedding import model_id
from crew_pipeline.history.search import meaning
from crew_pipeline.history.search.meaning import Builder, MeaningIndex, Quantiser
from crew_pipeline.history.search.texts import DayText, texts_of
from crew_pipeline.history.search.words import WordIndex
from crew_pipeline.model import BUNDLED_MODEL, ClientDay
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.conversations.searched import State
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.content import discovered_of

FORMAT = 2
SEARCH_FOLDER = "search"
"""In a data directory."""
DIMENSION = 384
_DAYS_AT_ONCE = 32


class Updated(NamedTuple):
    """What was done, and what there is now.

    Attributes:
        days_indexed, days_dropped: of which the index of words was changed.
        days_with_meaning: whose texts were taken into that of meanings.
        documents: texts of a day in the index of words.
        texts: distinct ones that have a meaning.
        bytes: of all files.
    """

    days_indexed: int
    days_dropped: int
    days_with_meaning: int
    days: int
    documents: int
    texts: int
    bytes: int


@dataclass
class Manifest:
    """What a generation was made from.

    Attributes:
        settings: what would make other texts of the same lines.
        words, meanings: the version of each day that the two indexes hold.
    """

    settings: dict[str, int] = field(default_factory=dict)
    forgotten_at: str = ""
    model: str = ""
    words: dict[str, str] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Manifest:
        """That of a generation; of one that is new or damaged, nothing."""
        try:
            return cls(**json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def write(self, folder: Path) -> None:
        """Put it in the place of the one before."""
        beside = folder / "manifest.new"
        beside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(beside, folder / "manifest.json")


class ClientIndex:
    """The folder of a client."""

    def __init__(self, root: Path, client: str, max_words: int) -> None:
        """Args:
        root: the folder of all clients' indexes.
        max_words: longer lines are searched by their passages.
        """
        self.client = client
        self.folder = root / _folder_name(client)
        self._max_words = max_words
        self._settings = {"format": FORMAT, "max_words": max_words}

    @property
    def generation(self) -> Path | None:
        """The folder in force; None where nothing was indexed yet."""
        try:
            name = (self.folder / "current").read_text(encoding="utf-8")
        except OSError:
            return None
        return self.folder / name if (self.folder / name / "manifest.json").exists() else None

    def delete(self) -> None:
        """Leave nothing of it, once nobody writes it."""
        _delete(self.folder)

    def is_behind(self, db: Database) -> bool:
        """Whether the database holds something else than the indexes."""
        with db.read() as connection:
            state = searched.state_of(connection, self.client, model_id(BUNDLED_MODEL))
        generation = self.generation
        manifest = Manifest.of(generation) if generation else Manifest()
        wanted = Manifest(
            self._settings,
            str(state.forgotten_at or ""),
            state.model or manifest.model,
            {str(day): version for day, (version, _) in state.days.items()},
            {str(day): version for day, (version, embedded) in state.days.items() if embedded},
        )
        return manifest != wanted

    def update(
        self,
        db: Database,
        *,
        anew: bool = False,
        wait: bool = True,
        rest: Callable[[int], object] = lambda _left: None,
    ) -> Updated | None:
        """Bring the indexes up to what the database holds; breaking it off loses no more than the last days.

        Args:
            anew: make all of it again.
            wait: for another process that is at it; else return None.
            rest: called between portions, with the number of days that are left.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / "lock", wait=wait) as is_held:
            if not is_held:
                return None
            with db.read() as connection:
                state = searched.state_of(connection, self.client, model_id(BUNDLED_MODEL))
            generation = self.generation
            manifest = Manifest.of(generation) if generation else Manifest()
            wanted = Manifest(self._settings, str(state.forgotten_at or ""))
            # Of a client that is no more nothing stays in the files either.
            anew = anew or (bool(manifest.words) and not state.days)
            if anew or not generation or not _goes_on(manifest, wanted) or not _can_be_read(generation):
                generation, manifest = self._next(generation, wanted, anew=anew)
            done = _Update(db, self.client, self._max_words, generation, manifest, state).run(rest)
            self._put_in_force(generation)
            return done

    def _next(self, generation: Path | None, wanted: Manifest, *, anew: bool) -> tuple[Path, Manifest]:
        """The generation after one, as far as it is made already; the first is in force from its beginning."""
        folder = self.folder / str(int(generation.name) + 1 if generation else 1)
        manifest = Manifest.of(folder)
        if anew or not folder.exists() or not _goes_on(manifest, wanted) or not _can_be_read(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            manifest = wanted
            manifest.write(folder)
        if generation is None:
            self._put_in_force(folder)
        return folder, manifest

    def _put_in_force(self, generation: Path) -> None:
        beside = self.folder / "current.new"
        beside.write_text(generation.name, encoding="utf-8")
        os.replace(beside, self.folder / "current")
        for other in self.folder.iterdir():
            if other.is_dir() and other != generation:
                shutil.rmtree(other, ignore_errors=True)


def others(root: Path, clients: Iterable[str]) -> list[Path]:
    """The folders of indexes of clients that are no more."""
    known = {_folder_name(client) for client in clients}
    return [folder for folder in root.iterdir() if folder.name not in known] if root.is_dir() else []


def drop_others(root: Path, clients: Iterable[str]) -> None:
    """Delete the indexes of clients that are no more."""
    for folder in others(root, clients):
        _delete(folder)


def _folder_name(client: str) -> str:
    return hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _delete(folder: Path) -> None:
    if folder.is_dir():
        with _locked(folder / "lock", wait=True):
            shutil.rmtree(folder, ignore_errors=True)


def _goes_on(manifest: Manifest, wanted: Manifest) -> bool:
    return (manifest.settings, manifest.forgotten_at) == (wanted.settings, wanted.forgotten_at)


def _can_be_read(generation: Path) -> bool:
    try:
        WordIndex(generation / "words")
    except ValueError:
        return False
    return True


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


class _Update:
    """One bringing up to date of a generation."""

    def __init__(
        self, db: Database, client: str, max_words: int, folder: Path, manifest: Manifest, state: State
    ) -> None:
        self._db = db
        self._client = client
        self._max_words = max_words
        self._folder = folder
        self._manifest = manifest
        self._state = state
        self._words = WordIndex(folder / "words")

    def run(self, rest: Callable[[int], object]) -> Updated:
        indexed, dropped = self._index_words(rest)
        with_meaning = self._index_meanings(rest)
        self._manifest.write(self._folder)
        return Updated(
            indexed,
            dropped,
            with_meaning,
            len(self._manifest.words),
            len(self._words),
            meaning.count(self._folder / "meaning.npz"),
            sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file()),
        )

    def _index_words(self, rest: Callable[[int], object]) -> tuple[int, int]:
        held, wanted = self._manifest.words, {str(day): version for day, (version, _) in self._state.days.items()}
        gone = sorted(held.keys() - wanted.keys())
        # The newest first: they are looked for most.
        changed = sorted((day for day, version in wanted.items() if held.get(day) != version), reverse=True)
        for portion in _portions(gone):
            self._words.write((date.fromisoformat(day), ()) for day in portion)
        for start, portion in enumerate(_portions(changed)):
            self._words.write((date.fromisoformat(day), self._texts(day)) for day in portion)
            held.update({day: wanted[day] for day in portion})
            self._manifest.write(self._folder)
            rest(len(changed) - _DAYS_AT_ONCE * start - len(portion))
        for day in gone:
            held.pop(day)
        return len(changed), len(gone)

    def _index_meanings(self, rest: Callable[[int], object]) -> int:
        manifest = self._manifest
        model = self._state.model or manifest.model
        if not model:
            return 0
        path = self._folder / "meaning.npz"
        goes_on = manifest.model == model and meaning.is_whole(path)
        held = manifest.meanings if goes_on else {}
        wanted = {str(day): version for day, (version, embedded) in self._state.days.items() if embedded}
        stale = sorted(day for day, version in held.items() if manifest.words.get(day) != version)
        fresh = sorted(day for day, version in wanted.items() if held.get(day) != version)
        if not stale and not fresh:
            return 0
        stored = meaning.load(path) if goes_on else meaning.empty()
        with self._db.read() as connection:
            count = searched.count_vectors(connection, self._client, model)
            quantiser = Quantiser(DIMENSION, stored.trained)
            trained_with = stored.trained_with
            if meaning.needs_training(stored, count):
                # All codes are made anew, so all days are fresh.
                quantiser, stored, held, stale, fresh = Quantiser(DIMENSION), meaning.empty(), {}, [], sorted(wanted)
                if count >= meaning.COMPRESSED_FROM:
                    quantiser.train(searched.sample(connection, self._client, model, meaning.TRAINED_WITH))
                    trained_with = count
        builder = Builder(stored, quantiser, trained_with)
        builder.drop(date.fromisoformat(day) for day in {*stale, *fresh})
        for number, day in enumerate(fresh):
            texts = self._texts(day)
            with self._db.read() as connection:
                vectors = searched.vectors(connection, self._client, model, builder.lacks(texts))
            builder.add(date.fromisoformat(day), texts, vectors)
            if number % _DAYS_AT_ONCE == 0:
                rest(len(fresh) - number)
        meaning.save(path, builder.finish())
        manifest.model = model
        manifest.meanings = {day: version for day, version in held.items() if day not in stale} | {
            day: wanted[day] for day in fresh
        }
        return len(fresh)

    def _texts(self, day: str) -> list[DayText]:
        with self._db.read() as connection:
            lines = discovered_of(connection, ClientDay(self._client, date.fromisoformat(day)))
        return texts_of(lines, self._max_words)


def _portions(days: Sequence[str]) -> Iterable[Sequence[str]]:
    return (days[start : start + _DAYS_AT_ONCE] for start in range(0, len(days), _DAYS_AT_ONCE))


class OpenIndex:
    """A client's indexes as a process reads them; looks again where something was written."""

    def __init__(self, index: ClientIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self.words: WordIndex | None = None
        self.meaning: MeaningIndex | None = None
        self.model = ""

    def look_again(self) -> None:
        """Open what is in force, unless that is open already."""
        with self._lock:
            try:
                self._open()
            except (OSError, ValueError):
                # Another generation may have come into force in between, and this one be gone.
                self._seen = ()
                self._open()

    def _open(self) -> None:
        generation = self._index.generation
        if generation is None:
            self.words, self.meaning, self._seen = None, None, ()
            return
        manifest, vectors = generation / "manifest.json", generation / "meaning.npz"
        seen = (generation.name, _stamp(manifest), _stamp(vectors))
        if seen == self._seen:
            return
        if self.words is None or self._seen[0] != generation.name:
            self.words = WordIndex(generation / "words")
        else:
            self.words.look_again()
        if self.meaning is None or self._seen[0] != seen[0] or self._seen[2] != seen[2]:
            self.meaning = MeaningIndex(meaning.load(vectors), DIMENSION)
        self.model = Manifest.of(generation).model
        self._seen = seen


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
