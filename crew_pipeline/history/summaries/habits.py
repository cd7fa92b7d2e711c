"""Ways in which English commits itself, asks, settles and proposes: closed lists of habits of speech.

They carry over from one kind of talk to another, where the words of its matter do not. An apostrophe may be missing.
"""

from __future__ import annotations

import re

_WAYS = {
    "takes on": """
        i'll | i will | i am going to | i'm going to | gonna | i can (do|take|send|ask|look) | leave (it|that) to me
        | i('ve)? got (it|this) | on it | let me | will do | i shall
    """,
    "asks of": """
        (can|could|would|will) you | (can|could) (some|any)(one|body) | please | pls | plz | (need|want) you to
        | you('re| are) (going )?to | make sure | don't forget | remember to | you('ll| will) (need|have) to
    """,
    "settles": """
        decided | decision | agreed | settled | approved | confirmed | final(ly|ised|ized)? | go(ing)? with | we go for
        | we're going (for|with) | let's go | stick(ing)? (with|to) | it is then | so it's | drop(ped|ping)?
        | scrap(ped|ping)? | ditch(ed|ing)? | no more | deal | signed off | from now on | we('re| are) not
    """,
    "proposes": """
        maybe | perhaps | should we | shall we | could we | what (about|if) | how about | i think | i'd
        | suggest(ion)? | propose | might | would be | could be | thinking of | wonder | idea | or we
    """,
    "would": "if | unless | would | could | might | may | hopefully | wish | used to | normally | usually",
    "was": "i've | i have | already | did | was | were | had | yesterday | last week | done | sent",
    "denies": "not | no | never | can't | won't | don't | nobody",
    "names a time": """
        today | tonight | tomorrow | (mon|tues|wednes|thurs|fri|satur|sun)day | (next|this) week | weekend | morning
        | afternoon | evening | by the end | until | before | asap | right after | first thing
        | [0-9]{1,2}(:[0-9]{2})? ?(am|pm|h|o'clock)?
    """,
    "we": "we | we'(ll|re|ve|d) | us | our | let's",
    "you": "you | your | you'(ll|re|ve|d)",
    "I": "i | i'(ll|m|ve|d) | my | me",
}


def _pattern(ways: str) -> re.Pattern[str]:
    listed = "|".join(" ".join(way.split()) for way in re.split(r"\s\|\s", ways))
    return re.compile(rf"\b(?:{listed})\b".replace("'", "['’]?"), re.IGNORECASE)


HABITS = {name: _pattern(ways) for name, ways in _WAYS.items()}
"""Patterns by what they show."""
