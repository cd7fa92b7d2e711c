"""Delivers messages to webhooks: signed, at least once each, again and again for two days, then given up visibly.

Any process of the API may do it; the table says which webhook is being served. A message that was sent by a process
that died before it wrote so down is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline import __version__
from crew_pipeline.client.signatures import sign
from crew_pipeline.serving.addresses import AddressError, Network, resolved
from crew_pipeline.storage import webhooks
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.webhooks import Due

logger = logging.getLogger(__name__)

RETRIES_S = (5, 30, 300, 1_800, 7_200, 21_600, 43_200, 86_400)
"""How long to wait after each failure (s); after the last the message is given up."""
ANSWER_WITHIN_S = 10.0
_LEASE_S = 60.0
_LOOK_EVERY_S = 1.0
_AT_ONCE = 16
_LOOKUPS_AT_ONCE = 8
_LONGEST_RETRY_AFTER_S = 3_600
_GONE = 410


class _Sent(NamedTuple):
    """How sending went."""

    status: int | None = None
    error: str | None = None
    retry_after_s: float = 0.0


class Deliveries:
    """The deliveries of this process.

    Args:
        db: works across clients.
        allowed: networks inside which webhooks may lead.
        look_every_s: how often it is looked for messages (s).
    """

    def __init__(self, db: Database, allowed: list[Network], *, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._db = db
        self._allowed = allowed
        self._look_every_s = look_every_s
        self._sending: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        # Names that take long to be found must not take the threads that others need.
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="webhooks")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._deliver_on(), name="webhooks")

    async def stop(self) -> None:
        """Stop; what is being sent is sent again by whoever comes next."""
        tasks = [task for task in (self._task, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _lookup(self, find: Callable[..., Any], *asked: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, find, *asked)

    async def _deliver_on(self) -> None:
        # No proxy of the environment: it would be asked for addresses that were not looked at.
        async with httpx.AsyncClient(
            # Whom this machine trusts, your own authorities included (SSL_CERT_FILE).
            verify=ssl.create_default_context(),
            timeout=ANSWER_WITHIN_S,
            trust_env=False,
            follow_redirects=False,
        ) as client:
            while True:
                self._ended.clear()
                for due in await self._due():
                    task = asyncio.create_task(self._deliver(client, due))
                    self._sending.add(task)
                    task.add_done_callback(self._has_ended)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look_every_s):
                        await self._ended.wait()

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._ended.set()

    async def _due(self) -> list[Due]:
        room = _AT_ONCE - len(self._sending)
        if not room:
            return []
        try:
            return await self._db.writing(webhooks.take, room, _LEASE_S)
        except SQLAlchemyError as error:
            logger.warning("the webhooks' messages cannot be read (%s); trying again", type(error).__name__)
            return []

    async def _deliver(self, client: httpx.AsyncClient, due: Due) -> None:
        sent = await self._send(client, due)
        try:
            await self._db.writing(
                webhooks.settle,
                due,
                status=sent.status,
                error=sent.error,
                again_in_s=_pause_s(due.attempts, sent) if sent.error is not None else None,
                gone=sent.status == _GONE,
            )
        except SQLAlchemyError as error:
            logger.warning("webhook %s: how it went is not written down (%s)", due.webhook_id, type(error).__name__)
        if sent.error is not None:
            logger.info("webhook %s, attempt %d: %s", due.webhook_id, due.attempts, sent.error)

    async def _send(self, client: httpx.AsyncClient, due: Due) -> _Sent:
        try:
            async with asyncio.timeout(2 * ANSWER_WITHIN_S):
                target = await resolved(due.url, self._allowed, self._lookup)
                headers = {
                    **sign(due.secret, due.message_id, int(time.time()), due.body),
                    "Content-Type": "application/json",
                    "Host": target.host,
                    "User-Agent": f"clean-up-crew/{__version__}",
                }
                host = target.host.rpartition(":")[0] if target.url.port else target.host
                extensions = {"sni_hostname": host.strip("[]")}
                # What is answered is not read: it may be without end.
                async with client.stream(
                    "POST", target.url, content=due.body, headers=headers, extensions=extensions
                ) as answer:
                    return _judged(answer)
        except AddressError as error:
            return _Sent(error=str(error))
        except (TimeoutError, httpx.TimeoutException):
            return _Sent(error=f"There was no answer within {ANSWER_WITHIN_S:g} s.")
        except Exception as error:
            # Whatever it is: a message that is not settled would be taken for ever.
            if not isinstance(error, httpx.HTTPError):
                logger.exception("webhook %s: sending failed in a way that nobody has thought of", due.webhook_id)
            return _Sent(error="The connection failed.")


def _judged(answer: httpx.Response) -> _Sent:
    if answer.is_success:
        return _Sent(answer.status_code)
    named = answer.headers.get("retry-after", "")
    wait = min(_LONGEST_RETRY_AFTER_S, int(named)) if named.isascii() and named.isdecimal() and len(named) < 9 else 0
    return _Sent(answer.status_code, f"It answered {answer.status_code}.", wait)


def _pause_s(attempts: int, sent: _Sent) -> float | None:
    """How long to wait before the next attempt, spread out so that not all come back at once; None to give up."""
    if attempts > len(RETRIES_S) or sent.status == _GONE:
        return None
    return max(sent.retry_after_s, RETRIES_S[attempts - 1] * random.uniform(0.9, 1.1))  # noqa: S311
