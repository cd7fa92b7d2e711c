"""A folder of several exports: each is found for itself, and what is read by none is named."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crew_pipeline.discovery.exports import slack
from crew_pipeline.discovery.exports.archive import opened
from crew_pipeline.discovery.exports.export import Export, open_export
from crew_pipeline.discovery.exports.files import ExportError, Files, Member
from crew_pipeline.discovery.exports.recognise import HEAD_BYTES, MAKERS, Recognised, of_maker

_MAY_HOLD_TALK = re.compile(
    r"\.(jsonl?|ndjson|csv|tsv|parquet|zip|gz|txt|md|markdown|log|vtt|srt|eml|mbox)$|^[^.]+$", re.IGNORECASE
)

_NAMES_OF_TALK = (
    (b'"text"', b'"content"', b'"message"', b'"body"'),
    (b'"session_id"', b'"conversation_id"', b'"thread_id"', b'"chat_id"', b'"role"', b'"speaker"', b'"sender"'),
)
"""Names of which JSON lines of talk have one each."""


class Part(NamedTuple):
    """An export of a folder of several.

    Attributes:
        name: what it is called, by where it lies: a crew's name for it.
    """

    name: str
    export: Export


class Several(NamedTuple):
    """What was found under a path.

    Attributes:
        parts: the exports, by name.
        left: name and reason of each file that belongs to none.
    """

    parts: list[Part]
    left: list[tuple[str, str]]


def open_exports(path: Path, requested: str = "auto", columns: Mapping[str, str] | None = None) -> Several:
    """Every export under a path: one, unless it is a folder of several.

    Args:
        requested: one of ``FORMATS``; where it is not ``auto``, the path is one export of it.
        columns: as of ``open_export``.

    Raises:
        ExportError: nothing under it is known.
    """
    if requested != "auto" or columns or not path.is_dir():
        return Several([Part(_slug(path.stem), open_export(path, requested, columns))], [])
    with opened(path) as files:
        bundles = list(_bundles(files))
        taken = {member for _, found in bundles for member in found.members}
        rest = [member for member in files.members if member not in taken]
        parts = [Part(name, Export(path, found.format, found.members)) for name, found in bundles]
        left: list[tuple[str, str]] = []
        unlikely: Counter[str] = Counter()
        for member in rest:
            if not _MAY_HOLD_TALK.search(member.base):
                unlikely[Path(member.base).suffix.lower()] += 1
                continue
            try:
                export = open_export(files.local(member))
                if export.format == "jsonl" and not _holds_talk(files, member):
                    raise ExportError("it is JSON of another shape")
                parts.append(Part(_slug(member.name), export))
            except ExportError as error:
                # The advice behind it is for a file that was asked for by its name.
                reason = str(error).replace(f"{files.local(member)} ", "it ", 1).partition(";")[0]
                left.append((member.name, reason.removesuffix(".")))
    if not parts:
        return Several([Part(_slug(path.name), open_export(path))], [])
    left += [(f"{count} *{suffix}", "no talk is looked for in these") for suffix, count in sorted(unlikely.items())]
    return Several(_named_apart(parts), left)


def _bundles(files: Files) -> Iterator[tuple[str, Recognised]]:
    """The exports that are made of several files, by name: each of one maker and of one folder below the top."""
    left = list(files.members)
    while found := slack.members(left):
        root = found[0].name.removesuffix(found[0].base)
        yield _slug(root or "slack"), Recognised("slack", tuple(found))
        left = _without(left, found)
        if root:
            # What lies beside the days, files that were shared for instance, is the workspace's too.
            left = [member for member in left if not member.name.startswith(root)]
    below: dict[str, list[Member]] = defaultdict(list)
    for member in left:
        top, slash, _ = member.name.partition("/")
        below[top if slash else ""].append(member)
    for top, members in sorted(below.items()):
        unread = members
        for maker in MAKERS:
            if found := of_maker(files, unread, maker):
                yield _slug(top or maker), Recognised(maker, tuple(found))
                unread = _without(unread, found)


def _holds_talk(files: Files, member: Member) -> bool:
    """Whether JSON lines that nobody asked for by name are talk, not settings or a list of something else."""
    with files.open(member) as content:
        head = content.read(HEAD_BYTES)
    return all(any(name in head for name in names) for names in _NAMES_OF_TALK)


def _without(members: Sequence[Member], taken: Sequence[Member]) -> list[Member]:
    gone = set(taken)
    return [member for member in members if member not in gone]


def _named_apart(parts: Sequence[Part]) -> list[Part]:
    """The parts by name; where several have one, all but the first are told apart by a number."""
    named: list[Part] = []
    times: Counter[str] = Counter()
    for part in sorted(parts, key=lambda part: (part.name, part.export.path)):
        times[part.name] += 1
        named.append(part if times[part.name] == 1 else Part(f"{part.name}-{times[part.name]}", part.export))
    return named


def _slug(name: str) -> str:
    """A path as a crew's name: small letters, digits and hyphens of any script, without its last suffixes."""
    bare = re.sub(r"(\.(gz|zip|jsonl?|ndjson|csv|tsv|parquet|txt|md|markdown|vtt|srt|eml|mbox))+$", "", name.casefold())
    return re.sub(r"[\W_]+", "-", bare).strip("-")[:100] or "import"
