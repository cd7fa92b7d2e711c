"""What a day holds in all, over every client."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, text


class DayTotals(NamedTuple):
    """A day's figures.

    Attributes:
        clients, conversations, lines: what has arrived.
        clusters, clustered_lines: what says the same.
        documents, conversations_shown, lines_shown, hidden_lines: what is ready to be served.
        characters, hidden_characters: of the documents that count them (code points).
        bytes: of the documents.
        content, versions: hashes over what has arrived, and over the versions of the documents.
    """

    clients: int
    conversations: int
    lines: int
    clusters: int
    clustered_lines: int
    documents: int
    conversations_shown: int
    lines_shown: int
    hidden_lines: int
    characters: int
    hidden_characters: int
    bytes: int
    versions: str
    content: str


def of_day(connection: Connection, day: date) -> DayTotals:
    """The figures of a day as they are stored now."""
    row = connection.execute(
        text("""
            SELECT arrived.clients, arrived.conversations, arrived.lines, found.*, ready.*, arrived.content FROM
            (SELECT count(DISTINCT client) AS clients, count(*) AS conversations,
                    coalesce(sum(line_count), 0)::bigint AS lines,
                    md5(coalesce(string_agg(id || encode(content_hash, 'hex'), ',' ORDER BY id), '')) AS content
             FROM data_items WHERE days_date = :day AND line_count > 0) AS arrived,
            (SELECT count(*) AS clusters, coalesce(sum(size), 0)::bigint
             FROM semantic_clusters WHERE day = :day) AS found,
            (SELECT count(*) AS documents, coalesce(sum(conversation_count), 0)::bigint,
                    coalesce(sum(line_count), 0)::bigint, coalesce(sum(hidden_count), 0)::bigint,
                    coalesce(sum(character_count), 0)::bigint, coalesce(sum(hidden_character_count), 0)::bigint,
                    coalesce(sum(octet_length(body)), 0)::bigint,
                    md5(coalesce(string_agg(client || ':' || version, ',' ORDER BY client), ''))
             FROM day_documents WHERE day = :day AND is_current) AS ready
        """),
        {"day": day},
    ).one()
    return DayTotals(*row)
