"""Other ways to show a day: its conversations, as a document holds them, changed in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.dedup.repeats import REASON

LONGER = 200
"""Code points of a hidden line from which on it is shorter to say that it repeats its visible one."""


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

    Repeats that follow one another for one reason are given as one, see ``joined``. Of a long hidden line that repeats
    its visible one word for word nothing is left; its ``repeats`` says so. A standing text that people want left out
    goes too; its ``hidden`` says where it stood.
    """
    for entry in entries:
        for shown in entry["display_conversation"]:
            for variation in shown["hidden_variations"]:
                text = variation["text"]
                if len(text) >= LONGER and text == shown["text"]:
                    variation["text"], variation["repeats"] = "", [_whole(text, shown["line_id"])]
            if "repeats" in shown:
                shown["repeats"] = joined(shown["text"], shown["repeats"])
            shown["text"] = visible_text(shown["text"], left_out(shown))


def left_out(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a short view leaves out of a visible line, in order of its text: its repeats (``joined``), and its standing
    text where people do not want to see it, as parts of the same shape."""
    text, standing = line["text"], line.get("standing", {})
    own = [
        {
            **span,
            "of": {"line_id": line["line_id"], "start": span["start"]},
            "lines": _rows_of(text[span["start"] : span["end"]]),
            "reason": standing["name"],
        }
        for span in standing.get("hidden", ())
    ]
    return sorted([*joined(text, line.get("repeats", ())), *own], key=lambda part: int(part["start"]))


def joined(text: str, repeats: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Repeats of a text that follow one another without a gap and for one reason as one each.

    Its ``of`` is a place in the line that shows most of it, ``other_lines`` how many others show the rest.
    """
    return [_as_one(text, stretch) for stretch in _stretches(repeats)]


def _stretches(repeats: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    stretch: list[Mapping[str, Any]] = []
    for repeat in repeats:
        if stretch and (stretch[-1]["end"], stretch[-1]["reason"]) != (repeat["start"], repeat["reason"]):
            yield stretch
            stretch = []
        stretch.append(repeat)
    if stretch:
        yield stretch


def _as_one(text: str, stretch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(stretch) == 1:
        return dict(stretch[0])
    rows_at: dict[str, int] = {}
    place_in: dict[str, Mapping[str, Any]] = {}
    for repeat in stretch:
        line_id = repeat["of"]["line_id"]
        rows_at[line_id] = rows_at.get(line_id, 0) + repeat["lines"]
        place_in.setdefault(line_id, repeat["of"])
    main = max(rows_at, key=lambda line_id: rows_at[line_id])
    within = stretch[-1].get("within")
    return {
        "start": stretch[0]["start"],
        "end": stretch[-1]["end"],
        "of": place_in[main],
        "lines": _rows_of(text[stretch[0]["start"] : stretch[-1]["end"]]),
        **({"other_lines": len(rows_at) - 1} if len(rows_at) > 1 else {}),
        "reason": stretch[0]["reason"],
        **({"within": within} if within else {}),
    }


def _whole(text: str, visible: str) -> dict[str, Any]:
    of = {"line_id": visible, "start": 0}
    return {"start": 0, "end": len(text), "of": of, "lines": _rows_of(text), "reason": REASON}


def _rows_of(text: str) -> int:
    """How many rows of a text hold something."""
    return sum(1 for row in text.splitlines() if row.strip())


def visible_text(text: str, repeats: Sequence[Mapping[str, Any]]) -> str:
    """What is left of a text without the parts that are folded in it."""
    kept, start = [], 0
    for repeat in repeats:
        kept.append(text[start : repeat["start"]])
        start = repeat["end"]
    return "".join([*kept, text[start:]])
