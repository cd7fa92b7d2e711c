"""Errors as RFC 9457 problem documents; none shows a stack trace, a SQL text or a path."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from crew_pipeline.api.naming import request_id
from crew_pipeline.storage.database import UNANSWERED

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str
    errors: list[dict[str, Any]] | None = None


A_PROBLEM: dict[str, Any] = {"model": Problem, "content": {MEDIA_TYPE: {}}}
"""An answer that is a problem document, for the OpenAPI document."""

PROBLEMS: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 401, 403, 408, 413, 422, 429, 503), A_PROBLEM)
"""The errors that every route under ``/api`` may answer with, for the OpenAPI document."""


TYPES = {
    400: "malformed",
    401: "token-needed",
    403: "not-allowed",
    404: "not-there",
    405: "no-such-method",
    408: "too-slow",
    409: "not-now",
    413: "too-large",
    414: "address-too-long",
    422: "invalid",
    429: "too-often",
    431: "headers-too-large",
    500: "internal",
    502: "source-away",
    503: "database-away",
}
"""What kind of problem a status is, in the last part of its ``type``; these stay what they are."""


def problem(status: int, detail: str | None = None, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """A problem document as a response."""
    content = {
        "type": f"urn:crew:problem:{TYPES[status]}" if status in TYPES else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id(),
        **more,
    }
    return Response(orjson.dumps(content), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer the errors of routes with problem documents."""

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        invalid = [
            {"where": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]} for fault in error.errors()
        ]
        return problem(422, "; ".join(f"{fault['where']}: {fault['message']}" for fault in invalid), errors=invalid)

    async def on_database(request: Request, error: Exception) -> Response:
        return database_away(error, request.method, request.url.path)

    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    for kind in UNANSWERED:
        app.add_exception_handler(kind, on_database)


def database_away(error: Exception, method: str, path: str) -> Response:
    """The answer where the database does not answer, or is too busy."""
    logger.error("%s %s: the database does not answer (%s)", method, quote(path), type(error).__name__)
    return problem(503, "The database does not answer; try again shortly.", {"Retry-After": "5"})


def unexpected(error: Exception, method: str, path: str) -> Response:
    """The answer to an error that nobody has thought of; the log says what it was."""
    logger.error("%s %s failed", method, quote(path), exc_info=error)
    return problem(500, "Something went wrong here; the log of the server says what.")
