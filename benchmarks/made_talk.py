"""Talk that is made where no corpus is at hand: support chat that repeats itself in other words."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

_OPENERS = ["", "hi, ", "hello everybody, ", "um, ", "so ", "sorry, ", "please, ", "ok so "]
_THINGS = ["the printer", "my wireless card", "the invoice export", "the login page", "the build", "the sound card"]
_VERBS = ["stops working", "does not start", "is very slow", "shows an error", "asks for a password", "crashes"]
_WHEN = ["since the update", "after a restart", "every morning", "when I open two windows", "on the laptop", "again"]
_TAILS = ["", ", any idea?", ", what can I do?", " and I do not know why", ", it worked before", " :("]


def said(chance: random.Random) -> str:
    """What somebody says, drawn by ``chance``."""
    return "".join(
        (
            chance.choice(_OPENERS),
            chance.choice(_THINGS),
            " ",
            chance.choice(_VERBS),
            " ",
            chance.choice(_WHEN),
            chance.choice(_TAILS),
        )
    )


def said_at_length(chance: random.Random) -> str:
    """What somebody says of one subject in some 60 to 90 words, drawn by ``chance``."""
    parts = [said(chance) for _ in range(7)]
    for thing in _THINGS[1:]:
        parts = [part.replace(thing, _THINGS[0]) for part in parts]
    return ". ".join(parts)


def write_corpus(path: Path, days: int = 40, lines_a_day: int = 1_250, seed: int = 7) -> Path:
    """Write JSON lines: ``days`` days of ``lines_a_day`` lines, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    with path.open("w", encoding="utf-8") as file:
        for day in range(days):
            start = datetime(2024, 3, 1, 8, tzinfo=UTC) + timedelta(days=day)
            for number in range(lines_a_day):
                record = {
                    "session_id": f"made-{day}-{number // 50}",
                    "line": number % 50,
                    "created_at": (start + timedelta(seconds=20 * number)).isoformat(),
                    "speaker": f"kim{chance.randrange(40)}",
                    "text": said(chance),
                }
                file.write(json.dumps(record) + "\n")
    return path
