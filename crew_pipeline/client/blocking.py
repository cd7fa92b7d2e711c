"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import date
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import EventSource

from . import protocol
from .protocol import POLL_S, SILENT_S, Address, Answer, Call, Passages, View
from .shapes import CrewError, Day, DayFailedError, Event, IndexedConversation, NewLine

T = TypeVar("T")


class Client:
    """The API of a server, for programs that wait.

    Args:
        url: where ``crew api`` answers, ``http://127.0.0.1:8000``.
        token: of ``crew token create``; none for a server of this machine that has none.
        client: whose days, where the token opens several clients' or there is none.
        http: an HTTP client to use, for proxies and certificates of your own.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        client: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._address = Address(url, token, client)
        self._http = http or httpx.Client(timeout=10)
        self._poll_s = POLL_S

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def day(
        self,
        day: date | str,
        *,
        view: View = "condensed",
        passages: Passages = "whole",
        wait_s: float | None = None,
        force: bool = False,
        known: Day | None = None,
    ) -> Day:
        """A day as it is now; one that is not ready is being made from then on.

        Args:
            wait_s: how long the server may wait for it (0 to 30 s).
            known: what was answered before, which costs little to ask for again.

        Raises:
            CrewError: the server refuses.
        """
        return self._do(protocol.day(day, view=view, passages=passages, wait_s=wait_s, force=force, known=known))

    def finished_day(
        self,
        day: date | str,
        *,
        view: View = "condensed",
        passages: Passages = "whole",
        within_s: float = 3_600,
        on_progress: Callable[[Event], None] | None = None,
    ) -> Day:
        """A day, once it is ready and not stale.

        Args:
            on_progress: called with each event of the day meanwhile.

        Raises:
            DayFailedError: it could not be made.
            TimeoutError: it was not ready in time.
        """
        deadline = time.monotonic() + within_s
        _, after = self._do(protocol.events(None))
        wait_s = min(5.0, within_s)
        while True:
            found = self.day(day, view=view, passages=passages, wait_s=wait_s)
            if found.state == "failed":
                raise DayFailedError(found)
            if found.state == "ready" and not found.stale:
                return found
            wait_s = 0.0
            with closing(self._events(after, deadline)) as told:
                for event in told:
                    if event["days_date"] == found.day.isoformat() and on_progress is not None:
                        on_progress(event)
                    if event["type"] != "ping":
                        after = max(after, event["seq"])
                    if protocol.is_end_of(event, found.day):
                        break

    def events(self, after: int | None = None) -> Iterator[Event]:
        """What happens to any day, from now on or after the event of a number, without an end.

        First a ``snapshot`` of the days that are not completed, where the server streams; a stream that breaks goes on
        where it was, and where there can be none it is asked every other second.
        """
        for event in self._events(after, None):
            if event["type"] != "ping":
                yield event

    def conversations(
        self, first: date | str | None = None, last: date | str | None = None, crew: str | None = None
    ) -> Iterator[IndexedConversation]:
        """The index of conversations, newest first."""
        cursor: str | None = None
        while True:
            page, cursor = self._do(protocol.conversations(first, last, crew, cursor))
            yield from page
            if cursor is None:
                return

    def status(self, day: date | str) -> dict[str, Any]:
        """Where a day stands."""
        return self._do(protocol.status(day))

    def calendar(self, first: date | str | None = None, last: date | str | None = None) -> list[dict[str, Any]]:
        """A row for each day that holds conversations."""
        return self._do(protocol.calendar(first, last))

    def line(self, line_id: str) -> dict[str, Any]:
        """One line whole, with where it is hidden or what it hides."""
        return self._do(protocol.line(line_id))

    def push(
        self,
        crew: str,
        session_id: str,
        lines: Sequence[NewLine],
        *,
        title: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Lines of a conversation; made again by itself where the connection breaks, and done once."""
        return self._do(protocol.push(crew, session_id, lines, title, idempotency_key))

    def complete(self, session_id: str, crew_code: str) -> dict[str, Any]:
        """Have a conversation of a history table taken in now."""
        return self._do(protocol.complete(session_id, crew_code))

    def add_webhook(self, url: str, events: Sequence[str] | None = None, label: str = "") -> dict[str, Any]:
        """Be told at an address; the answer's ``secret`` is shown once, for ``verify``."""
        return self._do(protocol.add_webhook(url, events, label))

    def webhooks(self) -> list[dict[str, Any]]:
        """Where one is told, and how that goes."""
        return self._do(protocol.webhooks())

    def remove_webhook(self, webhook_id: str) -> None:
        """Not be told any more."""
        self._do(protocol.remove_webhook(webhook_id))

    def _do(self, call: Call[T]) -> T:
        asked = self._address.request(call)
        attempt = 0
        while True:
            answer, error = None, None
            try:
                got = self._http.request(
                    asked.method, asked.path, params=asked.params, headers=asked.headers, json=call.json,
                    timeout=10 + call.wait_s,
                )  # fmt: skip
                answer = Answer(got.status_code, got.headers, got.content)
            except httpx.TransportError as broken:
                error = broken
            pause = protocol.pause_s(attempt, answer) if call.repeats else None
            if pause is None:
                if answer is None:
                    raise CrewError(0, f"The server does not answer ({error}).") from error
                return call.read(answer)
            time.sleep(pause)
            attempt += 1

    def _events(self, after: int | None, deadline: float | None) -> Generator[Event, None, None]:
        """Pings as well, so that who waits for something sees time pass."""
        known = after or 0
        if after is None:
            _, known = self._do(protocol.events(None))
        while True:
            try:
                for event in self._stream(known):
                    known = max(known, event["seq"])
                    yield event
                    _look_at(deadline)
            except (httpx.TransportError, _NoStreamError):
                pass
            _look_at(deadline)
            # The stream has broken, or there is none: a page, then another try.
            page, known = self._do(protocol.events(known))
            yield from page
            if not page:
                time.sleep(self._poll_s)

    def _stream(self, after: int) -> Iterator[Event]:
        asked = self._address.stream(after)
        with self._http.stream(
            asked.method,
            asked.path,
            params=asked.params,
            headers=asked.headers,
            timeout=httpx.Timeout(10, read=SILENT_S),
        ) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise _NoStreamError
            for told in EventSource(answer).iter_sse():
                event: Event = told.json()
                yield event


class _NoStreamError(Exception):
    """Something on the way does not stream."""


def _look_at(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise TimeoutError("The day was not ready in time; it goes on being made.")
