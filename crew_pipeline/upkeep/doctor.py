"""Is everything as it should be? Each check says what it found and what to do about it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.dedup.embedding import ModelNotFoundError, SentenceTransformerEncoder
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.settings import Settings
from crew_pipeline.storage import migrate
from crew_pipeline.storage.conversations import rezoning
from crew_pipeline.storage.database import is_unanswered
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.upkeep import workers

_TRIED = [f"line {number} to try the model on" for number in range(20)]
_LEAST_FREE_BYTES = 2 * 2**30
_MOST_CLOCK_SKEW_S = 5.0
_OLDEST_POSTGRES = 140_000


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        remedy: what to do; empty where all is well.
        essential: whether the system needs it.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    essential: bool = True


Check = Callable[[Settings, Databases], Finding]


def examine(settings: Settings, databases: Databases, dagster: Callable[[], str]) -> Iterator[Finding]:
    """Run every check in turn; one that breaks is a finding, and the next ones still run.

    Args:
        dagster: opens the Dagster instance and says what it found there.
    """
    checks: tuple[tuple[str, Check], ...] = (
        ("database", _database),
        ("migrations", _migrations),
        ("row security", _row_security),
        ("model", _model),
        ("pair scorer", _pair_scorer),
        ("dagster", lambda _settings, _databases: Finding("dagster", ok=True, found=dagster())),
        ("time zone", _time_zone),
        ("worker", _worker),
        ("disk", _disk),
        ("clock", _clock),
    )
    for name, check in checks:
        try:
            yield check(settings, databases)
        except SQLAlchemyError as error:
            yield _of_database(name, error)
        except Exception as error:
            yield Finding(
                name, ok=False, found=f"the check broke ({type(error).__name__})", remedy="run again with --debug"
            )


def _of_database(name: str, error: SQLAlchemyError) -> Finding:
    if isinstance(getattr(error, "orig", None), UndefinedTable | UndefinedColumn):
        remedy = "any other command makes them, 'crew status' for one"
        return Finding(name, ok=False, found="its tables are not there yet", remedy=remedy, essential=False)
    if is_unanswered(error):
        remedy = "check that it runs and that CREW_DATABASE_URL is right"
        return Finding(name, ok=False, found=f"the database does not answer ({type(error).__name__})", remedy=remedy)
    remedy = "check the rights of the user in CREW_DATABASE_URL; run again with --debug"
    return Finding(name, ok=False, found=f"the database refuses it ({type(error).__name__})", remedy=remedy)


def _database(settings: Settings, databases: Databases) -> Finding:
    with databases.db.read() as connection:
        version = connection.scalar(text("SHOW server_version")) or "unknown"
        number = int(connection.scalar(text("SHOW server_version_num")) or 0)
    kind = "your own" if settings.database_url else "embedded"
    return Finding(
        "database",
        ok=number >= _OLDEST_POSTGRES,
        found=f"Postgres {version} ({kind})",
        remedy="" if number >= _OLDEST_POSTGRES else "upgrade to Postgres 14 or newer",
    )


def _migrations(_settings: Settings, databases: Databases) -> Finding:
    state = migrate.state_of(databases.db)
    found = {"current": "up to date", "behind": "missing", "ahead": "of a newer version than this one"}
    remedies = {"behind": "run 'crew migrate'", "ahead": "update this program"}
    return Finding(
        "migrations",
        ok=state == "current",
        found=found[state],
        remedy=remedies.get(state, ""),
        # The version before can work with it.
        essential=state == "behind",
    )


def _row_security(_settings: Settings, databases: Databases) -> Finding:
    with databases.db.read() as connection:
        held = not connection.scalar(text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"))
    return Finding(
        "row security",
        ok=held,
        found="the database keeps clients apart" if held else "the application's user is above it",
        remedy="" if held else "name a user in CREW_DATABASE_URL that is no superuser and has no BYPASSRLS",
        essential=False,
    )


def _model(settings: Settings, _databases: Databases) -> Finding:
    encoder = SentenceTransformerEncoder.of(settings)
    try:
        vectors = encoder.encode(_TRIED)
    except ModelNotFoundError as error:
        return Finding("model", ok=False, found=str(error), remedy="set CREW_MODEL=bundled")
    import torch

    numbers = "bfloat16" if encoder.in_bfloat16 else "float32"
    backend = f"torch {torch.__version__.split('+')[0]}, {numbers}, {torch.get_num_threads()} threads"
    alone = np.concatenate([encoder.encode([text]) for text in _TRIED])
    same = np.array_equal(vectors, alone)
    # In 32 bits only the last digits can differ, which nothing is decided by.
    ok = same or not encoder.in_bfloat16
    backend += "" if same else ", not the same in any batch"
    return Finding(
        "model",
        ok=ok,
        found=f"{encoder.model_id}, {vectors.shape[1]} dimensions, {backend}",
        remedy="" if ok else "vectors depend on their batch here: set CREW_PRECISION=float32",
    )


def _pair_scorer(settings: Settings, _databases: Databases) -> Finding:
    scorer = scorer_of(settings.pair_scorer, threads=settings.threads, precision=settings.precision)
    if scorer is None:
        return Finding("pair scorer", ok=True, found="off: pairs in doubt are judged by their words alone")
    try:
        scorer.logits([("a line to try", "a line to try it on")])
    except ModelNotFoundError as error:
        return Finding("pair scorer", ok=False, found=str(error), remedy="set CREW_PAIR_SCORER=bundled")
    return Finding("pair scorer", ok=True, found=f"{settings.pair_scorer}; folding {settings.folding}")


def _time_zone(settings: Settings, databases: Databases) -> Finding:
    with databases.db.read() as connection:
        elsewhere = rezoning.in_other_days(connection, settings.timezone)
    counted = f"; {elsewhere:,} conversations stand in days of another one" if elsewhere else ""
    return Finding(
        "time zone",
        ok=not elsewhere,
        found=f"{settings.timezone}{counted}",
        remedy="'crew rezone' moves them; or set CREW_TIMEZONE to what it was" if elsewhere else "",
    )


def _worker(_settings: Settings, databases: Databases) -> Finding:
    with databases.db.read() as connection:
        alive = workers.alive(connection)
    return Finding(
        "worker",
        ok=alive > 0,
        found=f"{alive} alive",
        remedy="" if alive else "start one with 'crew up'; until then days are made by 'crew process'",
        essential=False,
    )


def _disk(settings: Settings, _databases: Databases) -> Finding:
    settings.home_path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home_path).free
    enough = free >= _LEAST_FREE_BYTES
    return Finding(
        "disk", ok=enough, found=f"{free / 2**30:.1f} GiB free", remedy="" if enough else "free at least 2 GiB"
    )


def _clock(_settings: Settings, databases: Databases) -> Finding:
    with databases.db.read() as connection:
        theirs: datetime | None = connection.scalar(text("SELECT clock_timestamp()"))
    assert theirs is not None
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    near = skew <= _MOST_CLOCK_SKEW_S
    return Finding(
        "clock",
        ok=near,
        found=f"{skew:.1f} s apart from the database's",
        remedy="" if near else "synchronise the clocks of this machine and the database's (NTP)",
    )
