"""Room for so many of a client at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Counts who is there.

    Args:
        most: of one client; 0: any number.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._there: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are there, of all clients."""
        return self._there.total()

    @contextmanager
    def entered(self, client: str) -> Iterator[bool]:
        """Whether there is room; where there is, it is taken until the block ends."""
        if self.most and self._there[client] >= self.most:
            yield False
            return
        self._there[client] += 1
        try:
            yield True
        finally:
            self._there[client] -= 1
            if not self._there[client]:
                del self._there[client]
