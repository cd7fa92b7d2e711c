"""What a reading of a source brought, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from crew_pipeline.discovery.reading import Reading
from crew_pipeline.storage.conversations.index import Stored
from crew_pipeline.storage.conversations.ingest import IngestReport
from crew_pipeline.storage.sources.rounds import Round


def in_words(left_out: Mapping[str, int]) -> str:
    """What was left out, by kind: a list for people."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(left_out.items()))


@dataclass
class CrewReport:
    """What one crew's source brought: counts, refused lines with reasons, or the error that ended it.

    Attributes:
        sessions, sessions_failed: sessions with rows that were read, and with a row refused, since the last ``settle``.
        scanned, failed: how many of each ``settle`` has counted.
        finished: false where time ran out; the next round goes on.
        begun_anew: the table was replaced, or uses its keys again; it has been read from where that began.
        deleted: sessions that the source no longer has.
        not_yet: keys of rows whose time lies ahead; they are asked for again.
        stored: what the crew holds afterwards, counted in the tables.
        import_id: by which an import can be taken back; None for a round, and where nothing has changed.
        twins: how many conversations that it brought are there word for word under other crews, by crew.
        warnings: what makes reading this table slow or its times unsure.
    """

    client: str
    crew: str
    reading: Reading = field(default_factory=Reading)
    ingested: IngestReport = field(default_factory=IngestReport)
    error: str | None = None
    sessions: set[str] = field(default_factory=set)
    sessions_failed: set[str] = field(default_factory=set)
    scanned: int = 0
    failed: int = 0
    finished: bool = True
    begun_anew: bool = False
    deleted: list[str] = field(default_factory=list)
    not_yet: set[int] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stored: Stored | None = None
    import_id: int | None = None
    twins: dict[str, int] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """Lines that were not imported."""
        return self.reading.rejected + len(self.ingested.conflicts)

    @property
    def rejections(self) -> list[tuple[int, str]]:
        """Line number (or message id) and reason of what was not imported, in order."""
        return sorted([*self.reading.rejections, *self.ingested.conflicts])

    def settle(self) -> None:
        """Count the sessions so far, once each in however many batches they came, and forget which they were."""
        done = self.ingested
        done.conversations_unchanged += len(
            self.sessions - done.new_sessions - done.changed_sessions - self.sessions_failed
        )
        done.forget_sessions()
        self.scanned += len(self.sessions)
        self.failed += len(self.sessions_failed)
        self.sessions.clear()
        self.sessions_failed.clear()

    @property
    def summary(self) -> str:
        """The report as one line of a log."""
        done = self.ingested
        changed = f"{done.conversations_changed} changed, " if done.conversations_changed else ""
        left_out = "; left out: " + in_words(self.reading.left_out) if self.reading.left_out else ""
        return (
            f"{done.conversations_new} new, {changed}{done.conversations_unchanged} skipped, "
            f"{self.rejected + (self.error is not None)} errors{left_out}"
        )

    def as_round(self, trigger: str, started_at: datetime) -> Round:
        """The report as it is kept for figures and alerts."""
        done = self.ingested
        return Round(
            trigger=trigger,
            started_at=started_at,
            seconds=self.seconds,
            rows_read=self.reading.lines_read,
            sessions_scanned=self.scanned,
            sessions_created=done.conversations_new,
            sessions_changed=done.conversations_changed,
            sessions_skipped=done.conversations_unchanged,
            sessions_failed=self.failed,
            rows_refused=self.rejected,
            finished=self.finished,
            error=self.error,
            left_out=self.reading.left_out,
        )

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        done = self.ingested
        return {
            "client": self.client,
            "crew": self.crew,
            "conversations": {
                "read": done.conversations,
                "new": done.conversations_new,
                "changed": done.conversations_changed,
                "skipped": done.conversations_unchanged,
            },
            "lines": {
                "read": self.reading.lines_read,
                "new": done.lines_new,
                "changed": done.lines_changed,
                "skipped": done.lines_unchanged,
                "rejected": self.rejected,
            },
            "lines_withdrawn": done.lines_withdrawn,
            "lines_forgotten": done.lines_forgotten,
            "left_out": dict(sorted(self.reading.left_out.items())),
            "rejections": [{"line": number, "reason": reason} for number, reason in self.rejections],
            "days": [day.isoformat() for day in done.days],
            "finished": self.finished,
            "begun_anew": self.begun_anew,
            "deleted_sessions": self.deleted,
            "not_yet": len(self.not_yet),
            "warnings": self.warnings,
            "import_id": self.import_id,
            "twins": self.twins,
            "stored": None if self.stored is None else self.stored._asdict(),
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }
