"""What the command line prints: progress on a terminal, plain lines elsewhere, one JSON document when asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What drives a terminal, or changes in which direction a line is read."""
_BREAKS = re.compile("[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class Advance(Protocol):
    """Tells how far a task has come."""

    def __call__(self, done: float, message: str | None = None) -> None:
        """``done`` of the announced total; ``message``: what is being done."""


def print_json(content: Any) -> None:
    """The one JSON document of a command, and nothing else on standard output."""
    sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")
    sys.stdout.flush()


def shown(value: object) -> str:
    """A value as it may stand in a line: no markup, and no control characters that would drive the terminal."""
    return escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def name(value: object) -> str:
    """A value that names something, as it may stand within a line: no line of its own, whatever it holds."""
    return shown(_BREAKS.sub(" ", str(value)))


def say(message: str) -> None:
    """A line on standard output, as it is."""
    out.print(shown(message))


def styled(message: str) -> None:
    """A line with rich's markup; values in it must have gone through ``shown``."""
    out.print(message)


def note(message: str) -> None:
    """A line on standard error, for what is not the command's result."""
    err.print(shown(message))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; a column whose name ends in ``#`` is aligned to the right."""
    made = Table(
        title=shown(title) if title else None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        made.add_column(column.removesuffix("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        made.add_row(*(name(cell) for cell in row))
    out.print(made)


@contextmanager
def progress(description: str, total: float, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar on a terminal, a plain line now and then elsewhere; on standard error, so it never mixes with a
    result."""
    if quiet:
        yield lambda done, message=None: None
    elif err.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(compact=True),
            console=err,
            transient=True,
        ) as bar:
            task = bar.add_task(shown(description), total=max(total, 1))
            yield lambda done, message=None: bar.update(task, completed=done, description=shown(message or description))
    else:
        yield _plain(description, total)


def _plain(description: str, total: float) -> Advance:
    tenths = 0

    def advance(done: float, message: str | None = None) -> None:
        nonlocal tenths
        reached = int(10 * done / total) if total else 10
        if reached > tenths:
            tenths = reached
            note(f"{message or description}: {min(reached * 10, 100)}%")

    return advance
