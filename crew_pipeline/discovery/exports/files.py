"""A file or a folder as a list of members that are streamed, bounded in what they unpack to."""

from __future__ import annotations

import gzip
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

MAX_MEMBERS = 200_000
MAX_UNPACKED_BYTES = 20 * 1024**3
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 100 * 1024**2

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 256 * 1024


class ExportError(ValueError):
    """A file cannot be imported at all; the message says why and what to do."""


class Member(NamedTuple):
    """One file of an export.

    Attributes:
        name: its path inside of the export, with forward slashes.
        size: bytes on disk, packed if it is.
    """

    name: str
    size: int

    @property
    def base(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


class Files(ABC):
    """The members of an export, open for reading one at a time.

    Attributes:
        path: the file or the folder.
        members: every file in it but hidden ones, ordered by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: list[Member] = []
        self._done = 0
        self._unpacked = 0
        self._now: Callable[[], int] = int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is held open; by default nothing is."""
        return

    @property
    def position(self) -> int:
        """Bytes on disk that have been read, over all members."""
        return self._done + self._now()

    @contextmanager
    def open(self, member: Member) -> Iterator[io.BufferedReader]:
        """A member's content, unpacked if it is gzip.

        Raises:
            ExportError: while reading, where it unpacks to more than ``MAX_RATIO`` times its size, or all that was
                read to more than ``MAX_UNPACKED_BYTES``.
        """
        with ExitStack() as stack:
            raw = stack.enter_context(self._raw(member))
            content: io.BufferedReader = io.BufferedReader(_Stream(raw.read), _CHUNK_BYTES)
            packed = self._is_packed
            if content.peek(2)[:2] == _GZIP_MAGIC:
                packed = True
                content = io.BufferedReader(_Stream(stack.enter_context(gzip.open(content)).read), _CHUNK_BYTES)
            if packed:
                content = io.BufferedReader(_Stream(self._metered(content.read, member)), _CHUNK_BYTES)
            with self.watched(member, lambda: self._bytes_read(raw, member)):
                yield content

    @contextmanager
    def watched(self, member: Member, now: Callable[[], int]) -> Iterator[None]:
        """Count a member into ``position``: what ``now`` says while it is read, its size afterwards."""
        self._now = now
        try:
            yield
        finally:
            self._now = int
            self._done += member.size

    def local(self, member: Member) -> Path:
        """Where a member lies on disk, for readers that must jump about in it.

        Raises:
            ExportError: it is packed.
        """
        raise ExportError(f"{self.path} holds {member.name} packed; unpack it and give the file.")

    _is_packed = False

    @abstractmethod
    def _raw(self, member: Member) -> IO[bytes]: ...

    def _bytes_read(self, raw: IO[bytes], member: Member) -> int:
        return 0 if raw.closed else min(raw.tell(), member.size)

    def _metered(self, read: Callable[[int], bytes], member: Member) -> Callable[[int], bytes]:
        unpacked = 0

        def metered(count: int) -> bytes:
            nonlocal unpacked
            content = read(count)
            unpacked += len(content)
            self._unpacked += len(content)
            refuse_bomb(f"{member.name} of {self.path}", unpacked, member.size)
            if self._unpacked > MAX_UNPACKED_BYTES:
                raise ExportError(too_much(self.path))
            return content

        return metered


class SingleFile(Files):
    """A file of its own, plain or gzip."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.members = [Member(path.name, path.stat().st_size)]

    def local(self, member: Member) -> Path:
        """The file."""
        return self.path

    def _raw(self, member: Member) -> IO[bytes]:
        return self.path.open("rb", buffering=0)


class Folder(Files):
    """The files below a folder; links that lead out of it are not followed.

    Raises:
        ExportError: it holds more than ``MAX_MEMBERS`` files.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._root = path.resolve()
        for folder, folders, names in os.walk(self._root, onerror=_raise):
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            for name in names:
                self._add(Path(folder, name))
            if len(self.members) > MAX_MEMBERS:
                raise ExportError(f"{path} holds more than {MAX_MEMBERS:,} files; give the folder of one export.")
        self.members.sort()

    def local(self, member: Member) -> Path:
        """The file in the folder."""
        return self._root / member.name

    def _add(self, file: Path) -> None:
        within = file.relative_to(self._root).as_posix()
        target = file.resolve()
        if not is_hidden(file.name) and target.is_relative_to(self._root) and target.is_file():
            self.members.append(Member(within, target.stat().st_size))

    def _raw(self, member: Member) -> IO[bytes]:
        return self.local(member).open("rb", buffering=0)


class _Stream(io.RawIOBase):
    """A raw stream over a function that reads, so that a buffer can be put over it."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def refuse_bomb(name: str, unpacked: int, packed: int) -> None:
    """Refuse what unpacks to more than ``MAX_RATIO`` times its size, once it is above ``RATIO_COUNTS_FROM_BYTES``.

    Raises:
        ExportError: it does.
    """
    if unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > MAX_RATIO * packed:
        raise ExportError(
            f"{name} unpacks to more than {MAX_RATIO} times its size, as archives do that are made to exhaust a "
            "machine; nothing was imported. Unpack it yourself if you trust it."
        )


def bounded_lines(file: IO[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1; of a line beyond ``limit`` bytes only the beginning, the rest is skipped."""
    number = 0
    while line := file.readline(limit):
        number += 1
        yield number, line
        while not line.endswith(b"\n") and len(line) == limit:
            line = file.readline(limit)


def why(error: BaseException) -> str:
    """The reason that an error gives, on one line."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(reason).split())[:200]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no part of an export."""
    return name.startswith(".") or name == "__MACOSX"


def too_much(path: Path) -> str:
    """Why an export is refused that unpacks to more than ``MAX_UNPACKED_BYTES``."""
    return (
        f"{path} unpacks to more than {MAX_UNPACKED_BYTES // 1024**3} GiB; nothing was imported. Import it in parts, "
        "or unpacked."
    )


def _raise(error: OSError) -> None:
    with suppress(FileNotFoundError):
        raise error
