"""Somebody who was let in, and what for."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import HTTPException

from crew_pipeline.storage.tokens import Grant, Scope

_MAY: dict[Scope, str] = {
    "read": "look at anything",
    "write": "change anything",
    "admin": "see what is the operator's",
}


class Admission(NamedTuple):
    """Somebody who was let in.

    Attributes:
        client: whose days they asked for.
        credential: hash of the token or cookie they have shown; None where none is needed.
        grant: what that allows; None where none is needed, and everything is allowed.
    """

    client: str
    credential: bytes | None = None
    grant: Grant | None = None

    def require(self, scope: Scope) -> None:
        """Let only through what the token is good for.

        Raises:
            HTTPException: 403.
        """
        if self.grant is not None:
            require(self.grant, scope)


def require(grant: Grant, scope: Scope) -> None:
    """Let only through what a token is good for.

    Raises:
        HTTPException: 403.
    """
    if scope not in grant.scopes:
        raise HTTPException(403, f"This token may not {_MAY[scope]}; 'crew token create' makes one with scope {scope}.")
