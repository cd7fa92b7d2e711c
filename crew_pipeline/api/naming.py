"""The name of the request that is being answered."""

from __future__ import annotations

import logging
from contextvars import ContextVar

CURRENT: ContextVar[str] = ContextVar("request_id", default="-")


def request_id() -> str:
    """Of the request that is being answered; ``-`` outside of any."""
    return CURRENT.get()


class InLog(logging.Filter):
    """Gives every line of a log the name of its request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Name it; nothing is left out."""
        record.request_id = request_id()
        return True
