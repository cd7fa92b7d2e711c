"""The command line as a user runs it: real processes, their output, their exit status."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crew_pipeline import __version__
from crew_pipeline.storage.embedded import EmbeddedPostgres, embedded_postgres
from crew_pipeline_tests.conftest import SHARED

TOP = Path(__file__).resolve().parents[1]


def crew(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crew_pipeline.cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "CREW_HOME": str(home), **environment},
        timeout=240,
        check=False,
    )


def told(home: Path, *arguments: str) -> dict:
    """The JSON that a command prints, which must be all that it prints on standard output."""
    done = crew(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A name that no shell and no address takes as it is.
    return tmp_path_factory.mktemp("cli") / "my crew & co's 50%"


@pytest.fixture(scope="module", autouse=True)
def kept_up(home: Path) -> Iterator[EmbeddedPostgres]:
    """The database is held up by another process, so that not each of a hundred commands starts and stops it."""
    with embedded_postgres(home) as held:
        yield held


@pytest.fixture(scope="module")
def sample(home: Path) -> Path:
    subprocess.run([sys.executable, TOP / "examples" / "make_sample.py", home / "sample"], check=True)
    return home / "sample"


def test_a_day_from_import_to_reading(home: Path, sample: Path) -> None:
    first = told(home, "import", str(sample / "support.jsonl"), "--crew", "support")
    assert first["conversations"] == {"read": 6, "new": 6, "changed": 0, "skipped": 0}
    again = told(home, "import", str(sample / "support.jsonl"), "--crew", "support")
    assert again["lines"] == {"read": 32, "new": 0, "changed": 0, "skipped": 32, "rejected": 0}

    before = told(home, "day", "2025-01-13")
    assert before["metadata"]["processing_status"] == "pending"
    assert sum(one["hidden_count"] for one in before["data"]) == 0

    done = told(home, "process", "--from", "2025-01-13", "--to", "2025-01-15")
    assert [one["day"] for one in done["processed"]] == ["2025-01-13", "2025-01-14", "2025-01-15"]
    assert {one["status"] for one in done["processed"]} == {"completed"}
    unchanged = told(home, "process", "2025-01-13")
    assert (unchanged["processed"], unchanged["unchanged"], unchanged["runs"]) == ([], 1, 0)

    after = told(home, "day", "2025-01-13")
    assert after["metadata"]["processing_status"] == "completed"
    assert sum(one["hidden_count"] for one in after["data"]) > 0
    reasons = [
        variation["reason"]
        for conversation in after["data"]
        for line in conversation["display_conversation"]
        for variation in line["hidden_variations"]
    ]
    assert "same words" in reasons
    full = told(home, "day", "2025-01-13", "--full")
    assert [len(one["display_conversation"]) for one in full["data"]] == [one["line_count"] for one in full["data"]]

    status = told(home, "status")
    assert status["by_status"]["completed"]["days"] == 3
    assert status["by_status"]["pending"]["days"] == 1
    assert status["queue"][0]["day"] == "2025-01-16"
    assert told(home, "status", "latest")["days"][0]["status"] == "pending"

    shown = crew(home, "day", "2025-01-13")
    assert "same words" in shown.stdout
    assert "folded away" in shown.stdout


def test_a_crew_s_day_shows_what_is_new_in_long_messages(tmp_path: Path, sample: Path) -> None:
    home = tmp_path / "home"
    crew(home, "import", str(sample / "builders.jsonl"), "--crew", "builders")
    assert crew(home, "process", "2025-01-17").returncode == 0
    shown = crew(home, "day", "2025-01-17")
    rows = shown.stdout.splitlines()
    assert sum("We are a workshop of agents" in row for row in rows) == 1
    assert "         ⋯ 11 lines as at 21:02, Programmer · within def rename_all(folder):" in rows
    assert "                 target = photo.with_name(name_of(photo))" in rows
    assert "         standing text of Programmer, 575 characters, in 5 messages:" in rows
    assert "         ⋯ 6 lines of standing text of Programmer" in rows
    assert "1 conversations, 11 lines, 74% of the characters folded away." in shown.stdout
    assert "--whole" in shown.stderr
    whole = crew(home, "day", "2025-01-17", "--whole")
    assert sum("We are a workshop of agents" in row for row in whole.stdout.splitlines()) == 10
    assert "⋯" not in whole.stdout
    assert "--whole" not in whole.stderr


def test_rows_of_a_message_stand_under_each_other_whatever_ends_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    line = {"session_id": "s", "line": 0, "created_at": "2025-02-01T10:00:00Z", "speaker": "Ann"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**line, "text": "first\r\n  second\r\rthird\x1b[31m"}))
    crew(home, "import", str(path), "--crew", "rows")
    rows = crew(home, "day", "2025-02-01").stdout.splitlines()
    assert rows[2] == "   10:00 Ann:"
    assert rows[3:7] == ["         first", "           second", "         ", "         third\ufffd[31m"]


def test_times_are_those_of_the_zone_and_a_day_that_is_said_elsewhere_is_not_lost(tmp_path: Path) -> None:
    home = tmp_path / "home"
    words = ["The backup of the database failed again last night.", "I will look into it before lunch, I promise."]
    said = [
        {
            "session_id": session,
            "line": place,
            "created_at": f"2025-07-01T{hour}:0{place}:00Z",
            "speaker": "Ann",
            "text": text,
        }
        for hour, session in ((10, "first"), (12, "again"))
        for place, text in enumerate(words)
    ]
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(map(json.dumps, said)))
    berlin = {"CREW_TIMEZONE": "Europe/Berlin"}
    crew(home, "import", str(path), "--crew", "talk", **berlin)
    crew(home, "process", "2025-07-01", **berlin)
    shown = crew(home, "day", "2025-07-01", **berlin).stdout
    assert "   12:00 Ann: The backup" in shown
    assert "again  talk, 2 lines, 2 folded away" in shown
    assert "⋯ nothing new: as at 12:00 Ann, 12:01 Ann" in shown
    assert "Times are those of Europe/Berlin." in shown


def test_an_export_of_several_that_breaks_off_keeps_no_other_from_being_imported(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "conversations.json").write_text('[{"uuid": "u", "name": "n", "chat_messages": []}, {"uuid": ')
    line = {
        "session_id": "s",
        "line": 0,
        "created_at": "2025-02-01T10:00:00Z",
        "speaker": "Ann",
        "text": "good morning",
    }
    (folder / "b.jsonl").write_text(json.dumps(line))
    done = crew(tmp_path / "home", "import", str(folder), "--json")
    report = json.loads(done.stdout)
    assert [(one["crew"], one["lines"]["new"]) for one in report["imports"]] == [("b", 1)]
    assert "breaks off" in report["not_read"][0]["reason"]
    assert (done.returncode, "1 of 2 exports" in done.stderr) == (1, True)


def test_a_client_is_made_only_where_that_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = crew(home, "clients", "set", "acmee", "--folding", "strict")
    assert refused.returncode == 1
    assert "There is no client acmee" in refused.stderr
    assert crew(home, "clients", "set", "acmee", "--folding", "strict", "--create").returncode == 0
    assert "There is no client globex yet" in crew(home, "token", "create", "--client", "globex").stderr


def test_what_a_reader_says_changes_the_day_and_can_be_taken_back(home: Path, sample: Path, tmp_path: Path) -> None:
    def folded() -> dict[str, str]:
        lines = [line for one in told(home, "day", "2025-01-13")["data"] for line in one["display_conversation"]]
        return {hidden["line_id"]: line["line_id"] for line in lines for hidden in line["hidden_variations"]}

    before = folded()
    hidden, shown = sorted(before.items())[0]
    said = told(home, "feedback", "different", "2025-01-13", shown, hidden)
    assert "2025-01-13" in said["refolded"]
    assert hidden not in folded()
    assert [one["id"] for one in told(home, "feedback", "list")["feedback"]] == [said["id"]]
    assert crew(home, "feedback", "export", str(tmp_path / "pairs.jsonl")).returncode == 0
    assert told(home, "evaluate", str(tmp_path / "pairs.jsonl"))["pairs"] == 1
    assert crew(home, "feedback", "undo", str(said["id"])).returncode == 0
    assert folded() == before
    refused = crew(home, "feedback", "undo", str(said["id"]))
    assert (refused.returncode, "no verdict" in refused.stderr) == (1, True)
    refused = crew(home, "feedback", "same", "2025-01-13", "x-1", "x-2")
    assert (refused.returncode, "There is no line 'x-1'" in refused.stderr) == (1, True)


def test_a_client_can_fold_at_another_point(home: Path, sample: Path) -> None:
    done = told(home, "clients", "set", "default", "--folding", "strict")
    assert (len(done["refolded"]), done["later"]) == (3, [])
    (client,) = told(home, "clients", "list")["clients"]
    assert client["folding"] == "strict"
    assert told(home, "process", "2025-01-13")["runs"] == 0
    told(home, "clients", "set", "default", "--folding", "default")
    refused = crew(home, "clients", "set", "default", "--timezone", "Mars/Olympus")
    assert (refused.returncode, "an IANA time zone" in refused.stderr) == (2, True)
    crew(home, "clients", "set", "default", "--timezone", "Asia/Tokyo")
    assert told(home, "clients", "list")["clients"][0]["timezone"] == "Asia/Tokyo"
    crew(home, "clients", "set", "default", "--timezone", "default")
    assert told(home, "clients", "list")["clients"][0]["timezone"] is None


def test_labelling_asks_with_one_key_a_pair(home: Path, sample: Path) -> None:
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "crew_pipeline.cli", "label", "2025-01-13"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CREW_HOME": str(home), "PYTHONUNBUFFERED": "1"},
    )
    assert asked.stdout is not None
    keys, said = [b"x", b"d", b"u", b"q"], []
    for line in asked.stdout:
        said.append(line)
        if "q end" in line and keys:
            time.sleep(0.5)  # until it reads single keys; what was typed before is thrown away
            os.write(ours, keys.pop(0))
    assert asked.wait(60) == 0, said
    os.close(ours)
    os.close(theirs)
    assert any("1 of" in line for line in said)
    assert "0 pairs judged" in said[-1]
    assert told(home, "feedback", "list")["feedback"] == []
    refused = crew(home, "label", "2025-01-13")
    assert (refused.returncode, "at a terminal" in refused.stderr) == (1, True)


def test_a_history_table_is_discovered(home: Path, sample: Path) -> None:
    source = {"DEMO_HISTORIES": f"sqlite:///{sample / 'agents.sqlite'}"}
    added = crew(home, "crews", "add", "agents", "--table", "agent_histories", "--source-env", "DEMO_HISTORIES")
    assert added.returncode == 0, added.stderr
    done = crew(home, "discover", "--json", **source)
    (report,) = json.loads(done.stdout)["crews"]
    assert (report["conversations"]["new"], report["lines"]["new"], report["error"]) == (5, 23, None)
    failed = crew(home, "discover")
    assert failed.returncode == 1
    assert "DEMO_HISTORIES is not set" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_rejected_lines_are_reported_with_their_numbers(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    good = {"session_id": "m", "line": 0, "created_at": "2025-01-15T09:00:00Z", "speaker": "A", "text": "fine"}
    path.write_text(json.dumps(good) + "\nnot json\n" + json.dumps({**good, "line": 1, "text": "a\0b"}) + "\n")
    report = told(home, "import", str(path), "--client", "mixed")
    assert (report["lines"]["new"], report["lines"]["rejected"]) == (1, 2)
    assert [one["line"] for one in report["rejections"]] == [2, 3]
    plain = crew(home, "import", str(path), "--client", "mixed")
    assert plain.returncode == 0
    assert "line 3: text holds a NUL character" in plain.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["import", "nothing.jsonl"], 1, "There is no file nothing.jsonl"),
        (["import"], 2, "Missing argument"),
        (["day", "someday"], 2, "is no day"),
        (["process"], 2, "give a DAY"),
        (["process", "2025-01-15", "--pending"], 2, "give a DAY"),
        (["process", "--from", "2025-01-16", "--to", "2025-01-15"], 2, "is after"),
        (["import", "nothing.jsonl", "--format", "xml"], 2, "Invalid value for '--format'"),
        (["evaluate", "nothing.jsonl"], 1, "cannot be read"),
        (["crews", "add", "x", "--table", "a; drop"], 1, "not a table name"),
        (["token", "revoke", "99"], 1, "There is no token 99"),
        (["up", "--host", "0.0.0.0"], 1, "no token is configured"),
    ],
)
def test_errors_are_one_sentence_with_the_right_status(
    home: Path, arguments: list[str], status: int, sentence: str
) -> None:
    done = crew(home, *arguments)
    assert done.returncode == status, done.stderr
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_wrong_setting_stops_every_command(home: Path) -> None:
    done = crew(home, "status", CREW_FOLDING="tight")
    assert done.returncode == 1
    assert done.stderr.startswith("CREW_FOLDING='tight' cannot be used")


def test_a_database_that_does_not_answer_is_a_sentence(home: Path) -> None:
    done = crew(home, "status", CREW_DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/crew")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "hunter2" not in done.stderr


def test_what_people_said_cannot_drive_the_terminal(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "hostile.jsonl"
    line = {
        "session_id": "[/x]",
        "line": 0,
        "created_at": "2025-01-15T09:00:00Z",
        "speaker": "[bold]A",
        "text": "\x1b[2J :wave:",
    }
    path.write_text(json.dumps(line))
    assert crew(home, "import", str(path), "--client", "[/hostile]").returncode == 0
    done = crew(home, "day", "2025-01-15", "--client", "[/hostile]")
    assert done.returncode == 0, done.stderr
    assert "[bold]A" in done.stdout
    assert ":wave:" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_doctor_examines_everything(home: Path) -> None:
    found = told(home, "doctor")
    assert found["ok"] is True
    assert [one["name"] for one in found["checks"]] == [
        "database", "migrations", "row security", "model", "pair scorer", "dagster", "time zone", "worker", "disk",
        "clock",
    ]  # fmt: skip
    ill = crew(
        home, "doctor", "--json", CREW_MODEL="/nowhere", CREW_DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/crew"
    )
    assert (ill.returncode, "hunter2" in ill.stdout + ill.stderr) == (1, False)
    checks = {one["name"]: one for one in json.loads(ill.stdout)["checks"]}
    assert [checks[name]["ok"] for name in ("database", "model", "pair scorer", "disk")] == [False, False, True, True]
    assert "CREW_MODEL" in checks["model"]["remedy"]
    settings = told(home, "doctor", "--settings")["settings"]
    assert {"variable", "value", "default", "description"} <= set(settings[0])


def test_history_tables_from_adding_to_alerts(home: Path, tmp_path: Path) -> None:
    source = tmp_path / "n8n.sqlite"
    with sqlite3.connect(source) as connection:
        connection.execute("CREATE TABLE chats (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
        connection.executemany(
            "INSERT INTO chats (session_id, message) VALUES (?, ?)",
            [("a", '{"type": "human", "content": "hello"}'), ("b", '{"type": "ai"}')],
        )
    address = {"N8N_DB": f"sqlite:///{source}"}
    listed = tmp_path / "crews.yaml"
    listed.write_text("clients: {tables: {crews: {n8n: {table: chats, source_env: N8N_DB}}}}")
    assert crew(home, "crews", "apply", str(listed)).returncode == 0
    checked = crew(home, "crews", "check", "--client", "tables", "--json", **address)
    (check,) = json.loads(checked.stdout)["crews"]
    assert (check["key"], check["first_rows"]["read"], check["error"]) == ("id", 1, None)
    assert "tells no time" in check["warnings"][0]
    done = crew(home, "discover", "--client", "tables", "--compare", "--json", **address)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["crews"][0]["conversations"] == {"read": 1, "new": 1, "changed": 0, "skipped": 0}
    assert found["comparison"][0]["agrees"]
    status = told(home, "status")
    assert [one["crew"] for one in status["discovery"] if one["client"] == "tables"] == ["n8n"]
    assert [one["kind"] for one in status["alerts"]] == ["discovery_errors"]
    assert "1 new, 0 skipped, 1 errors" not in crew(home, "discover", "--client", "tables", **address).stdout
    away = crew(home, "discover", "--client", "tables")
    assert away.returncode == 1
    assert "N8N_DB is not set" in away.stderr
    assert crew(home, "crews", "remove", "n8n", "--client", "tables").returncode == 0
    refused = crew(home, "crews", "add", "x", "--table", "chats", "--source-env", "sqlite:///secret-place")
    assert refused.returncode == 1
    assert "secret-place" not in refused.stderr


@pytest.mark.parametrize(
    ("number", "after_s"), [(signal.SIGTERM, 5), pytest.param(signal.SIGINT, 3, marks=pytest.mark.slow)]
)
def test_processing_that_is_stopped_ends_at_once_and_no_day_has_failed(
    tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    home = tmp_path / "home"
    said = [
        {"session_id": f"s{place // 40}", "line": place, "created_at": f"2025-01-{13 + place % 4}T09:00:00Z",
         "speaker": "Ann", "text": f"point {place} of the list is about the {place % 97} boxes in room {place % 31}"}
        for place in range(1_000)
    ]  # fmt: skip
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(map(json.dumps, said)))
    crew(home, "import", str(path), "--crew", "talk")
    command = [sys.executable, "-m", "crew_pipeline.cli", "process", "--pending"]
    with subprocess.Popen(
        command, env={**os.environ, "CREW_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(after_s)
        process.send_signal(number)
        _, told_on_stderr = process.communicate(timeout=20)
    assert process.returncode in {0, 130, -number}, told_on_stderr
    if process.returncode == 130:
        assert "Stopped. What was ready is" in told_on_stderr
    days = {state: counted["days"] for state, counted in told(home, "status")["by_status"].items()}
    assert (days["failed"], days["processing"] if process.returncode == 130 else 0) == (0, 0)
    if process.returncode != -number:
        assert crew(home, "process", "--pending").returncode == 0


def test_the_version_is_told(home: Path) -> None:
    assert crew(home, "--version").stdout == f"crew {__version__}\n"


@pytest.mark.corpus
def test_the_labelled_pairs_are_evaluated(home: Path) -> None:
    path = SHARED / "duplicate_pairs" / "irc.jsonl"
    if not path.exists():
        pytest.skip("the shared corpora are not here")
    result = told(home, "evaluate", str(path))
    assert result["pairs"] == 1480
    assert set(result["cosine_baseline"]) >= {"precision", "recall", "f1"}
    assert all(0 < result[name] < 1 for name in ("precision", "recall", "f1"))


def test_everything_starts_serves_and_stops_leaving_nothing_behind(home: Path, kept_up: EmbeddedPostgres) -> None:
    kept_up.leave()
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "crew_pipeline.cli",
        "up",
        "--port",
        str(ports[0]),
        "--dagster-port",
        str(ports[1]),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "CREW_HOME": str(home)}
    )
    try:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Ctrl-C stops everything" in line:
                break
        assert process.poll() is None, "".join(printed)
        address = f"http://127.0.0.1:{ports[0]}"
        with urllib.request.urlopen(f"{address}/api/days/2025-01-16/conversations?wait_s=30") as response:
            content = json.load(response)
        assert content["metadata"]["processing_status"] == "completed"
        assert len(content["data"]) >= 1
        with urllib.request.urlopen(f"{address}/readyz") as response:
            assert json.load(response)["dependencies"] == {"database": "ok", "migrations": "ok", "worker": "ok"}
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/server_info") as response:
            assert response.status == 200
        second = crew(home, "up", "--port", "1", "--dagster-port", "2")
        assert second.returncode == 1
        assert f"runs already on the data directory {home} (process {process.pid})" in second.stderr
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(_runs(pid) for pid in family):
        time.sleep(0.2)
    assert [pid for pid in family if _runs(pid)] == []
    mine = [p.pid for p in psutil.process_iter(["cmdline", "status"])
            if p.info["status"] != psutil.STATUS_ZOMBIE and str(home) in " ".join(p.info["cmdline"] or [])]  # fmt: skip
    assert mine == []


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def copied(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A backup of the store that the tests above have filled, and the data directory that it was restored into."""
    folder = tmp_path_factory.mktemp("copied")
    file, other = folder / "crew & co.tar", folder / "another machine's"
    done = crew(home, "backup", str(file))
    assert done.returncode == 0, done.stderr
    restored = crew(other, "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.startswith("Restored: ")
    return file, other


def test_a_backup_is_all_of_the_store_and_goes_into_an_empty_one_only(home: Path, copied: tuple[Path, Path]) -> None:
    file, other = copied
    assert file.stat().st_mode & 0o077 == 0
    assert not list(file.parent.glob(".crew-backup-*"))
    day = told(other, "day", "2025-01-13")
    assert day["metadata"]["processing_status"] == "completed"
    assert day["data"] == told(home, "day", "2025-01-13")["data"]
    full = crew(other, "restore", str(file))
    assert (full.returncode, "holds conversations" in full.stderr) == (1, True)
    broken = file.with_name("broken.tar")
    broken.write_bytes(file.read_bytes()[:3000])
    half = crew(file.parent / "third", "restore", str(broken))
    assert (half.returncode, "'crew backup' wrote" in half.stderr) == (1, True)


def test_what_is_forgotten_is_found_nowhere_and_the_day_goes_on_without_it(copied: tuple[Path, Path]) -> None:
    backup, home = copied
    told(home, "process", "2025-01-13")
    before = told(home, "day", "2025-01-13")
    words = "the combination of the safe is xyzzy-plugh"
    record = {"session_id": "safe", "created_at": "2025-01-13T17:00:00Z", "speaker": "Mara", "text": words}
    export = backup.with_name("safe.jsonl")
    export.write_text("".join(json.dumps({**record, "line": line}) + "\n" for line in range(2)))
    told(home, "import", str(export), "--crew", "support")
    told(home, "process", "2025-01-13")
    (conversation,) = (one for one in told(home, "day", "2025-01-13")["data"] if one["session_id"] == "safe")
    of_day = told(home, "summary", "latest")
    assert (of_day["days"], of_day["missing_days"], of_day["key_points"]) == (1, 1, [])
    assert "within minutes" in crew(home, "summary", "latest", "--week").stdout
    assert "name a day" in crew(home, "summary").stderr
    unasked = crew(home, "forget", "conversation", conversation["id"])
    assert (unasked.returncode, "Nothing was erased" in unasked.stderr) == (1, True)
    (found,) = told(home, "search", "combination of the safe")["results"]
    assert (found["text"], found["times"]) == (words, 2)
    seen = crew(home, "search", "xyzzy", "--from", "2025-01-13", "--speaker", "Mara")
    assert words in seen.stdout
    assert "2 times on 1 days" not in seen.stdout
    done = told(home, "forget", "conversation", conversation["id"], "--yes")
    assert done["rows"]["lines"] == 2
    assert told(home, "search", "xyzzy-plugh")["results"] == []
    assert crew(home, "search", "xyzzy-plugh").stdout == "Nothing was found.\n"
    assert told(home, "themes")["themes"] == []
    assert crew(home, "themes").stdout.startswith("No themes yet")
    assert "There is no theme 9" in crew(home, "themes", "9").stderr
    for wrong, words in (
        (("9", "--name", "x"), "There is no theme 9"),
        (("9", "--line", "nothing"), "is no line_id"),
        (("--split",), "name one"),
        (("9", "--split", "--drop"), "one correction at a time"),
    ):
        refused = crew(home, "themes", *wrong)
        assert (refused.returncode != 0, words in refused.stderr) == (True, True), refused.stderr
    assert crew(home, "themes", "--forbid", "safe").returncode == 0
    kept = b"".join(path.read_bytes() for path in (home / "search").rglob("*") if path.is_file())
    assert b"xyzzy" not in kept
    assert told(home, "forget", "search", words) == {"application": [], "dagster": [], "files": []}
    after = told(home, "day", "2025-01-13")
    assert after["metadata"]["processing_status"] == "completed"
    assert after["data"] == before["data"]
