"""Programs that tests run as processes of their own, and modules that hosts import."""

from __future__ import annotations

import sys
from pathlib import Path


def path_of(name: str) -> Path:
    path = Path(__file__).with_name(f"{name}.py")
    assert path.is_file(), path
    return path


def command(name: str, *words: str) -> list[str]:
    return [sys.executable, str(path_of(name)), *words]
