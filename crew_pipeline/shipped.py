"""Files that the project ships beside its code: inside the installed package, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """``dagster.yaml`` or ``workspace.yaml``."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.exists() else package.parent / name
