"""The embedding model's vectors of what a day shows: what search and themes are made from. No reader waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from crew_pipeline.dedup.embedding import Encoder
from crew_pipeline.dedup.text import count_words, normalise, text_hash
from crew_pipeline.history.search.texts import parts_of
from crew_pipeline.model import ClientDay, EngineOptions
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import embeddings

AT_ONCE = 512
"""Texts that are embedded and stored together: as much is lost where a process dies."""


class Embedded(NamedTuple):
    """What was done for a client's day: its distinct texts, and how many of them were new to the store."""

    texts: int
    new: int


def shown_texts(conversations: Iterable[Mapping[str, Any]], options: EngineOptions) -> dict[bytes, str]:
    """The distinct texts that a document shows, normalised, by hash, ascending.

    A line of more words than ``options.max_words`` goes by its passages; those that are folded stand elsewhere and are
    left out. So are texts of fewer words than ``options.min_words``.
    """
    found = {
        text_hash(text): text
        for entry in conversations
        for line in entry["display_conversation"]
        for text in map(normalise, shown_parts(line, options))
        if count_words(text) >= options.min_words
    }
    return dict(sorted(found.items()))


def shown_parts(line: Mapping[str, Any], options: EngineOptions) -> Iterator[str]:
    """The texts of a document's line: itself, or the passages of a long one that are not folded in it."""
    return (line["text"][start:end] for start, end in shown_spans(line, options))


def shown_spans(line: Mapping[str, Any], options: EngineOptions) -> Iterator[tuple[int, int]]:
    """Where these texts stand in the line (code points)."""
    text: str = line["text"]
    parts = list(parts_of(text, options.max_words))
    if len(parts) == 1:
        yield 0, len(text)
        return
    repeats = line.get("repeats", ())
    folded_to = iter([*((repeat["start"], repeat["end"]) for repeat in repeats), (len(text), len(text))])
    start, end = next(folded_to)
    for part_start, part_end in parts:
        while part_start >= end > start:
            start, end = next(folded_to)
        if part_start < start:
            yield part_start, part_end


def embed_day(
    db: Database, client_day: ClientDay, encoder: Encoder, options: EngineOptions, rest: Callable[[], object]
) -> Embedded | None:
    """Embed what a client's day shows, as far as the store has no vector of it; may be done twice, or broken off.

    Args:
        rest: called after each ``AT_ONCE`` texts.

    Returns:
        None where nothing is to be done: there is no document, or its texts have their vectors.
    """
    model = encoder.model_id
    with db.read() as connection:
        stored = embeddings.document_without(connection, model, client_day)
        if stored is None:
            return None
        texts = shown_texts(orjson.loads(stored.body), options)
        known = embeddings.known(connection, client_day.client, model, list(texts))
    missing = [(key, text) for key, text in texts.items() if key not in known]
    new = 0
    for start in range(0, len(missing), AT_ONCE):
        some = missing[start : start + AT_ONCE]
        vectors = encoder.encode([text for _, text in some])
        with db.write() as connection:
            if not embeddings.hold(connection, client_day, stored.version):
                break
            pairs = zip((key for key, _ in some), vectors, strict=True)
            new += embeddings.store(connection, client_day.client, model, pairs)
        rest()
    with db.write() as connection:
        embeddings.mark(connection, model, client_day, stored.version)
    return Embedded(len(texts), new)
