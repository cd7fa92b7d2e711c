"""The routes of webhooks: where a client wants to be told, and how telling it goes."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Path, Query, Response
from sqlalchemy import Connection
from starlette.convertors import Convertor, register_url_convertor

from crew_pipeline.api.models import (
    JSON,
    Deliveries,
    NewWebhook,
    QueuedMessages,
    Removed,
    WebhookAdded,
    Webhooks,
)
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.client.signatures import new_secret
from crew_pipeline.dedup.document import stamp
from crew_pipeline.serving.addresses import AddressError, networks_of, resolved
from crew_pipeline.storage import webhooks
from crew_pipeline.storage.webhooks import Delivery, State, Webhook

router = APIRouter()


class _WebhookId(Convertor[str]):
    """Of an address: nothing else is a webhook's id, and other routes have names of their own there."""

    regex = "wh_[0-9a-f]{16}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("webhook", _WebhookId())
WebhookId = Annotated[str, Path(pattern="^wh_[0-9a-f]{16}$")]
_NOT_THERE: dict[int | str, dict[str, Any]] = {404: {**A_PROBLEM, "description": "there is no such webhook"}}


@router.get("/api/webhooks", summary="Webhooks", response_model=Webhooks, responses=PROBLEMS)
async def listed(services: ServicesOf, client: Client) -> Response:
    """Where this client wants to be told, and how that goes."""
    kept = await services.db.as_client(client).reading(webhooks.list_all, client)
    return Response(orjson.dumps({"webhooks": [_told(webhook) for webhook in kept]}), media_type=JSON)


@router.post(
    "/api/webhooks",
    summary="Be told",
    response_model=WebhookAdded,
    status_code=201,
    responses={409: {**A_PROBLEM, "description": "there are as many as a client may have"}, **PROBLEMS},
)
async def add(services: ServicesOf, client: Client, wanted: NewWebhook) -> Response:
    """Has messages posted to an address from now on, signed with the secret of the answer, which is shown once."""
    try:
        # In the client's own turn: names that take long to be found hold up nobody else.
        lookup = services.db.as_client(client).calling
        await resolved(wanted.url, networks_of(services.settings.webhook_networks), lookup)
    except AddressError as error:
        raise HTTPException(422, str(error)) from None
    secret = new_secret()
    added = await services.db.as_client(client).writing(
        _added, client, wanted, secret, services.settings.limit_webhooks
    )
    content = {"id": added, "url": wanted.url, "events": wanted.events, "label": wanted.label, "secret": secret}
    return Response(orjson.dumps(content), 201, media_type=JSON)


def _added(connection: Connection, client: str, wanted: NewWebhook, secret: str, most: int) -> str:
    if webhooks.count(connection, client) >= most:
        raise HTTPException(409, f"There are {most} webhooks, which is as many as a client may have; remove one.")
    return webhooks.add(connection, client, wanted.url, wanted.events, wanted.label, secret)


@router.delete(
    "/api/webhooks/{webhook_id:webhook}",
    summary="Not be told any more",
    response_model=Removed,
    responses={**_NOT_THERE, **PROBLEMS},
)
async def remove(services: ServicesOf, client: Client, webhook_id: WebhookId) -> Response:
    """Removes a webhook, and what waits to be sent to it."""
    if not await services.db.as_client(client).writing(webhooks.remove, client, webhook_id):
        raise _not_there(webhook_id)
    return Response(orjson.dumps({"removed": webhook_id}), media_type=JSON)


@router.post(
    "/api/webhooks/{webhook_id:webhook}/test",
    summary="Send a test message",
    response_model=QueuedMessages,
    status_code=202,
    responses={409: {**A_PROBLEM, "description": "one is on its way"}, **_NOT_THERE, **PROBLEMS},
)
async def test(services: ServicesOf, client: Client, webhook_id: WebhookId) -> Response:
    """Has a message of type `test` sent."""
    await services.db.as_client(client).writing(_tested, client, webhook_id)
    return Response(orjson.dumps({"queued": 1}), 202, media_type=JSON)


def _tested(connection: Connection, client: str, webhook_id: str) -> None:
    if not webhooks.exists(connection, client, webhook_id):
        raise _not_there(webhook_id)
    if not webhooks.test(connection, client, webhook_id):
        raise HTTPException(409, "A test message is on its way; GET …/deliveries shows how it goes.")


@router.post(
    "/api/webhooks/{webhook_id:webhook}/retry",
    summary="Send again what was given up",
    response_model=QueuedMessages,
    status_code=202,
    responses={**_NOT_THERE, **PROBLEMS},
)
async def retry(services: ServicesOf, client: Client, webhook_id: WebhookId) -> Response:
    """Has the messages sent again that could not be delivered; a webhook that was disabled is told again."""
    queued = await services.db.as_client(client).writing(_again, client, webhook_id)
    return Response(orjson.dumps({"queued": queued}), 202, media_type=JSON)


def _again(connection: Connection, client: str, webhook_id: str) -> int:
    if not webhooks.exists(connection, client, webhook_id):
        raise _not_there(webhook_id)
    return webhooks.again(connection, client, webhook_id)


@router.get(
    "/api/webhooks/{webhook_id:webhook}/deliveries",
    summary="The messages to a webhook",
    response_model=Deliveries,
    responses={**_NOT_THERE, **PROBLEMS},
)
async def deliveries(
    services: ServicesOf,
    client: Client,
    webhook_id: WebhookId,
    state: Annotated[State | None, Query(description="only these")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """What was sent, waits to be, or was given up, newest first."""
    kept = await services.db.as_client(client).reading(_deliveries, client, webhook_id, state, limit)
    return Response(orjson.dumps({"deliveries": [_sent(delivery) for delivery in kept]}), media_type=JSON)


def _deliveries(connection: Connection, client: str, webhook_id: str, state: State | None, most: int) -> list[Delivery]:
    if not webhooks.exists(connection, client, webhook_id):
        raise _not_there(webhook_id)
    return webhooks.deliveries(connection, client, webhook_id, state, most)


def _not_there(webhook_id: str) -> HTTPException:
    return HTTPException(404, f"There is no webhook {webhook_id}; GET /api/webhooks lists them.")


def _told(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "label": webhook.label,
        "created_at": stamp(webhook.created_at),
        "disabled_at": stamp(webhook.disabled_at) if webhook.disabled_at else None,
        "delivered_at": stamp(webhook.delivered_at) if webhook.delivered_at else None,
        "waiting": webhook.waiting,
        "dead": webhook.dead,
    }


def _sent(delivery: Delivery) -> dict[str, Any]:
    moments = ("created_at", "next_attempt_at", "delivered_at", "dead_at")
    told = {**delivery._asdict(), "id": delivery.message_id}
    del told["message_id"]
    return {**told, **{name: stamp(told[name]) if told[name] else None for name in moments}}
