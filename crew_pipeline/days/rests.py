"""How long a conversation must have been quiet to count as over: as long as such ones rest, or after a farewell.

To be early costs little: a day whose conversation goes on is made again, and what was read stays known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

LONGEST = timedelta(seconds=60)
"""Of conversations of which nothing is known."""
SHORTEST = timedelta(seconds=10)
_TIMES_USUAL = 3
_FAREWELLS = (
    *(
        "good ?bye",
        "bye( bye)?",
        "see (you|ya)",
        "take care",
        "have a (nice|good|great) (day|evening|weekend|one|night)",
    ),
    *("good ?night", "thanks?,? (that is|that's) all"),
    *("auf wiedersehen", "tschüss?", "tschau", "bis (bald|dann|morgen)", "schönen (tag|abend|feierabend)"),
    *("ciao", "arrivederci", "adi[óo]s", "hasta (luego|pronto|mañana)"),
    *("au revoir", "[àa] bientôt", "bonne (journée|soirée)"),
)
_FAREWELL = re.compile(rf"\b({'|'.join(_FAREWELLS)})\b[\W\d]*$", re.IGNORECASE)
_MOST_CHARS = 400


def quiet_needed(usual_s: float | None, last_said: Sequence[str]) -> timedelta:
    """How long the conversations of a day must have been quiet.

    Args:
        usual_s: how long the crew's conversations usually rest between two lines, at the most (s); None: not known.
        last_said: the last line of each that waits.
    """
    if last_said and all(_FAREWELL.search(said[-_MOST_CHARS:]) for said in last_said):
        return SHORTEST
    if usual_s is None:
        return LONGEST
    return min(LONGEST, max(SHORTEST, timedelta(seconds=_TIMES_USUAL * usual_s)))
