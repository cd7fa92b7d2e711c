"""How a client's day is folded and put together: at the client's own operating point, by what its visitors have said.

Shared by runs, first looks and days that are folded again. Loads no data frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from crew_pipeline.dedup import document, frames
from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.document import Document
from crew_pipeline.dedup.feedback import Feedback
from crew_pipeline.dedup.folding import Clusters, fold_lines
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.model import ClientDay, Conversation, Fold, Folds, Line
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.days.content import Discovered
from crew_pipeline.storage.evidence import verdicts


class Wishes(NamedTuple):
    """How a client wants its days folded.

    Attributes:
        config: the engine's, at the client's operating point.
        verdicts: what its visitors have said of pairs of lines and of passages.
    """

    config: EngineConfig
    verdicts: Feedback


def columns_of(client_day: ClientDay, discovered: Iterable[Discovered]) -> Columns:
    """The lines of a client's day as columns ``frames.DISCOVERED``."""
    return frames.columns(((client_day.client, *line[:-1]) for line in discovered), frames.DISCOVERED)


def config_of(connection: Connection, client: str, config: EngineConfig) -> EngineConfig:
    """The engine's configuration at the client's own operating point."""
    return config.at(clients.folding_of(connection, client))


def wishes_of(connection: Connection, client: str, config: EngineConfig) -> Wishes:
    """How a client wants its days folded by now.

    Args:
        config: the system's; the client's own operating point wins.
    """
    return Wishes(config_of(connection, client, config), verdicts.in_force(connection, client))


def fold(client_day: ClientDay, lines: Columns, comparison: Comparison, wishes: Wishes) -> Clusters:
    """The clusters of a client's day. Pure: it may take seconds, so no transaction should be open meanwhile.

    Args:
        lines: columns ``frames.LINES`` of that day.
    """
    day = client_day.day.isoformat()
    return fold_lines(client_day.client, day, lines, comparison, wishes.config, wishes.verdicts)


def folds_in(members: Iterable[Sequence[Any]]) -> Folds:
    """The fold of each clustered line, from rows of ``frames.MEMBERS`` of one client."""
    return {
        (conversation_id, position): Fold(cluster_id, is_canonical, similarity, probability, reason)
        for _, cluster_id, conversation_id, position, is_canonical, similarity, probability, reason in members
    }


def document_of(
    client_day: ClientDay, lines: Columns, folds: Folds, fingerprint: str, said: Feedback | None = None
) -> Document:
    """The document of a client's day.

    Args:
        lines: columns ``frames.DISCOVERED`` of that day.
        fingerprint: of the engine that made the folds.
        said: what the client's visitors have said.
    """
    own = list(zip(*(lines[name] for name in frames.DISCOVERED[1:]), strict=True))
    conversations = {Conversation(conversation_id, *rest) for conversation_id, _, _, _, _, *rest in own}
    spoken = [Line(*row[:5]) for row in own]
    return document.build(client_day.client, conversations, spoken, folds, fingerprint, said)
