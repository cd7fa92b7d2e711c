"""Where the data directory is when nobody names it: the same one wherever in a project one stands."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

NAME = ".crew"
APPLICATION = "clean-up-crew"


def find_home() -> Path:
    """The nearest folder ``.crew`` in the working directory or above it, else the user's own data folder.

    One that belongs to another user is passed over: what lies in a folder that many may write to is not to be trusted.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return _of_user()
    return next((folder / NAME for folder in (here, *here.parents) if _is_own(folder / NAME)), _of_user())


def _of_user() -> Path:
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


def _is_own(folder: Path) -> bool:
    try:
        return folder.is_dir() and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
