"""The embedded Postgres lives as long as anybody uses it, and no longer."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from crew_pipeline.settings import load_settings
from crew_pipeline.storage.embedded import EmbeddedPostgresError, embedded_postgres
from crew_pipeline.storage.opening import open_databases
from crew_pipeline.storage.postgres_server import PORT, _sockets_elsewhere

USER = """
import sys, time
from pathlib import Path
from crew_pipeline.storage.embedded import embedded_postgres
with embedded_postgres(Path(sys.argv[1])) as server:
    print(server.url("postgres"), flush=True)
    time.sleep(600)
"""


def servers(home: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["name", "cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(home / "postgres") in part for part in process.info["cmdline"] or [])
        and "postgres" in (process.info["name"] or "")
    ]


def test_the_last_one_to_leave_stops_the_server(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path), embedded_postgres(tmp_path):
        assert servers(tmp_path)
    assert not servers(tmp_path)


def test_a_user_that_is_killed_does_not_keep_it_running(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", USER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline().startswith("postgresql://")
    with embedded_postgres(tmp_path):
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        other.stdout.close()
        assert servers(tmp_path)
    deadline = time.monotonic() + 10
    while servers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not servers(tmp_path)


def test_a_server_that_was_killed_is_started_again_at_the_same_address(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path) as server:
        assert not server.revive()
        url = server.url("postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            (postmaster,) = (pid for pid in servers(tmp_path) if psutil.Process(pid).ppid() not in servers(tmp_path))
            os.kill(postmaster, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while not server.revive():
                assert time.monotonic() < deadline
        assert server.url("postgres") == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert not server.revive()
    assert servers(tmp_path) == []


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


LOCK = "{pid}\n{folder}\n1700000000\n5432\n{folder}\n\n  1234567  65536\nready   \n"


@pytest.mark.parametrize(
    "content",
    [LOCK, "{pid}\n", "{pid}", "", "{pid}\n{folder}\n17000", "99999999999999999999\n", "-1\n", "no pid\n", "\0\xff"],
)
def test_a_stale_pid_file_whatever_it_says_neither_blocks_nor_harms(
    tmp_path: Path, stranger: subprocess.Popen[bytes], content: str
) -> None:
    with embedded_postgres(tmp_path) as server, psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stale = content.format(pid=stranger.pid, folder=tmp_path / "postgres")
    (tmp_path / "postgres" / "postmaster.pid").write_bytes(stale.encode("latin-1"))
    (tmp_path / "postgres" / f".s.PGSQL.{PORT}.lock").write_bytes(stale.encode("latin-1"))
    with embedded_postgres(tmp_path) as server:
        assert not server.revive()
        with psycopg.connect(server.url("postgres")) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert stranger.poll() is None
    assert servers(tmp_path) == []


@pytest.mark.parametrize("content", [LOCK, "", "{pid}"])
def test_a_pid_file_spoilt_while_the_server_runs_starts_no_second_one(
    tmp_path: Path, stranger: subprocess.Popen[bytes], content: str
) -> None:
    with embedded_postgres(tmp_path) as server:
        lock = tmp_path / "postgres" / "postmaster.pid"
        whole = lock.read_text()
        lock.write_text(content.format(pid=stranger.pid, folder=tmp_path / "postgres"))
        running = set(servers(tmp_path))
        with pytest.raises(EmbeddedPostgresError, match="uses it"), embedded_postgres(tmp_path):
            pass
        assert running & set(servers(tmp_path))
        lock.write_text(whole)
        with psycopg.connect(server.url("postgres")) as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)
    assert stranger.poll() is None


NAMES = ["my crew", "a & touch harmed", "50%", "it's", 'a "quoted" one', "$(touch harmed)", "`touch harmed`; x", "a,b",
         "c\\d", "#home?x=1", "разговоры 会话", "-D", "long " * 40]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_works_and_no_shell_reads_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGPORT", "6000")
    for expected in (0, 1):
        with open_databases(load_settings(home=tmp_path / name)) as databases, databases.db.write() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM clients").scalar() == expected
            connection.exec_driver_sql(f"INSERT INTO clients (client) VALUES ('client {expected}')")
    assert [path.name for path in tmp_path.rglob("harmed")] == []
    assert not _sockets_elsewhere(tmp_path / name / "postgres").exists()


def test_sockets_elsewhere_are_refused_in_a_folder_of_somebody_else(tmp_path: Path) -> None:
    home = tmp_path / "my crew"
    elsewhere = _sockets_elsewhere(home / "postgres")
    elsewhere.mkdir(mode=0o777)
    elsewhere.chmod(0o777)
    try:
        with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else"), embedded_postgres(home):
            pass
    finally:
        elsewhere.rmdir()


def test_a_first_start_that_was_killed_half_way_is_begun_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with embedded_postgres(tmp_path) as server, psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT 42").fetchone() == (42,)
    assert not half.exists()


def test_data_outlives_the_server(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    for expected in (0, 1):
        with open_databases(settings) as databases, databases.db.write() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM clients").scalar() == expected
            connection.exec_driver_sql(f"INSERT INTO clients (client) VALUES ('client {expected}')")


def test_a_folder_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(EmbeddedPostgresError, match="CREW_HOME"), embedded_postgres(tmp_path / "file" / "home"):
        pass


def test_folders_above_are_opened_no_further_than_they_must_be(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(0o700)
    with embedded_postgres(private / "home"):
        # As root the server runs as a user of its own, who has to pass; nobody has to see what is there.
        assert stat.S_IMODE(private.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can pass what belongs to others")
def test_a_closed_folder_of_another_user_is_not_opened_for_others(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(0o700)
    os.chown(theirs, 65534, 65534)
    with pytest.raises(EmbeddedPostgresError, match="start as its owner"), embedded_postgres(theirs / "home"):
        pass
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_api_that_is_told_to_stop_leaves_no_server_behind(tmp_path: Path, number: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "crew_pipeline.cli", "api", "--port", str(port)]
    home = tmp_path / "home"
    with subprocess.Popen(command, env={**os.environ, "CREW_HOME": str(home)}) as api:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert servers(home)
        written = [path for path in home.iterdir() if path.is_file()]
        assert [path for path in written if path.stat().st_mode & 0o077] == []
        api.send_signal(number)
        api.wait(30)
    assert servers(home) == []
