"""Threads by turns: a client that asks for much holds up nobody else, and who leaves takes no thread along."""

from __future__ import annotations

import asyncio
import threading

from crew_pipeline.storage.turns import Turns


def test_a_client_that_asks_for_much_holds_up_nobody_else() -> None:
    async def work() -> None:
        turns, gate = Turns(threads=4, of_one=3), threading.Event()
        flood = [asyncio.create_task(turns.run("b", gate.wait, 20)) for _ in range(100)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            assert await turns.run("a", lambda: "at once") == "at once"
        gate.set()
        assert await asyncio.gather(*flood) == [True] * 100
        turns.close()

    asyncio.run(work())


def test_turns_go_round() -> None:
    async def work() -> list[str]:
        turns, gate, order = Turns(threads=1, of_one=1), threading.Event(), []
        first = asyncio.create_task(turns.run("a", gate.wait, 20))
        await asyncio.sleep(0.05)
        asked = [asyncio.create_task(turns.run(client, order.append, client)) for client in "aaabbc"]
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(first, *asked)
        turns.close()
        return order

    assert asyncio.run(work()) == ["a", "b", "c", "a", "b", "a"]


def test_who_leaves_gives_up_the_turn_but_not_the_thread_that_is_busy() -> None:
    async def work() -> None:
        turns, gate = Turns(threads=1, of_one=1), threading.Event()
        busy = asyncio.create_task(turns.run("a", gate.wait, 20))
        await asyncio.sleep(0.05)
        gone = [asyncio.create_task(turns.run("a", gate.wait, 20)) for _ in range(3)]
        waits = asyncio.create_task(turns.run("b", lambda: "done"))
        await asyncio.sleep(0.05)
        for task in (busy, *gone):
            task.cancel()
        await asyncio.sleep(0.05)
        # The thread still works for who has left.
        assert not waits.done()
        gate.set()
        async with asyncio.timeout(10):
            assert await waits == "done"
            assert await turns.run("a", lambda: "again") == "again"
        turns.close()

    asyncio.run(work())


def test_what_goes_wrong_in_a_thread_is_told_and_the_turn_goes_on() -> None:
    async def work() -> None:
        turns = Turns(threads=1, of_one=1)
        for _ in range(3):
            try:
                await turns.run("a", int, "no number")
            except ValueError:
                continue
            raise AssertionError
        turns.close()

    asyncio.run(work())
