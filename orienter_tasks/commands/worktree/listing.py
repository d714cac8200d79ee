"""`inv worktree.list`: git's list of worktrees, joined with instances."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.worktree import unfinished
from orienter_tasks.commands.worktree.create import UNTRUSTED
from orienter_tasks.observe.scan import scan
from orienter_tasks.output.tables import Column

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.machine.worktree import Registration
    from orienter_tasks.observe.model import ObservedInstance


class ListedWorktree(msgspec.Struct, frozen=True):
    """A checkout of the repository, its instance if it has one, and what else is to be known of it."""

    found: Registration
    instance: ObservedInstance | None
    notes: dict[str, str]


def show(ctx: RunContext, *, as_json: bool) -> None:
    """List the checkouts of this repository, the main one first."""
    common = unfinished.common_dir(ctx)
    at_work, listed = unfinished.notes(common), unfinished.registrations(common)
    claims = {each.root: claim for each in listed for claim in unfinished.instances(ctx, common, each.root)}
    seen = scan(claims.values())
    observed = {found.claim.token: found for found in seen.instances}
    rows = [
        ListedWorktree(
            each,
            observed[claims[each.root].token] if each.root in claims else None,
            _notes(each, at_work.get(each.root)),
        )
        for each in listed
    ]
    for unseen in seen.unseen:
        ctx.report.warn(f"not seen: {unseen}")
    if as_json:
        here = str(ctx.root)
        documents = [_document(row, is_main=row.found.git_dir == common, here=here) for row in rows]
        ctx.report.json({"worktrees": documents, "unseen": list(seen.unseen)})
        return
    ctx.report.table(COLUMNS, rows)


def _notes(found: Registration, at_work: bool | None) -> dict[str, str]:
    """Say what is the matter with a worktree, each with the reason."""
    told = {}
    if at_work is not None:
        told["in progress" if at_work else "unfinished"] = (
            "" if at_work else "the next worktree.new or .rm clears it up"
        )
    if found.locked is not None and at_work is None:
        told["locked"] = found.locked
    if not os.path.lexists(found.root):
        told["missing"] = "its directory is not there"
    elif not found.is_there:
        told["stale"] = "something else is there now"
    if (found.git_dir / UNTRUSTED).exists():
        told["untrusted"] = ""
    return told


COLUMNS = [
    Column[ListedWorktree]("worktree", lambda row: row.found.root.name, least=14),
    Column[ListedWorktree]("branch", lambda row: row.found.branch or row.found.head[:9] or "–", least=12),
    Column[ListedWorktree]("id", lambda row: str(row.instance.instance.id) if row.instance else "–", right=True),
    Column[ListedWorktree]("state", lambda row: row.instance.state if row.instance else "–"),
    Column[ListedWorktree]("url", lambda row: row.instance.instance.host_url if row.instance else "–", drop=2),
    Column[ListedWorktree]("path", lambda row: str(row.found.root), drop=1),
    Column[ListedWorktree]("notes", lambda row: ", ".join(row.notes), drop=3),
]


def _document(row: ListedWorktree, *, is_main: bool, here: str) -> dict[str, object]:
    found, instance = row.found, row.instance
    return {
        "name": found.root.name,
        "path": str(found.root),
        "branch": found.branch,
        "commit": found.head,
        "main": is_main,
        "current": str(found.root) == here,
        "notes": row.notes,
        "instance": None
        if instance is None
        else {
            "id": instance.instance.id,
            "state": instance.state,
            "backend": instance.backends.word,
            "url": instance.instance.url,
            "host_url": instance.instance.host_url,
        },
    }
