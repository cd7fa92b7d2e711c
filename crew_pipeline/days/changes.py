"""What differs between two results of a day: of two documents, line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

MOST_TOLD = 200
"""Lines of one kind that are told."""
_LONGEST_CHARS = 300


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_CHARS else f"{text[:_LONGEST_CHARS]}…"


@dataclass(frozen=True)
class ChangedLine:
    """A line that is seen otherwise.

    Attributes:
        under: the line that it is folded under, in the result that folds it.
        reason, probability: of that fold.
    """

    line_id: str
    speaker: str
    text: str
    under: str | None = None
    under_text: str | None = None
    reason: str | None = None
    probability: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Ready to be encoded as JSON, its texts cut."""
        return {**asdict(self), "text": _cut(self.text), "under_text": _cut(self.under_text)}


@dataclass(frozen=True)
class Changes:
    """What the second of two results folds that the first does not (``folded``), what it does not fold any more
    (``unfolded``), which lines it has anew (``came``) and no longer (``went``)."""

    folded: list[ChangedLine] = field(default_factory=list)
    unfolded: list[ChangedLine] = field(default_factory=list)
    came: list[ChangedLine] = field(default_factory=list)
    went: list[ChangedLine] = field(default_factory=list)

    def as_dict(self, most: int = MOST_TOLD) -> dict[str, Any]:
        """Ready to be encoded as JSON: of each kind how many there are (``counts``), the first ``most``, texts cut."""
        lists = {one.name: getattr(self, one.name) for one in fields(self)}
        counts = {name: len(lines) for name, lines in lists.items()}
        return {"counts": counts, **{name: [line.as_dict() for line in lines[:most]] for name, lines in lists.items()}}


def between(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Changes:
    """What changed from one result to another, in the order of the lines.

    Args:
        before, after: conversations as documents hold them.
    """
    old, new = _lines(before), _lines(after)
    changes = Changes()
    for line_id, line in new.items():
        if line_id not in old:
            changes.came.append(line)
        elif line.under is not None and old[line_id].under is None:
            changes.folded.append(line)
    for line_id, line in old.items():
        if line_id not in new:
            changes.went.append(line)
        elif line.under is not None and new[line_id].under is None:
            changes.unfolded.append(line)
    return changes


def _lines(entries: Sequence[Mapping[str, Any]]) -> dict[str, ChangedLine]:
    found: dict[str, ChangedLine] = {}
    for entry in entries:
        for shown in entry["display_conversation"]:
            found[shown["line_id"]] = ChangedLine(shown["line_id"], shown["speaker"], shown["text"])
            for hidden in shown["hidden_variations"]:
                found[hidden["line_id"]] = ChangedLine(
                    hidden["line_id"],
                    hidden["speaker"],
                    hidden["text"],
                    shown["line_id"],
                    shown["text"],
                    hidden["reason"],
                    hidden["probability"],
                )
    return found
