"""Which errors pass by themselves, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Backoff, DagsterLogManager, Failure, Jitter, RetryPolicy
from sqlalchemy.exc import DBAPIError

from crew_pipeline.days import claims
from crew_pipeline.days.publishing import OvertakenError
from crew_pipeline.days.retries import Patience
from crew_pipeline.days.run import DayTools
from crew_pipeline.dedup.comparing import MissingVectorsError
from crew_pipeline.dedup.document import DocumentError
from crew_pipeline.dedup.embedding import ModelNotFoundError
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.interrupts import INTERRUPTS
from crew_pipeline.storage.database import is_unanswered
from crew_pipeline.storage.evidence.invariants import InvariantError

_OUR_OWN = (ModelNotFoundError, DocumentError, InvariantError)

TRANSIENT_RETRIES = RetryPolicy(max_retries=3, delay=1, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""For every asset: about 1, 3 and 7 s. Permanent errors never reach it, see ``isolated``."""


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: a lost connection, a full pool, a timeout; not a wrong value or a bug."""
    return is_unanswered(error) or isinstance(error, ConnectionError | TimeoutError)


def sentence(error: BaseException, token: str) -> str:
    """An error as one line that a visitor may see: no SQL, no values, no paths; the run's log has the rest."""
    if isinstance(error, _OUR_OWN):
        return str(error)
    kind = type(error.orig).__name__ if isinstance(error, DBAPIError) and error.orig else type(error).__name__
    return f"{kind}; the log of Dagster run {token} says more"


@contextmanager
def permanent_errors_end_at_once(token: str) -> Iterator[None]:
    """Let transient errors through to the retry policy; any other, and being told to stop, fails the step without
    retries."""
    try:
        yield
    except Failure:
        raise
    except INTERRUPTS as interrupt:
        # Passed on as it is, it would be retried as an error that passes by itself.
        raise Failure(
            description="The run was told to stop; its days were given back.", allow_retries=False
        ) from interrupt
    except Exception as error:
        if is_transient(error):
            raise
        raise Failure(description=sentence(error, token), allow_retries=False) from error


@contextmanager
def isolated(
    tools: DayTools, client_day: ClientDay, token: str, patience: Patience, log: DagsterLogManager
) -> Iterator[None]:
    """Keep what fails for one client's day from taking the others with it.

    A transient error passes through to the retry policy. A model that is missing fails the step without retries: it
    fails for everybody. Any other error marks the client's day ``failed`` with its reason, to be tried again as
    ``patience`` says, and the run goes on.
    """
    try:
        yield
    except ModelNotFoundError as error:
        raise Failure(description=str(error), allow_retries=False) from error
    except OvertakenError as overtaken:
        log.warning(str(overtaken))
    except MissingVectorsError as missing:
        log.warning(f"{client_day}: {missing}")
        tools.snapshots.drop(client_day)
        with tools.db.write() as connection:
            claims.give_back(connection, token, only=client_day)
    except Exception as error:
        if is_transient(error):
            raise
        log.exception(f"{client_day}: failed; the other clients go on")
        tools.snapshots.drop(client_day)
        with tools.db.write() as connection:
            claims.fail(connection, client_day, token, sentence(error, token), patience)
