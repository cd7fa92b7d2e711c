"""The application: its state, its routes, its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline import __version__
from crew_pipeline.api import conversations, days, feedback, follow, metrics, problems
from crew_pipeline.api.access import Doorkeeper
from crew_pipeline.api.counting import VisitCounter
from crew_pipeline.api.models import Health, Readiness
from crew_pipeline.serving.feed import Feeds
from crew_pipeline.serving.listener import Listener
from crew_pipeline.serving.service import DayService
from crew_pipeline.settings import Settings
from crew_pipeline.storage import migrate
from crew_pipeline.storage.database import Database, database_at, libpq_url
from crew_pipeline.storage.upkeep import workers
from crew_pipeline.web import page

operations = APIRouter()


def create_app(
    settings: Settings,
    database_url: str,
    fingerprint: str,
    host: str = "127.0.0.1",
    *,
    send_within_s: float = follow.SEND_WITHIN_S,
) -> FastAPI:
    """The API over a database.

    Args:
        fingerprint: of the engine in force; documents of another are served as stale.
        host: the address it will be bound to; decides whether it may be used without tokens.
        send_within_s: how long a client that follows a day may take to make room for a message before it is cut off.
    """
    db = database_at(database_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            libpq_url(database_url),
            min_size=2,
            max_size=10,
            timeout=5,
            kwargs={"autocommit": True, "application_name": "crew-api"},
            open=False,
        )
        listener = Listener(libpq_url(database_url))
        app.state.pool = pool
        await pool.open()
        await listener.start()
        app.state.visits = VisitCounter(db)
        app.state.visits.start()
        app.state.feeds = Feeds(db, listener)
        app.state.days = DayService(pool, db, listener, fingerprint, settings.document_cache_mb)
        try:
            yield
        finally:
            await app.state.visits.stop()
            app.state.feeds.stop()
            await listener.stop()
            await pool.close()

    app = FastAPI(
        title="Clean Up Crew",
        version=__version__,
        summary="Days of conversation with the repeats folded away; nothing lost, every fold explained.",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.db = db
    app.state.fingerprint = fingerprint
    app.state.send_within_s = send_within_s
    app.state.metrics = metrics.Metrics(db)
    app.state.doorkeeper = Doorkeeper(db, host)
    app.include_router(days.router, tags=["days"])
    app.include_router(follow.router, tags=["days"])
    app.include_router(conversations.router, tags=["conversations"])
    app.include_router(feedback.router, tags=["feedback"])
    app.include_router(metrics.router, tags=["operation"])
    app.include_router(operations, tags=["operation"])
    app.include_router(page.router, include_in_schema=False)
    problems.install(app)
    return app


@operations.get("/healthz", summary="The process lives", response_model=Health)
async def healthz() -> Response:
    """Whether the process answers at all."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@operations.get("/readyz", summary="It can serve", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """Whether each dependency works: the database and its migrations are needed, a worker for missing days only."""
    dependencies = await asyncio.to_thread(_dependencies, request.app.state.db)
    ready = dependencies["database"] == "ok" and dependencies["migrations"] == "ok"
    content = orjson.dumps({"ready": ready, "dependencies": dependencies})
    return Response(content, 200 if ready else 503, media_type="application/json")


def _dependencies(db: Database) -> dict[str, str]:
    found = {"database": "does not answer", "migrations": "unknown", "worker": "unknown"}
    try:
        found["migrations"] = "missing; run 'crew up' or 'crew doctor'" if migrate.pending(db) else "ok"
        found["database"] = "ok"
        if found["migrations"] == "ok":
            with db.read() as connection:
                alive = workers.alive(connection)
            found["worker"] = "ok" if alive else "none alive; days that are not ready wait"
    except SQLAlchemyError:
        return found
    return found
