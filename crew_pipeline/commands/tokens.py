"""``crew token``: API tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, JsonOption, in_home, open_store
from crew_pipeline.storage import tokens

app = typer.Typer(help="API tokens: stored hashed, shown once.", no_args_is_help=True)


@app.command("create")
@in_home
def token_create(
    client: Annotated[str, typer.Option(help="The client whose days the token opens.")],
    as_json: JsonOption = False,
) -> None:
    """Make a token; it is shown only once."""
    from crew_pipeline.storage.conversations import clients

    with open_store() as (_, databases), databases.db.write() as connection:
        if not clients.exists(connection, client):
            console.note(f"There is no client {client} yet; the token opens what will be imported for it.")
        token = tokens.create(connection, client)
    if as_json:
        console.print_json({"client": client, "token": token})
    else:
        console.say(token)
        console.note(f"A token for {client}; keep it, it is not shown again.")


@app.command("list")
@in_home
def token_list(as_json: JsonOption = False) -> None:
    """List tokens by their first characters."""
    with open_store() as (_, databases), databases.db.read() as connection:
        listed = tokens.list_all(connection)
    if as_json:
        console.print_json({"tokens": [token._asdict() for token in listed]})
        return
    console.table(
        "",
        ["id#", "client", "token", "created", "revoked"],
        [
            [token.id, token.client, f"{token.prefix}…", f"{token.created_at:%Y-%m-%d}", token.revoked_at or ""]
            for token in listed
        ],
    )


@app.command("revoke")
@in_home
def token_revoke(token_id: int) -> None:
    """Revoke a token by its id; servers refuse it within two seconds."""
    with open_store() as (_, databases), databases.db.write() as connection:
        if not tokens.revoke(connection, token_id):
            raise CommandError(f"There is no token {token_id} in force; 'crew token list' shows them.")
    console.say(f"Token {token_id} is revoked.")
