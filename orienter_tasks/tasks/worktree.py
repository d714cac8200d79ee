"""`inv worktree.*`: worktrees with everything that belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(
    positional=["name"],
    help={
        "name": "A branch: a local or remote one, or else a new one.",
        "base": "What a new branch begins with (default: what is checked out here); also a pull request: pull/12/head.",
        "path": "Where it goes (default: as the setting worktree.path says).",
        "branch": "Check a branch out, or only a commit (--no-branch).",
        "start": "Start it, or not (--no-start).",
        "trust": "Treat a commit that is in no branch of yours as your own: .env, hooks, start.",
        "data": "What its instance begins with: main, empty, or a snapshot.",
        "backend": "auto, docker or embedded.",
        "timeout": "How long each component may take to become ready: 90, 30s, 2m.",
        "quiet": "Print only the path and errors.",
    },
    dry={},
)
def new(
    ctx: RunContext,
    name: str,
    base: str = "",
    path: str = "",
    branch: bool = True,
    start: bool = True,
    trust: bool = False,
) -> None:
    """Make a worktree with .env, ignored files, hooks and data, and start its stack; print its path."""
    from orienter_tasks.commands.worktree import create

    create.new(ctx, create.Wanted(name, base, path, branch=branch, start=start, trust=trust))


@task(
    positional=["name"],
    help={
        "name": "A worktree, by its directory's name, its branch or its path.",
        "keep-data": "Keep a snapshot of its data.",
        "force": "Remove it although work is lost with it; give processes one second to stop.",
        "yes": "Do not ask about its data.",
    },
    dry={},
)
def rm(ctx: RunContext, name: str, keep_data: bool = False, yes: bool = False) -> None:
    """Stop and remove a worktree with its data, and its branch if it is merged."""
    from orienter_tasks.commands.worktree import remove

    remove.remove(ctx, name, keep_data=keep_data, yes=yes)


@task(name="list", help={"json": JSON_HELP})
def listing(ctx: RunContext, json: bool = False) -> None:
    """List the worktrees of this repository and their instances."""
    from orienter_tasks.commands.worktree import listing as worktrees

    worktrees.show(ctx, as_json=json)
