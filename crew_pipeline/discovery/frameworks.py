"""History tables of agent frameworks, recognised by their columns, whatever the table is called.

Sources: the schemas that the frameworks publish (Chainlit's SQLAlchemy and official data layers, Flowise's
``chat_message``, Google ADK's ``events`` of both versions, the OpenAI Agents SDK's ``agent_messages``, Vercel's
template for chats).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Framework:
    """A framework's table.

    Attributes:
        has: columns that tell it, in plain form.
        columns: column by field, in plain form.
        kind: column that says what a row is, in plain form; None where every row is talk.
        talk: values of ``kind`` that are talk.
        otherwise: what other rows are called where they are counted as left out.
        speakers: what a value of the speaker's column is called.
    """

    name: str
    has: frozenset[str]
    columns: Mapping[str, str]
    kind: str | None = None
    talk: frozenset[str] = frozenset()
    otherwise: str = "steps of agents"
    speakers: Mapping[str, str] = field(default_factory=dict)


KNOWN = (
    Framework(
        "Chainlit",
        frozenset({"threadid", "parentid", "type", "name", "output", "createdat"}),
        {"session_id": "threadid", "speaker": "name", "text": "output", "created_at": "createdat"},
        kind="type",
        talk=frozenset({"user_message", "assistant_message", "system_message"}),
    ),
    Framework(
        "Flowise",
        frozenset({"chatflowid", "chatid", "role", "content", "createddate"}),
        {"session_id": "chatid", "speaker": "role", "text": "content", "created_at": "createddate"},
        speakers={"userMessage": "user", "apiMessage": "assistant"},
    ),
    Framework(
        "Google ADK",
        frozenset({"appname", "userid", "sessionid", "invocationid", "author", "content", "timestamp"}),
        {"session_id": "sessionid", "speaker": "author", "text": "content", "created_at": "timestamp"},
    ),
    Framework(
        "Google ADK",
        frozenset({"appname", "userid", "sessionid", "invocationid", "eventdata", "timestamp"}),
        {"session_id": "sessionid", "message": "eventdata", "created_at": "timestamp"},
    ),
    Framework(
        "OpenAI Agents SDK",
        frozenset({"sessionid", "messagedata"}),
        {"session_id": "sessionid", "message": "messagedata", "created_at": "createdat"},
    ),
    Framework(
        "Vercel's chat",
        frozenset({"chatid", "role", "parts", "createdat"}),
        {"session_id": "chatid", "speaker": "role", "text": "parts", "created_at": "createdat"},
    ),
)


def recognise(columns: Iterable[str]) -> Framework | None:
    """The framework whose table has these columns; None where it is none that is known."""
    have = set(map(plain, columns))
    return next((framework for framework in KNOWN if framework.has <= have), None)


def plain(name: str) -> str:
    """A column's name in the form in which names are compared: createdAt, created-at and CREATED_AT are one."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())
