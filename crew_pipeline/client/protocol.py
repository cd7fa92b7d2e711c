"""Requests to the API and how their answers are read; without input and output, for both clients."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from .shapes import CrewError, Day, Event, IndexedConversation, NewLine, State

T = TypeVar("T")

View = Literal["condensed", "full"]
Passages = Literal["whole", "omit"]

ATTEMPTS = 4
"""How often a request is made that may be made again, all in all."""
SILENT_S = 65.0
"""A stream that says nothing for so long, not even that it lives, is dead (s); the server says so every 20 s."""
POLL_S = 2.0
"""How often it is asked where there can be no stream (s)."""
_LONGEST_PAUSE_S = 30.0
_PASSES = frozenset({429, 502, 503, 504})
_FINAL = frozenset({"processing_completed", "processing_failed"})


class Answer(NamedTuple):
    """What came back; headers by their names in lower case or any mapping that does not mind their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how its answer is read.

    Attributes:
        read: raises CrewError for what is no good answer.
        repeats: whether it may be made again where nobody knows if it was done.
        wait_s: how long the server may take before it answers, beyond what is usual.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeats: bool = True
    wait_s: float = 0.0


def pause_s(attempt: int, answer: Answer | None) -> float | None:
    """How long to wait before a request is made again; None where its answer stands.

    Args:
        attempt: counts from 0.
        answer: None where there was none.
    """
    if attempt + 1 >= ATTEMPTS or (answer is not None and answer.status not in _PASSES):
        return None
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    return min(_LONGEST_PAUSE_S, float(asked) if asked.isdecimal() else 0.25 * 2**attempt)


def content(answer: Answer) -> Any:
    """The JSON of a good answer.

    Raises:
        CrewError: it is none.
    """
    if answer.status >= 300:
        raise _error(answer)
    return json.loads(answer.body)


def _error(answer: Answer) -> CrewError:
    try:
        told = json.loads(answer.body)
        detail = str(told.get("detail") or told.get("error") or told.get("title"))
        kind = str(told.get("type", "about:blank"))
    except (ValueError, AttributeError):
        detail, kind = f"The server answered {answer.status}, and nothing that can be read.", "about:blank"
    return CrewError(answer.status, detail, kind, answer.headers.get("x-request-id"))


def day(
    wanted: date | str,
    *,
    view: View = "condensed",
    passages: Passages = "whole",
    wait_s: float | None = None,
    force: bool = False,
    known: Day | None = None,
) -> Call[Day]:
    """A day as it is now."""
    named = date.fromisoformat(wanted) if isinstance(wanted, str) else wanted
    tag = known.tag if known is not None and known.day == named else None

    def read(answer: Answer) -> Day:
        if answer.status == 304 and known is not None:
            return known
        if answer.status not in {200, 202, 500} or (answer.status == 500 and b'"fallback_data"' not in answer.body):
            raise _error(answer)
        return _day(named, answer)

    params = {"view": view, "passages": passages, "wait_s": wait_s, "force_process": "true" if force else None}
    headers = {"If-None-Match": tag} if tag else {}
    return Call("GET", f"/api/days/{named}/conversations", read, params, headers=headers, wait_s=wait_s or 5.0)


def _day(named: date, answer: Answer) -> Day:
    told = json.loads(answer.body)
    metadata = told["metadata"]
    states: dict[int, State] = {200: "ready", 202: "processing", 500: "failed"}
    return Day(
        day=named,
        state=states[answer.status],
        conversations=told["fallback_data"] if answer.status == 500 else told["data"],
        stale=bool(metadata.get("stale")),
        preliminary=bool(metadata.get("preliminary")),
        version=metadata.get("version"),
        tag=answer.headers.get("etag"),
        error=told.get("error"),
        metadata=metadata,
    )


def events(after: int | None, limit: int = 500) -> Call[tuple[list[Event], int]]:
    """A page of events, and the number to go on with."""

    def read(answer: Answer) -> tuple[list[Event], int]:
        told = content(answer)
        return told["events"], told["next"]

    return Call(
        "GET", "/api/days/events", read, {"after": after, "limit": limit}, headers={"Accept": "application/json"}
    )


def is_end_of(event: Event, wanted: date) -> bool:
    """Whether an event says that a day is completed or has failed."""
    return event["days_date"] == wanted.isoformat() and event["type"] in _FINAL


def status(wanted: date | str) -> Call[dict[str, Any]]:
    """Where a day stands."""
    return Call("GET", f"/api/semantic/status/{wanted}", content)


def calendar(first: date | str | None, last: date | str | None) -> Call[list[dict[str, Any]]]:
    """A row a day."""
    return Call("GET", "/api/calendar", lambda answer: content(answer)["days"], {"from": first, "to": last})


def line(line_id: str) -> Call[dict[str, Any]]:
    """One line, whole."""
    return Call("GET", f"/api/lines/{line_id}", content)


def conversations(
    first: date | str | None, last: date | str | None, crew: str | None, cursor: str | None
) -> Call[tuple[list[IndexedConversation], str | None]]:
    """A page of the index, and the cursor of the next one."""

    def read(answer: Answer) -> tuple[list[IndexedConversation], str | None]:
        told = content(answer)
        return told["data"], told["next_cursor"]

    params = {"from": first, "to": last, "crew": crew, "cursor": cursor, "limit": 200}
    return Call("GET", "/api/conversations", read, params)


def push(
    crew: str, session_id: str, lines: Sequence[NewLine], title: str | None, key: str | None
) -> Call[dict[str, Any]]:
    """Lines of a conversation; under its own name a request that is made again is done once."""
    body = {"crew": crew, "session_id": session_id, "lines": [*lines], **({"title": title} if title else {})}
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return Call("POST", "/api/conversations", content, json=body, headers=headers)


def complete(session_id: str, crew_code: str) -> Call[dict[str, Any]]:
    """A conversation that a history table has whole."""
    body = {"session_id": session_id, "crew_code": crew_code}
    return Call("POST", "/api/webhooks/conversation-complete", content, json=body)


def add_webhook(url: str, kinds: Sequence[str] | None, label: str) -> Call[dict[str, Any]]:
    """Be told; the answer holds the secret."""
    body = {"url": url, "label": label, **({"events": [*kinds]} if kinds is not None else {})}
    return Call("POST", "/api/webhooks", content, json=body, repeats=False)


def webhooks() -> Call[list[dict[str, Any]]]:
    """Where one is told, and how that goes."""
    return Call("GET", "/api/webhooks", lambda answer: content(answer)["webhooks"])


def remove_webhook(webhook_id: str) -> Call[dict[str, Any]]:
    """Not be told any more."""
    return Call("DELETE", f"/api/webhooks/{webhook_id}", content)


class Request(NamedTuple):
    """What an HTTP library is to send."""

    method: str
    path: str
    params: dict[str, Any]
    headers: dict[str, str]


class Address:
    """Where the API is, and what is shown there with every request."""

    def __init__(self, url: str, token: str | None, client: str | None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._client = client

    def request(self, call: Call[Any]) -> Request:
        """A call as it is sent."""
        params = {"client": self._client, **call.params}
        shown = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        known = {name: str(value) for name, value in params.items() if value is not None}
        return Request(call.method, self.url + call.path, known, {**shown, **call.headers})

    def stream(self, after: int | None) -> Request:
        """The stream of events, as it is asked for."""
        asked = self.request(events(after))
        del asked.params["limit"]
        # A server that cannot stream answers a page all the same.
        return asked._replace(headers={**asked.headers, "Accept": "text/event-stream, application/json;q=0.5"})
