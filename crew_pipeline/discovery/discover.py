"""One round of discovery over the history tables of all crews, or a look for one session."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Lock

from cachetools import TTLCache
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from crew_pipeline.discovery.incremental import CrewRound
from crew_pipeline.discovery.records import limits_of
from crew_pipeline.discovery.registry import apply_registry, read_registry
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.discovery.sources import SourceError, opened
from crew_pipeline.discovery.table import HistoryTable, examine
from crew_pipeline.model import Trigger
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources import crews
from crew_pipeline.storage.sources.crews import CrewError, HistorySource
from crew_pipeline.storage.sources.rounds import note_look, record_round

logger = logging.getLogger(__name__)

_tables: TTLCache[Hashable, HistoryTable] = TTLCache(maxsize=256, ttl=300)
_looking_up = Lock()


Step = Callable[[CrewRound], None]


@dataclass(frozen=True)
class RoundPlan:
    """How a round goes.

    Attributes:
        trigger: who asked, for the record.
        due: leave out crews that have failed lately.
        patrol: also check what was read before.
        full: read every table from its beginning; None follows ``CREW_USE_OPTIMIZED_DISCOVERY``.
        round_s: time for each crew (s); None follows ``CREW_DISCOVERY_TIMEOUT_S``.
        budget_s: time for all crews together (s); crews not reached within it come first the next time.
    """

    trigger: Trigger = Trigger.COMMAND
    due: bool = False
    patrol: bool = True
    full: bool | None = None
    round_s: float | None = None
    budget_s: float = math.inf


_WHENEVER_ASKED = RoundPlan()


def discover(
    db: Database,
    settings: Settings,
    now: datetime,
    client: str | None = None,
    plan: RoundPlan = _WHENEVER_ASKED,
    on_batch: Callable[[CrewReport], None] | None = None,
) -> list[CrewReport]:
    """One round over the history tables of all active crews; one that fails is reported and the others go on.

    Args:
        on_batch: called with the crew's report as it grows.
    """
    whole = not settings.use_optimized_discovery if plan.full is None else plan.full
    step: Step = CrewRound.read_all if whole else partial(CrewRound.run, patrol=plan.patrol)
    with db.read() as connection:
        sources = crews.history_sources(connection, client, due=plan.due)
    each = settings.discovery_timeout_s if plan.round_s is None else plan.round_s
    end = time.monotonic() + plan.budget_s
    reports = []
    for source in sources:
        left = min(each, end - time.monotonic())
        if left <= 0:
            break
        reports.append(discover_crew(db, source, settings, now, step, plan.trigger, left, on_batch))
    return reports


def apply_crews_file(db: Database, settings: Settings, now: datetime) -> str | None:
    """Set up what the file of ``CREW_CREWS_FILE`` lists, if there is one; a sentence if it cannot be used.

    In that case what was set up before stays, and is read.
    """
    if settings.crews_file is None:
        return None
    try:
        registry = read_registry(settings.crews_file)
        with db.write() as connection:
            apply_registry(connection, registry, settings, now)
    except CrewError as error:
        return str(error)
    return None


def discover_session(
    db: Database, settings: Settings, now: datetime, source: HistorySource, session: str
) -> CrewReport:
    """Take in one session of a crew now or, if the table has no index to find it by, all that is new in it."""

    def step(crew_round: CrewRound) -> None:
        if crew_round.table.session_indexed:
            crew_round.read_session(session)
        else:
            crew_round.run(patrol=False)

    return discover_crew(db, source, settings, now, step, Trigger.WEBHOOK, settings.discovery_timeout_s)


def discover_crew(
    db: Database,
    source: HistorySource,
    settings: Settings,
    now: datetime,
    step: Step,
    trigger: Trigger,
    seconds: float,
    on_batch: Callable[[CrewReport], None] | None = None,
) -> CrewReport:
    """Take one step over one crew and record how it ended; the report tells if the source failed.

    A look of the sensor that found nothing gets no record: there is one every ten seconds.
    """
    report = CrewReport(source.client, source.code)
    started = time.monotonic()
    try:
        with opened(source, db, _statement_s(settings, seconds)) as source_connection:
            table = _examined(source_connection, source)
            report.warnings = table.warnings
            limits = limits_of(settings.in_zone(source.timezone), now)
            deadline = started + seconds
            step(CrewRound(db, source_connection, source, table, settings, limits, report, deadline, on_batch))
    except SourceError as error:
        report.error = str(error)
    except SQLAlchemyError as error:
        report.error = _failure(error, source)
        # The driver's own text may hold addresses, parameters and messages: only the kind of error is told.
        state = getattr(getattr(error, "orig", None), "sqlstate", None)
        logger.warning("discovery of %s failed: %s %s", source.code, type(error).__name__, state or "")
    except Exception as error:
        report.error = f"reading {source.code} broke ({type(error).__name__}); 'crew crews check' may say where."
        logger.warning("discovery of %s broke: %s", source.code, type(error).__name__)
    if report.error:
        _forget_tables()
    report.seconds = time.monotonic() - started
    report.settle()
    with db.write() as connection:
        if trigger == Trigger.SENSOR and not report.error and not report.reading.lines_read:
            note_look(connection, source.crew_id)
            return report
        record_round(connection, source.crew_id, source.history_table, report.as_round(trigger, now))
    logger.info("%s/%s: %s", source.client, source.code, report.summary)
    return report


def _examined(source_connection: Connection, source: HistorySource) -> HistoryTable:
    """How the table is read, examined anew every few minutes and after a failure."""
    key = (source_connection.engine.url, source.history_table, tuple(sorted(source.columns.items())))
    with _looking_up:
        table = _tables.get(key)
    if table is None:
        with source_connection.begin():
            table = examine(source_connection, source.history_table, source.columns)
        with _looking_up:
            _tables[key] = table
    return table


def _forget_tables() -> None:
    with _looking_up:
        _tables.clear()


def _statement_s(settings: Settings, seconds: float) -> float:
    """How long one statement may take: at most the round, or ten usual rounds if the round has no end."""
    longest = settings.discovery_timeout_s
    return 10 * longest if math.isinf(seconds) else min(longest, math.ceil(max(seconds, 1.0)))


def _failure(error: SQLAlchemyError, source: HistorySource) -> str:
    """A sentence for an error of the source; the driver's own text may hold the address and is left out."""
    if isinstance(error, OperationalError | InterfaceError):
        place = source.source_env or "the application's own database"
        return (
            f"the source of {source.code} does not answer, or took too long ({type(error).__name__}); check that it "
            f"runs and that {place} is right."
        )
    return (
        f"the history table {source.history_table} of {source.code} cannot be read ({type(error).__name__}); "
        "'crew crews check' says what it lacks."
    )
