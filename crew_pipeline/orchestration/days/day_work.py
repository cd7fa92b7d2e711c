"""What a run of the day job does: its days one after the other, each client by client, from the claim to the document.

The shell around ``days.run``: who fails does not take the others with it, what is finished stays, and the operator is
told of every day when it is done.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
from dagster import AssetExecutionContext, DagsterRun, DailyPartitionsDefinition, Failure

from crew_pipeline import telemetry
from crew_pipeline.days import claims, publishing
from crew_pipeline.days.first_look import show_first_look
from crew_pipeline.days.pace import Allowance
from crew_pipeline.days.run import DayRun, DayTools
from crew_pipeline.dedup import frames
from crew_pipeline.model import ClientDay, Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days import metadata
from crew_pipeline.orchestration.days.metadata import Doing
from crew_pipeline.orchestration.failures import isolated
from crew_pipeline.orchestration.interrupts import INTERRUPTS, in_thread
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DayMaking
from crew_pipeline.orchestration.tags import Asset
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.days import askings, queue, states, totals
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.storage.evidence import clusters

_MOST_NAMED = 5


@dataclass
class DayMade:
    """What came of one day.

    Attributes:
        clients: the clients' days that the run has taken of it.
        figures: what an operator reads of it, by asset.
        versions: what tells whether an asset of it has changed.
        summary: the same as a line of the log.
    """

    day: date
    clients: list[ClientDay] = field(default_factory=list)
    figures: dict[Asset, dict[str, Any]] = field(default_factory=dict)
    versions: dict[Asset, str] = field(default_factory=dict)
    summary: str = ""


class DayWork:
    """The days of one run."""

    def __init__(
        self,
        context: AssetExecutionContext,
        making: DayMaking,
        *,
        client: str,
        force: bool,
        with_failed: bool,
        allowed: Allowance,
    ) -> None:
        """Args:
        client: only this client's days; empty for all.
        force: also days that are ready.
        with_failed: also days whose last try failed.
        allowed: what a run may use that was asked for in the Dagster UI.
        """
        self._context = context
        self._making = making
        self._tools = making.tools
        self._db = self._tools.db
        self._token = context.run.run_id
        self._wanted: dict[str, Any] = {
            "client": client or None,
            "which": "every" if with_failed else "waiting",
            "force": force,
        }
        self._awaited = is_awaited(context.run)
        self._stopped = threading.Event()
        self._tags = {**context.run.tags, **self._told(client, allowed)}
        self._pace = pace_of(self._tags)
        self._turn_s = float(self._tags.get(tags.TURN, math.inf))
        chosen = {key.to_user_string() for key in context.selected_asset_keys}
        self._assets = [asset for asset in Asset if asset in chosen]

    def days(self) -> Iterator[DayMade]:
        """Each day as it is done, the most urgent first; those without work last.

        Raises:
            Failure: days that this run had taken were given back and are not ready.
        """
        try:
            with claims.heartbeat(self._db, self._token, self._making.claim_ttl_s):
                self._refuse_unknown_client()
                self._refuse_unlisted_days()
                for day in self._in_order():
                    made = in_thread(lambda day=day: self._make(day))  # type: ignore[misc]
                    self._context.log.info(made.summary)
                    yield made
        except (GeneratorExit, *INTERRUPTS):
            self._give_back()
            raise
        self._fail_if_left()

    def _told(self, client: str, allowed: Allowance) -> dict[str, str]:
        """Tags that say what the run does, so that the list of runs can be filtered by them."""
        missing = tags.missing_tags(self._context.run.tags, client, allowed)
        if missing:
            self._context.instance.add_run_tags(self._token, missing)
        return missing

    def _refuse_unknown_client(self) -> None:
        client = self._wanted["client"]
        with self._db.read() as connection:
            if client is not None and not clients.exists(connection, client):
                raise Failure(
                    description=f"There is no client {client}; 'crew clients list' names those that there are.",
                    allow_retries=False,
                )

    def _refuse_unlisted_days(self) -> None:
        """A run that somebody has launched by its tags may name a day from before those that are partitions here."""
        listed = self._context.assets_def.partitions_def
        named = [self._context.run.tags[tag] for tag in tags.FIRST_DAY_OF if tag in self._context.run.tags]
        if not isinstance(listed, DailyPartitionsDefinition) or not named:
            return
        first = listed.start.date()
        if date.fromisoformat(min(named)) < first:
            raise Failure(
                description=f"{min(named)} lies before {first}, the first day that is listed here; 'crew up' lists "
                "earlier ones soon after their talk has come, elsewhere CREW_FIRST_PARTITION does.",
                allow_retries=False,
            )

    def _give_back(self) -> None:
        # The thread that computes goes on for as long as the process: it must take nothing more.
        self._stopped.set()
        with self._db.write() as connection:
            claims.give_back(connection, self._token)

    def _fail_if_left(self) -> None:
        """A run that was to make days and has not is no success."""
        if Asset.DOCUMENT not in self._assets:
            return
        with self._db.read() as connection:
            left = claims.released(connection, self._token)
        if left:
            named = ", ".join(map(str, left[:_MOST_NAMED]))
            raise Failure(
                description=f"{len(left)} clients' days were given back and are not ready ({named}); run them again.",
                allow_retries=False,
            )

    def _in_order(self) -> list[date]:
        days = days_of(self._context.partition_keys)
        urgent = dict.fromkeys(work.day for work in self._work(days)) if len(days) > 1 else {}
        return [*urgent, *(day for day in days if day not in urgent)]

    def _work(self, days: list[date]) -> list[Work]:
        after = self._tags.get(tags.CLAIM)
        with self._db.read() as connection:
            return queue.work(
                connection,
                self._tools.config.fingerprint,
                days=days,
                claimed_as=[token for token in (self._token, after) if token],
                **self._wanted,
            )

    def _make(self, day: date) -> DayMade:
        """One day: what needs work is claimed, then made client by client."""
        started = time.monotonic()
        doing = Doing(self._tools.encoder.model_id)
        if Asset.CONVERSATIONS in self._assets:
            self._claim(day)
        else:
            self._claim_as_chosen(day)
        lines = lines_held(self._tools, self._token, day)
        # Those whose last conversation has left meanwhile have no lines, and an empty day to be finished.
        for client_day in self._held(day):
            if self._stopped.is_set():
                break
            run, own = DayRun(self._tools, client_day, self._token), frames.of_client(lines, client_day.client)
            with (
                isolated(run.tools, client_day, self._token, self._making.patience, self._context.log),
                self._traced(client_day, len(own)),
            ):
                self._make_client(run, own, doing, started)
            self._pace.rest()
        self._leave_unfinished(day)
        doing.seconds = time.monotonic() - started
        with self._db.read() as connection:
            # Also what an earlier try of the step has done: its checks would else be told anew, over nothing.
            taken = claims.taken(connection, self._token, day)
            stored = totals.of_day(connection, day)
            figures = metadata.of_day(connection, stored, taken, doing, self._assets)
        versions = metadata.versions_of(stored, self._tools.config.fingerprint)
        return DayMade(day, taken, figures, versions, metadata.in_words(day, taken, doing))

    @contextmanager
    def _traced(self, client_day: ClientDay, lines: int) -> Iterator[None]:
        """A span of a client's day, in the trace of the request that asked for it."""
        if not telemetry.is_on():
            yield
            return
        with self._db.as_client(client_day.client).write() as connection:
            asking = askings.take(connection, client_day)
        parent = asking and asking.traceparent
        if asking is not None:
            telemetry.waited("wait for a worker", asking.traceparent, asking.asked_at)
        named = {"client": client_day.client, "day": client_day.day.isoformat(), "run_id": self._token}
        with telemetry.span("make day", parent, **named, lines=lines):
            yield

    def _make_client(self, run: DayRun, own: pd.DataFrame, doing: Doing, started: float) -> None:
        """A client's day, as far as the chosen assets go."""
        if self._awaited:
            with telemetry.span("first look"):
                show_first_look(run, own, self._context.log.warning)
        doing.lines += len(own)
        if {Asset.EMBEDDINGS, Asset.CLUSTERS} & {*self._assets}:
            with doing.timed(Asset.EMBEDDINGS):
                keys, made = run.embed(own)
                vectors = dict(zip(keys, made, strict=True))
                doing.texts += len(vectors)
        if Asset.CLUSTERS in self._assets:
            with doing.timed(Asset.CLUSTERS):
                comparison = run.compare(own, vectors, self._pace, started + self._turn_s)
                members = run.fold(own, comparison).rows
                publishing.store_clusters(run.tools.db, run.client_day, self._token, members)
                doing.compared(run.client_day.client, comparison, members)
        if Asset.DOCUMENT in self._assets:
            with doing.timed(Asset.DOCUMENT):
                with run.tools.db.read() as connection:
                    folds = clusters.folds_of(connection, run.client_day)
                document = run.document(own, folds)
                publishing.publish_made(run.tools, run.client_day, self._token, document)
                doing.published(run.client_day.client, document)

    def _held(self, day: date) -> list[ClientDay]:
        with self._db.read() as connection:
            return claims.held(connection, self._token, [day])

    def _claim(self, day: date) -> None:
        """Claim the clients' days that need work, but for those that an earlier try of the step has finished."""
        after = self._tags.get(tags.CLAIM)
        with self._db.read() as connection:
            held = claims.held(connection, self._token, [day])
            finished = {*claims.taken(connection, self._token, day)} - {*held}
        for work in self._work([day]):
            if self._stopped.is_set():
                return
            if work.client_day in finished:
                continue
            # Each in a transaction of its own: runs that take them in another order must not deadlock.
            with self._db.as_client(work.client_day.client).write() as connection:
                is_taken = claims.take(
                    connection,
                    work.client_day,
                    self._token,
                    self._making.claim_ttl_s,
                    work.lines,
                    background=not self._awaited,
                    after=after,
                )
            if not is_taken:
                self._context.log.warning(f"{work.client_day}: another run is at work on it; left to that one")

    def _claim_as_chosen(self, day: date) -> None:
        """Claim a day of which some later assets were chosen in the UI; what somebody else holds is left alone."""
        with self._db.write() as connection:
            for client_day in states.client_days_on(connection, day):
                claim = claims.acquire(
                    connection,
                    client_day,
                    self._token,
                    self._making.claim_ttl_s,
                    background=not self._awaited,
                )
                if claim == "new" and Asset.DOCUMENT in self._assets:
                    claims.begin(connection, client_day)

    def _leave_unfinished(self, day: date) -> None:
        """Let go of a day of which no document was asked for."""
        if Asset.DOCUMENT in self._assets:
            return
        with self._db.write() as connection:
            for client_day in claims.held(connection, self._token, [day]):
                claims.give_back(connection, self._token, only=client_day)
                self._tools.snapshots.drop(client_day)


def is_awaited(run: DagsterRun) -> bool:
    """Whether a visitor waits for a run."""
    return run.tags.get(tags.TRIGGER) == Trigger.ON_DEMAND


def lines_held(tools: DayTools, token: str, day: date) -> pd.DataFrame:
    """The lines (``frames.DISCOVERED``) of the clients' days that ``token`` holds; read once in a process."""
    with tools.db.read() as connection:
        held = claims.held(connection, token, [day])
    parts = []
    for client_day in held:
        with tools.db.as_client(client_day.client).write() as connection:
            parts.append(tools.snapshots.read(connection, client_day, token))
    filled = [part for part in parts if part is not None and len(part)]
    if not filled:
        return frames.frame([], frames.DISCOVERED)
    return filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
