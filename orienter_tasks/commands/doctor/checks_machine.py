"""This machine: Python, git, disk space."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding, install
from orienter_tasks.machine.state import state_dir
from orienter_tasks.observe.inventory import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.commands.doctor.context import Situation

OLDEST_PYTHON = (3, 10)
ASK_SECONDS = 10.0
LOW = 5_000_000_000
NONE_LEFT = 1_000_000_000


def python(_: Situation) -> Iterator[Finding]:
    """Name the interpreter and what runs in it."""
    version = ".".join(map(str, sys.version_info[:3]))
    words = f"Python {version} ({sys.executable}), invoke {metadata.version('invoke')}"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("problem", "python", f"{words}: it is too old", install("python3.12", "python@3.12"))
    else:
        yield Finding("ok", "python", words)


def git(situation: Situation) -> Iterator[Finding]:
    """Ask for git, and whether this directory is a checkout at all."""
    program = shutil.which("git")
    if program is None:
        yield Finding("problem", "git", "git is not on PATH", install("git"))
        return
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("problem", "git", f"{program} cannot run: {error}", install("git"))
        return
    tree = situation.tree
    if tree.git_dir is None:
        yield Finding(
            "warning", "git", f"{situation.root} is no git checkout: it counts as a main checkout", "git worktree list"
        )
        return
    kind = f"a linked worktree of {tree.main_root}" if tree.linked else "a main checkout"
    yield Finding("ok", "git", f"{done.stdout.strip()}; {situation.root} is {kind}")


def disk(situation: Situation) -> Iterator[Finding]:
    """Require room where data is written."""
    places = {"the checkout": situation.root, "the state directory": _existing(state_dir())}
    seen: set[int] = set()
    for name, path in places.items():
        device = path.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(path).free
        words = f"{megabytes(free)} free for {name} ({path})"
        if free < NONE_LEFT:
            yield Finding("problem", "disk", words, "inv cleanup.weekly --dry-run")
        elif free < LOW:
            yield Finding("warning", "disk", words, "inv cleanup.weekly --dry-run")
        else:
            yield Finding("ok", "disk", words)


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
