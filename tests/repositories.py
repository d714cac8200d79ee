"""The one place where tests make git repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.invalid",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.invalid",
}
IGNORED = ".env\n.dev-data/\n.dev-pids/\nlogs/\n__pycache__/\n"


def git(directory: Path, *words: str) -> str:
    """Run the real git in a directory, without the user's configuration; return what it prints."""
    command = ["git", "-c", "protocol.file.allow=always", "-C", str(directory), *words]
    done = subprocess.run(command, env={**os.environ, **GIT_ENV}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def make_repository(root: Path, files: Mapping[str, str | Path], *words: str) -> Path:
    """Make a repository with one commit: texts, and copies of files and folders; `words` are further ones for git."""
    root.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, str):
            (root / name).write_text(content, encoding="utf-8")
        elif content.is_dir():
            shutil.copytree(content, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(content, root / name)
    git(root, "init", "--quiet", "--initial-branch=main", *words)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message=first")
    return root
