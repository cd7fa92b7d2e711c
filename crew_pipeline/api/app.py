"""The application: its services, its routes, its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from crew_pipeline import __version__, telemetry
from crew_pipeline.api import (
    calendar,
    conversations,
    days,
    events,
    feedback,
    follow,
    forgetting,
    hits,
    lines,
    live,
    operation,
    pages,
    problems,
    results,
    search,
    session,
    summaries,
    themes,
    webhooks,
)
from crew_pipeline.api.access import Doorkeeper
from crew_pipeline.api.compression import Compression
from crew_pipeline.api.counting import VisitCounter
from crew_pipeline.api.exposition import Metrics
from crew_pipeline.api.guard import BODY_WITHIN_S, Guard
from crew_pipeline.api.hits import Hits
from crew_pipeline.api.limits import Limits
from crew_pipeline.api.methods import Methods
from crew_pipeline.api.models import NewLines
from crew_pipeline.api.request_ids import HEADER, RequestIds
from crew_pipeline.api.root_path import WithoutRoot, WithRoot
from crew_pipeline.api.services import Services
from crew_pipeline.api.strictness import refuse_unknown_parameters
from crew_pipeline.api.traffic import Counted, Traffic
from crew_pipeline.history.search.index import SEARCH_FOLDER
from crew_pipeline.serving.addresses import networks_of
from crew_pipeline.serving.feed import Feeds
from crew_pipeline.serving.listener import Listener
from crew_pipeline.serving.live import LiveTalks
from crew_pipeline.serving.prose import Prose
from crew_pipeline.serving.room import Room
from crew_pipeline.serving.search import Searches
from crew_pipeline.serving.service import DayService
from crew_pipeline.serving.shared import Remembered
from crew_pipeline.serving.webhooks import Deliveries
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import database_at

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST", "PUT", "DELETE"],
    "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", HEADER],
    "expose_headers": ["ETag", "Retry-After", "Server-Timing", HEADER],
    "max_age": 600,
}
"""Pages of other sites show a token; the cookie of this one's is never sent for them."""
_READINESS_S = 1.0
"""How long it is remembered whether this process can serve."""


def create_app(
    settings: Settings,
    database_url: str,
    fingerprint: str,
    host: str = "127.0.0.1",
    *,
    send_within_s: float = follow.SEND_WITHIN_S,
    body_within_s: float = BODY_WITHIN_S,
) -> FastAPI:
    """The API over a database.

    Args:
        fingerprint: of the engine in force; documents of another are served as stale.
        host: the address it will be bound to; decides whether it may be used without tokens.
        send_within_s: how long a follower of a day may take to make room for a message before it is cut off.
        body_within_s: how long the body of a request may take.
    """
    # What visitors ask for goes through a door that shows nothing but the rows of the client it is narrowed to.
    db, system = database_at(database_url, closed=True), database_at(database_url)
    listener = Listener(db)
    limits = Limits(settings)
    followers = Room(settings.limit_followers)
    traffic = Traffic(followers.__len__)
    services = Services(
        settings=settings,
        db=db,
        system=system,
        fingerprint=fingerprint,
        doorkeeper=Doorkeeper(system, host, limits),
        limits=limits,
        listener=listener,
        days=DayService(db, listener, fingerprint, settings.document_cache_mb, settings.limit_waiting),
        feeds=Feeds(db, listener),
        searches=Searches(db, settings.home_path / SEARCH_FOLDER, settings.max_words),
        live=LiveTalks(db, listener),
        prose=Prose(db, system, settings),
        followers=followers,
        visits=VisitCounter(system),
        metrics=Metrics(system, traffic),
        deliveries=Deliveries(system, networks_of(settings.webhook_networks)),
        readiness=Remembered(partial(asyncio.to_thread, operation.dependencies_of, system), _READINESS_S),
        send_within_s=send_within_s,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.start()
        try:
            yield
        finally:
            await services.stop()

    # The pages of the API's own documentation, complete without a network.
    app = FastAPIOffline(
        title="Clean Up Crew",
        version=__version__,
        summary="Days of conversation with the repeats folded away; nothing lost, every fold explained.",
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown_parameters)],
        # To look for each request whether anybody wants it costs a twentieth of a hit.
        telemetry={"tracing": telemetry.is_on(), "operation_spans": False, "metrics": False, "logs": False},
        # What it would redirect to follows the header Host.
        redirect_slashes=False,
    )
    app.state.services = services
    app.include_router(days.router, tags=["days"])
    route = next(route for route in days.router.routes if isinstance(route, APIRoute) and route.path == hits.ROUTE)
    # The last one added is the first that a request passes.
    if settings.root_path:
        app.add_middleware(WithRoot, root=settings.root_path)
    app.add_middleware(Hits, services=services, route=route, kept_mb=settings.document_cache_mb)
    app.add_middleware(Compression, kept_mb=settings.document_cache_mb)
    app.add_middleware(Guard, services=services, body_within_s=body_within_s)
    app.add_middleware(Methods, routes=app.router.routes)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **_CORS)
    app.add_middleware(RequestIds)
    app.add_middleware(Counted, traffic=traffic)
    if settings.root_path:
        app.add_middleware(WithoutRoot, root=settings.root_path)
    app.include_router(events.router, tags=["days"])
    app.include_router(calendar.router, tags=["days"])
    app.include_router(results.router, tags=["days"])
    app.include_router(follow.router, tags=["days"])
    app.include_router(lines.router, tags=["days"])
    app.include_router(search.router, tags=["history"])
    app.include_router(themes.router, tags=["history"])
    app.include_router(summaries.router, tags=["history"])
    app.include_router(live.router, tags=["history"])
    app.include_router(conversations.router, tags=["conversations"])
    app.include_router(feedback.router, tags=["feedback"])
    app.include_router(forgetting.router, tags=["conversations"])
    app.include_router(webhooks.router, tags=["webhooks"])
    app.include_router(session.router, tags=["access"])
    app.include_router(operation.router, tags=["operation"])
    app.include_router(pages.router, include_in_schema=False)
    problems.install(app)
    app.openapi = partial(_described, app.openapi)  # type: ignore[method-assign]
    return app


def _described(openapi: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, with the way in: a token, or nothing where none is configured."""
    described = openapi()
    bearer = {"type": "http", "scheme": "bearer", "description": "a token of `crew token create`"}
    components = described.setdefault("components", {})
    components["securitySchemes"] = {"token": bearer}
    # Read by the route itself, in a thread.
    pushed = NewLines.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= {**pushed.pop("$defs"), "NewLines": pushed}
    described["security"] = [{"token": []}, {}]
    return described
