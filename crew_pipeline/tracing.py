"""Traces, where somebody wants them: ``pip install 'crew-pipeline[otel]'``, and OpenTelemetry's own variables."""

from __future__ import annotations

import os

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def is_wanted() -> bool:
    """Whether the environment says where traces go."""
    return any(os.environ.get(name) for name in ENDPOINTS)
