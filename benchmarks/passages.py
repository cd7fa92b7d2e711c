"""What repeats inside messages: which share of the characters folds, and at what cost, over every corpus.

Folded word for word alone, without a judge: whole lines, and runs of passages within lines. Beside it what zlib and
zstd make of the same days, whose window sees what folds and what is too short to.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import resource
import statistics
import string
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from benchmarks.common import CLIENT, SHARED_CORPUS, corpus_file, empty_home, options, progress, report
from crew_pipeline.days.folding import folds_in
from crew_pipeline.dedup import document, frames
from crew_pipeline.dedup.comparing import exact_repeats
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.folding import fold_lines
from crew_pipeline.dedup.repeats import DayPassages
from crew_pipeline.dedup.standing import heads
from crew_pipeline.dedup.views import without_passages
from crew_pipeline.model import Conversation, Line, Repeat

CREWS = SHARED_CORPUS.with_name("agent_crews.jsonl.gz")
MEGABYTES, MEGABYTES_QUICK = (0.5, 5.0, 50.0), (0.5, 2.0)
"""Sizes of one day, in millions of characters."""
START = datetime(2024, 3, 1, tzinfo=UTC)
ROUNDS, ENOUGH_S = 5, 5.0
"""Rounds of a size, fewer where they are long: a tenth of a second alone tells little on a noisy machine."""
LETTERS = string.ascii_lowercase


def main() -> None:
    """Each corpus in a process of its own, so that its memory is its own."""
    chosen = options(__doc__ or "")
    with empty_home() as settings:
        paths = [chosen.corpus or (CREWS if CREWS.exists() else corpus_file(None, settings.home_path))]
        if chosen.corpus is None and not chosen.quick:
            paths += sorted(path for path in SHARED_CORPUS.parent.glob("*.jsonl.gz") if path != CREWS)
        corpora = {}
        for path in paths:
            progress(f"folding the days of {path.name}")
            corpora[path.name] = _apart(of_corpus, path)
        content: dict[str, Any] = {"corpora": corpora, "growth": {}}
        for size in MEGABYTES_QUICK if chosen.quick else MEGABYTES:
            progress(f"a day of {size} million characters")
            content["growth"][size] = _apart(of_size, paths[0], size)
    a_mb = [figures["seconds"] / size for size, figures in content["growth"].items()]
    content["growth_ratio"] = round(a_mb[-1] / a_mb[0], 3)
    report(content, as_json=chosen.json)


def _apart(measure: Any, *arguments: Any) -> dict[str, Any]:
    """What ``measure`` returns, with the largest resident memory (MB) of the fresh process that it ran in."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        figures: dict[str, Any] = pool.apply(_with_memory, (measure, *arguments))
    return figures


def _with_memory(measure: Any, *arguments: Any) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    figures: dict[str, Any] = measure(*arguments)
    return {**figures, "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}


def of_corpus(path: Path) -> dict[str, Any]:
    """The figures of all days of a corpus, each folded by itself."""
    sums: dict[str, float] = defaultdict(float)
    for lines in days_of(path).values():
        for name, value in of_day(lines).items():
            sums[name] += value
    characters, source = sums["characters"], sums["source_bytes"]
    return {
        "days": int(sums["days"]),
        "characters": int(characters),
        "folded_share": round(sums["folded"] / characters, 4),
        "whole_lines_share": round(sums["whole_lines"] / characters, 4),
        "seconds_per_mb": round(sums["seconds"] / characters * 1e6, 4),
        "document_bytes": int(sums["document_bytes"]),
        "omitted_bytes": int(sums["omitted_bytes"]),
        "zlib_ratio": round(sums["zlib_bytes"] / source, 4),
        "zstd_ratio": round(sums["zstd_bytes"] / source, 4),
    }


def of_day(lines: Sequence[Line]) -> Mapping[str, float]:
    """The figures of a day; seconds are those of finding what repeats within its visible lines."""
    columns = frames.columns(((CLIENT, *line) for line in lines), frames.LINES)
    day = lines[0].spoken_at.date().isoformat()
    folds = folds_in(fold_lines(CLIENT, day, columns, exact_repeats(), EngineConfig()).rows)
    hidden = {key for key, fold in folds.items() if not fold.is_canonical}
    visible = [line for line in lines if (line.conversation_id, line.position) not in hidden]
    started = time.perf_counter()
    repeats_of(visible)
    seconds = time.perf_counter() - started
    made = document.build(CLIENT, talks_of(lines), lines, folds, "benchmark")
    entries = orjson.loads(made.body)
    without_passages(entries)
    source = "\n".join(line.text for line in lines).encode("utf-8", "surrogatepass")
    return {
        "days": 1,
        "characters": made.character_count,
        "folded": made.hidden_character_count,
        "whole_lines": sum(len(line.text) for line in lines if (line.conversation_id, line.position) in hidden),
        "seconds": seconds,
        "document_bytes": len(made.body),
        "omitted_bytes": len(orjson.dumps(entries)),
        "source_bytes": len(source),
        "zlib_bytes": len(zlib.compress(source, 9)),
        "zstd_bytes": len(pa.Codec("zstd", 19).compress(source, asbytes=True)),
    }


def repeats_of(lines: Sequence[Line]) -> list[Repeat]:
    """What repeats within visible lines, with what is found on the way: standing text."""
    day = DayPassages.of(lines)
    found = heads(day, lines, {})
    return [
        repeat
        for key in day.lines
        for repeat in (day.repeats(key, found[key].length) if key in found else day.repeats(key))
    ]


def of_size(path: Path, millions: float) -> dict[str, Any]:
    """Seconds of the processor to find what repeats in one day of so many million characters, the median of a few."""
    lines = list(day_of_size(path, int(millions * 1e6)))
    taken: list[float] = []
    found: list[Repeat] = []
    while len(taken) < ROUNDS and sum(taken) < ENOUGH_S:
        started = time.process_time()
        found = repeats_of(lines)
        taken.append(time.process_time() - started)
    seconds = statistics.median(taken)
    folded = sum(one.end - one.start for one in found)
    characters = sum(len(line.text) for line in lines)
    return {"seconds": round(seconds, 3), "folded_share": round(folded / characters, 4)}


def day_of_size(path: Path, characters: int) -> Iterator[Line]:
    """The lines of a corpus as one day; again with other letters, as talk that is new, where it has not enough."""
    corpus = [line for lines in days_of(path).values() for line in lines]
    place = 0
    for again in range(len(LETTERS)):
        other = str.maketrans(LETTERS, LETTERS[again:] + LETTERS[:again])
        for line in corpus:
            text = line.text.translate(other)[:characters]
            yield Line(f"{line.conversation_id}-{again}", place, line.speaker, START + timedelta(seconds=place), text)
            place, characters = place + 1, characters - len(text)
            if not characters:
                return


def days_of(path: Path) -> dict[str, list[Line]]:
    """The lines of a corpus, by day."""
    days: dict[str, list[Line]] = defaultdict(list)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for raw in file:
            line = orjson.loads(raw)
            spoken = datetime.fromisoformat(line["created_at"])
            days[line["created_at"][:10]].append(
                Line(line["session_id"], line["line"], line["speaker"], spoken, line["text"])
            )
    return dict(sorted(days.items()))


def talks_of(lines: Iterable[Line]) -> list[Conversation]:
    """The conversations of lines."""
    spans: dict[str, list[datetime]] = defaultdict(list)
    for line in lines:
        spans[line.conversation_id].append(line.spoken_at)
    return [Conversation(name, name, "corpus", None, min(times), max(times)) for name, times in spans.items()]


if __name__ == "__main__":
    main()
