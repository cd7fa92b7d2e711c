"""The embedded Postgres lives as long as anybody uses it, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from crew_pipeline.settings import load_settings
from crew_pipeline.storage.embedded import EmbeddedPostgresError, embedded_postgres
from crew_pipeline.storage.opening import open_databases

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
