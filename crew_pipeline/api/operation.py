"""The routes for whoever runs the system: alive, able to serve, figures for Prometheus."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from crew_pipeline.api.models import JSON, Health, Readiness, SystemStatus
from crew_pipeline.api.problems import PROBLEMS
from crew_pipeline.api.services import ServicesOf
from crew_pipeline.storage import migrate
from crew_pipeline.storage.database import UNANSWERED, Database
from crew_pipeline.storage.upkeep import workers
from crew_pipeline.upkeep.overview import operators_view

router = APIRouter()


@router.get("/healthz", summary="The process lives", response_model=Health)
async def healthz() -> Response:
    """Whether the process answers at all."""
    return Response(b'{"status":"ok"}', media_type=JSON)


@router.get("/readyz", summary="It can serve", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(services: ServicesOf) -> Response:
    """Whether each dependency works: the database and its migrations are needed, a worker for missing days only."""
    dependencies = await services.readiness.get()
    ready = dependencies["database"] == "ok" and dependencies["migrations"] == "ok"
    content = orjson.dumps({"ready": ready, "dependencies": dependencies})
    return Response(content, 200 if ready else 503, media_type=JSON)


def dependencies_of(db: Database) -> dict[str, str]:
    told = {"database": "does not answer", "migrations": "unknown", "worker": "unknown"}
    try:
        told["migrations"] = "missing; run 'crew up' or 'crew doctor'" if migrate.pending(db) else "ok"
        told["database"] = "ok"
        if told["migrations"] == "ok":
            with db.read() as connection:
                alive = workers.alive(connection)
            told["worker"] = "ok" if alive else "none alive; days that are not ready wait"
    except UNANSWERED:
        return told
    return told


@router.get("/api/status", summary="The whole system in figures", response_model=SystemStatus, responses=PROBLEMS)
async def status(request: Request, services: ServicesOf) -> Response:
    """What `crew status` knows, failed days, samples of the last day, and visits of two weeks: of all clients, for
    whoever has a token with scope `admin`; while there is no token, for this machine itself."""
    if await services.doorkeeper.operator_or_client(request) is not None:
        raise HTTPException(403, "This is the operator's: 'crew token create --scope admin' makes a token for it.")
    content = await services.system.calling(operators_view, services.system, services.settings)
    return Response(orjson.dumps(content), media_type=JSON, headers={"Cache-Control": "no-store"})


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(request: Request, services: ServicesOf) -> Response:
    """Discovery by crew, what waits, alerts and workers: all of it for the operator (a token with scope `admin`; while
    there is none, this machine itself), a client's own with its token."""
    viewer = await services.doorkeeper.operator_or_client(request)
    return Response(await services.metrics.page(viewer), media_type=CONTENT_TYPE_LATEST)
