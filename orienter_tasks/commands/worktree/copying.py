"""Copying ignored files of the main checkout into a new worktree: what settings or `.worktreeinclude` name."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from orienter_tasks.machine import worktree
from orienter_tasks.machine.git import ask, git
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orienter_tasks.lifecycle.context import RunContext

INCLUDE = ".worktreeinclude"
OURS = (".dev-data", ".dev-pids", "logs")


def copy_ignored(ctx: RunContext, target: Path) -> None:
    """Copy what is wanted and not there; `.env` is made in a way of its own.

    Raises:
        CheckError: no space is left.
        ConfigError: a file cannot be read or written.
    """
    main, count = worktree.read(target).main_root, 0
    for name in ignored_files(main, ctx.root / INCLUDE, ctx.settings.worktree.copy):
        raise_unheard()
        copied, directory = target / name, (target / name).parent
        if os.path.lexists(copied):
            continue
        try:
            if os.path.realpath(directory) != str(directory):
                ctx.report.warn(f"{name} is not copied: it would go through a symbolic link")
                continue
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy2(main / name, copied, follow_symlinks=False)
        except OSError as error:
            raise failure(copied, f"cannot copy {main / name} to {copied}", error) from error
        count += 1
    if count:
        ctx.report.note(f"copied {count} ignored file{'' if count == 1 else 's'} of {main}")


def ignored_files(main: Path, include: Path, patterns: Sequence[str]) -> list[str]:
    """Return the files of a checkout that git ignores and that a pattern, or one in the file `include`, matches."""
    words = [f"--exclude={pattern}" for pattern in patterns]
    if include.is_file():
        words.append(f"--exclude-from={include}")
    listed = git(main, "ls-files", "-z", "--others", "--ignored", *words).split("\0") if words else []
    wanted = [name for name in listed if name and not name.endswith("/") and name != ".env" and not _is_ours(name)]
    return ask(main, "check-ignore", "-z", "--stdin", stdin="\0".join(wanted)).split("\0")[:-1] if wanted else []


def _is_ours(name: str) -> bool:
    first, _, rest = name.partition("/")
    return first in OURS and (first != "logs" or rest.startswith("instance-"))
