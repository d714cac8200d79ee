"""`inv worktree.new`: a worktree with everything: files, `.env`, hooks, data, and a running instance."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.worktree import hooks, source as sources, unfinished
from orienter_tasks.commands.worktree.copying import copy_ignored
from orienter_tasks.errors import ConfigError, ConflictError, OrienterError
from orienter_tasks.machine import worktree
from orienter_tasks.machine.git import ask, git

if TYPE_CHECKING:
    from orienter_tasks.commands.worktree.source import Source
    from orienter_tasks.lifecycle.context import RunContext

UNTRUSTED = "orienter/untrusted"
"""In a worktree's own git directory, of which nothing is run: the commit that it was made of."""
OF_AN_INSTANCE = ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT")


class Wanted(msgspec.Struct, frozen=True):
    """What the command line says of a new worktree."""

    name: str
    base: str = ""
    path: str = ""
    branch: bool = True
    start: bool = True
    trust: bool = False


def new(ctx: RunContext, wanted: Wanted) -> None:
    """Make a worktree; what fails is undone, except work of the user's."""
    common = unfinished.common_dir(ctx)
    if not ctx.options.dry:
        unfinished.settle(ctx)
    name, source = sources.resolve(ctx.root, wanted.name, wanted.base, branch=wanted.branch, trust=wanted.trust)
    path = place(ctx, name, wanted.path)
    _require_free(common, path, source)
    told = f"{source.words} at {path}{'' if source.branch else ', without a branch'}"
    if ctx.options.dry:
        ctx.report.answer(f"would make a worktree of {told}")
        return
    with unfinished.working_on(ctx, path):
        left = unfinished.UnfinishedWorktree(str(path), source.commit, source.branch if source.made else "")
        other = ctx.of_checkout(path, msgspec.structs.replace(ctx.options, detach=True))
        try:
            with unfinished.changing(ctx):
                _require_free(common, path, source)
                unfinished.begin(common, left)
                git(ctx.root, *source.add(path))
            ctx.report.note(f"made a worktree of {told}")
            _fill(ctx, other, wanted, source)
        except BaseException as error:
            if path in unfinished.notes(common):  # else nothing was begun
                _undo(ctx, other, left, error)
            raise
        unfinished.finish(common, path)
    ctx.report.answer(str(path))


def place(ctx: RunContext, name: str, given: str) -> Path:
    """Return where a worktree goes.

    Raises:
        ConfigError: the path has control characters.
    """
    tree = worktree.read(ctx.root)
    base = Path.cwd() if given else tree.main_root
    template = given or ctx.settings.worktree.path.format(repo=tree.main_root.name, name=name.replace("/", "-"))
    path = Path(os.path.normpath(base / Path(template).expanduser()))
    if worktree.has_control_characters(path):
        raise ConfigError(f"{str(path)!r} has control characters", hint="choose another path")
    return Path(os.path.realpath(path.parent)) / path.name


def _require_free(common: Path, path: Path, source: Source) -> None:
    """Require that neither the path nor the branch is in use."""
    for found in unfinished.registrations(common):
        if found.root == path and not os.path.lexists(path):
            hint = f"remove it: inv worktree.rm {path.name}"
            raise ConflictError(f"git has a worktree at {path}, whose directory is not there", hint=hint)
        if source.branch and found.branch == source.branch:
            raise ConflictError(
                f"the branch {source.branch} is checked out at {found.root}", hint="choose another name, or work there"
            )
    if source.made and ask(common, "rev-parse", "--verify", "--quiet", f"refs/heads/{source.branch}"):
        raise ConflictError(f"the branch {source.branch} exists already", hint="run this again to check it out")
    if os.path.lexists(path):
        raise ConflictError(f"{path} exists already", hint="choose another name, or another place with --path")


def _fill(ctx: RunContext, other: RunContext, wanted: Wanted, source: Source) -> None:
    """Give a new worktree its files, run the hooks in it, give it data and start it."""
    from orienter_tasks.commands import env
    from orienter_tasks.commands.data.replace import first
    from orienter_tasks.commands.start import start_all, start_infra

    git_dir = worktree.read(other.root).git_dir
    if not source.trusted and git_dir is not None:
        (git_dir / UNTRUSTED).parent.mkdir(exist_ok=True)
        (git_dir / UNTRUSTED).write_text(source.commit)
        ctx.report.warn(
            f"{source.words} is not in a branch of yours: no .env, no hooks, not started; "
            f"to do all that: inv worktree.rm {other.root.name}, then the same with --trust"
        )
        return
    for name in OF_AN_INSTANCE:  # of the shell's checkout
        os.environ.pop(name, None)
    env.init(other, complete=False)
    copy_ignored(ctx, other.root)
    hooks.run(other, ctx.settings.hooks.worktree_new)
    if ctx.options.data or (wanted.start and ctx.settings.data.initial != "empty"):
        first(other)
    if not wanted.start:
        if other.unfinished:
            other.start.finish()
        return
    start_infra(other)
    env.warn_of_foreign_ports(other)
    start_all(other)
    ctx.report.note(f"{other.current.instance} is ready: {other.current.instance.host_url}")


def _undo(ctx: RunContext, other: RunContext, left: unfinished.UnfinishedWorktree, error: BaseException) -> None:
    """Stop what was started, and remove the worktree again."""
    if isinstance(error, OrienterError) and left.path in error.hint:
        error.hint = ""  # a log that goes too
    try:
        other.undo(error)
        if unfinished.take_back(ctx, left):
            ctx.report.note(f"{left.path} is removed again")
    except OrienterError as second:
        ctx.report.error(second)
