"""Git as a program, for what is not read from its files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.machine.worktree import outside_hook

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
"""Runs no hook, also none that the checked-out branch brings along (`core.hooksPath=.husky`)."""


def git(root: Path, *words: str, stdin: str = "", own_group: bool = False, timeout: float | None = None) -> str:
    """Run git in a checkout and return what it prints.

    It gets the time to undo what it has begun when the run is interrupted; with `own_group`, Ctrl-C does not reach it.

    Raises:
        CheckError: it fails, with what it says; or it takes more than `timeout` seconds, as where its files are pipes.
    """
    verb = next(word for word in words if not word.startswith("-") and "=" not in word)
    environ = {**outside_hook(os.environ), "LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(root), *words]
    try:
        process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=own_group,
        )
    except FileNotFoundError as error:
        raise NotFoundError("git is not on PATH", hint="see: inv doctor") from error
    with process:
        try:
            out, err = process.communicate(os.fsencode(stdin), timeout)
        except BaseException as error:
            process.terminate()
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CheckError(f"git {verb} takes more than {timeout:g} s in {root}") from None
            raise
    if process.returncode != 0:
        said = [line for line in os.fsdecode(err).splitlines() if line.strip()]
        raise CheckError(f"git {verb} fails: {said[-1] if said else process.returncode}", details=said[:-1][-10:])
    return os.fsdecode(out)


def ask(root: Path, *words: str, stdin: str = "", timeout: float | None = None) -> str:
    """Return git's answer without the last line's end; "" where it has none."""
    try:
        return git(root, *words, stdin=stdin, timeout=timeout).rstrip("\n")
    except CheckError:
        return ""
