"""One's conversations are found again wherever one stands, and nothing that tidies up takes them away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crew_pipeline import home
from crew_pipeline.home import find_home
from crew_pipeline.settings import load_settings

TOP = Path(__file__).resolve().parents[1]


@pytest.fixture
def unnamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without ``CREW_HOME``, who stands deep in a project."""
    monkeypatch.delenv("CREW_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "project" / "notes" / "today"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_the_nearest_one_above_is_taken(unnamed: Path) -> None:
    (unnamed.parents[1] / ".crew").mkdir()
    assert load_settings().home_path == unnamed.parents[1] / ".crew"
    (unnamed.parents[0] / ".crew").mkdir()
    assert load_settings().home_path == unnamed.parents[0] / ".crew"


def test_without_one_it_is_the_users_own_wherever_one_stands(unnamed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_home()
    assert found.name == "clean-up-crew"
    monkeypatch.chdir(unnamed.parents[2])
    assert find_home() == found
    assert not (unnamed / ".crew").exists()


def test_a_name_that_is_given_counts(unnamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unnamed / ".crew").mkdir()
    monkeypatch.setenv("CREW_HOME", str(tmp_path / "mine"))
    assert load_settings().home_path == tmp_path / "mine"


def test_neither_a_file_nor_a_folder_of_somebody_else_is_taken(unnamed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unnamed / ".crew").write_text("a file")
    (unnamed.parent / ".crew").mkdir()
    assert find_home() == unnamed.parent / ".crew"
    monkeypatch.setattr(home.os, "geteuid", lambda: os.getuid() + 1)
    assert find_home().name == "clean-up-crew"


def test_a_working_directory_that_is_gone_does_not_matter(unnamed: Path) -> None:
    unnamed.rmdir()
    assert find_home().name == "clean-up-crew"


def test_commands_say_which_one_they_opened_where_it_was_not_named(unnamed: Path) -> None:
    command = [sys.executable, "-m", "crew_pipeline.cli", "crews", "list"]
    (unnamed.parent / ".crew").mkdir()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert f"Data directory: {unnamed.parent / '.crew'}" in said
    named = [*command, "--data-dir", str(unnamed.parent / ".crew")]
    assert subprocess.run(named, capture_output=True, text=True, check=True).stderr == ""


def test_make_clean_touches_no_conversation(tmp_path: Path) -> None:
    shutil.copy(TOP / "Makefile", tmp_path)
    for folder in (".venv", ".crew", ".demo", ".mypy_cache"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kept").touch()
    environment = {**os.environ, "CREW_HOME": str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["make", "clean"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile", ".crew", ".demo", "elsewhere"}
