"""How ``crew api`` takes connections: so many in all and from one peer, and none that makes it wait for ever."""

from __future__ import annotations

import asyncio
import resource
from asyncio import BaseTransport, TimerHandle, Transport
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from crew_pipeline.api.sockets import BoundedWebSocket

HEAD_WITHIN_S = 10.0
"""How long a peer may take to send the head of a request, from its connection or its first byte on."""
STUCK_AFTER_S = 30.0
"""How long a peer may leave everything unread that it has been sent."""
STOPPING = "stopping"
"""The name, in a connection's ``scope["state"]``, of an event that is set when the server is told to stop: what has no
end must end then, since the server waits for its answers."""
_MOST_FILES = 65_536
_FILES_OF_OUR_OWN = 128
"""What else is open: the database, logs, listening sockets."""
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def allow_files() -> int:
    """Let this process have as many files open as the system allows; returns how many connections it can take."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, allowed - _FILES_OF_OUR_OWN)


class BoundedHttp(HttpToolsProtocol):
    """An HTTP connection of uvicorn, which by itself waits for ever for the rest of a head and for a slow reader.

    Attributes:
        most: connections in all, WebSockets included.
        most_of_a_peer: of one address.
    """

    most = 10_000
    most_of_a_peer = 5_000
    head_within_s = HEAD_WITHIN_S
    stuck_after_s = STUCK_AFTER_S

    _head: TimerHandle | None = None
    _reader: TimerHandle | None = None
    _unread = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """Refuse one too many; else wait for a head, but not for ever."""
        self._stopping = asyncio.Event()
        self.app_state = {**self.app_state, STOPPING: self._stopping}
        super().connection_made(cast("Transport", transport))
        if len(self.connections) > self.most or self._has_too_many():
            self.transport.write(_FULL)
            self.transport.close()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        if self._reader is not None:
            self._reader.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops."""
        self._stopping.set()
        super().shutdown()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._stop_waiting()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """More was sent than the peer takes."""
        super().pause_writing()
        if self._reader is None:
            self._watch_reader()

    def _has_too_many(self) -> bool:
        if len(self.connections) <= self.most_of_a_peer:
            return False
        peer = self.client[0] if self.client else ""
        return sum(_peer_of(one) == peer for one in self.connections) > self.most_of_a_peer

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.head_within_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _watch_reader(self) -> None:
        """Cut off who has taken nothing since the last look; a slow reader goes on."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            self._reader, self._unread = None, 0
        elif self._reader is not None and unread >= self._unread:
            self.transport.abort()
        else:
            self._unread = unread
            self._reader = self.loop.call_later(self.stuck_after_s, self._watch_reader)


def _peer_of(connection: Any) -> str:
    """The address of an HTTP or WebSocket connection."""
    peer = connection.transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def server_options(trusted_proxies: Sequence[str] = ()) -> dict[str, Any]:
    """How uvicorn is to serve the application.

    Args:
        trusted_proxies: whose word counts for where a request comes from; nobody else's does.
    """
    BoundedHttp.most = allow_files()
    BoundedHttp.most_of_a_peer = max(8, BoundedHttp.most // 2)
    return {
        "http": BoundedHttp,
        "ws": BoundedWebSocket,
        # A message is encoded once for all followers; compression is per follower, each with a dictionary.
        "ws_per_message_deflate": False,
        "ws_max_size": 64 * 1024,
        # Longer than proxies keep a connection that is idle, or they would use one that is just being closed.
        "timeout_keep_alive": 75,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(trusted_proxies),
        "forwarded_allow_ips": list(trusted_proxies),
        "log_config": None,
    }
