"""Whose words a line is. Two people's like words are each one's own matter: by judgement only one voice's lines fold.

A voice is a person, or a service that speaks with one mouth whoever it speaks to (``agent``, ``barista``). A name that
whoever takes the part is given (``customer``, ``user``, ``speaker 1``) is another voice in each conversation.
"""

from __future__ import annotations

import re

from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.text import normalise

_PARTS = re.compile(
    r"""(?: anonymous | attendee | buyer | caller | client | customer | guest | human | interviewee | listener | member
      | participant | passenger | patient | person | shopper | speaker | student | unknown | user | visitor
    )(?: [\s_\#.-]*\d+ | [\s_\#.-]+[a-z] )?""",
    re.VERBOSE,
)
"""Names of parts that many people take, numbered or not; a source that has a name of its own for them gives each
person's."""


def voice(speaker: str, conversation_id: str) -> str:
    """Whose words a line is; equal for two lines of one client's day exactly where one voice says both."""
    name = normalise(speaker)
    return f"{name}\x1f{conversation_id}" if _PARTS.fullmatch(name) else name


def voices(lines: Columns) -> list[str]:
    """The voice of each line, of columns ``frames.LINES``."""
    return [
        voice(speaker, conversation_id)
        for speaker, conversation_id in zip(lines["speaker"], lines["conversation_id"], strict=True)
    ]
