"""Workers to be killed: forked from a process that has imported everything, so that a new one costs a second.

Run as a module it reads one JSON document a line (``{"environment": {…}, "crash": POINT or null}``), forks a worker for
each, and answers with its process id. A worker writes hashes of the pairs that it reads to ``CREW_HOME/pairs-read``,
and one with a crash point kills itself there, without a word.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _points() -> dict[str, tuple[Any, str, bool]]:
    """By name of the point: the object and the name of its function, and whether after its first call."""
    from crew_pipeline.days import claims, pair_memory, publishing, run, snapshots
    from crew_pipeline.orchestration import runs
    from crew_pipeline.orchestration.days import day_work
    from crew_pipeline.storage.evidence import clusters, pair_scores, pairs
    from crew_pipeline.workers import warm

    return {
        "before the claim": (warm.WarmMaker, "_take", False),
        "claim made, not committed": (claims, "take", True),
        "claim committed": (warm.WarmMaker, "_take", True),
        "lines read": (snapshots.Snapshots, "read", True),
        "first look written, not committed": (publishing, "show_first_look", True),
        "first look shown": (warm, "show_first_look", True),
        "before the run": (runs.DayRunner, "run", False),
        "claim prolonged by the run": (day_work.DayWork, "_claim", True),
        "before comparing": (run.DayRun, "compare", False),
        "readings written, not committed": (pair_scores, "store", True),
        "pairs read and not kept": (pair_memory.RememberingScorer, "logits", True),
        "pairs written, not committed": (pairs, "store", True),
        "pairs committed": (run.DayRun, "compare", True),
        "clusters written, not committed": (clusters, "replace", True),
        "clusters committed": (publishing, "store_clusters", True),
        "before the document": (publishing, "publish", False),
        "document written, not committed": (publishing, "publish", True),
        "document committed": (publishing, "publish_made", True),
        "run over": (runs.DayRunner, "run", True),
        "given back": (claims, "give_back", True),
    }


POINTS = (
    "before the claim", "claim made, not committed", "claim committed", "lines read",
    "first look written, not committed", "first look shown", "before the run", "claim prolonged by the run",
    "before comparing", "readings written, not committed", "pairs read and not kept",
    "pairs written, not committed", "pairs committed", "clusters written, not committed", "clusters committed",
    "before the document", "document written, not committed", "document committed", "run over", "given back",
)  # fmt: skip


class Nursery:
    """The process that workers are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def worker(self, environment: dict[str, str], crash: str | None = None) -> int:
        """Start a worker that crashes at a point; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"environment": environment, "crash": crash}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the nursery; its workers stop by themselves, since their parent is gone."""
        self._process.kill()
        self._process.wait()


def alive(pid: int) -> bool:
    """Whether a worker lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int) -> None:
    """Kill a worker without a word."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def pairs_read(home: Path) -> list[str]:
    """The hashes of the pairs that workers have read, once for each time that one was."""
    kept = home / "pairs-read"
    return kept.read_text().split() if kept.exists() else []


def _tell_what_is_read(home: Path) -> None:
    from crew_pipeline.dedup.judging import PairScorer
    from crew_pipeline.dedup.pair_scorer import BundledScorer
    from crew_pipeline.dedup.text import text_hash
    from crew_pipeline.workers import worker

    logits, warm_up = BundledScorer.logits, worker.warm_up

    def told(self: BundledScorer, pairs: list[tuple[str, str]]) -> Any:
        scores = logits(self, pairs)
        with (home / "pairs-read").open("a") as kept:
            kept.write("".join(f"{text_hash(left).hex()}-{text_hash(right).hex()}\n" for left, right in pairs))
        return scores

    def then_tell(scorer: PairScorer | None) -> None:
        warm_up(scorer)
        BundledScorer.logits = told  # type: ignore[method-assign]

    worker.warm_up = then_tell


def _crash_at(point: str) -> None:
    owner, name, after = _points()[point]
    original: Callable[..., Any] = getattr(owner, name)

    def crashing(*values: Any, **named: Any) -> None:
        if after:
            original(*values, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, crashing)


def _work(order: dict[str, Any]) -> None:
    from crew_pipeline import cli

    os.environ.update(order["environment"])
    home = Path(os.environ["CREW_HOME"])
    log = os.open(home / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _tell_what_is_read(home)
    if order["crash"]:
        _crash_at(order["crash"])
    sys.argv = ["crew", "worker-process"]
    cli.main()


def main() -> None:
    """Fork a worker for every line that is read."""
    import faiss  # noqa: F401
    import sentence_transformers  # noqa: F401

    from crew_pipeline.workers import worker  # noqa: F401 - what takes its time is imported here, once

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _work(json.loads(line))
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
