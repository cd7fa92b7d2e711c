"""The clients as they are handed out: a small wheel for Python, types for TypeScript."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from crew_pipeline import __version__

TOP = Path(__file__).resolve().parents[2]


def test_the_wheel_of_the_client_works_without_the_rest(tmp_path: Path) -> None:
    build = f"import hatchling.build as b; print(b.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=TOP / "clients" / "python", capture_output=True, text=True, check=True
    )
    wheel = tmp_path / done.stdout.strip().splitlines()[-1]
    assert wheel.name.startswith(f"crew_client-{__version__}")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    assert sorted(path.name for path in unpacked.iterdir())[0] == "crew_client"
    told = (
        "import sys, crew_client; top = {name.partition('.')[0] for name in sys.modules}; "
        "print(crew_client.__file__, *(top & {'crew_pipeline', 'pydantic', 'fastapi', 'sqlalchemy', 'numpy'}))"
    )
    # Away from the checkout, which would else be found first.
    found = subprocess.run(
        [sys.executable, "-P", "-c", told],
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == [str(unpacked / "crew_client" / "__init__.py")]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node")
def test_the_client_of_typescript_compiles() -> None:
    subprocess.run(["make", "typescript-client"], cwd=TOP, check=True, timeout=280)
