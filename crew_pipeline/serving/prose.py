"""Summaries in prose, by the language model that the settings name: asked for once, within a budget, and given up for a
while where it fails. Without one everything else works."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from crew_pipeline.history.summaries import prose
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history import prose as store

logger = logging.getLogger(__name__)

_AT_ONCE = 2
_ANSWER_TOKENS = 1_000
_CHARACTERS_A_TOKEN = 4
_REST_S = 60.0
"""For so long nobody is asked after a failure."""
_LARGEST_ANSWER = 256 * 1024


class _FailedError(Exception):
    """The model gave no answer; the message says why, in words for a visitor."""


class Prose:
    """The language model of this process.

    Attributes:
        calls: how often it was asked.
    """

    def __init__(self, db: Database, system: Database, settings: Settings) -> None:
        """Args:
        db: shows nothing but through ``as_client``.
        system: works across clients, whose budget is one.
        """
        self._db = db
        self._system = system
        self._settings = settings
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[tuple[str, str], asyncio.Task[dict[str, Any]]] = {}
        self._rests_until = 0.0
        self.calls = 0

    async def tell(self, client: str, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The same in prose: ``model``, ``sentences`` with their lines, those that were ``dropped`` and why, and, where
        there is none, the ``problem``."""
        if not self._settings.llm_url:
            return self._none("No language model is set (CREW_LLM_URL).")
        lines = prose.numbered(summary)
        if not lines:
            return self._none("There is nothing to tell yet.")
        asked = prose.question(lines)
        key = _key(self._settings.llm_model, asked)
        known: dict[str, Any] | None = await self._db.as_client(client).reading(store.told, client, key)
        if known:
            return known
        # Who asks for the same meanwhile waits with the first, and what he began is not lost where he leaves.
        task = self._under_way.get((client, key))
        if task is None:
            task = self._under_way[client, key] = asyncio.create_task(self._told(client, key, asked, lines))
            task.add_done_callback(lambda _: self._under_way.pop((client, key), None))
        return await asyncio.shield(task)

    async def _told(self, client: str, key: str, asked: str, lines: list[prose.Numbered]) -> dict[str, Any]:
        async with self._asking:
            if time.monotonic() < self._rests_until:
                return self._none("The language model did not answer a moment ago; ask again in a minute.")
            own = self._db.as_client(client)
            forgotten_at = await own.reading(store.forgetting, client)
            estimate = (len(asked) + len(prose.INSTRUCTIONS)) // _CHARACTERS_A_TOKEN + _ANSWER_TOKENS
            if await self._system.reading(store.spent) + estimate > self._settings.llm_tokens_per_day:
                return self._none("The day's budget for the language model is spent (CREW_LLM_TOKENS_PER_DAY).")
            try:
                answer, tokens = await self._ask(asked, estimate)
            except _FailedError as error:
                self._rests_until = time.monotonic() + _REST_S
                return self._none(str(error))
        found = prose.checked(answer, lines)
        content = {"model": self._settings.llm_model, **found._asdict(), "problem": None}
        await own.calling(_keep, own, client, key, content, tokens, forgotten_at)
        return content

    async def _ask(self, asked: str, estimate: int) -> tuple[str, int]:
        settings = self._settings
        assert settings.llm_url is not None
        secret = os.environ.get(settings.llm_key_env, "") if settings.llm_key_env else ""
        request = {
            "model": settings.llm_model,
            "messages": [{"role": "system", "content": prose.INSTRUCTIONS}, {"role": "user", "content": asked}],
            "temperature": 0,
            "max_tokens": _ANSWER_TOKENS,
        }
        self.calls += 1
        try:
            async with asyncio.timeout(settings.llm_timeout_s), httpx.AsyncClient(trust_env=False) as http:
                answer = await http.post(
                    f"{settings.llm_url.rstrip('/')}/chat/completions",
                    json=request,
                    headers={"Authorization": f"Bearer {secret}"} if secret else {},
                    timeout=settings.llm_timeout_s,
                )
                answer.raise_for_status()
                if len(answer.content) > _LARGEST_ANSWER:
                    raise _FailedError("The language model's answer is too long.")
                body = answer.json()
                text = body["choices"][0]["message"]["content"]
        except TimeoutError:
            raise _FailedError("The language model did not answer in time.") from None
        except httpx.HTTPStatusError as error:
            raise _FailedError(f"The language model's server answered {error.response.status_code}.") from None
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            logger.warning("the language model cannot be asked (%s)", type(error).__name__)
            raise _FailedError("The language model's server gave no answer that can be read.") from None
        if not isinstance(text, str):
            raise _FailedError("The language model's server gave no answer that can be read.")
        used = body.get("usage", {}).get("total_tokens") if isinstance(body.get("usage"), dict) else None
        return text, used if isinstance(used, int) and used > 0 else estimate

    def _none(self, problem: str) -> dict[str, Any]:
        return {"model": self._settings.llm_model or None, "sentences": [], "dropped": [], "problem": problem}


def _keep(
    db: Database, client: str, key: str, content: dict[str, Any], tokens: int, forgotten_at: datetime | None
) -> None:
    with db.write() as connection:
        store.keep(connection, client, key, content, tokens, forgotten_at)


def _key(model: str, asked: str) -> str:
    return hashlib.blake2b(f"{model}\n{asked}".encode(), digest_size=16).hexdigest()
