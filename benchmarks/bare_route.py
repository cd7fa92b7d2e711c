"""The floor of a hit: a FastAPI route that selects the same bytes from the same database and does nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from psycopg_pool import AsyncConnectionPool

from crew_pipeline.storage.database import libpq_url


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = libpq_url(os.environ["CREW_DATABASE_URL"])
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url, min_size=2, max_size=10, kwargs={"autocommit": True, "options": "-c crew.scope=all"}, open=False
    )
    async with pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/bare/{day}")
async def bare(day: date, client: str = "default") -> Response:
    """The document's bytes."""
    async with app.state.pool.connection() as connection:
        cursor = connection.cursor(binary=True)
        await cursor.execute(
            "SELECT body FROM day_documents WHERE client = %s AND day = %s AND is_current", (client, day), prepare=True
        )
        row = await cursor.fetchone()
    return Response(row[0], media_type="application/json")


@app.get("/healthz")
async def healthz() -> Response:
    """Whether it runs."""
    return Response(b"{}")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
