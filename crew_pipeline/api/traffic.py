"""What this process has answered, for Prometheus: counted in memory, since each process is asked for its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Traffic:
    """The figures of one process.

    Args:
        followers: how many WebSockets and streams there are.
    """

    def __init__(self, followers: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._answers = Counter(
            "crew_http_requests_total", "Requests that this process has answered.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "crew_http_request_seconds", "How long answering took, until the answer began.", ("route",),
            buckets=_BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        there = Gauge("crew_followers", "WebSockets and streams that this process serves.", registry=self._registry)
        there.set_function(followers)
        # Looking a label up costs more than counting.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        known = self._known.get((method, route, status))
        if known is None:
            known = self._answers.labels(method, route, str(status)), self._seconds.labels(route)
            self._known[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def page(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self._registry)


class Counted:
    """ASGI middleware: counts what is answered, by the route's pattern, so that no address stands in the figures."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count how it is answered."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, method = time.perf_counter(), scope["method"]

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                known = method if method in _METHODS else "other"
                self._traffic.count(known, route, message["status"], time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, counting)
        return None
