"""The shapes of summaries, recall and what goes with them, for the OpenAPI document."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class SummaryPoint(BaseModel):
    """A sentence as it was said: ``start`` to ``end`` of a line (code points). ``certainty``: that it is of its kind;
    ``times``: how often it was said; ``again``: other lines that say it."""

    line_id: str
    start: int
    end: int
    day: date
    conversation_id: str
    session_id: str
    title: str | None
    crew: str
    speaker: str
    spoken_at: datetime
    text: str
    certainty: float
    times: int
    again: list[str]


class SummaryTask(SummaryPoint):
    """``who`` is to do it, where the sentence says so; ``due``: as it was said; ``due_on``: the day that this means."""

    who: str | None
    due: str | None
    due_on: date | None


class ToldSentence(BaseModel):
    """A sentence of prose, and the lines that it rests on."""

    text: str
    line_ids: list[str]


class DroppedSentence(BaseModel):
    """A sentence of prose that its lines do not bear out, and why."""

    text: str
    why: str


class Prose(BaseModel):
    """The same in prose. ``problem``: why there is none."""

    model: str | None
    sentences: list[ToldSentence]
    dropped: list[DroppedSentence]
    problem: str | None


class SummaryTheme(BaseModel):
    """A theme that conversations of the days speak of, and how many did in as many days ``before``."""

    id: int
    name: str
    conversations: int
    before: int


class Summary(BaseModel):
    """What something comes to, each part in the order in which it was said. ``missing_days``: of so many of its days
    nothing is in it yet. ``themes``: what days were about. ``prose``: where it was asked for."""

    days: int
    missing_days: int
    conversations: int
    lines: int
    key_points: list[SummaryPoint]
    decisions: list[SummaryPoint]
    tasks: list[SummaryTask]
    questions: list[SummaryPoint]
    themes: list[SummaryTheme]
    prose: Prose | None


class RecalledPoint(SummaryPoint):
    """A point of before, what is ``said_now`` of it and how near that is; ``revises``: earlier ones whose place it
    took."""

    similarity: float
    said_now: str
    revises: list[SummaryPoint] = []


class RecalledTalk(BaseModel):
    """A conversation of before that spoke of the same, and what shows it best."""

    conversation_id: str
    day: date
    session_id: str
    title: str | None
    crew: str
    points: list[RecalledPoint]


class Recall(BaseModel):
    """What was said before. ``last``: when it was spoken of last; ``related``: the conversations that spoke of it most;
    ``decided``: what stands; ``open``: what no later decision settles."""

    last: RecalledPoint | None
    related: list[RecalledTalk]
    decided: list[RecalledPoint]
    open: list[RecalledPoint]
    tasks: list[RecalledPoint]


class Step(SummaryPoint):
    """A point of a theme, and what it does with an earlier one (``of``)."""

    kind: Literal["key", "decision", "task", "question"]
    step: Literal["first", "again", "changed", "contradicted"]
    of: SummaryPoint | None


class Development(BaseModel):
    """How an idea developed, in the order in which it was said."""

    steps: list[Step]


class SaidPlace(BaseModel):
    """A line that says the same; ``same_words``: word for word."""

    line_id: str
    day: date
    session_id: str
    title: str | None
    crew: str
    speaker: str
    spoken_at: datetime
    text: str
    same_words: bool


class SaidWeek(BaseModel):
    """A week by its Monday, and how often the same was said in it."""

    from_: date = Field(alias="from")
    times: int


class Said(BaseModel):
    """Where the same was said. ``hours``: by weekday (the first is Monday) and hour, at most ten a day and speaker."""

    times: int
    days: int
    first: date | None
    last: date | None
    weeks: list[SaidWeek]
    places: list[SaidPlace]
    hours: list[list[int]]
    indexing: bool


_Said = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"^[^\x00]+$")]
_Named = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class LiveLine(BaseModel, extra="forbid"):
    """A line that was just said."""

    speaker: _Named
    text: _Said


class LiveLines(BaseModel, extra="forbid"):
    """What was just said in a conversation that is under way."""

    session_id: _Named
    lines: Annotated[list[LiveLine], Field(min_length=1, max_length=50)]


class LiveAnswer(BaseModel):
    """``seq`` counts what was posted; ``websocket_url``: where the same comes unasked."""

    seq: int
    websocket_url: str
    recall: Recall
