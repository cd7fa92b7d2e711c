"""Other ways to show a day: its conversations, as a document holds them, changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crew_pipeline.dedup.repeats import FEWEST_CHARACTERS, REASON
from crew_pipeline.dedup.text import normalise


def full_view(entries: list[dict[str, Any]]) -> None:
    """Put every hidden line into its place; it names the line that represents it."""
    hidden: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for shown in entry["display_conversation"]:
            for variation in shown["hidden_variations"]:
                hidden.setdefault(variation["conversation_id"], []).append(_in_place(variation, shown["line_id"]))
    for entry in entries:
        for shown in entry["display_conversation"]:
            shown["represented_by"] = None
        entry["display_conversation"] = sorted(
            entry["display_conversation"] + hidden.get(entry["id"], []),
            key=lambda line: int(line["line_id"].rpartition("-")[2]),
        )


def _in_place(variation: Mapping[str, Any], represented_by: str) -> dict[str, Any]:
    return {
        "line_id": variation["line_id"],
        "speaker": variation["speaker"],
        "spoken_at": variation["spoken_at"],
        "text": variation["text"],
        **({"repeats": variation["repeats"]} if "repeats" in variation else {}),
        "is_unique": False,
        "is_deduplicated": True,
        "represents_cluster": None,
        "canonical_confidence": None,
        "hidden_variations": [],
        "represented_by": represented_by,
        "similarity": variation["similarity"],
        "probability": variation["probability"],
        "reason": variation["reason"],
    }


def without_passages(entries: list[dict[str, Any]]) -> None:
    """Leave out of every text what is folded in it; spans stay those of the whole text.

    Of a hidden line that repeats its visible one word for word nothing is left; its ``repeats`` says so.
    """
    for entry in entries:
        for shown in entry["display_conversation"]:
            for variation in shown["hidden_variations"]:
                text = variation["text"]
                if len(text) >= FEWEST_CHARACTERS and normalise(text) == normalise(shown["text"]):
                    variation["text"], variation["repeats"] = "", [_whole(text, shown["line_id"])]
            shown["text"] = visible_text(shown["text"], shown.get("repeats", ()))


def _whole(text: str, visible: str) -> dict[str, Any]:
    of = {"line_id": visible, "start": 0}
    rows = sum(1 for row in text.splitlines() if row.strip())
    return {"start": 0, "end": len(text), "of": of, "lines": rows, "reason": REASON}


def visible_text(text: str, repeats: Sequence[Mapping[str, Any]]) -> str:
    """What is left of a text without the parts that are folded in it."""
    kept, start = [], 0
    for repeat in repeats:
        kept.append(text[start : repeat["start"]])
        start = repeat["end"]
    return "".join([*kept, text[start:]])
