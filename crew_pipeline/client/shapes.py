"""What the API says, typed. Fields that are not named here may come as well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NotRequired, TypedDict


class HiddenVariation(TypedDict):
    """A line that is folded under another, with the evidence."""

    line_id: str
    conversation_id: str
    speaker: str
    spoken_at: str
    text: str
    similarity: float
    reason: str


class Line(TypedDict):
    """A line of a day. ``spoken_at`` is ISO 8601; ``represented_by`` comes with ``view="full"``, at a hidden one."""

    line_id: str
    speaker: str
    spoken_at: str
    text: str
    is_unique: bool
    is_deduplicated: bool
    represents_cluster: str | None
    canonical_confidence: float | None
    hidden_variations: list[HiddenVariation]
    represented_by: NotRequired[str | None]


class Conversation(TypedDict):
    """A conversation of a day."""

    id: str
    session_id: str
    client: str
    crew: str
    title: str | None
    started_at: str
    ended_at: str
    line_count: int
    hidden_count: int
    display_conversation: list[Line]


class Event(TypedDict):
    """Something that happened to a day; further fields by ``type``."""

    seq: int
    days_date: str | None
    type: str
    progress: NotRequired[float]
    stage: NotRequired[str]
    message: NotRequired[str]
    estimated_remaining_s: NotRequired[float]
    version: NotRequired[str]
    error: NotRequired[str]


class IndexedConversation(TypedDict):
    """A conversation in the index."""

    id: str
    session_id: str
    client: str
    crew: str
    title: str | None
    days_date: str
    started_at: str
    ended_at: str
    line_count: int
    semantic_status: str


class NewLine(TypedDict):
    """A line to be pushed; ``line`` is the source's own number, ``created_at`` ISO 8601."""

    speaker: str
    text: str
    line: NotRequired[int]
    created_at: NotRequired[str]


State = Literal["ready", "processing", "failed"]


@dataclass(frozen=True)
class Day:
    """A day as it was answered.

    Attributes:
        state: ``ready``: with the repeats folded away; ``processing`` and ``failed``: as it was said, unless
            ``preliminary``.
        stale: ready, and being made again.
        preliminary: folds what repeats word for word already.
        tag: the ``ETag``, by which it is asked for again at little cost.
    """

    day: date
    state: State
    conversations: list[Conversation]
    stale: bool
    preliminary: bool
    version: str | None
    tag: str | None
    error: str | None
    metadata: dict[str, Any]


class CrewError(Exception):
    """The API has refused or failed.

    Attributes:
        status: of the answer (HTTP).
        type: the problem's kind: ``urn:crew:problem:…``.
        request_id: under which the server's log has it.
    """

    def __init__(self, status: int, detail: str, type_: str = "about:blank", request_id: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.type = type_
        self.request_id = request_id


class DayFailedError(CrewError):
    """A day could not be made; ``day`` holds what was said, nothing of it folded."""

    def __init__(self, day: Day) -> None:
        super().__init__(500, day.error or "The day could not be made.")
        self.day = day
