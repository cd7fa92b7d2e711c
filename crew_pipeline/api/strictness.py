"""Query parameters that a route of the API does not know are refused: a misspelt one would be ignored in silence."""

from __future__ import annotations

from fastapi import HTTPException
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection


async def refuse_unknown_parameters(connection: HTTPConnection) -> None:
    """Refuse a request with a query parameter that its route does not have. Pages keep their own state in theirs.

    Raises:
        HTTPException: 422, naming the parameter and those there are.
    """
    route = connection.scope.get("route")
    if not connection.query_params or not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    known = _names(route.dependant)
    for name in connection.query_params:
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise HTTPException(422, f"There is no query parameter {name[:60]!r} here; {there}.")


def _names(dependant: Dependant) -> set[str]:
    own = {parameter.alias for parameter in dependant.query_params}
    return own.union(*(_names(inner) for inner in dependant.dependencies))
