"""A server that webhooks lead to, for tests."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import orjson

ALLOWED = ("127.0.0.0/8",)


class Posted(NamedTuple):
    """A message as it came; the headers by their names in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = orjson.loads(self.body)
        return told


class Receiver:
    """Keeps what is posted to it, and answers as it is told to.

    Attributes:
        answers: statuses of the next answers, then 204; 0 hangs up.
        location: where 3xx lead.
        wait_s: before each answer.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.posted: list[Posted] = []
        self.answers: list[int] = []
        self.location = ""
        self.wait_s = 0.0

    def wait_for(self, count: int, within_s: float = 30) -> list[Posted]:
        deadline = time.monotonic() + within_s
        while len(self.posted) < count:
            assert time.monotonic() < deadline, f"{len(self.posted)} of {count} messages came"
            time.sleep(0.02)
        return self.posted


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posted.append(Posted({name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(receiver.wait_s)
            status = receiver.answers.pop(0) if receiver.answers else 204
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
