"""The shapes of the answers, for the OpenAPI document. Answers themselves are bytes that are not built from these."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from crew_pipeline.model import OperatingPoint
from crew_pipeline.storage.evidence.verdicts import Verdict
from crew_pipeline.storage.webhooks import KINDS
from crew_pipeline.storage.webhooks import Kind as WebhookKind

JSON = "application/json"


class Place(BaseModel):
    """A place in a line's text (code points)."""

    line_id: str
    start: int


class Repeat(BaseModel):
    """A part of a text (code points of the whole text) that is folded: it stands at ``of``, ``times`` on end.

    ``within``: where indented code follows, the folded row that it belongs to. With ``passages=omit`` parts that follow
    one another are given as one: ``of`` lies in the line that shows most of it, ``other_lines`` show the rest.
    """

    start: int
    end: int
    of: Place
    lines: int
    times: int = 1
    other_lines: int = 0
    reason: str
    within: str | None = None


class Span(BaseModel):
    """A part of a text (code points)."""

    start: int
    end: int


class StandingText(BaseModel):
    """What a voice says at the head of most of its messages of the day, where it stands first.

    ``hidden``: what of it visitors want left out; `passages=omit` does so.
    """

    name: str
    messages: int
    characters: int
    key: str
    spans: list[Span]
    hidden: list[Span] = []


class StandingSince(BaseModel):
    """A standing text of a day, and since when it has been as it is; ``changed``: there was another one before."""

    crew: str
    speaker: str
    name: str
    characters: int
    messages: int
    key: str
    since: date
    changed: bool


class StandingTexts(BaseModel):
    """The standing texts of a day."""

    standing: list[StandingSince]


class LinkedPart(BaseModel):
    """A conversation of a day that goes on from another day (``before``), or on another day (``after``): ids and
    days."""

    id: str
    before: str | None
    before_day: date | None
    after: str | None
    after_day: date | None


class LinkedParts(BaseModel):
    """The conversations of a day that are parts of longer ones."""

    parts: list[LinkedPart]


class HiddenVariation(BaseModel):
    """A line that is folded under another, with the evidence."""

    line_id: str
    conversation_id: str
    speaker: str
    spoken_at: datetime
    text: str
    repeats: list[Repeat] = []
    similarity: float
    probability: float
    reason: str


class ShownLine(BaseModel):
    """A line of the day."""

    line_id: str
    speaker: str
    spoken_at: datetime
    text: str
    repeats: list[Repeat] = []
    standing: StandingText | None = None
    is_unique: bool
    is_deduplicated: bool
    represents_cluster: str | None
    canonical_confidence: float | None
    hidden_variations: list[HiddenVariation]
    represented_by: str | None = None
    similarity: float | None = None
    probability: float | None = None
    reason: str | None = None


class ShownConversation(BaseModel):
    """A conversation of the day."""

    id: str
    session_id: str
    client: str
    crew: str
    title: str | None
    started_at: datetime
    ended_at: datetime
    line_count: int
    hidden_count: int
    character_count: int | None = None
    hidden_character_count: int | None = None
    times_inferred: bool = False
    display_conversation: list[ShownLine]


class DayMetadata(BaseModel):
    """How the answer came about."""

    processing_status: Literal["completed", "processing", "failed"]
    processing_time_ms: float = Field(description="how long a document's day was in work; else this request")
    cache_hit: bool
    semantic_enabled: bool
    stale: bool
    version: str | None
    processed_at: datetime | None
    character_count: int | None
    hidden_character_count: int | None
    timezone: str = Field(description="in which the day begins and ends")
    status_url: str | None = None
    events_url: str | None = None
    websocket_url: str | None = None
    preliminary: bool | None = None


class WholeLine(ShownLine):
    """A line with where it stands; a hidden one names the line that it is folded under."""

    conversation_id: str
    day: date


class DayEnvelope(BaseModel):
    """A day."""

    success: bool
    data: list[ShownConversation]
    metadata: DayMetadata
    error: str | None = None
    fallback_data: list[ShownConversation] | None = None


class LatestDay(BaseModel):
    """The newest day with a conversation."""

    day: date | None


class DayState(BaseModel):
    """Where a day stands."""

    days_date: date
    semantic_status: Literal["empty", "pending", "queued", "processing", "completed", "failed"]
    processed_at: datetime | None
    conversation_count: int
    estimated_processing_time_s: float
    progress: float
    stage: str | None
    error: str | None


class QueuedDay(BaseModel):
    """A day that waits."""

    days_date: date
    priority: int
    conversation_count: int
    line_count: int


class Queue(BaseModel):
    """Days waiting, in order."""

    days: list[QueuedDay]


class FailedDay(BaseModel):
    """A day whose last try failed; without ``retry_at`` it was set aside."""

    days_date: date
    conversation_count: int
    line_count: int
    error: str | None
    retry_at: datetime | None


class FailedDays(BaseModel):
    """Days whose last try failed, newest first."""

    days: list[FailedDay]


class Retried(BaseModel):
    """A day that is tried again."""

    days_date: date
    semantic_status: Literal["queued"]


class DayEvent(BaseModel, extra="allow"):
    """One event; further fields by type."""

    seq: int
    days_date: date
    type: str


class DayEvents(BaseModel):
    """Events of a day; ``next`` is the ``after`` to go on with."""

    days_date: date
    events: list[DayEvent]
    next: int


class Events(BaseModel):
    """Events of any day; ``next`` is the ``after`` to go on with."""

    events: list[DayEvent]
    next: int


class NewWebhook(BaseModel, extra="forbid"):
    """Where to be told, and of what."""

    url: str = Field(min_length=8, max_length=2_000, pattern="^https?://", examples=["https://example.org/hook"])
    events: Annotated[list[WebhookKind], Field(min_length=1, max_length=10)] = Field(default_factory=lambda: [*KINDS])
    label: str = Field("", max_length=200, pattern=r"^[^\x00]*$")


class WebhookAdded(BaseModel):
    """A webhook; its secret is shown this once."""

    id: str
    url: str
    events: list[WebhookKind]
    label: str
    secret: str


class Webhook(BaseModel):
    """A webhook, and how telling it goes; ``dead``: messages that were given up."""

    id: str
    url: str
    events: list[WebhookKind]
    label: str
    created_at: datetime
    disabled_at: datetime | None
    delivered_at: datetime | None
    waiting: int
    dead: int


class Webhooks(BaseModel):
    """The webhooks of a client."""

    webhooks: list[Webhook]


class Delivery(BaseModel):
    """A message to a webhook; ``status`` and ``error`` of the last attempt."""

    id: str
    type: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    dead_at: datetime | None
    status: int | None
    error: str | None


class Deliveries(BaseModel):
    """Messages to a webhook, newest first."""

    deliveries: list[Delivery]


class QueuedMessages(BaseModel):
    """How many messages are sent now."""

    queued: int


class Removed(BaseModel):
    """What is gone."""

    removed: str


class Health(BaseModel):
    """Whether the process lives."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether it can serve, each dependency named."""

    ready: bool
    dependencies: dict[str, str]


LineName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
"""`line_id` of a line of a day."""


class OfTwoLines(BaseModel, extra="forbid"):
    """What a visitor says about two lines of a day."""

    verdict: Literal["same", "different"]
    line_id: LineName
    other_line_id: LineName


class OfPassages(BaseModel, extra="forbid"):
    """That the passages of a line between two places of its text are always shown."""

    verdict: Literal["show"]
    line_id: LineName
    start: int = Field(0, ge=0, description="where they begin, in code points of the text")
    end: int | None = Field(None, ge=1, description="where they end; the end of the text unless told")


class OfStandingText(BaseModel, extra="forbid"):
    """That the standing text of a line's speaker is left out."""

    verdict: Literal["hide"]
    line_id: LineName


NewFeedback = Annotated[OfTwoLines | OfPassages | OfStandingText, Field(discriminator="verdict")]
"""What a visitor says."""


class GivenFeedback(BaseModel):
    """A verdict as it was stored: days that are served anew, and days that follow in the background."""

    id: int
    verdict: Verdict
    refolded: list[date]
    later: list[date]


class UndoneFeedback(BaseModel):
    """A verdict that was taken back."""

    id: int
    refolded: list[date]
    later: list[date]


class Feedback(BaseModel):
    """A verdict of a visitor."""

    id: int
    client: str
    verdict: Verdict
    left_text: str
    right_text: str
    left_speaker: str
    right_speaker: str
    day: date
    created_at: datetime
    undone_at: datetime | None


class FeedbackList(BaseModel):
    """Verdicts, oldest first."""

    feedback: list[Feedback]


class Forget(BaseModel, extra="forbid", populate_by_name=True):
    """What is to be erased: all that the names that are given have in common."""

    line_id: str | None = Field(None, pattern=r"^[^\x00]+-[0-9]{1,19}$")
    conversation_id: str | None = Field(None, pattern=r"^[^\x00]+$")
    crew: str | None = Field(None, pattern=r"^[^\x00]+$")
    first: date | None = Field(None, alias="from")
    last: date | None = Field(None, alias="to")
    everything: bool = Field(False, description="all of the client; stands alone")
    dry_run: bool = False

    @property
    def line(self) -> tuple[str, int] | None:
        """The conversation and position of the line."""
        if self.line_id is None:
            return None
        conversation, _, position = self.line_id.rpartition("-")
        return conversation, int(position)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        named = [self.line_id, self.conversation_id, self.crew, self.first, self.last]
        if self.everything == any(name is not None for name in named):
            raise ValueError("name a line, a conversation, a crew or days; or only 'everything': true for all there is")
        if self.line is not None and self.line[1] >= 2**63:
            raise ValueError("there is no such line_id")
        if self.line_id is not None and self.conversation_id is not None:
            raise ValueError("a line_id names its conversation already")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError("'from' lies after 'to'")
        return self


class ForgottenRows(BaseModel):
    """What was erased, or would be: rows by table; `days` are made again from what is left."""

    erased: bool
    lines: int
    rows: dict[str, int]
    days: list[date]


class ListedConversation(BaseModel):
    """A conversation in the index. ``times_inferred``: its source tells no time, these are when it was first seen."""

    id: str
    session_id: str
    client: str
    crew: str
    title: str | None
    days_date: date
    started_at: datetime
    ended_at: datetime
    line_count: int
    semantic_status: Literal["pending", "queued", "processing", "completed", "failed"]
    times_inferred: bool
    source_deleted_at: datetime | None


class ConversationIndex(BaseModel):
    """A page of the index; ``next_cursor`` is null on the last."""

    success: bool
    data: list[ListedConversation]
    next_cursor: str | None


class ConversationComplete(BaseModel, extra="forbid"):
    """Which conversation is complete."""

    session_id: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
    crew_code: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]


class IndexedConversation(BaseModel):
    """The conversation as it is indexed now, and whether that is new."""

    success: bool
    conversation: ListedConversation
    new: bool
    changed: bool


class NewLine(BaseModel, extra="forbid"):
    """A line that a source pushes.

    ``line``: its own number in the session; ``created_at``: when it was said; now where that is left out.
    """

    speaker: Annotated[str, Field(max_length=512)]
    text: str
    created_at: str | None = None
    line: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


class NewLines(BaseModel, extra="forbid"):
    """Lines of a conversation."""

    crew: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
    session_id: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
    title: Annotated[str, Field(max_length=512)] | None = None
    lines: Annotated[list[NewLine], Field(min_length=1, max_length=5_000)]


class PushedLines(BaseModel):
    """What became of lines that were pushed."""

    new: int
    changed: int
    unchanged: int
    forgotten: int


class PushedConversation(BaseModel):
    """The conversation (its last day's part) with what was pushed, and the days that wait to be made anew."""

    success: bool
    conversation: ListedConversation | None
    lines: PushedLines
    days: list[date]


class CalendarDay(BaseModel):
    """A day that holds conversations."""

    date: date
    conversations: int
    lines: int
    folded: int
    state: Literal["ready", "stale", "waiting", "processing", "failed"]


class Calendar(BaseModel):
    """A row a day, oldest first."""

    timezone: str
    days: list[CalendarDay]


class LineBeside(BaseModel):
    """A line before or after another, its text cut where it is long."""

    line_id: str
    speaker: str
    text: str


class FoundPlace(BaseModel):
    """Where a text stands: ``start`` to ``end`` of a line (code points)."""

    day: date
    line_id: str
    start: int
    end: int
    conversation_id: str
    session_id: str
    title: str | None
    crew: str
    speaker: str
    spoken_at: datetime
    before: LineBeside | None
    after: LineBeside | None


class FoundText(BaseModel):
    """A text that was found, and where it was said: ``times`` in all, the newest of its ``places``.

    ``highlights``: what of it was asked for (code points). ``similarity``: cosine of query and text, where its meaning
    was found.
    """

    text: str
    highlights: list[tuple[int, int]]
    score: float
    similarity: float | None
    found_by: list[Literal["words", "meaning"]]
    times: int
    days: int
    first_day: date
    last_day: date
    places: list[FoundPlace]


class SearchResults(BaseModel):
    """A page of what was found, the best first. ``total``: texts in all, a hundred at most; ``indexing``: something
    newer is not found yet."""

    query: str
    mode: Literal["auto", "words", "meaning"]
    results: list[FoundText]
    total: int
    next_cursor: str | None
    indexing: bool


class RelatedPair(BaseModel):
    """A line of the conversation that was asked about, and one of the other that is near it in meaning."""

    line_id: str
    other_line_id: str
    other_speaker: str
    other_text: str
    similarity: float


class RelatedConversation(BaseModel):
    """A conversation that speaks of the same, and what shows it."""

    conversation_id: str
    day: date
    session_id: str
    title: str | None
    crew: str
    score: float
    pairs: list[RelatedPair]


class RelatedConversations(BaseModel):
    """The nearest first; ``indexing``: something newer is not looked at yet."""

    related: list[RelatedConversation]
    indexing: bool


class ThemeLine(BaseModel):
    """A line of a theme."""

    line_id: str
    speaker: str
    text: str


class ThemePattern(BaseModel):
    """What holds of when a theme is spoken of. ``said``: in words; ``conversations`` of ``of`` lie there; ``chance``:
    that so many would (``gone``, ``back``: so few). ``weekday``: 0 is Monday; ``part``: of the day, six hours each."""

    theme: int
    kind: Literal["weekday", "part", "weekday_part", "rising", "gone", "back"]
    said: str
    weekday: int | None
    part: int | None
    conversations: int
    of: int
    chance: float
    since: date | None


class Theme(BaseModel):
    """What days are about. ``id`` lasts; ``words`` tell it from others; ``line`` stands for it best. ``kind``:
    ``found``, or ``made`` or ``seed`` by a person; ``is_named``: by a person."""

    id: int
    kind: Literal["found", "made", "seed"]
    name: str
    is_named: bool
    words: list[str]
    segments: int
    conversations: int
    days: int
    first_day: date | None
    last_day: date | None
    line: ThemeLine | None
    patterns: list[ThemePattern]


class ThemeList(BaseModel):
    """All themes, most conversations first."""

    themes: list[Theme]
    fitted_at: datetime | None


class ThemeTopic(BaseModel):
    """A part of a theme. ``pinned``: a person has put it there, so it stays."""

    id: int
    words: list[str]
    segments: int
    pinned: bool


class ThemeMoment(BaseModel):
    """A day, week or month by its first day: conversations about a theme, of how many."""

    from_: date = Field(alias="from")
    conversations: int
    of: int


class ThemeBeside(BaseModel):
    """A theme that comes in the same conversations, more often than chance would have it."""

    theme: int
    conversations: int
    chance: float


class ThemeDetail(BaseModel):
    """A theme. ``hours``: conversations by weekday (the first is Monday) and hour in which they began."""

    theme: Theme
    topics: list[ThemeTopic]
    timeline: list[ThemeMoment]
    hours: list[list[int]]
    together: list[ThemeBeside]


class ThemeSegment(BaseModel):
    """Lines that follow each other and are about a theme."""

    day: date
    conversation_id: str
    session_id: str
    title: str | None
    crew: str
    topic: int
    similarity: float
    loose: bool
    lines: list[ThemeLine]


class ThemeSegments(BaseModel):
    """A page of them, newest day first."""

    segments: list[ThemeSegment]
    next_cursor: str | None


ThemeNumber = Annotated[int, Field(ge=1, le=10**15)]
"""Of a theme or topic: as large as JSON holds numbers exactly everywhere."""
ThemeName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewTheme(BaseModel, extra="forbid"):
    """A theme of one's own: a name, and lines that speak of it."""

    name: ThemeName
    examples: Annotated[list[Annotated[str, Field(min_length=3, max_length=1000)]], Field(min_length=1, max_length=20)]


class RenamedTheme(BaseModel, extra="forbid"):
    """Its name from now on; null: its own words again."""

    name: ThemeName | None


class MergedTheme(BaseModel, extra="forbid"):
    """Which theme it is put into."""

    into: ThemeNumber


class SplitTheme(BaseModel, extra="forbid"):
    """Topics that are a theme of their own from now on; none: where it comes apart best."""

    topics: Annotated[list[ThemeNumber], Field(max_length=400)] = []


class LineOfTheme(BaseModel, extra="forbid"):
    """The line that is put into the theme."""

    line_id: Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00]+$")]


class ChangedTheme(BaseModel):
    """The theme that a correction has led to."""

    id: int


class ForbiddenWords(BaseModel):
    """Words that name no theme."""

    words: list[str]


class NewSession(BaseModel, extra="forbid"):
    """A token to sign in with; ``keep``: for thirty days, not only until the browser is closed."""

    token: Annotated[str, Field(min_length=1, max_length=200)]
    keep: bool = False


class Session(BaseModel):
    """Whose days are seen, and which ``clients`` may be named; ``open``: no token is configured."""

    client: str
    open: bool
    clients: list[str]
    timezone: str


class Ticket(BaseModel):
    """Opens one WebSocket, once."""

    ticket: str
    expires_in_s: int


class DayVersion(BaseModel):
    """A result of a day."""

    version: str
    processed_at: datetime
    is_current: bool
    conversations: int
    lines: int
    folded: int
    processing_time_ms: float
    run_url: str | None


class DayVersions(BaseModel):
    """The results of a day that are kept, the latest first."""

    versions: list[DayVersion]


class ChangedLine(BaseModel):
    """A line that is seen otherwise; ``under``: the line that it is folded under, in the result that folds it."""

    line_id: str
    speaker: str
    text: str
    under: str | None
    under_text: str | None
    reason: str | None
    probability: float | None


class DayChanges(BaseModel):
    """What differs between two results of a day."""

    before: str = Field(alias="from")
    after: str = Field(alias="to")
    counts: dict[str, int] = Field(description="how many there are of each kind; at most 200 of each are told")
    folded: list[ChangedLine]
    unfolded: list[ChangedLine]
    came: list[ChangedLine]
    went: list[ChangedLine]


class TriedFolding(BaseModel):
    """What another operating point would change."""

    at: OperatingPoint
    counts: dict[str, int] = Field(description="how many there are of each kind; at most 200 of each are told")
    folded: list[ChangedLine]
    unfolded: list[ChangedLine]


class NewFolding(BaseModel, extra="forbid"):
    """An operating point to fold at; ``default``: the system's."""

    folding: OperatingPoint | Literal["default"]


class FoldingPoint(BaseModel):
    """The operating point in force; the days that were folded again by a change, and those that follow."""

    folding: OperatingPoint
    own: bool
    refolded: list[date] = []
    later: list[date] = []


class SystemStatus(BaseModel, extra="allow"):
    """The system in figures: days by status, the queue, last runs, workers, discovery, alerts, and what failed."""

    by_status: dict[str, dict[str, int]]
    queue: list[dict[str, Any]]
    workers: int
    alerts: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    visits: list[dict[str, Any]]
