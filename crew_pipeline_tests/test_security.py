"""The rules of bandit, as ruff has them: what they find is mended, or said why it is no fault, where it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


def test_nothing_is_found_that_is_not_explained() -> None:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [
            ruff,
            "check",
            "--no-cache",
            "--select",
            "S",
            "--ignore",
            "S101",
            "--output-format",
            "concise",
            "crew_pipeline",
        ],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
