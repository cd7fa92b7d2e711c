"""SQL history tables (``id, session_id, message, created_at``) in any database that SQLAlchemy reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, column, create_engine, select, table
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from crew_pipeline.discovery.messages import speaker_and_text
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError, parse_record
from crew_pipeline.storage.crews import HistorySource
from crew_pipeline.storage.ingest import SourceLine

_ROWS_AT_ONCE = 1_000


class SourceError(RuntimeError):
    """The source of a crew cannot be opened; the message names the variable and holds no credentials."""


def source_engine(source: HistorySource, own: Engine) -> Engine:
    """The engine that a crew's history is read with; ``own`` where the table lies in the application's database.

    Raises:
        SourceError: the environment variable is unset or holds no address.
    """
    if source.source_env is None:
        return own
    url = os.environ.get(source.source_env)
    if not url:
        raise SourceError(
            f"{source.source_env} is not set; put the address of the source database of {source.code} there."
        )
    try:
        return create_engine(url, pool_pre_ping=True)
    except ImportError as error:
        raise SourceError(
            f"{source.source_env} needs the driver {error.name}; install it beside crew-pipeline."
        ) from None
    except (ArgumentError, NoSuchModuleError):
        raise SourceError(
            f"{source.source_env} holds no address that can be used; write it like postgresql://… or sqlite:///…"
        ) from None


@contextmanager
def opened(source: HistorySource, own: Engine) -> Iterator[Connection]:
    """A connection to the source of a crew, closed for good afterwards.

    Raises:
        SourceError: as of ``source_engine``.
    """
    engine = source_engine(source, own)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        if engine is not own:
            engine.dispose()


def read_history(
    connection: Connection, source: HistorySource, limits: Limits, reading: Reading
) -> Iterator[SourceLine]:
    """The lines of a history table in order of id, streamed; what cannot be used is counted by its id."""
    history = table(source.history_table, column("id"), column("session_id"), column("message"), column("created_at"))
    query = select(history.c.id, history.c.session_id, history.c.message, history.c.created_at).order_by(history.c.id)
    for row in connection.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE).execute(query):
        reading.lines_read += 1
        try:
            speaker, text = speaker_and_text(row.message)
            record = {
                "session_id": str(row.session_id),
                "line": row.id,
                "created_at": row.created_at,
                "speaker": speaker,
                "text": text,
            }
            yield parse_record(record, row.id, limits)
        except RejectedLineError as refusal:
            reading.reject(row.id, str(refusal))
