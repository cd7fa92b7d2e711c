"""Results of a client's day go into the tables, fenced by the claim that they were made under."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from crew_pipeline.days import claims, folding, progress, requests
from crew_pipeline.dedup.document import Document
from crew_pipeline.model import ClaimOutcome, ClientDay, DayState
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents, events, preliminary, states
from crew_pipeline.storage.evidence import clusters, invariants, verdicts

if TYPE_CHECKING:
    from crew_pipeline.days.run import DayTools


class OvertakenError(RuntimeError):
    """The claim that a result was made under is gone; the result must not be written."""


def store_clusters(db: Database, client_day: ClientDay, token: str, members: Iterable[Sequence[Any]]) -> None:
    """Put a day's clusters in the place of the old ones, while the claim lasts; see ``replace_clusters``."""
    with db.write() as connection:
        replace_clusters(connection, client_day, token, members)


def publish_made(tools: DayTools, client_day: ClientDay, token: str, document: Document) -> None:
    """Publish the document that a run has made. Where visitors have said something meanwhile, it is made again.

    Raises:
        OvertakenError: the claim is gone; nothing is written.
    """
    with tools.db.write() as connection:
        config = folding.config_of(connection, client_day.client, tools.config)
        publish(connection, client_day, document, config.fingerprint, token)
        if verdicts.changed_since(connection, client_day, token):
            requests.remake(connection, client_day)
    tools.snapshots.drop(client_day)


def replace_clusters(
    connection: Connection, client_day: ClientDay, token: str, members: Iterable[Sequence[Any]]
) -> bool:
    """Replace the clusters of a client's day, and hold the new ones against the invariants.

    Args:
        members: rows of ``frames.MEMBERS`` of that day.

    Returns:
        Whether ``token`` still holds the day; where it does not, nothing is written.

    Raises:
        InvariantError: they break an invariant; the transaction must not be committed.
    """
    if client_day not in claims.held(connection, token, [client_day.day], lock=True):
        return False
    clusters.replace(connection, client_day, members)
    invariants.hold_clusters(connection, client_day)
    return True


def show_first_look(connection: Connection, client_day: ClientDay, token: str, body: bytes, message: str) -> bool:
    """Show visitors a preliminary result of a day that is being made; whether ``token`` still holds the day.

    Args:
        body: UTF-8 JSON, the array of conversations.
        message: what visitors are told of it.
    """
    if client_day not in claims.held(connection, token, [client_day.day], lock=True):
        return False
    preliminary.put(connection, client_day, token, body)
    fraction = max(0.02, progress.how_far(events.latest_progress(connection, client_day, token)))
    progress.tell(connection, client_day, token, "discovering", fraction, message, preliminary=True)
    return True


def publish(
    connection: Connection, client_day: ClientDay, document: Document, fingerprint: str, token: str
) -> datetime:
    """Make ``document`` the one in force, complete the conversations that were read, tell visitors, close the claim.

    All in the caller's transaction.

    Returns:
        When it was published.

    Raises:
        OvertakenError: ``token`` no longer holds the day; nothing is written.
    """
    if client_day not in claims.held(connection, token, [client_day.day], lock=True):
        raise OvertakenError(f"{client_day}: overtaken by another run; its result stands")
    states.set_status(connection, client_day, DayState.COMPLETED, of=(DayState.PROCESSING,))
    # The update above waited for imports that touched these conversations: where the counts now differ from what was
    # read, the document is out of date already.
    present = states.counts_of(connection, client_day)
    whole = (present.conversations, present.lines) == (document.conversation_count, document.line_count)
    published = documents.put(connection, client_day, document, fingerprint if whole else "", token)
    if not present.conversations:
        documents.retire(connection, client_day)  # the last one left while the document was made
    preliminary.drop(connection, client_day)
    told = {"version": document.version, "conversations": document.conversation_count}
    events.emit(connection, client_day, events.EventType.COMPLETED, told, token)
    claims.finish(connection, client_day, token, ClaimOutcome.COMPLETED)
    return published
