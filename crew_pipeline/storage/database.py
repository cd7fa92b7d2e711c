"""The one door to the application's Postgres: whoever reads or writes its tables does so through ``Database``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.errors import DuplicateDatabase, InsufficientPrivilege, UniqueViolation
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolOverrun

from crew_pipeline.storage.turns import Turns

DRIVER = "postgresql+psycopg"

UNANSWERED = (OperationalError, InterfaceError, PoolOverrun, psycopg.OperationalError, PoolTimeout)
"""What is raised where the server is away, refuses, or is too busy; it passes by itself."""

_LINE: Mapping[str, Any] = {
    "connect_timeout": 30,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""When a server that does not answer any more counts as away (s, s, s, times, ms)."""
_LINE_OF_SERVER = (
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c tcp_user_timeout=60000"
)
"""The same the other way round: a host that is cut off without a word would else keep the locks of what it was writing
for two hours and more. Means nothing over a local socket."""
_LEAST_IN_LOOP = 2
_MOST_IN_LOOP = 10
_WAIT_IN_LOOP_S = 5.0

_ENTER = text("SELECT set_config('crew.scope', '', true), set_config('crew.client', :client, true)")
_NAME = "SELECT set_config('crew.scope', %s, false), set_config('crew.client', %s, false)"
_NEW: tuple[str | None, ...] = (None,)
_named: WeakKeyDictionary[psycopg.AsyncConnection[Any], tuple[str | None, ...]] = WeakKeyDictionary()
"""For which client a connection of an event loop was used last, in a tuple: None for none, as when it was new; nothing
where that is not known. A client may have any name, so no name stands for that."""

P = ParamSpec("P")
T = TypeVar("T")


class _LoopSide(NamedTuple):
    """What an event loop has of the database: connections of its own, and threads for longer work."""

    pool: AsyncConnectionPool[Any]
    turns: Turns


class DatabaseUnavailableError(RuntimeError):
    """The database does not answer; the message says what to do and holds no password."""


class Database:
    """The application's database, for one process.

    It has a side for threads, and one for each event loop that opens it (``open_in_loop``), since no connection can
    serve both. Sessions run in UTC.
    """

    def __init__(self, url: str, *, application: str = "crew", closed: bool = False) -> None:
        """Args:
        url: ``postgresql://…``.
        application: the name by which the server knows the connections.
        closed: nothing of any client is seen but through ``as_client``; else all that is not narrowed so works across
            clients.
        """
        self.url = url
        self._application = application
        self._scope = "" if closed else " -c crew.scope=all"
        self._client: str | None = None
        self._engine: Engine = create_engine(
            application_url(url),
            pool_size=5,
            max_overflow=10,
            pool_pre_ping=True,
            connect_args={
                "options": f"-c timezone=UTC -c jit=off {_LINE_OF_SERVER}{self._scope}",
                "application_name": application,
                **_LINE,
            },
        )
        self._loop_sides: dict[asyncio.AbstractEventLoop, _LoopSide] = {}

    def as_client(self, client: str) -> Database:
        """The same door for work on one client only: every transaction through it names the client, and the database
        holds it to that client's rows (row security, migration 0020)."""
        narrowed = object.__new__(Database)
        narrowed.__dict__.update(self.__dict__)
        narrowed._client = client
        return narrowed

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; what is written through it is rolled back unless it is committed."""
        with self._engine.connect() as connection:
            self._enter(connection)
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        with self._engine.begin() as connection:
            self._enter(connection)
            yield connection

    @contextmanager
    def maintaining(self) -> Iterator[Connection]:
        """A connection outside of transactions, for what cannot be done in one (``VACUUM``, ``CHECKPOINT``)."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection

    async def reading(self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``read`` for an event loop: calls ``query`` with a connection in a thread and returns its result."""

        def work() -> T:
            with self.read() as connection:
                return query(connection, *args, **kwargs)

        return await self.calling(work)

    async def writing(self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``write`` for an event loop: calls ``query`` in a transaction in a thread and returns its result."""

        def work() -> T:
            with self.write() as connection:
                return query(connection, *args, **kwargs)

        return await self.calling(work)

    async def calling(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``call`` returns, in a thread. Where this door is a client's, when it is that client's turn: no client's
        work keeps another's from being done."""
        side = self._loop_sides.get(asyncio.get_running_loop())
        if side is None:
            return await asyncio.to_thread(call, *args, **kwargs)
        return await side.turns.run(self._client or "", call, *args, **kwargs)

    async def row(self, statement: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row of a short prepared statement, run in the event loop itself: for what is asked all the time.
        Parameters are written as psycopg has them, ``%(name)s``.

        Raises:
            PoolTimeout: all connections are taken.
            psycopg.OperationalError: the server does not answer.
        """
        pool = self._loop_sides[asyncio.get_running_loop()].pool
        try:
            return await self._row(pool, statement, values)
        except PoolTimeout:
            raise
        except psycopg.OperationalError as error:
            # Within a pipeline it ends as a query that was cancelled, where who asked has gone.
            _end_if_cancelled(error)
            # The server was restarted: other connections of the pool may be dead as well.
            await pool.check()
            return await self._row(pool, statement, values)

    async def _row(
        self, pool: AsyncConnectionPool[Any], statement: str, values: Mapping[str, Any]
    ) -> tuple[Any, ...] | None:
        async with pool.connection() as connection:
            # The pool says nothing of it where a connection came just then.
            _end_if_cancelled()
            cursor = connection.cursor(binary=True)
            if _named.get(connection, _NEW) == (self._client,):
                await cursor.execute(statement, values, prepare=True)
            else:
                # A connection is mostly asked for the same client again, so it keeps the name.
                _named[connection] = ()
                scope = "all" if self._client is None and self._scope else ""
                async with connection.pipeline():
                    await connection.execute(_NAME, (scope, self._client or ""), prepare=True)
                    await cursor.execute(statement, values, prepare=True)
                _named[connection] = (self._client,)
            row: tuple[Any, ...] | None = await cursor.fetchone()
            return row

    @contextmanager
    def listening(self, channel: str) -> Iterator[psycopg.Connection[Any]]:
        """A connection that receives the notifications on ``channel``."""
        with psycopg.connect(
            libpq_url(self.url), autocommit=True, application_name=self._application, **_LINE
        ) as connection:
            connection.execute(_listen(channel))
            yield connection

    @asynccontextmanager
    async def listening_in_loop(self, channel: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """The twin of ``listening`` for an event loop."""
        async with await psycopg.AsyncConnection.connect(
            libpq_url(self.url), autocommit=True, application_name=self._application, **_LINE
        ) as connection:
            await connection.execute(_listen(channel))
            yield connection

    async def open_in_loop(self) -> None:
        """Open the side of the running event loop."""
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            libpq_url(self.url),
            min_size=_LEAST_IN_LOOP,
            max_size=_MOST_IN_LOOP,
            timeout=_WAIT_IN_LOOP_S,
            kwargs={
                "autocommit": True,
                "application_name": self._application,
                **({"options": self._scope.strip()} if self._scope else {}),
                **_LINE,
            },
            open=False,
        )
        await pool.open()
        self._loop_sides[asyncio.get_running_loop()] = _LoopSide(pool, Turns())

    async def close_in_loop(self) -> None:
        """Close the side of the running event loop before it ends."""
        side = self._loop_sides.pop(asyncio.get_running_loop())
        side.turns.close()
        await side.pool.close()

    def close(self) -> None:
        """Close the connections that are not in use; the door stays open."""
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """What the migrations, and nobody else, work with."""
        return self._engine

    def _enter(self, connection: Connection) -> None:
        if self._client is not None:
            connection.execute(_ENTER, {"client": self._client})


def _end_if_cancelled(error: BaseException | None = None) -> None:
    """End the running task if somebody has asked for that, and was not heard."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _listen(channel: str) -> sql.Composed:
    return sql.SQL("LISTEN {}").format(sql.Identifier(channel))


@lru_cache(maxsize=8)
def database_at(url: str, *, closed: bool = False) -> Database:
    """This process's door to ``url``: always the same one, so that all share one pool.

    Args:
        closed: as of ``Database``.
    """
    return Database(url, closed=closed)


def is_unanswered(error: BaseException) -> bool:
    """Whether an error says that the database is away or too busy."""
    return isinstance(error, UNANSWERED) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def does_not_answer(error: BaseException | None) -> bool:
    """Whether an error comes from a database that is away or too busy, Dagster's own included, however it is wrapped.

    It is no fault of what was being done, which may be tried again.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if is_unanswered(error):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def application_url(url: str) -> URL:
    """``url`` with the application's driver (psycopg 3)."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername=DRIVER)


def dagster_url(url: str) -> str:
    """``url`` with the driver that dagster-postgres works with (psycopg2); with psycopg 3 its NOTIFY fails."""
    parsed = make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg2")
    return parsed.render_as_string(hide_password=False)


def libpq_url(url: str) -> str:
    """``url`` as psycopg itself takes it."""
    return application_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def unavailable(url: str) -> DatabaseUnavailableError:
    """The error to raise when the server of ``url`` does not answer."""
    return DatabaseUnavailableError(
        f"The Postgres at {application_url(url).host or 'the local socket'} does not answer or refuses the user; check "
        "that it runs and that CREW_DATABASE_URL is right."
    )


def ensure_database(server_url: str, name: str) -> None:
    """Create database ``name`` on the server unless it is there.

    Raises:
        DatabaseUnavailableError: the server does not answer.
    """
    engine = create_engine(application_url(server_url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            exists = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
            if not exists:
                connection.execute(text(f"CREATE DATABASE {connection.dialect.identifier_preparer.quote(name)}"))
    except OperationalError as error:
        raise unavailable(server_url) from error
    except (IntegrityError, ProgrammingError) as error:
        if isinstance(error.orig, InsufficientPrivilege):
            raise DatabaseUnavailableError(
                f"There is no database {name}, and this user may not create one; have it created, or name Dagster's "
                "with DAGSTER_POSTGRES_URL."
            ) from error
        # Another process that starts at the same time has created it meanwhile.
        if not isinstance(error.orig, (UniqueViolation, DuplicateDatabase)):
            raise
    finally:
        engine.dispose()
