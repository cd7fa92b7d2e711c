"""What the benchmarks share: a data directory of their own, real talk to measure with, and one way to print."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.opening import Databases, open_databases

TOP = Path(__file__).resolve().parents[1]
SHARED_CORPUS = TOP.parent / "shared" / "data" / "ubuntu_irc.jsonl.gz"
CLIENT = "default"


def options(description: str, days: int | None = None, seed: int | None = None) -> argparse.Namespace:
    """The options that every benchmark has; for some how many ``days`` are measured, or what chance begins with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="smaller data, under a minute")
    if seed is None:
        parser.add_argument("--corpus", type=Path, default=None, help="JSON lines to measure with")
    else:
        parser.add_argument("--seed", type=int, default=seed, help=f"what chance begins with ({seed})")
        parser.add_argument("--no-background", action="store_true", help="the control: days are made on demand only")
    if days is not None:
        parser.add_argument("--days", type=int, default=days, help=f"days that are measured ({days})")
    return parser.parse_args()


def report(content: dict[str, Any], *, as_json: bool) -> None:
    """Print the figures."""
    if as_json:
        print(json.dumps(content, indent=2))
        return
    for name, value in content.items():
        print(f"{name:>32}  {value}")


def progress(message: str) -> None:
    """Say on standard error what is being done."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def empty_home(**variables: str) -> Iterator[Settings]:
    """A temporary data directory as this process's own, and settings that only ``variables`` change."""
    for name in list(os.environ):
        if name.startswith(("CREW_", "DAGSTER_")):
            del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="crew-benchmark-") as folder:
        os.environ.update({"CREW_HOME": folder, **variables})
        yield load_settings()


@contextmanager
def opened_store(settings: Settings) -> Iterator[Databases]:
    """The databases of the settings, as this process's own."""
    with open_databases(settings) as databases:
        os.environ.update(databases.environment())
        yield databases


@contextmanager
def empty_store() -> Iterator[tuple[Settings, Databases]]:
    """A fresh store in a temporary data directory, as this process's own."""
    with empty_home() as settings, opened_store(settings) as databases:
        yield settings, databases


@contextmanager
def loaded_store(corpus: Path | None) -> Iterator[tuple[Settings, Databases]]:
    """A fresh store with the corpus imported."""
    with empty_store() as (settings, databases):
        path = corpus_file(corpus, settings.home_path)
        progress(f"importing {path.name}")
        import_export(
            databases.db, open_export(path), client=CLIENT, crew="corpus", settings=settings, now=datetime.now(UTC)
        )
        with databases.db.read() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
        yield settings, databases


def corpus_file(given: Path | None, folder: Path) -> Path:
    """The corpus to measure with: the one given, the shared one, or one that is made."""
    if given is not None:
        return given
    if SHARED_CORPUS.exists():
        return SHARED_CORPUS
    from benchmarks.made_talk import write_corpus

    return write_corpus(folder / "made.jsonl")


def over_every_corpus(measure: Callable[[Path | None], dict[str, Any]], chosen: argparse.Namespace) -> dict[str, Any]:
    """The figures of the corpus that was given; else those of the first one with each other's under ``corpora``.

    A quick run is one of the first corpus alone.
    """
    content = measure(chosen.corpus)
    if chosen.corpus is None and not chosen.quick and SHARED_CORPUS.exists():
        others = sorted(path for path in SHARED_CORPUS.parent.glob("*.jsonl.gz") if path != SHARED_CORPUS)
        content["corpora"] = {path.name: measure(path) for path in others}
    return content


def days_by_size(databases: Databases) -> list[tuple[date, int]]:
    """The days of the store with their number of lines, nearest to 1,250 lines first."""
    with databases.db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT days_date, sum(line_count)::int AS lines FROM data_items "
                "GROUP BY 1 ORDER BY abs(sum(line_count) - 1250), 1"
            )
        )
        return [(row.days_date, row.lines) for row in rows]


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], ready_url: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, from when it answers to the end of the block; ``variables`` are its own."""
    log = Path(os.environ["CREW_HOME"]) / f"{Path(command[-1]).name}-{free_port()}.log"
    with log.open("wb") as output:
        environment = {**os.environ, **variables}
        process = subprocess.Popen(
            [sys.executable, *command], cwd=TOP, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while not answers(ready_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Whether ``url`` answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def fetch(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of one answer; anything but 200 is an error."""
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path} answered {response.status}")
    return body


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
