"""How a deduplicated day looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from crew_pipeline.commands import console
from crew_pipeline.commands.console import name, shown
from crew_pipeline.days.standing_texts import Since
from crew_pipeline.dedup.repeats import REASON
from crew_pipeline.dedup.views import left_out
from crew_pipeline.storage.conversations.parts import Linked

MOST_ROWS, MOST_CHARACTERS = 12, 400
"""Of a message, and of one of its rows, before it is cut."""
MOST_PLACES = 3
"""Lines that are named for a conversation that stands under others."""
_INDENT = " " * 9

Entry = Mapping[str, Any]


class DayView:
    """Prints a day as ``days.reading.read_day`` answers it.

    Args:
        since: since when standing texts have been as they are.
        linked: which of the conversations go on from or on other days.
        zone: in which times are shown.
        only_folds: only lines that stand for others.
        whole: every message to its end, with what is folded in it.
    """

    def __init__(
        self,
        answer: Entry,
        since: Iterable[Since],
        linked: Iterable[Linked],
        zone: ZoneInfo,
        *,
        only_folds: bool,
        whole: bool,
    ) -> None:
        self._answer = answer
        self._linked = {part.id: part for part in linked}
        self._zone = zone
        self._since = {text.key: text for text in since}
        self._only_folds = only_folds
        self._whole = whole
        self._lines = {line["line_id"]: line for entry in answer["data"] for line in entry["display_conversation"]}
        self._cut = False
        self._day = ""

    def show(self, day: date, client: str) -> None:
        """Print all of it."""
        self._day = day.isoformat()
        if not self._answer["data"]:
            console.say(f"No conversations of {client} on {day}.")
            return
        for conversation in self._answer["data"]:
            lines = conversation["display_conversation"]
            chosen = [line for line in lines if line["hidden_variations"] or not self._only_folds]
            if chosen or not self._only_folds:
                self._print_conversation(conversation, chosen)
        self._print_sum(day, client)

    def _print_conversation(self, conversation: Entry, lines: Sequence[Entry]) -> None:
        console.styled(
            f"\n[bold]{name(conversation['title'] or conversation['session_id'])}[/]  "
            f"[dim]{name(conversation['crew'])}, {conversation['line_count']} lines, "
            f"{_folded(conversation['hidden_count'], conversation)}{self._goes_on(conversation['id'])}[/]"
        )
        for line in lines:
            self._print_line(line)
        if not lines:
            console.styled(f"   [dim]⋯ nothing new: {self._said_where(conversation['id'])}[/]")

    def _goes_on(self, conversation_id: str) -> str:
        """On which days a conversation was said before and after."""
        part = self._linked.get(conversation_id)
        if part is None:
            return ""
        before = [f"from {part.before_day}"] if part.before_day else []
        return ", goes on " + " and ".join([*before, *([f"on {part.after_day}"] if part.after_day else [])])

    def _said_where(self, conversation_id: str) -> str:
        """Under which lines a conversation stands of which none is visible."""
        visible = [
            line
            for line in self._lines.values()
            if any(hidden["conversation_id"] == conversation_id for hidden in line["hidden_variations"])
        ]
        first = [f"{self._clock(line['spoken_at'])} {name(line['speaker'])}" for line in visible[:MOST_PLACES]]
        more = f" and {len(visible) - len(first)} more" if len(visible) > len(first) else ""
        return f"as at {', '.join(first)}{more}"

    def _clock(self, moment: str) -> str:
        return f"{datetime.fromisoformat(moment).astimezone(self._zone):%H:%M}"

    def _print_line(self, line: Entry) -> None:
        mark = "[dim]~[/]" if line.get("represented_by") else " "
        head = f" {mark} {self._clock(line['spoken_at'])} [bold]{name(line['speaker'])}[/]:"
        rows = list(self._rows(line))
        left = 0 if self._whole else max(0, len(rows) - MOST_ROWS)
        if left:
            self._cut = True
            rows = [*rows[:MOST_ROWS], f"[dim]… {left} more rows[/]"]
        if len(rows) == 1:
            console.styled(f"{head} {rows[0]}")
        else:
            console.styled("\n".join([head, *(_INDENT + row for row in rows)]))
        for hidden in line["hidden_variations"]:
            self._print_hidden(hidden)

    def _rows(self, line: Entry) -> Iterator[str]:
        """The rows of a line's text; a thin one for each stretch that is folded in it."""
        text, place = line["text"], 0
        folded = [] if self._whole else left_out(line)
        standing = None if self._whole else line.get("standing")
        if standing:
            end = ", left out as was asked" if standing.get("hidden") else ""
            yield (
                f"[dim]{name(standing['name'])}, {standing['characters']:,} characters, "
                f"in {standing['messages']:,} messages{self._known_since(standing)}{end or ':'}[/]"
            )
        for fold in folded:
            yield from self._text_rows(text[place : fold["start"]])
            yield self._fold_row(fold, len(text))
            place = fold["end"]
        yield from self._text_rows(text[place:]) if place < len(text) or not folded else ()

    def _known_since(self, standing: Entry) -> str:
        text = self._since.get(standing["key"])
        if text is None or not (text.changed or f"{text.since}" != self._day):
            return ""
        return f"; {'changed on' if text.changed else 'the same since'} {text.since}"

    def _text_rows(self, text: str) -> Iterator[str]:
        rows = text.splitlines() or [""]
        for held, together in groupby(rows, key=lambda row: bool(row.strip())):
            for row in together if held else [""] if len(rows) > 1 else []:
                long = len(row) > MOST_CHARACTERS and not self._whole
                self._cut |= long
                yield shown(row[:MOST_CHARACTERS]) + f" [dim]… {len(row):,} characters[/]" if long else shown(row)

    def _fold_row(self, fold: Entry, length: int) -> str:
        target = self._lines.get(fold["of"]["line_id"])
        counted = f"{fold['lines']:,} line{'s' if fold['lines'] > 1 else ''}"
        if (fold["start"], fold["end"]) == (0, length):
            counted = f"nothing new: {counted}"
        if fold["reason"] != REASON:
            return f"[dim]⋯ {counted} of {name(fold['reason'])}[/]"
        at = f"as at {self._clock(target['spoken_at'])}, {name(target['speaker'])}" if target else "said before"
        others = fold.get("other_lines", 0)
        at += f" and in {others} other line{'s' if others > 1 else ''}" if others else ""
        within = f" · within {name(fold['within'])}" if fold.get("within") else ""
        return f"[dim]⋯ {counted} {at}{within}[/]"

    def _print_hidden(self, hidden: Entry) -> None:
        rows = list(self._text_rows(hidden["text"]))
        left = "" if self._whole or len(rows) < 2 else f" [dim]… {len(rows) - 1} more rows[/]"
        self._cut |= bool(left)
        words = rows[0] + left if left else f"\n{_INDENT}".join(rows)
        console.styled(f"      [dim]└ {self._clock(hidden['spoken_at'])} {name(hidden['speaker'])}: {words}[/]")
        console.styled(
            f"        [green]{name(hidden['reason'])}[/] [dim](similarity {hidden['similarity']:.2f}, "
            f"{hidden['probability']:.0%} sure)[/]"
        )

    def _print_sum(self, day: date, client: str) -> None:
        data, metadata = self._answer["data"], self._answer["metadata"]
        lines = sum(conversation["line_count"] for conversation in data)
        hidden = sum(conversation["hidden_count"] for conversation in data)
        zone = "" if self._zone.key == "UTC" else f" Times are those of {self._zone.key}."
        counted = f"{len(data)} conversations, {lines:,} lines, {_folded(hidden, metadata)}"
        console.say(f"\n{day}, {client}: {counted}.{zone}")
        if self._cut:
            console.note(f"Long messages are cut; 'crew day {day} --whole' shows all of them.")
        status = metadata["processing_status"]
        if status != "completed":
            console.note(
                f"{day} is {status}: these are the lines as they were said. 'crew process {day}' makes it ready."
            )
        elif metadata["stale"]:
            console.note(f"{day} has changed since; 'crew process {day}' brings it up to date.")


def _folded(hidden: int, counted: Entry) -> str:
    """How many lines are folded away, and which share of the characters with what repeats inside messages."""
    every, characters = counted.get("character_count"), counted.get("hidden_character_count")
    share = f"{characters / every:.0%} of the characters" if every and characters else ""
    if not hidden:
        return f"{share} folded away" if share else "nothing folded away"
    return f"{hidden:,} folded away{f' ({share})' if share else ''}"
