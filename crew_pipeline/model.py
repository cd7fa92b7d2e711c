"""The words of the domain, one meaning each. All else is written in them; this module imports nothing of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Literal, NamedTuple

DEFAULT_CLIENT = "default"
"""The client of whoever names none."""
BUNDLED_MODEL = "bundled"
"""The model that comes with the package."""


class ClientDay(NamedTuple):
    """One client's day: what is claimed, computed and served as a whole."""

    client: str
    day: date

    def __str__(self) -> str:
        return f"{self.client}, {self.day}"


class Conversation(NamedTuple):
    """One conversation of a day; with ``times_inferred`` times are when its lines were first seen."""

    id: str
    session_id: str
    crew: str
    title: str | None
    started_at: datetime
    ended_at: datetime
    times_inferred: bool = False


class Line(NamedTuple):
    """One line (a message) as its source has it."""

    conversation_id: str
    position: int
    speaker: str
    spoken_at: datetime
    text: str


class Fold(NamedTuple):
    """A line's place in a cluster: the evidence that ties it to the canonical line, or that it is the canonical one."""

    cluster_id: str
    is_canonical: bool
    similarity: float
    probability: float
    reason: str


LineKey = tuple[str, int]
"""Conversation and position of a line."""
Folds = dict[LineKey, Fold]

_LINE_ID = re.compile(r"(.+)-([0-9]{1,18})", re.DOTALL)


def line_key(line_id: str) -> LineKey | None:
    """The conversation and position that the public id of a line names; None where it is none."""
    found = _LINE_ID.fullmatch(line_id)
    return (found[1], int(found[2])) if found else None


class Repeat(NamedTuple):
    """A part of a visible line's text that is folded, for it stands in a visible line before (or before in this one).

    Attributes:
        start, end: of the part in the text, in code points.
        of, of_start: the line that shows it, and where in its text.
        lines: rows that the part runs over.
        times: how often on end the part says what is shown there once.
        reason: in words.
        within: where code follows that is indented, the row of the folded part that it belongs to; else empty.
    """

    start: int
    end: int
    of: LineKey
    of_start: int
    lines: int
    times: int
    reason: str
    within: str = ""


OperatingPoint = Literal["strict", "balanced", "loose"]
"""How sure the judge must be that two lines say the same; by precision on labelled pairs."""


Precision = Literal["auto", "float32", "bfloat16"]
"""The arithmetic of the embedding model; ``auto``: 16 bits where the processor has them."""


@dataclass(frozen=True)
class EngineOptions:
    """What decides how lines fold, with the specification's defaults; each of these is a setting as well.

    Attributes:
        folding: the operating point: how sure the judge must be that two lines say the same.
        pair_scorer: what scores pairs in doubt: ``bundled``, ``off``, or the name of a cross-encoder.
        short_repeats: whether a line of fewer than three content words folds only under a line of its own speaker
            (``own``) or, where it repeats exactly, under anybody's (``any``).
        min_words: shorter lines stay visible.
        max_words: longer lines are folded only where they repeat exactly.
        min_cluster_size: smallest cluster, in lines.
        languages: those in which lines are judged (ISO 639-1, or ``any``); of others only exact repeats fold.
        precision: the arithmetic that was asked for; what ``auto`` comes to may differ from machine to machine.
    """

    folding: OperatingPoint = "balanced"
    pair_scorer: str = BUNDLED_MODEL
    short_repeats: Literal["own", "any"] = "own"
    min_words: int = 3
    max_words: int = 100
    min_cluster_size: int = 2
    languages: tuple[str, ...] = ("de", "en", "es", "fr")
    precision: Precision = "auto"


class DayState(StrEnum):
    """The state of a conversation, and of a day, which is as far as the least finished of its conversations."""

    PENDING = "pending"
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    EMPTY = "empty"
    """Of a day without conversations; no conversation is in it."""


class ClaimOutcome(StrEnum):
    """How a claim ended."""

    COMPLETED = "completed"
    """The document is published."""
    FAILED = "failed"
    """The day is set aside with its error."""
    RETRIED = "retried"
    """It failed and is tried again."""
    RELEASED = "released"
    """It was given back unfinished; that tells nothing of the day."""
    PAUSED = "paused"
    """It was put behind others that wait, and goes on from where it was."""
    YIELDED = "yielded"
    """A background claim that gave way to a visitor who waits."""
    OVERTAKEN = "overtaken"
    """It died: nobody kept it alive, and another took its place."""


class Trigger(StrEnum):
    """Who asked for a run or a round of discovery."""

    ON_DEMAND = "on-demand"
    """A visitor waits."""
    COMMAND = "command"
    SWEEP = "sweep"
    SENSOR = "sensor"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    BACKFILL = "backfill"
    UI = "ui"
    """Somebody in the Dagster UI, or a program at its API."""
