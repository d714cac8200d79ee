"""The checkout's `.env`: what it lacks, what in it is ignored, who may read it."""

from __future__ import annotations

import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding, Fix, drop_line
from orienter_tasks.instance.dotenv import create, needs_secret
from orienter_tasks.instance.variables import masked, read_dotenv
from orienter_tasks.machine import worktree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.commands.doctor.context import Situation

PRIVATE = 0o600
ASK_SECONDS = 10.0


def present(situation: Situation) -> Iterator[Finding]:
    """Require that there is one, that it is a file, and that it is private."""
    path = situation.root / ".env"
    if not path.is_file():
        tree = situation.tree
        made = Fix("make .env, as inv env.init does", lambda: _make(tree.root))
        yield Finding("warning", ".env", "there is none: the defaults' known passwords are used", "inv env.init", made)
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        fix = Fix("take .env from other users: mode 0600", lambda: path.chmod(PRIVATE))
        yield Finding("warning", ".env", f"its mode is {mode:04o}: other users may read it", "chmod 600 .env", fix)
    else:
        yield Finding("ok", ".env", f"{len(situation.dotenv)} variables, mode {mode:04o}")


def lines(situation: Situation) -> Iterator[Finding]:
    """Name lines that are no variables, and variables that are not what `.env` says."""
    if situation.broken:
        numbers = ", ".join(map(str, situation.broken))
        yield Finding("warning", ".env", f"no NAME=value in line {numbers}", f"sed -n '{situation.broken[0]}p' .env")
    if situation.config is None:
        return
    for name, written in sorted(situation.config.variables.ignored.items()):
        shown = masked(name, written)
        real = masked(name, situation.config.variables[name])
        yield Finding(
            "warning",
            ".env",
            f"{name}={shown} is ignored: it follows from the instance's id and is {real}",
            drop_line(name),
        )


def keys(situation: Situation) -> Iterator[Finding]:
    """Compare with `.env.example`."""
    example = situation.root / ".env.example"
    if not (example.is_file() and (situation.root / ".env").is_file()):
        return
    wanted, _ = read_dotenv(example)
    missing = [name for name in wanted if name not in situation.dotenv and name not in situation.environ]
    if missing:
        pattern = "|".join(missing)
        yield Finding(
            "warning",
            ".env",
            f"{', '.join(missing)} of .env.example is missing",
            f"grep -E '^({pattern})=' .env.example >> .env",
        )


def secrets(situation: Situation) -> Iterator[Finding]:
    """Find secrets that were left as they stand in the example."""
    left = [name for name, value in situation.dotenv.items() if value and needs_secret(name, value)]
    if not left:
        return
    started = situation.started
    remedy = (
        "choose new values in .env, then: inv infra.down --volumes (the data was made with the present ones)"
        if started
        else "rm .env && inv env.init"
    )
    yield Finding("warning", ".env", f"{', '.join(left)} still has the example's placeholder", remedy)


def ignored_by_git(situation: Situation) -> Iterator[Finding]:
    """Require that git does not see it."""
    program = shutil.which("git")
    if program is None or situation.tree.git_dir is None or not (situation.root / ".env").is_file():
        return
    if _git(program, situation.root, "ls-files", "--error-unmatch", ".env"):
        yield Finding("problem", ".env", "git tracks it, secrets and all", "git rm --cached .env")
    elif not _git(program, situation.root, "check-ignore", "--quiet", ".env"):
        yield Finding("warning", ".env", "git does not ignore it", "echo .env >> .gitignore")


def _git(program: str, root: Path, *words: str) -> bool:
    try:
        done = subprocess.run([program, "-C", str(root), *words], capture_output=True, timeout=ASK_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _make(root: Path) -> None:
    create(worktree.read(root))
