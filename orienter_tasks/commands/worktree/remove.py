"""`inv worktree.rm`: remove a worktree with its instance, its data and its merged branch, unless work would be lost."""

from __future__ import annotations

import os
import re
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.worktree import hooks, unfinished, unsaved
from orienter_tasks.commands.worktree.create import OF_AN_INSTANCE, UNTRUSTED
from orienter_tasks.errors import ConfigError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity import checkouts
from orienter_tasks.identity.checkouts import CheckoutState
from orienter_tasks.infra import choice
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.machine.files import read_small
from orienter_tasks.output.units import space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.machine.worktree import Registration

MOUNTS = Path("/proc/self/mountinfo")


def remove(ctx: RunContext, name: str, *, keep_data: bool, yes: bool) -> None:
    """Remove a worktree.

    Raises:
        ConflictError: work would be lost, or something of it is not this repository's or in use.
        ConfigError: nobody can be asked about its data, or the answer is no.
    """
    common = unfinished.common_dir(ctx)
    gone = [] if ctx.options.dry else unfinished.settle(ctx)
    if any(name in _names(path) for path in gone):
        ctx.report.note(f"{name} is removed: an earlier run had not finished that")
        return
    target = find(common, name)
    lost = _require_saved(ctx, common, target, name)
    claims = unfinished.instances(ctx, common, target.root)
    merged = bool(target.branch) and unsaved.is_merged(common, target.branch, target.head)
    data = [each for claim in claims for each in _data(ctx, claim, sizes=not (yes or keep_data))]
    plan = "; ".join(_plan(target, data, keep_data=keep_data, merged=merged))
    if ctx.options.dry:
        ctx.report.answer(f"would remove {plan}")
        return
    if data and not keep_data and not yes:
        _ask(ctx, target, data)
    with unfinished.working_on(ctx, target.root):
        if target.is_there and not (target.git_dir / UNTRUSTED).exists():
            _run_hooks(ctx, target.root)
        now = unfinished.registered(common, target.root)
        if now != target:
            raise ConflictError(f"{target.root} has changed meanwhile", hint=f"inv worktree.rm {shlex.quote(name)}")
        lost = _require_saved(ctx, common, target, name)
        inode = target.root.stat().st_ino if target.is_there else 0
        left = unfinished.UnfinishedWorktree(str(target.root), target.head, target.branch if merged else "", inode)
        unfinished.take_away(ctx, left, partial(_keep, ctx) if keep_data else None)
    if lost:
        ctx.report.warn(f"removed although {'; '.join(lost)}")
    ctx.report.note(f"removed {plan}")


def _require_saved(ctx: RunContext, common: Path, target: Registration, name: str) -> list[str]:
    """Require that a worktree may go, and that no work is lost with it; return what --force gives up.

    Raises:
        ConflictError: it says what speaks against it.
    """
    _require_removable(ctx, common, target)
    lost = list(unsaved.losses(common, target, unfinished.registrations(common), known=_proposed(target)))
    if lost and not ctx.options.force:
        hint = f"save it, or give it up: inv worktree.rm {shlex.quote(name)} --force"
        raise ConflictError(f"{target.root} stays: {'; '.join(lost)}", hint=hint)
    return lost


def find(common: Path, name: str) -> Registration:
    """Return the worktree of a name: its directory's, its branch, or its path.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several.
        ConfigError: it is the main checkout.
    """
    listed = unfinished.registrations(common)
    path = Path(os.path.realpath(name)) if name else Path()
    found = [each for each in listed if each.root == path] if os.sep in name or name == "." else []
    found = found or [each for each in listed if name and each.branch == name]
    found = found or [each for each in listed if name in _names(each.root)]
    if not found:
        raise NotFoundError(f"no worktree is named {name!r}", hint="see: inv worktree.list")
    if len(found) > 1:
        places = ", ".join(str(each.root) for each in found)
        raise ConflictError(f"{name!r} is the name of several worktrees: {places}", hint="name one by its path")
    if found[0].git_dir == common:
        raise ConfigError(f"{found[0].root} is the main checkout, which stays", hint="see: inv worktree.list")
    return found[0]


def _proposed(target: Registration) -> str:
    """Return the commit of somebody else's that a worktree was made of; "" for the user's own."""
    try:
        return read_small(target.git_dir / UNTRUSTED).decode().strip()
    except OSError:
        return ""


def _names(root: Path) -> tuple[str, ...]:
    return root.name, str(root)


def _require_removable(ctx: RunContext, common: Path, target: Registration) -> None:
    """Require what also --force cannot do without."""
    if os.path.lexists(target.root) and not target.is_there:
        raise ConflictError(
            f"{target.root} is not a worktree of {common} any more, which still lists it",
            hint=f"if it is to be forgotten: rm -r {shlex.quote(str(target.git_dir))}",
        )
    for mount in _mounts_below(target.root):
        raise ConflictError(f"{target.root} stays: something is mounted at {mount}", hint=f"unmount it: umount {mount}")
    for claim in unfinished.instances(ctx, common, target.root):
        judged = checkouts.judge(claim)
        if judged.state not in (CheckoutState.HERE, CheckoutState.GONE, CheckoutState.LOCKED):
            raise ConflictError(f"{target.root} stays: {judged.reason}", hint=checkouts.remedy(claim, judged))
    for claim in ctx.claims.read():
        if claim.root == str(target.root) and claim.placed and claim.project != ctx.settings.project:
            raise ConflictError(
                f"{target.root} stays: it has an instance of project {claim.project}",
                hint=f"with that project's tasks: inv cleanup.instance {claim.id}",
            )


def _mounts_below(root: Path) -> list[str]:
    """Return where other file systems are mounted in a directory, as Linux tells; see proc_pid_mountinfo(5)."""
    try:
        points = [line.split(" ")[4] for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except (OSError, IndexError):
        return []
    plain = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point) for point in points)
    return [point for point in plain if point.startswith(f"{root}/") or point == str(root)]


def _data(ctx: RunContext, claim: Claim, *, sizes: bool) -> list[str]:
    backend = choice.of(claim.backends, config_of(claim, ctx.settings, {}))
    volumes = backend.data_volumes(sizes=sizes) if backend is not None else ()
    return [f"{volume.name} ({space(volume.size)})" if sizes else volume.name for volume in volumes]


def _plan(target: Registration, data: Sequence[str], *, keep_data: bool, merged: bool) -> list[str]:
    """Say what goes."""
    branch = f"branch {target.branch}, which is merged" if merged else ""
    told = f"its data ({', '.join(data)}){', after a snapshot' if keep_data else ''}" if data else ""
    return [part for part in (str(target.root), told, branch) if part]


def _ask(ctx: RunContext, target: Registration, data: Sequence[str]) -> None:
    loss = f"this removes the data of {target.root}: {', '.join(data)}"
    hint = "add --yes to skip the prompt, or --keep-data to keep a snapshot"
    if not ctx.report.confirm("remove it?", refusal=loss, hint=hint, before=lambda: ctx.report.warn(loss)):
        raise ConfigError("nothing was removed")


def _run_hooks(ctx: RunContext, root: Path) -> None:
    """Run the hooks; a failure leaves everything as it is, unless with --force."""
    if not ctx.settings.hooks.worktree_rm:
        return
    for name in OF_AN_INSTANCE:  # of the shell's checkout
        os.environ.pop(name, None)
    other = ctx.of_checkout(root, ctx.options)
    try:
        hooks.run(other, ctx.settings.hooks.worktree_rm)
    except BaseException as error:
        other.undo(error)
        if not (ctx.options.force and isinstance(error, OrienterError)):
            raise
        ctx.report.warn(error.line())


def _keep(ctx: RunContext, claim: Claim, config: InstanceConfig, backend: Backend | None) -> None:
    """Take a snapshot, named after the worktree."""
    from orienter_tasks.commands.data.snapshot import take
    from orienter_tasks.data import store

    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(claim.root).name).strip(".-")[:60] or "worktree"
    if store.place_of(claim.project, name).exists() or name in store.RESERVED or name.startswith(store.AUTOMATIC):
        name = store.free_name(claim.project, f"worktree-{name}-")
    try:
        made = take(claim, config, backend, name)
    except NotFoundError:  # no data
        return
    ctx.report.note(f"its data is kept: inv data.restore {name} ({space(made.size)})")
