"""What came of reading a source: counts, refusals with their reasons, titles of conversations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_MOST_REPORTED = 10_000
_MAX_TITLE_CHARS = 512
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass
class Reading:
    """What came of reading a source; filled while it is read.

    Attributes:
        lines_read: records that were considered as a line.
        rejected: how many of them were refused.
        rejections: line number and reason of the first ``10,000``, in order.
        titles: title of each conversation that has one, by its ``session_id``.
        moved: session and position at which a line may have stood in an earlier export, but no longer does.
        spared: session and position of lines that were refused.
        left_out: how much was passed over because it is no talk, by kind: images, files, thoughts, results of tools.
    """

    lines_read: int = 0
    rejected: int = 0
    rejections: list[tuple[int, str]] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    moved: list[tuple[str, int]] = field(default_factory=list)
    spared: list[tuple[str, int]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def leave_out(self, *kinds: Mapping[str, int]) -> None:
        """Count what is no talk, by kind."""
        for counted in kinds:
            self.left_out.update(counted)

    def spare(self, record: object) -> None:
        """Remember the place of a line that is refused: what an earlier export had there is not gone."""
        if isinstance(record, Mapping):
            session_id, position = record.get("session_id"), record.get("line")
            if isinstance(session_id, str) and isinstance(position, int):
                self.spared.append((session_id, position))

    def reject(self, source_line: int, reason: str) -> None:
        """Count a refused line and keep the reason."""
        self.rejected += 1
        if len(self.rejections) < _MOST_REPORTED:
            self.rejections.append((source_line, reason))

    def entitle(self, session_id: object, title: object) -> None:
        """Keep a title on one line, at most ``512`` characters of it; anything empty or not a text is ignored."""
        if isinstance(session_id, str) and isinstance(title, str):
            shown = " ".join(_UNKEEPABLE.sub("", title).split())[:_MAX_TITLE_CHARS]
            if shown:
                self.titles[session_id] = shown
