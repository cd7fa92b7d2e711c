"""What a source pushes and signs: a key of `crew webhooks key` stands for its token.

The guard finds the key before the body is read; the route, which has the body, checks the signature and that it was not
seen before.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request
from starlette.requests import HTTPConnection

from crew_pipeline.api.access import NamedClient
from crew_pipeline.api.admission import Admission
from crew_pipeline.api.services import Services, ServicesOf, admitted
from crew_pipeline.client.signatures import ID, SIGNATURE, SignatureError, verify
from crew_pipeline.storage import signing_keys
from crew_pipeline.storage.answers import is_first
from crew_pipeline.storage.signing_keys import SigningKey
from crew_pipeline.storage.tokens import Grant

SIGNED_PATHS = ("/api/conversations", "/api/webhooks/conversation-complete")
"""Where signed messages are taken."""


def is_signed(request: HTTPConnection) -> bool:
    """Whether a request says that it is signed, where that counts."""
    return request.scope["path"] in SIGNED_PATHS and SIGNATURE in request.headers


async def admit_signed(services: Services, request: HTTPConnection) -> None:
    """Let the source in that a request names, on condition that the signature proves right; until then nothing is
    counted as its doing, since everybody on the way has seen the name of its key.

    Raises:
        HTTPException: 401 where there is no such key.
    """
    key = await signing_keys.in_force(services.system, request.query_params.get("key", "")[:100])
    if key is None:
        await services.limits.count_wrong_token(request.client.host if request.client else "")
        raise HTTPException(401, "There is no such key; send ?key=KEY of 'crew webhooks key', or a token.")
    request.state.signing_key = key


async def _pushing(
    request: Request,
    services: ServicesOf,
    client: NamedClient = None,
    key: Annotated[
        str | None, Query(max_length=100, description="of `crew webhooks key`, with a signed message")
    ] = None,
) -> Admission:
    if not is_signed(request):
        if key is not None:
            raise HTTPException(401, "With ?key= the message must be signed (webhook-signature).")
        return await admitted(request, services, client)
    known: SigningKey = request.state.signing_key
    if client not in {None, known.client}:
        raise HTTPException(403, "The key is another client's; leave ?client= out.")
    try:
        signed = verify(known.secret, request.headers, await request.body())
    except SignatureError as error:
        await services.limits.count_wrong_token(request.client.host if request.client else "")
        raise HTTPException(401, str(error)) from None
    db = services.db.as_client(known.client)
    # By what is signed: the header itself may be written in other ways.
    if not await db.writing(is_first, known.client, f"{known.id} {signed.id} {signed.timestamp}"):
        raise HTTPException(409, f"This message came before; one that is sent again has the same {ID} and a new time.")
    source = Admission(known.client, None, Grant(0, (known.client,), frozenset({"write"})))
    for kind in ("requests", "writes"):
        await services.limits.count(kind, source)
    return source


Pushing = Annotated[Admission, Depends(_pushing)]
"""Who pushes, by a token or by a signed message, as a dependency of a route."""
