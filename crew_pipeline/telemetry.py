"""OpenTelemetry: from a visitor's request through the claim and the run to the document, in one trace.

Its own variables (``OTEL_EXPORTER_OTLP_ENDPOINT`` and the others) say where spans go; where none does, or the extra
``otel`` is not installed, nothing of it is imported and every function here does nothing. Spans carry names of clients,
days and runs, and no words of conversations.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

_HEADER = "traceparent"
"""Of https://www.w3.org/TR/trace-context/, in which a span names those that belong to it."""
_tracer: Tracer | None = None


def is_wanted() -> bool:
    """Whether OpenTelemetry's variables say where spans go."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", "TRACES_ENDPOINT"))


def start(service: str) -> bool:
    """Have this process tell its spans, where that is wanted; a second call changes nothing.

    Args:
        service: what the process is called, unless ``OTEL_SERVICE_NAME`` says otherwise.

    Returns:
        Whether it does from now on.
    """
    global _tracer  # noqa: PLW0603  one for a process, like OpenTelemetry's own
    if _tracer is not None or not is_wanted():
        return False
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("OTEL_EXPORTER_OTLP_* is set, but nothing is traced: pip install 'crew-pipeline[otel]'")
        return False
    from crew_pipeline import __version__

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        provider = TracerProvider(resource=Resource.create(named))
        provider.add_span_processor(_without_queries())
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    _tracer = trace.get_tracer("crew_pipeline", __version__)
    return True


def flush() -> None:
    """Send what is not sent yet; waits a few seconds at most."""
    if _tracer is None:
        return
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    if hasattr(provider, "force_flush"):
        provider.force_flush(5_000)


def is_on() -> bool:
    """Whether this process tells spans."""
    return _tracer is not None


@contextmanager
def span(name: str, parent: str | None = None, **attributes: str | int) -> Iterator[None]:
    """A span of what is done within; an exception that leaves it is told by its type alone.

    Args:
        parent: ``traceparent`` of what it belongs to; else that is the span around it.
        attributes: names of one word are told as ``crew.name``.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    with _tracer.start_as_current_span(
        name,
        _context_of(parent),
        attributes={f"crew.{key}": value for key, value in attributes.items()},
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(Status(StatusCode.ERROR))
            raise


def waited(name: str, parent: str, since: datetime) -> None:
    """Tell a span that has just ended.

    Args:
        parent: ``traceparent`` of what it belongs to.
        since: when it began, with a time zone.
    """
    if _tracer is not None:
        _tracer.start_span(name, _context_of(parent), start_time=int(since.timestamp() * 1e9)).end()


def traceparent() -> str | None:
    """What names the span that is under way to another process; None where nobody records one."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_HEADER)


def note(**attributes: str) -> None:
    """Say something of the span that is under way."""
    if _tracer is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attributes({f"crew.{key}": value for key, value in attributes.items()})


def name_request(method: str, route: str) -> None:
    """Name the span of a request that no router has seen, as routers do."""
    if _tracer is not None:
        from opentelemetry import trace

        current = trace.get_current_span()
        current.update_name(f"{method} {route}")
        current.set_attribute("http.route", route)


def _context_of(parent: str | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({_HEADER: parent})


def _without_queries() -> Any:
    """What visitors look for stays out of spans: of a query only the names of its parameters are told."""
    from urllib.parse import parse_qsl

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span, SpanProcessor

    class WithoutQueries(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            query = (span.attributes or {}).get("url.query")
            if query:
                names = [name for name, _ in parse_qsl(str(query), keep_blank_values=True)]
                span.set_attribute("url.query", "&".join(names))

    return WithoutQueries()
