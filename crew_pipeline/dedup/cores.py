"""The core of a line: its text as it is compared, without whom it addresses."""

from __future__ import annotations

from functools import lru_cache

from crew_pipeline.dedup import text
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.frames import Columns
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
    """Cores by hash, ascending: the distinct ones of a client's day (``frames.LINES``) that are compared by meaning."""
    core_of: dict[bytes, str] = {}
    for core in set(cores(lines)):
        if config.min_words <= text.count_words(core) <= config.max_words:
            core_of[text.text_hash(core)] = core
    return dict(sorted(core_of.items()))
