"""Themes of meetings whose topics were marked by reading, how much of them stays, and what is said of shuffled times.

The marks (``topics/``) are of windows of some ninety words, by two readers who saw no machine's answer; those count on
which both agree. BERTopic is a peer where a Python that has it is named: it is given the same vectors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import homogeneity_completeness_v_measure
from sqlalchemy import text

from benchmarks.common import TOP, progress, report
from benchmarks.searched_talk import SHARED, bring, line_of, rows_of
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.embedding import embed_day
from crew_pipeline.history.themes import update
from crew_pipeline.history.themes.grid import centred
from crew_pipeline.history.themes.patterns import Talk, patterns
from crew_pipeline.history.themes.update import mean_in
from crew_pipeline.model import ClientDay, EngineOptions
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history import theme_reading
from crew_pipeline.storage.history import themes as store
from crew_pipeline.storage.opening import open_databases

CORPUS, OPTIONS, ZONE = "ami_meetings", EngineOptions(), "UTC"
MARKS = TOP / "benchmarks" / "topics" / f"{CORPUS}.jsonl"
_SHUFFLED = 200
Place = tuple[str, int]


def main() -> None:
    """Find the themes, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--home", help="a folder to keep the store in")
    parser.add_argument("--bertopic", help="a Python that has BERTopic", metavar="PYTHON")
    chosen = parser.parse_args()
    if not SHARED.exists():
        report({"skipped": "the shared corpora are not there"}, as_json=chosen.json)
        return
    marks = [json.loads(row) for row in MARKS.read_text(encoding="utf-8").splitlines()]
    with ExitStack() as stack:
        home = Path(chosen.home or stack.enter_context(tempfile.TemporaryDirectory(prefix="crew-benchmark-")))
        os.environ["CREW_HOME"] = str(home)
        databases = stack.enter_context(open_databases(load_settings()))
        db = databases.owners_db
        days = prepare(db, {mark["session_id"] for mark in marks})
        content = measured(db, days, marks)
        if chosen.bertopic:
            content["bertopic"] = beside_bertopic(db, chosen.bertopic, marks)
    report(content, as_json=chosen.json)


def prepare(db: Database, sessions: set[str]) -> list[date]:
    """The marked meetings, ready and embedded; returns their days."""
    progress("taking in meetings")
    bring(db, CORPUS, (line_of(row) for row in rows_of(CORPUS) if row["session_id"] in sessions))
    with db.read() as connection:
        days = list(
            connection.scalars(
                text("SELECT DISTINCT day FROM day_documents WHERE client = :of ORDER BY day"), {"of": CORPUS}
            )
        )
    encoder = SentenceTransformerEncoder()
    for number, day in enumerate(days):
        embed_day(db, ClientDay(CORPUS, day), encoder, OPTIONS, lambda: None)
        if number % 10 == 9:
            progress(f"{number + 1} of {len(days)} days have vectors")
    return days


def measured(db: Database, days: list[date], marks: list[dict[str, Any]]) -> dict[str, Any]:
    """All figures of ours."""
    progress("finding themes")
    begin_again(db)
    hide_from(db, days[-1] - timedelta(days=6))
    update.update(db, CORPUS, OPTIONS, ZONE)
    before = themes_of(db)
    show_all(db)
    started = time.perf_counter()
    joined = update.update(db, CORPUS, OPTIONS, ZONE)
    joined_s = time.perf_counter() - started
    assert joined is not None
    after_joining = themes_of(db)
    with db.write() as connection:
        connection.execute(text("UPDATE theme_states SET fitted_with = 1"))
    started = time.perf_counter()
    update.update(db, CORPUS, OPTIONS, ZONE)
    fitted_s = time.perf_counter() - started
    after_fit = themes_of(db)
    update.update(db, CORPUS, OPTIONS, ZONE, anew=True)
    after_fit_anew = themes_of(db)
    begin_again(db)
    update.update(db, CORPUS, OPTIONS, ZONE)
    first = digest(db)
    begin_again(db)
    update.update(db, CORPUS, OPTIONS, ZONE)
    with db.read() as connection:
        topics = store.topics(connection, CORPUS)
    return {
        "segments": joined.segments,
        "topics": len(topics),
        "themes": len({topic.theme_id for topic in topics}),
        "v_measure_topics": agreement(db, marks, by_topic=True),
        "v_measure_themes": agreement(db, marks, by_topic=False),
        "same_bytes_twice": digest(db) == first,
        "kept_over_a_week_joined": kept(before, after_joining),
        "kept_over_a_week_fitted_again": kept(before, after_fit),
        "kept_over_a_week_fitted_from_nothing": kept(before, after_fit_anew),
        "week_s": round(joined_s, 2),
        "fit_s": round(fitted_s, 2),
        "false_patterns": shuffled(db),
    }


def begin_again(db: Database) -> None:
    """Forget all that is known of themes."""
    with db.write() as connection:
        for table in ("theme_states", "themes", "topics", "theme_segments", "theme_days"):
            connection.execute(text(f"DELETE FROM {table}"))


def hide_from(db: Database, day: date) -> None:
    """Let days from one on have no vectors for a while."""
    with db.write() as connection:
        connection.execute(
            text("UPDATE day_documents SET embedded_by = 'hidden ' || embedded_by WHERE day >= :day"), {"day": day}
        )


def show_all(db: Database) -> None:
    """Undo it."""
    with db.write() as connection:
        connection.execute(text("UPDATE day_documents SET embedded_by = replace(embedded_by, 'hidden ', '')"))


def themes_of(db: Database) -> dict[Place, int]:
    """The theme of each segment."""
    with db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT conversation_id, first_position, theme_id FROM theme_segments AS said JOIN topics "
                "ON topics.client = said.client AND topics.id = topic_id"
            )
        )
        return {(row[0], row[1]): row[2] for row in rows}


def kept(before: Mapping[Place, int], after: Mapping[Place, int]) -> float:
    """The share of segments that have the theme that they had."""
    return round(sum(after[place] == theme for place, theme in before.items()) / len(before), 4)


def digest(db: Database) -> str:
    """Of all that is known of themes, but when it became known."""
    found = hashlib.sha256()
    with db.read() as connection:
        for table in ("theme_states", "themes", "topics", "theme_segments"):
            rows = connection.scalars(
                text(f"SELECT (to_jsonb(kept) - 'created_at' - 'fitted_at')::text FROM {table} AS kept")
            )
            found.update("\n".join(sorted(rows)).encode())
    return found.hexdigest()


def lines_marked(db: Database, marks: list[dict[str, Any]]) -> tuple[list[str], list[int], list[int]]:
    """For each line of a window whose readings agree: its topic as it was read, and our topic and theme."""
    with db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT session_id, position, topic_id, theme_id FROM theme_segments AS said "
                "JOIN topics ON topics.client = said.client AND topics.id = topic_id "
                "JOIN lines ON lines.conversation_id = said.conversation_id "
                "AND position BETWEEN said.first_position AND said.last_position "
                "JOIN data_items AS item ON item.id = said.conversation_id"
            )
        ).all()
    ours = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    read: list[str] = []
    found: list[tuple[int, int]] = []
    for mark in marks:
        one, other = mark["readings"]
        if one != other or one == "other":
            continue
        for position in range(mark["first"], mark["last"] + 1):
            if (mark["session_id"], position) in ours:
                read.append(one)
                found.append(ours[mark["session_id"], position])
    return read, [topic for topic, _ in found], [theme for _, theme in found]


def agreement(db: Database, marks: list[dict[str, Any]], *, by_topic: bool) -> float:
    """V-measure of what was read and what was found, line by line."""
    read, topics, themes = lines_marked(db, marks)
    return round(float(homogeneity_completeness_v_measure(read, topics if by_topic else themes)[2]), 4)


def shuffled(db: Database) -> float:
    """The share of histories with shuffled times of which any pattern is said."""
    with db.read() as connection:
        talks = {one: Talk(day, hour) for one, day, hour in theme_reading.talks(connection, CORPUS, ZONE)}
        about = theme_reading.about(connection, CORPUS)
    wrong = 0
    for seed in range(_SHUFFLED):
        times = list(talks.values())
        random.Random(seed).shuffle(times)  # noqa: S311
        wrong += bool(patterns(dict(zip(talks, times, strict=True)), about))
    return wrong / _SHUFFLED


def beside_bertopic(db: Database, python: str, marks: list[dict[str, Any]]) -> dict[str, Any]:
    """BERTopic over the same segments and vectors, by another Python."""
    progress("BERTopic")
    with db.read() as connection:
        loaded = store.segments(connection, CORPUS)
        mean = mean_in(store.state(connection, CORPUS))
        texts = said_in(db)
    with tempfile.TemporaryDirectory(prefix="crew-benchmark-") as folder:
        vectors = centred(loaded.vectors, mean).astype(np.float32)
        np.savez(Path(folder) / "given.npz", vectors=vectors)
        (Path(folder) / "texts.json").write_text(json.dumps([texts[key] for key in loaded.keys]), encoding="utf-8")
        subprocess.run([python, str(TOP / "benchmarks" / "bertopic_peer.py"), folder], check=True)
        found = json.loads((Path(folder) / "found.json").read_text(encoding="utf-8"))
    figures = {}
    for name, topics in found.items():
        with db.write() as connection:
            store.assign(connection, CORPUS, loaded.keys, np.array(topics, np.int64), np.zeros(len(topics), np.float32))
            connection.execute(text("DELETE FROM topics"))
            rows = [store.TopicRow(int(topic), 1, False, loaded.vectors[0]) for topic in sorted({*topics})]
            store.add_topics(connection, CORPUS, rows)
        figures[name] = {"topics": len(rows), "v_measure": agreement(db, marks, by_topic=True)}
    return figures


def said_in(db: Database) -> dict[Place, str]:
    """The words of each segment."""
    with db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT said.conversation_id, said.first_position, string_agg(text, ' ' ORDER BY position) "
                "FROM theme_segments AS said JOIN lines ON lines.conversation_id = said.conversation_id "
                "AND position BETWEEN said.first_position AND said.last_position GROUP BY 1, 2"
            )
        )
        return {(row[0], row[1]): row[2] for row in rows}


if __name__ == "__main__":
    main()
