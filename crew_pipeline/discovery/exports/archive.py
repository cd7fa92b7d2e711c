"""ZIP archives, trusted only after every member was checked, and the opening of exports of any kind."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from crew_pipeline.discovery.exports.files import (
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    ExportError,
    Files,
    Folder,
    Member,
    SingleFile,
    is_hidden,
    refuse_bomb,
    too_much,
    why,
)

_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_DRIVE = re.compile(r"[A-Za-z]:")


class Archive(Files):
    """A ZIP archive; its members are streamed, archives among them are not opened.

    Raises:
        ExportError: it breaks off, or is not to be trusted: a bomb, names that lead out of it, links, encryption.
    """

    _is_packed = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ExportError(
                f"{path} begins like a ZIP archive but breaks off, or is some other binary ({why(error)}); "
                "nothing was imported. Get it whole."
            ) from None
        try:
            self._infos = {info.filename: info for info in self._trusted(self._zip.infolist())}
        except BaseException:
            self._zip.close()
            raise
        self.members = sorted(Member(info.filename, info.compress_size) for info in self._infos.values())

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()

    def _trusted(self, infos: list[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
        if len(infos) > MAX_MEMBERS:
            raise ExportError(f"{self.path} holds {len(infos):,} members; at most {MAX_MEMBERS:,} are read.")
        total = sum(info.file_size for info in infos)
        if total > MAX_UNPACKED_BYTES:
            raise ExportError(too_much(self.path))
        refuse_bomb(str(self.path), total, self.path.stat().st_size)
        for info in infos:
            _refuse_name(self.path, info.orig_filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ExportError(f"{self.path} holds a link ({info.filename!r}); make the archive without links.")
            refuse_bomb(f"{info.filename} of {self.path}", info.file_size, info.compress_size)
            if info.is_dir() or any(is_hidden(part) for part in info.filename.split("/")):
                continue
            if info.flag_bits & 0x1:
                raise ExportError(f"{self.path} is encrypted ({info.filename!r}); unpack it and give the folder.")
            yield info

    def _raw(self, member: Member) -> IO[bytes]:
        return self._zip.open(self._infos[member.name])

    def _bytes_read(self, raw: IO[bytes], member: Member) -> int:
        # zipfile does not tell how much packed data was read; the unpacked part read stands for it.
        unpacked = self._infos[member.name].file_size
        return 0 if raw.closed or not unpacked else min(raw.tell() * member.size // unpacked, member.size)


def opened(path: Path) -> Files:
    """A file, a folder or a ZIP archive, to be closed by the caller.

    Raises:
        ExportError: it is not there, cannot be read, or is an archive that is not to be trusted.
    """
    try:
        if path.is_dir():
            return Folder(path)
        if not path.exists():
            raise ExportError(f"There is no file {path}; check the path.")
        if not path.is_file():
            raise ExportError(f"{path} is neither a file nor a folder; save it as a file first.")
        with path.open("rb") as file:
            is_archive = file.read(4) in _MAGICS
        return Archive(path) if is_archive else SingleFile(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({why(error)}); check its rights and that it is whole.") from None


def _refuse_name(path: Path, name: str) -> None:
    within = PurePosixPath(name.replace("\\", "/"))
    if within.is_absolute() or ".." in within.parts or _DRIVE.match(name) or "\x00" in name:
        raise ExportError(f"{path} holds a name that leads out of it ({name!r}); nothing was imported.")
