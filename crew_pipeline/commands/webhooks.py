"""``crew webhooks``: who is told what happens, and the keys that sources sign with."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, JsonOption, in_home, open_store
from crew_pipeline.model import DEFAULT_CLIENT
from crew_pipeline.storage import signing_keys, webhooks
from crew_pipeline.storage.webhooks import KINDS, OPERATOR, Webhook

app = typer.Typer(help="Who is told what happens, and the keys that sources sign with.", no_args_is_help=True)
keys = typer.Typer(help="Keys that sources sign with what they push.", no_args_is_help=True)
app.add_typer(keys, name="key")

Client = Annotated[str, typer.Option(help="Whose.", metavar="NAME")]
Operator = Annotated[bool, typer.Option("--operator", help="The operator's: alerts of the whole system.")]


@app.command("add")
@in_home
def webhook_add(
    url: Annotated[str, typer.Argument(help="Where messages are posted: https://example.org/hook")],
    client: Client = DEFAULT_CLIENT,
    operator: Operator = False,
    event: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(KINDS)}; may be given again.", metavar="TYPE", show_default="all"),
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Have messages posted to an address; the secret they are signed with is shown only once."""
    from crew_pipeline.client.signatures import new_secret
    from crew_pipeline.serving.addresses import AddressError, networks_of, resolved

    if unknown := sorted({*(event or ())} - {*KINDS}):
        raise typer.BadParameter(f"{unknown[0]!r} is no type; there are {', '.join(KINDS)}")
    whose, events = OPERATOR if operator else client, event or (["alert"] if operator else [*KINDS])
    secret = new_secret()
    with open_store() as (settings, databases):
        try:
            asyncio.run(resolved(url, networks_of(settings.webhook_networks)))
        except AddressError as error:
            raise CommandError(str(error)) from None
        with databases.db.write() as connection:
            webhook_id = webhooks.add(connection, whose, url, events, label, secret)
    if as_json:
        console.print_json({"id": webhook_id, "url": url, "events": events, "label": label, "secret": secret})
        return
    console.say(secret)
    console.note(f"{webhook_id} is told of {', '.join(events)}; the secret above is not shown again.")
    console.note("The API delivers: 'crew up' or 'crew api' must run.")


@app.command("list")
@in_home
def webhook_list(as_json: JsonOption = False) -> None:
    """List webhooks, and how telling them goes."""
    with open_store() as (_, databases), databases.db.read() as connection:
        listed = webhooks.list_all(connection)
    if as_json:
        console.print_json({"webhooks": [webhook._asdict() for webhook in listed]})
        return
    console.table(
        "",
        ["id", "client", "address", "events", "label", "delivered", "waiting#", "given up#", "disabled"],
        [
            [
                webhook.id,
                webhook.client or "(operator)",
                webhook.url.partition("?")[0],
                ", ".join(webhook.events),
                webhook.label,
                f"{webhook.delivered_at:%Y-%m-%d %H:%M}" if webhook.delivered_at else "",
                webhook.waiting,
                webhook.dead,
                f"{webhook.disabled_at:%Y-%m-%d}" if webhook.disabled_at else "",
            ]
            for webhook in listed
        ],
    )


@app.command("remove")
@in_home
def webhook_remove(webhook_id: str) -> None:
    """Remove a webhook, and what waits to be sent to it."""
    with open_store() as (_, databases), databases.db.write() as connection:
        kept = _named(webhooks.list_all(connection), webhook_id)
        webhooks.remove(connection, kept.client, webhook_id)
    console.say(f"{webhook_id} is removed.")


@app.command("retry")
@in_home
def webhook_retry(webhook_id: str) -> None:
    """Send again what was given up, and tell a webhook again that was disabled."""
    with open_store() as (_, databases), databases.db.write() as connection:
        kept = _named(webhooks.list_all(connection), webhook_id)
        count = webhooks.again(connection, kept.client, webhook_id)
    console.say(f"{count} messages are sent again.")


def _named(listed: list[Webhook], webhook_id: str) -> Webhook:
    for webhook in listed:
        if webhook.id == webhook_id:
            return webhook
    raise CommandError(f"There is no webhook {webhook_id}; 'crew webhooks list' shows them.")


@keys.command("create")
@in_home
def key_create(
    client: Client,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key; its secret is shown only once."""
    from crew_pipeline.client.signatures import new_secret

    secret = new_secret()
    with open_store() as (_, databases), databases.db.write() as connection:
        key_id = signing_keys.create(connection, client, label, secret)
    if as_json:
        console.print_json({"id": key_id, "client": client, "label": label, "secret": secret})
        return
    console.say(secret)
    console.note(f"{key_id}: a source signs with the secret above (Standard Webhooks), and posts to")
    console.note(f"  /api/conversations?key={key_id}  or  /api/webhooks/conversation-complete?key={key_id}")


@keys.command("list")
@in_home
def key_list(as_json: JsonOption = False) -> None:
    """List keys."""
    with open_store() as (_, databases), databases.db.read() as connection:
        listed = signing_keys.list_all(connection)
    if as_json:
        console.print_json({"keys": [key._asdict() for key in listed]})
        return
    console.table(
        "",
        ["id", "client", "label", "created", "revoked"],
        [
            [
                key.id,
                key.client,
                key.label,
                f"{key.created_at:%Y-%m-%d}",
                f"{key.revoked_at:%Y-%m-%d}" if key.revoked_at else "",
            ]
            for key in listed
        ],
    )


@keys.command("revoke")
@in_home
def key_revoke(key_id: str) -> None:
    """Revoke a key; what is signed with it is refused from now on."""
    with open_store() as (_, databases), databases.db.write() as connection:
        if not signing_keys.revoke(connection, key_id):
            raise CommandError(f"There is no key {key_id} in force; 'crew webhooks key list' shows them.")
    console.say(f"{key_id} is revoked.")
