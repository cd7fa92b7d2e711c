"""``crew token``: API tokens."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, JsonOption, in_home, open_store
from crew_pipeline.storage import tokens
from crew_pipeline.storage.tokens import SCOPES, Scope, TokenInfo

app = typer.Typer(help="API tokens: stored hashed, shown once.", no_args_is_help=True)

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LONGEST = timedelta(weeks=5200)


@app.command("create")
@in_home
def token_create(
    client: Annotated[
        list[str] | None, typer.Option(help="A client whose days the token opens; may be given again.", metavar="NAME")
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it is good for: read, write, admin (the operator's figures); may be given again.",
            metavar="SCOPE",
            show_default="read and write",
        ),
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(help="For how long: 12h, 30d, 8w.", metavar="TIME", show_default="until it is revoked")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token; it is shown only once."""
    from crew_pipeline.storage.conversations import clients as known

    names, scopes, kept = list(dict.fromkeys(client or ())), _scopes(scope), _duration(expires_in)
    if not names and scopes != ["admin"]:
        raise typer.BadParameter("name a client with --client, or ask for --scope admin alone")
    if any(not re.fullmatch(r"[^\x00-\x1f\x7f]{1,200}", name) for name in names):
        raise typer.BadParameter("a client's name has 1 to 200 characters, none of them a control character")
    with open_store() as (_, databases), databases.db.write() as connection:
        for name in names:
            if not known.exists(connection, name):
                console.note(f"There is no client {name} yet; the token opens what will be imported for it.")
        token = tokens.create(connection, *names, label=label, scopes=scopes, expires_in=kept)
    if as_json:
        first = names[0] if names else None
        console.print_json({"client": first, "clients": names, "scopes": scopes, "label": label, "token": token})
        return
    console.say(token)
    whose = f"for {', '.join(names)}" if names else "of the operator"
    console.note(f"A token {whose}; keep it, it is not shown again.")
    console.note("People sign in with it on the page; programs send it with every request:")
    path = "/api/days/latest" if names else "/metrics"
    console.note(f'  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8000{path}')


@app.command("list")
@in_home
def token_list(as_json: JsonOption = False) -> None:
    """List tokens by their first characters."""
    with open_store() as (_, databases), databases.db.read() as connection:
        listed = tokens.list_all(connection)
    if as_json:
        console.print_json({"tokens": [_told(token) for token in listed]})
        return
    console.table(
        "",
        ["id#", "clients", "token", "label", "scopes", "created", "expires", "last used", "revoked"],
        [
            [
                token.id,
                ", ".join(token.clients) or "(operator)",
                f"{token.prefix}…",
                token.label,
                ", ".join(token.scopes),
                *(
                    f"{moment:%Y-%m-%d}" if moment else ""
                    for moment in (token.created_at, token.expires_at, token.last_used_at, token.revoked_at)
                ),
            ]
            for token in listed
        ],
    )


@app.command("revoke")
@in_home
def token_revoke(token_id: int) -> None:
    """Revoke a token by its id; servers refuse it within two seconds, and end what is open by it."""
    with open_store() as (_, databases), databases.db.write() as connection:
        if not tokens.revoke(connection, token_id):
            raise CommandError(f"There is no token {token_id} in force; 'crew token list' shows them.")
        left = tokens.any_in_force(connection)
    console.say(f"Token {token_id} is revoked.")
    if not left:
        console.note(
            "It was the last one: the API answers nobody now, also on this machine, until 'crew token create' makes "
            "another."
        )


def _told(token: TokenInfo) -> dict[str, object]:
    return {"client": token.clients[0] if token.clients else None, **token._asdict()}


def _scopes(asked: list[str] | None) -> list[Scope]:
    """What is asked for; ``write`` without ``read`` could not see what it changes."""
    if not asked:
        return ["read", "write"]
    if unknown := sorted({*asked} - {*SCOPES}):
        raise typer.BadParameter(f"{unknown[0]!r} is no scope; there are {', '.join(SCOPES)}")
    wanted = {*asked, *(["read"] if "write" in asked else [])}
    return [scope for scope in SCOPES if scope in wanted]


def _duration(asked: str | None) -> timedelta | None:
    if asked is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", asked)
    kept = int(found[1]) * _UNITS[found[2]] if found else None
    if kept is None or kept > _LONGEST:
        raise typer.BadParameter(f"{asked!r} is no time; write it like 12h, 30d or 8w")
    return kept
