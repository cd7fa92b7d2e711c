"""What the assets do for one client's day, between the tables and the engine."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from crew_pipeline.days.pair_memory import remembering
from crew_pipeline.dedup import document, frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.engine import (
    Clusters,
    Comparison,
    compare_lines,
    distinct_texts,
    exact_repeats,
    first_comparison,
    fold_lines,
)
from crew_pipeline.dedup.pair_scorer import reader_of
from crew_pipeline.model import ClientDay, Conversation, Fold, Line
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import claims, documents, preliminary
from crew_pipeline.storage.evidence import embeddings, pairs
from crew_pipeline.storage.evidence import verdicts as feedback

MOST_LINES_AT_FIRST_SIGHT = 8_000
"""Of which the engine's first stage takes some 3 s on two cores; it grows faster than their number."""


def first_looks(
    db: Database,
    encoder: SentenceTransformerEncoder,
    config: EngineConfig,
    client_day: ClientDay,
    token: str,
    lines: pd.DataFrame,
    warn: Callable[[str], object],
) -> None:
    """Show a reader who waits what repeats word for word, then what the engine's first stage finds by words alone (of
    days that are not too long for that to be quick).

    Only where nothing is shown yet and embedding will take its time. Each look folds what the one before folded, and
    more. The day goes on without them where they fail.

    Args:
        lines: frame ``frames.DISCOVERED`` of the client's day.
    """
    looks: tuple[tuple[Callable[[], Comparison], str], ...] = (
        (exact_repeats, "what repeats word for word is folded"),
        (lambda: first_comparison(lines, config), "what can be told by words alone is folded"),
    )
    try:
        if not _to_be_shown(db, encoder, config, client_day, token, lines):
            return
        for compare, message in looks if len(lines) <= MOST_LINES_AT_FIRST_SIGHT else looks[:1]:
            found = folded(db, config, client_day, token, lines, compare(), surer=True)
            built = build_document(client_day, lines, found.members, "preliminary")
            with db.write() as connection:
                if not preliminary.store(connection, client_day, token, built.body, message):
                    return
    except Exception as error:
        warn(f"{client_day}: no preliminary result ({type(error).__name__})")


def _to_be_shown(
    db: Database,
    encoder: SentenceTransformerEncoder,
    config: EngineConfig,
    client_day: ClientDay,
    token: str,
    lines: pd.DataFrame,
) -> bool:
    with db.read() as connection:
        if preliminary.shown(connection, client_day, token) or documents.exists(connection, client_day):
            return False
        texts = distinct_texts(lines, config)
        return len(embeddings.known(connection, encoder.model_id, list(texts))) < len(texts)


def compared(
    db: Database,
    encoder: SentenceTransformerEncoder,
    config: EngineConfig,
    client_day: ClientDay,
    token: str,
    lines: pd.DataFrame,
    vectors: Mapping[bytes, Any],
) -> tuple[Comparison, int]:
    """The judged pairs of a client's day, kept for the next time; and how many texts had been compared before."""
    judgement = config.judgement(encoder.model_id)
    with db.read() as connection:
        known = pairs.load(connection, client_day, judgement)
    reader = remembering(reader_of(config.reader, encoder), db)
    comparison = compare_lines(lines, vectors, config, reader, known)
    if comparison is not known:
        with db.write() as connection:
            if client_day in claims.held(connection, token, [client_day.day], lock=True):
                pairs.store(connection, client_day, judgement, comparison)
    return comparison, 0 if known is None else len(known.texts)


def folded(
    db: Database,
    config: EngineConfig,
    client_day: ClientDay,
    token: str,
    lines: pd.DataFrame,
    comparison: Comparison,
    *,
    surer: bool = False,
) -> Clusters:
    """The client's clusters, at its own operating point and by what its readers have said.

    Args:
        surer: at the next stricter point: what a first look folds should not come apart again when more is known.
    """
    with db.write() as connection:
        feedback.remember(connection, client_day, token)
        said = feedback.in_force(connection, client_day.client)
        own = config.at(clients.folding_of(connection, client_day.client))
    if surer:
        own = own.at("balanced" if own.folding == "loose" else "strict")
    return fold_lines(client_day.client, client_day.day.isoformat(), lines, comparison, own, said)


def config_of(db: Database, config: EngineConfig, client: str) -> EngineConfig:
    """The engine's configuration at the client's own operating point."""
    with db.read() as connection:
        return config.at(clients.folding_of(connection, client))


def build_document(
    client_day: ClientDay, lines: pd.DataFrame, members: pd.DataFrame, fingerprint: str
) -> document.Document:
    """The document of a client's day.

    Args:
        lines: frame ``frames.DISCOVERED``, of any clients.
        members: frame ``frames.MEMBERS``, of any clients.
    """
    own = list(frames.rows(frames.of_client(lines, client_day.client)))
    return document.build(
        client_day.client,
        {
            Conversation(
                row.conversation_id,
                row.session_id,
                row.crew,
                row.title,
                row.started_at,
                row.ended_at,
                row.times_inferred,
            )
            for row in own
        },
        [Line(row.conversation_id, row.position, row.speaker, row.spoken_at, row.text) for row in own],
        {
            (row.conversation_id, row.position): Fold(
                row.cluster_id, row.is_canonical, row.similarity, row.probability, row.reason
            )
            for row in frames.rows(frames.of_client(members, client_day.client))
        },
        fingerprint,
    )
