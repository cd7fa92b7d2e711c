"""How ``crew api`` speaks WebSocket: little is held for a follower that does not read, and it can be cut off."""

from __future__ import annotations

import socket
from asyncio import BaseTransport, Transport
from contextlib import suppress
from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

CUT_OFF = "cut_off"
"""The name, in a connection's ``scope["state"]``, of a function that ends it at once, sent or not."""

_UNSENT_BYTES = 16 * 1024
_SOCKET_BYTES = 64 * 1024


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket of uvicorn, with bounds on what may be unsent and a way for the application to end it.

    ASGI can only ask for a close, and that waits until the follower has taken everything sent before.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        """Set the bounds; offer ``CUT_OFF`` to the application."""
        transport = cast("Transport", transport)
        transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        self.app_state = {**self.app_state, CUT_OFF: transport.abort}
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request that is too long to be read (8 KiB a line, 128 headers), which uvicorn leaves waiting."""
        super().data_received(data)
        refusal = self.conn.data_to_send() if self.conn.handshake_exc is not None else []
        if refusal and not self.transport.is_closing():
            self.transport.write(b"".join(refusal))
            self.transport.close()

    def handle_parser_exception(self) -> None:
        """End a connection over which something comes that is no frame, also before it was accepted, when there is no
        close to be sent yet."""
        if self.conn.close_sent is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
            self.transport.close()
            return
        super().handle_parser_exception()
