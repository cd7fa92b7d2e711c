"""Whose work gets a thread next: each client's in turn, and no client has all of them."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 12
"""Fewer than the connections of the pool that they share (15)."""
_OF_ONE = 4


class Turns:
    """Threads of an event loop, for work that would block it.

    Args:
        threads: at work at once.
        of_one: of these, for one client at most; what it asks beyond that waits, and holds up nobody else.
    """

    def __init__(self, threads: int = THREADS, of_one: int = _OF_ONE) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="turn")
        self._free = threads
        self._of_one = of_one
        self._running: Counter[str] = Counter()
        # In the order in which clients get their next turn.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def run(self, client: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``call`` returns, in a thread, once it is the client's turn."""
        await self._turn(client)
        try:
            work = partial(contextvars.copy_context().run, partial(call, *args, **kwargs))
            running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except BaseException:
            self._leave(client)
            raise
        # Who asked may be gone before the thread is done.
        running.add_done_callback(lambda _: self._leave(client))
        return await asyncio.shield(running)

    def close(self) -> None:
        """Let go of the threads once they are done."""
        self._executor.shutdown(wait=False)

    async def _turn(self, client: str) -> None:
        if self._may_go(client) and client not in self._waiting:
            self._take(client)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(client, turn)
            else:
                self._leave(client)
            raise

    def _may_go(self, client: str) -> bool:
        return self._free > 0 and self._running[client] < self._of_one

    def _take(self, client: str) -> None:
        self._free -= 1
        self._running[client] += 1

    def _leave(self, client: str) -> None:
        self._free += 1
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        for waiting in list(self._waiting):
            if self._may_go(waiting):
                self._give_next(waiting)
            if not self._free:
                break

    def _give_next(self, client: str) -> None:
        """Give a waiting client a turn; who has gone meanwhile is passed over."""
        turns = self._waiting.pop(client)
        while turns:
            turn = turns.popleft()
            if not turn.done():
                self._take(client)
                turn.set_result(None)
                break
        if turns:
            self._waiting[client] = turns

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(client, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(client, None)
