"""For programs that use Clean Up Crew from outside: its days, as they become ready, and its messages.

Needs httpx and httpx-sse, and nothing of the rest of the package; a test holds that. ``Client`` and ``AsyncClient`` do
the same, one blocking and one in an event loop.
"""

from .asynchronous import AsyncClient
from .blocking import Client
from .shapes import CrewError, Day, DayFailedError
from .signatures import SignatureError, verify

__all__ = ["AsyncClient", "Client", "CrewError", "Day", "DayFailedError", "SignatureError", "verify"]
