"""Search over questions whose lines are known: by words, by meaning, plainly fused, and as it is done.

The questions (``questions/``) were written by hand for lines of the shared corpora, half of them without a content word
in common with their line; where a line is long, a hit is any passage of it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.common import TOP, progress, report
from benchmarks.searched_talk import SHARED, bring, line_of, rows_of
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.embedding import embed_day
from crew_pipeline.history.search import searching
from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex, OpenIndex
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.search.searching import Search
from crew_pipeline.history.search.texts import key_of
from crew_pipeline.history.search.words import EVERYWHERE
from crew_pipeline.history.search.words import asked as asked_for
from crew_pipeline.model import ClientDay, EngineOptions
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.opening import open_databases

QUESTIONS = TOP / "benchmarks" / "questions"
_MOST_LINES = 20_000
"""Of a corpus; its last days are left out."""


def main() -> None:
    """Ask every question in every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--home", help="a folder to keep the store in")
    chosen = parser.parse_args()
    if not SHARED.exists():
        report({"skipped": "the shared corpora are not there"}, as_json=chosen.json)
        return
    asked, unanswerable = (
        [json.loads(row) for row in (QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("answered", "unanswerable")
    )
    with ExitStack() as stack:
        home = Path(chosen.home or stack.enter_context(tempfile.TemporaryDirectory(prefix="crew-benchmark-")))
        os.environ["CREW_HOME"] = str(home)
        settings = load_settings()
        databases = stack.enter_context(open_databases(settings))
        indexes = {}
        for corpus in sorted({one["corpus"] for one in asked}):
            prepare(databases.db, corpus, asked, home)
            index = ClientIndex(home / SEARCH_FOLDER, corpus, settings.max_words)
            index.update(databases.db)
            indexes[corpus] = OpenIndex(index)
            indexes[corpus].look_again()
        content = measured(databases.db, indexes, asked, unanswerable)
    report(content, as_json=chosen.json)


def prepare(db: Database, corpus: str, asked: list[dict[str, Any]], home: Path) -> None:
    """A corpus with documents and vectors, unless it is there."""
    mark = home / f"{corpus}.ready"
    if mark.exists():
        return
    progress(f"taking in {corpus}")
    needed = {place["session_id"] for one in asked if one["corpus"] == corpus for place in one["evidence"]}
    by_day: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(corpus):
        by_day[row["created_at"][:10]].append(row)
    wanted = [day for day, rows in by_day.items() if any(row["session_id"] in needed for row in rows)]
    count = sum(len(by_day[day]) for day in wanted)
    for day in sorted(by_day):
        if day not in wanted and count < _MOST_LINES:
            wanted.append(day)
            count += len(by_day[day])
    days = bring(db, corpus, (line_of(row) for day in wanted for row in by_day[day]))
    progress(f"embedding {count} lines of {corpus}")
    encoder = SentenceTransformerEncoder(precision="float32")
    for day in days:
        embed_day(db, ClientDay(corpus, day), encoder, EngineOptions(), lambda: None)
    mark.touch()


def measured(
    db: Database, indexes: dict[str, OpenIndex], asked: list[dict[str, Any]], unanswerable: list[dict[str, Any]]
) -> dict[str, Any]:
    """Recall of each way, and how many questions that nothing answers find nothing."""
    ways: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in asked:
        for way, hits in found(db, indexes[one["corpus"]], one["corpus"], one["question"]).items():
            ranks = rank(db, indexes[one["corpus"]], one, hits)
            for most in (1, 5, 10):
                ways[way][f"recall_at_{most}"].append(ranks < most)
                ways[way][f"{one['kind']}_at_{most}"].append(ranks < most)
            ways[way]["mrr"].append(1 / (1 + ranks) if ranks < 10 else 0.0)  # type: ignore[arg-type]
    figures: dict[str, Any] = {
        way: {name: round(sum(values) / len(values), 3) for name, values in sorted(told.items())}
        for way, told in ways.items()
    }
    silent = [
        not searching.find(db, indexes[one["corpus"]], one["corpus"], Search(one["question"])) for one in unanswerable
    ]
    return {
        "questions": len(asked),
        "ways": figures,
        "unanswerable": len(unanswerable),
        "found_nothing": round(sum(silent) / max(1, len(silent)), 3),
    }


def found(db: Database, index: OpenIndex, corpus: str, question: str) -> dict[str, list[int]]:
    """The keys of what each way finds, the best first."""
    assert index.words is not None
    words = [hit.key for hit in index.words.search(asked_for(question), EVERYWHERE, searching.MOST)]
    vectors = nearest(db, index, corpus, question)
    return {
        "words": words,
        "vectors": vectors,
        "plain_fusion": plain(words, vectors),
        "search": [hit.key for hit in searching.find(db, index, corpus, Search(question))],
    }


def nearest(db: Database, index: OpenIndex, corpus: str, question: str) -> list[int]:
    """The keys of the texts with the largest cosines, however small these are."""
    encoder = query_encoder()
    assert encoder is not None
    assert index.meaning is not None
    vector = encoder.encode(question)
    near = [bytes(digest) for digest in index.meaning.near(vector, EVERYWHERE, searching.MOST)]
    with db.read() as connection:
        vectors = searched.vectors(connection, corpus, index.model, near)
    cosines = {key_of(digest): float(one @ vector) for digest, one in vectors.items()}
    return sorted(cosines, key=lambda key: (-cosines[key], key))


def plain(*lists: list[int]) -> list[int]:
    """Reciprocal rank fusion and no more."""
    scores: dict[int, float] = defaultdict(float)
    for ranked in lists:
        for place, key in enumerate(ranked, 1):
            scores[key] += 1 / (60 + place)
    return sorted(scores, key=lambda key: (-scores[key], key))


def rank(db: Database, index: OpenIndex, one: dict[str, Any], found_keys: list[int]) -> int:
    """Where the first of the known lines stands; 100 where it does not."""
    known = {(place["session_id"], place["line"]) for place in one["evidence"]}
    assert index.words is not None
    for number, key in enumerate(found_keys[:10]):
        told = index.words.told(key, EVERYWHERE)
        places = [(place.conversation_id, place.position) for _, place in told.places] if told else []
        with db.read() as connection:
            lines = searched.found_lines(connection, one["corpus"], places)
        if any((line.session_id, line.position) in known for line in lines.values()):
            return number
    return 100


if __name__ == "__main__":
    main()
