"""The core of a line: its text as it is compared, without whom it addresses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from crew_pipeline.dedup import text
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.passages import form, passages
from crew_pipeline.dedup.repeats import FEWEST_WORDS
from crew_pipeline.dedup.speech import speaker_names, without_addressees


def cores(lines: Columns) -> list[str]:
    """The core of each line of ``lines`` (``frames.LINES``, one client's day): normalised, addressees left out."""
    return list(_cores(frozenset(lines["speaker"]), tuple(lines["text"])))


# Every step of a day asks for the cores again, so the last two results are kept.
@lru_cache(maxsize=2)
def _cores(speakers: frozenset[str], texts: tuple[str, ...]) -> tuple[str, ...]:
    names = speaker_names(set(speakers))
    known = {raw: without_addressees(text.normalise(raw), names) for raw in set(texts)}
    return tuple(known[raw] for raw in texts)


def distinct_texts(lines: Columns, config: EngineConfig) -> dict[bytes, str]:
    """Cores by hash, ascending: the distinct ones of a client's day (``frames.LINES``) that are compared by meaning.

    Messages of several rows that have one in common are not: what they share would make them alike ("<the same prompt>
    yes", "<the same prompt> no"), and folds inside them without a judgement (``repeats``).
    """
    core_of: dict[bytes, str] = {}
    raw_of: dict[str, str] = {}
    for raw, core in zip(lines["text"], cores(lines), strict=True):
        if core not in raw_of and config.min_words <= text.count_words(core) <= config.max_words:
            raw_of[core] = raw
    composed = _sharing(raw_of)
    for core in raw_of.keys() - composed:
        core_of[text.text_hash(core)] = core
    return dict(sorted(core_of.items()))


def _sharing(raw_of: Mapping[str, str]) -> set[str]:
    """Of texts of several rows, by core, those of which a passage stands in another."""
    first: dict[str, str] = {}
    found: set[str] = set()
    for core, raw in raw_of.items():
        parts = passages(raw)
        for part in parts if parts and parts[-1].row else ():
            made = form(raw[part.start : part.end], part.kind)
            if made.words >= FEWEST_WORDS and (other := first.setdefault(made.key, core)) != core:
                found.update((core, other))
    return found
