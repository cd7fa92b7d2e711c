"""What follows a client's days as a whole: done client by client, and asked for by a tick where any is behind."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from dagster import AssetExecutionContext, Config

from crew_pipeline.orchestration.history.following import Wanted
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database

T = TypeVar("T")

CRON = "*/10 * * * *"


class Extent(Config):
    """How much is made.

    Attributes:
        anew: all of it, from nothing but what people have said; else what has changed.
    """

    anew: bool = False


def names(db: Database) -> list[str]:
    """All clients."""
    with db.read() as connection:
        return clients.names(connection)


def each(of: Iterable[str], work: Callable[[str], T | None]) -> tuple[dict[str, T], dict[str, Exception]]:
    """What was done for each client, and what went wrong for which: one does not keep the others from theirs."""
    done: dict[str, T] = {}
    failed: dict[str, Exception] = {}
    for client in of:
        try:
            made = work(client)
        except Exception as error:
            failed[client] = error
        else:
            if made is not None:
                done[client] = made
    return done, failed


def tell(context: AssetExecutionContext, failed: dict[str, Exception], what: str) -> None:
    """Say for which clients it went wrong.

    Raises:
        ExceptionGroup: for any.
    """
    for client, error in failed.items():
        context.log.error(f"{client}: {what} not up to date ({type(error).__name__})")
    if failed:
        raise ExceptionGroup(f"Some clients' {what} not up to date", list(failed.values()))


def wanted(behind: list[str]) -> Wanted:
    """A run, where any client is behind."""
    return {} if behind else None
