"""Search over a million lines, beside what one would write first: ILIKE, Postgres' own full text, and every cosine.

The lines are those of the shared corpora, again and again with a word of another line in each after the first round.
Vectors are the model's for some texts; the others have one of these with noise, which says nothing of quality
(``search_quality`` does) and costs what real ones cost.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import text

from benchmarks.common import empty_store, progress, quantile, report
from benchmarks.searched_talk import SHARED, bring, line_of, publish, rows_of
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder, model_id
from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex, OpenIndex
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.search.searching import Search, find, shown
from crew_pipeline.history.search.texts import texts_of
from crew_pipeline.history.search.words import EVERYWHERE
from crew_pipeline.model import BUNDLED_MODEL, ClientDay
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.content import discovered_of
from crew_pipeline.storage.evidence import embeddings

CORPORA = ("ubuntu_irc", "ami_meetings", "slack_developers", "acquaintances", "smalltalk", "service_calls", "orders")
CLIENT, MODEL, MAX_WORDS = "default", f"{model_id(BUNDLED_MODEL)}+benchmark", 100
EMBEDDED, QUERIES, PEER_QUERIES = 20_000, 300, 20


def main() -> None:
    """Make the store, and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--lines", type=int, default=1_000_000, help="how many (1,000,000)")
    parser.add_argument("--quick", action="store_true", help="100,000 lines")
    chosen = parser.parse_args()
    if not SHARED.exists():
        report({"skipped": "the shared corpora are not there"}, as_json=chosen.json)
        return
    with empty_store() as (settings, databases):
        db = databases.owners_db
        content = measured(db, settings.home_path, 100_000 if chosen.quick else chosen.lines)
    report(content, as_json=chosen.json)


def measured(db: Database, home: Any, count: int) -> dict[str, Any]:
    """All figures."""
    progress(f"taking in {count:,} lines")
    days = bring(db, CLIENT, itertools.islice(lines(), count))
    progress("giving every text a vector")
    vectors = Vectors(db, days)
    with db.read() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
    progress("indexing")
    index = ClientIndex(home / SEARCH_FOLDER, CLIENT, MAX_WORDS)
    started = time.perf_counter()
    made = index.update(db)
    assert made is not None
    indexed_s = time.perf_counter() - started
    opened = OpenIndex(index)
    opened.look_again()
    progress("searching")
    asked = queries(db, days)
    words, fused = (
        timed(lambda query, mode=mode: answer(db, opened, Search(query, mode=mode)), asked)  # type: ignore[misc]
        for mode in ("words", "auto")
    )
    return {
        "lines": count,
        "days": len(days),
        "distinct_texts": made.texts,
        "index_s": round(indexed_s, 1),
        "words_p50_ms": words[0],
        "words_p95_ms": words[1],
        "fused_p50_ms": fused[0],
        "fused_p95_ms": fused[1],
        "recall_at_10": recall(db, opened, vectors, asked[:100]),
        "bytes_per_text": round(made.bytes / made.texts, 1),
        "memory_mb": round(in_memory(opened) / 2**20, 1),
        "fresh_s": fresh(db, index, days[-1] + timedelta(days=400)),
        "peers": peers(db, vectors, asked[:PEER_QUERIES]),
    }


def lines() -> Iterator[SourceLine]:
    """Lines without an end; each round is laid ten years after the one before."""
    chance = random.Random(3)  # noqa: S311
    other = "word"
    for number in itertools.count():
        for corpus in CORPORA:
            for row in rows_of(corpus):
                line = line_of(row)
                if number:
                    said = line.text.split()
                    said.insert(chance.randrange(len(said) + 1), other)
                    other = chance.choice(said)
                    moved = line.spoken_at - timedelta(days=3653 * number)
                    line = line._replace(session_id=f"{line.session_id}-{number}", spoken_at=moved, text=" ".join(said))
                yield line


class Vectors:
    """One for every text of the store: its hash, and float32 (n, dimension)."""

    def __init__(self, db: Database, days: Sequence[date]) -> None:
        chance = np.random.default_rng(5)
        known: dict[bytes, int] = {}
        base: Any = None
        parts: list[Any] = []
        for number, day in enumerate(days):
            with db.read() as connection:
                rows = discovered_of(connection, ClientDay(CLIENT, day))
            texts = texts_of(rows, MAX_WORDS)
            if base is None or len(base) < EMBEDDED:
                said = [row.text for row in rows][: EMBEDDED - (0 if base is None else len(base))]
                fresh = SentenceTransformerEncoder().encode(said)
                base = fresh if base is None else np.concatenate([base, fresh])
            new = [one.text_hash for one in texts if one.text_hash not in known]
            made = base[chance.integers(0, len(base), len(new))]
            made = made + (0.5 / made.shape[1] ** 0.5) * chance.normal(size=made.shape).astype(np.float32)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            known.update({digest: len(known) + place for place, digest in enumerate(new)})
            parts.append(made.astype(np.float32))
            with db.write() as connection:
                embeddings.store(connection, CLIENT, MODEL, zip(new, parts[-1], strict=True))
                connection.execute(
                    text("UPDATE day_documents SET embedded_by = :model WHERE client = :client AND day = :day"),
                    {"model": MODEL, "client": CLIENT, "day": day},
                )
            if number % 200 == 199:
                progress(f"{number + 1} of {len(days)} days have vectors")
        self.hashes = list(known)
        self.matrix = np.concatenate(parts)


def queries(db: Database, days: Sequence[date]) -> list[str]:
    """One to five words of lines, of some the last one as far as it is typed."""
    chance, asked = random.Random(11), []  # noqa: S311
    while len(asked) < QUERIES:
        with db.read() as connection:
            said = chance.choice(discovered_of(connection, ClientDay(CLIENT, chance.choice(days)))).text.split()
        count = chance.randint(1, 5)
        if len(said) >= count:
            start = chance.randrange(len(said) - count + 1)
            query = " ".join(said[start : start + count]).replace('"', "")
            asked.append(query[: max(2, len(query) - chance.randint(0, 3))] if len(asked) % 3 == 0 else query)
    return asked


def answer(db: Database, opened: OpenIndex, search: Search) -> list[dict[str, Any]]:
    """The first page, as the API makes it."""
    hits = find(db, opened, CLIENT, search)
    return shown(db, opened, CLIENT, search, hits[:10]) if hits else []


def timed(ask: Callable[[str], object], asked: Sequence[str]) -> tuple[float, float]:
    """Median and 95th percentile (ms), warm."""
    for query in asked[:20]:
        ask(query)
    took = []
    for query in asked:
        started = time.perf_counter()
        ask(query)
        took.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(took), 1), round(quantile(took, 0.95), 1)


def in_memory(opened: OpenIndex) -> int:
    """What a process holds of an index (bytes): codes twice, once as they are scanned; words are mapped, not read."""
    assert opened.meaning is not None
    held = opened.meaning.held
    parts = (held.hashes, held.codes, held.codes, held.keys, *held.rows)
    return sum(part.nbytes for part in parts)


def recall(db: Database, opened: OpenIndex, vectors: Vectors, asked: Sequence[str]) -> float:
    """How many of the ten exactly nearest texts are among those that are rescored."""
    encoder = query_encoder()
    assert encoder is not None
    assert opened.meaning is not None
    met = 0
    for query in asked:
        vector = encoder.encode(query)
        best = np.argsort(-(vectors.matrix @ vector), kind="stable")[:10]
        near = {bytes(digest) for digest in opened.meaning.near(vector, EVERYWHERE, 400)}
        met += sum(vectors.hashes[place] in near for place in best)
    return round(met / (10 * len(asked)), 4)


def fresh(db: Database, index: ClientIndex, day: date) -> float:
    """From a day's document to where its words are found (s); a day of 1,000 lines."""
    moment = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
    said = [
        SourceLine("fresh", number, moment + timedelta(seconds=number), "Ann", f"freshly said line {number}", number)
        for number in range(1_000)
    ]
    bring(db, CLIENT, said)
    started = time.perf_counter()
    publish(db, ClientDay(CLIENT, day))
    index.update(db)
    opened = OpenIndex(index)
    opened.look_again()
    assert answer(db, opened, Search("freshly said line 777", mode="words"))
    return round(time.perf_counter() - started, 2)


def peers(db: Database, vectors: Vectors, asked: Sequence[str]) -> dict[str, Any]:
    """The same queries by other means (ms)."""
    progress("peers")
    with db.write() as connection:
        connection.execute(
            text(
                "ALTER TABLE lines ADD COLUMN vector tsvector GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED"
            )
        )
        connection.execute(text("CREATE INDEX lines_vector ON lines USING gin (vector)"))

    def by(statement: str) -> Callable[[str], object]:
        def ask(query: str) -> object:
            with db.read() as connection:
                return connection.execute(text(statement), {"query": query}).all()

        return ask

    like = "SELECT conversation_id, position FROM lines WHERE text ILIKE '%' || :query || '%' LIMIT 10"
    full = (
        "SELECT conversation_id, position FROM lines, plainto_tsquery('simple', :query) AS wanted "
        "WHERE vector @@ wanted ORDER BY ts_rank(vector, wanted) DESC LIMIT 10"
    )
    encoder = query_encoder()
    assert encoder is not None

    def cosine(query: str) -> object:
        return np.argpartition(-(vectors.matrix @ encoder.encode(query)), 10)[:10]

    figures = {}
    for name, ask in (("ilike", by(like)), ("full_text", by(full)), ("every_cosine", cosine)):
        p50, p95 = timed(ask, asked)
        figures[name] = {"p50_ms": p50, "p95_ms": p95}
    return figures


if __name__ == "__main__":
    main()
