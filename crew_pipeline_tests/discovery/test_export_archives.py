"""Hostile and damaged exports are refused in a sentence; large ones are streamed."""

from __future__ import annotations

import gzip
import json
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crew_pipeline.discovery.exports import archive, files
from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import NOW
from crew_pipeline_tests.discovery.exported import LIMITS, NINE, as_file, as_folder, as_zip, read

MEBIBYTE = 1024**2


def chat(number: int, messages: int = 2, text: str = "Is the oven on?") -> dict[str, Any]:
    mapping = {
        f"n{n}": {
            "id": f"n{n}",
            "parent": f"n{n - 1}" if n else None,
            "children": [f"n{n + 1}"],
            "message": {
                "id": f"n{n}",
                "author": {"role": "assistant" if n % 2 else "user"},
                "create_time": NINE + n,
                "content": {"content_type": "text", "parts": [f"{text} {number} {n}"]},
                "recipient": "all",
                "weight": 1.0,
                "metadata": {"model_slug": "m", "citations": [], "timestamp_": "absolute"},
            },
        }
        for n in range(messages)
    }
    return {"title": f"t{number}", "mapping": mapping, "current_node": f"n{messages - 1}", "id": f"c{number}"}


CHATS = [chat(n) for n in range(50)]


@pytest.mark.parametrize("name", ["../x.json", "a/../../x.json", "/etc/x.json", "C:\\x.json", "..\\x.json", "C:x.json"])
def test_an_archive_with_a_name_that_leads_out_of_it_is_refused(tmp_path: Path, name: str) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": CHATS, name: "[]"})
    with pytest.raises(ExportError, match="a name that leads out of it"):
        open_export(path)


def test_an_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": CHATS})
    link = zipfile.ZipInfo("users.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(ExportError, match="holds a link"):
        open_export(path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": CHATS})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match="is encrypted"):
        open_export(path)


def test_a_declared_bomb_is_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": b"[" + b" " * (101 * MEBIBYTE) + b"]"})
    with pytest.raises(ExportError, match="more than 200 times its size"):
        open_export(path)


def test_many_small_bombs_are_refused_as_a_large_one(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {f"{n}.json": b" " * MEBIBYTE for n in range(120)})
    with pytest.raises(ExportError, match="more than 200 times its size"):
        open_export(path)


def test_a_bomb_that_lies_about_its_size_is_refused_by_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RATIO_COUNTS_FROM_BYTES", MEBIBYTE)
    content = json.dumps(CHATS).encode() + b" " * (8 * MEBIBYTE)
    path = as_file(tmp_path / "x.json.gz", gzip.compress(content))
    with pytest.raises(ExportError, match="more than 200 times its size"):
        read(path)


def test_a_member_never_gives_more_than_it_declares(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": CHATS})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, 3_000)
    path.write_bytes(content)
    with pytest.raises(ExportError, match="Bad CRC"):
        read(path)


def test_too_much_in_all_is_refused_declared_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": CHATS})
    export = open_export(path)
    for module in (files, archive):
        monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 1_000)
    with pytest.raises(ExportError, match="unpacks to more than"):
        open_export(path)
    packed = as_file(tmp_path / "x.gz", gzip.compress(json.dumps(CHATS).encode()))
    with pytest.raises(ExportError, match="unpacks to more than"):
        read(packed)
    assert export.size > 0


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, archive):
        monkeypatch.setattr(module, "MAX_MEMBERS", 3)
    members = {f"{n}.json": "[]" for n in range(4)}
    with pytest.raises(ExportError, match="4 members; at most 3"):
        open_export(as_zip(tmp_path / "x.zip", members))
    with pytest.raises(ExportError, match="more than 3 files"):
        open_export(as_folder(tmp_path / "x", members))


def test_archives_inside_an_archive_are_not_opened(tmp_path: Path) -> None:
    inner = as_zip(tmp_path / "inner.zip", {"conversations.json": CHATS}).read_bytes()
    with pytest.raises(ExportError, match="archives inside of it are not opened; unpack them first"):
        open_export(as_zip(tmp_path / "x.zip", {"inner.zip": inner, "note.txt": "look inside"}))


def test_links_that_lead_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    secret = as_file(tmp_path / "outside" / "conversations-000.json", [chat(99)])
    folder = as_folder(tmp_path / "x", {"conversations-001.json": CHATS})
    (folder / "conversations-000.json").symlink_to(secret)
    (folder / "more").symlink_to(secret.parent)
    (folder / "conversations-002.json").symlink_to(folder / "nowhere")
    found = read(folder)
    assert len(found.lines) == 100
    assert "c99" not in {line.session_id for line in found.lines}


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ExportError, match="neither a file nor a folder"):
        open_export(tmp_path / "pipe")


def test_hidden_files_of_other_systems_are_passed_over(tmp_path: Path) -> None:
    extra = {"__MACOSX/._conversations.json": b"\x00\x05", ".DS_Store": b"\x00"}
    assert len(read(as_zip(tmp_path / "x.zip", {"conversations.json": CHATS, **extra})).lines) == 100


@pytest.mark.parametrize("packed", [gzip.compress, bytes])
def test_json_that_breaks_off_imports_nothing(
    tmp_path: Path, packed: Callable[[bytes], bytes], db: Database, settings: Settings
) -> None:
    content = packed(json.dumps([chat(n, 20) for n in range(500)]).encode())
    path = as_file(tmp_path / "x", content[: len(content) * 2 // 3])
    with pytest.raises(ExportError, match=r"breaks off after .* nothing was imported"):
        import_export(db, open_export(path), client="acme", crew="desk", settings=settings, now=NOW)
    with db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM lines").scalar() == 0


def test_one_of_many_files_that_breaks_off_imports_nothing(tmp_path: Path) -> None:
    members = {"conversations-000.json": CHATS, "conversations-001.json": b"[", "conversations-002.json": []}
    with pytest.raises(ExportError, match="breaks off after 100 lines"):
        read(as_folder(tmp_path / "x", members))


def test_an_archive_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": CHATS})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ExportError, match="breaks off"):
        open_export(path)


def test_a_damaged_member_imports_nothing(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "x.zip", {"conversations.json": [chat(n, 50) for n in range(200)]})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(ExportError, match="nothing was imported"):
        read(path)


@pytest.mark.parametrize(
    "tail",
    [
        b', {"title": NaN}]',
        b', {"title": "\xff"}]',
        b", oops]",
        b"]]",
    ],
)
def test_malformed_json_is_refused_in_a_sentence(tmp_path: Path, tail: bytes) -> None:
    path = as_file(tmp_path / "x", json.dumps([chat(n, 20) for n in range(50)]).encode()[:-1] + tail)
    with pytest.raises(ExportError, match=r"(malformed|breaks off) after .* nothing was imported") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_an_error_shows_nothing_of_what_was_said(tmp_path: Path) -> None:
    path = as_file(tmp_path / "x", b'[{"mapping": {}, "id": "x", "title": "my secret diary"]]')
    with pytest.raises(ExportError) as caught:
        read(path, "chatgpt")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", [b"18446744073709551616", b"1e400", b"9" * 500])
def test_a_number_of_any_size_loses_nothing(tmp_path: Path, number: bytes) -> None:
    one, other = (json.dumps(chat(n, 2)).encode() for n in range(2))
    path = as_file(tmp_path / "x", b"[" + one[:-1] + b', "n": ' + number + b"}, " + other + b"]")
    assert len(read(path).lines) == 4


def test_a_number_that_would_crash_the_parser_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = as_file(tmp_path / "x", b'[{"mapping": {}, "id": "x", "n": ' + b"9" * 5_000 + b"}]")
    with pytest.raises(ExportError, match="thousands of digits; nothing was imported"):
        read(path, "chatgpt")


def test_deeply_nested_json_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    deep = b'{"mapping": {}, "id": "deep", "x": ' + b"[" * 300_000 + b"]" * 300_000 + b"}"
    path = as_file(tmp_path / "x", b"[" + deep + b"," + json.dumps(CHATS[0]).encode() + b"]")
    found = read(path)
    assert len(found.lines) == 2
    assert "'deep' is nested too deeply" in found.reasons[0]


@pytest.mark.parametrize("content", [b"[" * 300_000, b"[" * 300_000 + b"]" * 300_000, b"[[[[[{}]]]]]"])
def test_nothing_but_nesting_is_no_known_format(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ExportError, match="JSON of another shape"):
        read(as_file(tmp_path / "x", content))


@pytest.mark.parametrize("requested", ["limitless", "chatgpt", "claude"])
@pytest.mark.parametrize("content", [b"[" * 300_000, b'{"a":' * 300_000, b'{"data":' * 300_000])
def test_nesting_without_end_does_not_overflow(tmp_path: Path, content: bytes, requested: str) -> None:
    with pytest.raises(ExportError, match="breaks off"):
        read(as_file(tmp_path / "x", content), requested)


def test_a_single_text_beyond_measure_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crew_pipeline.discovery.exports.objects.objects.__defaults__", ((), MEBIBYTE))
    path = as_file(tmp_path / "x", [CHATS[0], {"mapping": {}, "title": "x" * (3 * MEBIBYTE)}])
    with pytest.raises(ExportError, match="a single text beyond 1 MiB"):
        read(path)


def test_a_hundred_megabytes_are_streamed_in_a_few(tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    one = json.dumps(chat(0, 40, "word " * 1_000))
    with path.open("w") as file:
        file.write("[" + one)
        while file.tell() < 100 * 10**6:
            file.write("," + one)
        file.write("]")
    export = open_export(path)
    told: list[int] = []
    tracemalloc.start()
    try:
        count = sum(1 for _ in export.lines(LIMITS, Reading(), told.append))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count > 18_000
    assert peak < 12 * MEBIBYTE
    assert told == sorted(told)
    assert export.size * 0.9 < told[-1] <= export.size == path.stat().st_size


def test_progress_of_an_archive_goes_up_to_the_size_of_what_is_read(tmp_path: Path) -> None:
    members = {f"conversations-{n:03}.json": [chat(n, 3_000)] for n in range(4)}
    path = as_zip(tmp_path / "x.zip", {**members, "photo.jpg": os.urandom(100_000)})
    export = open_export(path)
    told: list[int] = []
    assert len(list(export.lines(LIMITS, Reading(), told.append))) == 12_000
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] <= export.size < path.stat().st_size - 100_000
