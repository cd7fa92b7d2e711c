"""A schema-driven fuzzer finds nothing that the API's description does not say: without tokens, and with one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.api.following import served
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

DAY = "2025-01-15"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# A fuzzer that forgets everything finds nothing afterwards.
LEFT_OUT = ["--exclude-path", "/api/forget"]


@pytest.mark.timeout(280)
@pytest.mark.parametrize("with_token", [False, True], ids=["open", "token"])
def test_a_fuzzer_finds_nothing_undescribed(
    settings: Settings, database_url: str, db: Database, make_ready: Ready, tmp_path: Path, *, with_token: bool
) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three"), ("Bo", "three two one")), client="default")
    make_ready(DAY)
    shown: list[str] = []
    if with_token:
        with db.write() as connection:
            token = tokens.create(connection, "default", scopes=("read", "write", "admin"))
        shown = ["--header", f"Authorization: Bearer {token}"]
    # Wrong tokens and floods are answered late on purpose, which a fuzzer of a thousand requests would wait for.
    unlimited = {f"limit_{name}": 0 for name in ("requests", "writes", "forces", "wrong_tokens")}
    app = create_app(settings.model_copy(update=unlimited), database_url, ENGINE)
    with served(app) as server:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run",
            f"http://127.0.0.1:{server.config.port}/openapi.json", "--max-examples", "8",
            "--seed", "7", "--generation-database", "none", "--no-color", *LEFT_OUT, *shown,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    counted = re.search(r"(\d+) generated", done.stdout)
    assert counted is not None
    assert int(counted[1]) > 500
