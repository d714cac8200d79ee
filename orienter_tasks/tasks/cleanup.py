"""`inv cleanup.*`: remove what is left of checkouts that are gone, or what the user names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.commands.cleanup.model import ScopeName
    from orienter_tasks.lifecycle.context import RunContext

HELP = {
    "dry-run": "Only say what would go and what stays, and why.",
    "yes": "Do not ask.",
    "json": f"{JSON_HELP.rstrip('.')}; with --dry-run or --yes.",
}
NAMED_HELP = {**HELP, "snapshots": "Remove the snapshots, too."}
DRY = {"dry_run": True}


@task(help=HELP, dry=DRY)
def daily(ctx: RunContext, dry_run: bool = False, yes: bool = False, json: bool = False) -> None:
    """Stop instances whose checkout is gone; remove their containers and networks, and dead records. No data goes."""
    _clean_up(ctx, "daily", dry_run=dry_run, yes=yes, as_json=json)


@task(help=HELP, dry=DRY)
def weekly(ctx: RunContext, dry_run: bool = False, yes: bool = False, json: bool = False) -> None:
    """Do what daily does; remove the data of checkouts that are gone, logs older than 7 days and unused networks."""
    _clean_up(ctx, "weekly", dry_run=dry_run, yes=yes, as_json=json)


@task(help=HELP, dry=DRY)
def orphans(ctx: RunContext, dry_run: bool = False, yes: bool = False, json: bool = False) -> None:
    """Stop and remove processes, containers and networks of checkouts that are gone. No data goes."""
    _clean_up(ctx, "orphans", dry_run=dry_run, yes=yes, as_json=json)


@task(help=HELP, dry=DRY)
def logs(ctx: RunContext, dry_run: bool = False, yes: bool = False, json: bool = False) -> None:
    """Empty logs that nothing has been written to for 7 days."""
    _clean_up(ctx, "logs", dry_run=dry_run, yes=yes, as_json=json)


@task(positional=["id"], help={"id": "The instance's id, as `inv instances` shows it.", **NAMED_HELP}, dry=DRY)
def instance(
    ctx: RunContext, id: str, snapshots: bool = False, dry_run: bool = False, yes: bool = False, json: bool = False
) -> None:
    """Remove everything of one instance of this project: processes, containers, data, logs and its claim."""
    _clean_up(ctx, "instance", id, snapshots=snapshots, dry_run=dry_run, yes=yes, as_json=json)


@task(name="all", help=NAMED_HELP, dry=DRY)
def everything(
    ctx: RunContext, snapshots: bool = False, dry_run: bool = False, yes: bool = False, json: bool = False
) -> None:
    """Remove everything of every instance of this project, data too. It asks for the project's name first."""
    _clean_up(ctx, "all", snapshots=snapshots, dry_run=dry_run, yes=yes, as_json=json)


def _clean_up(
    ctx: RunContext,
    name: ScopeName,
    id: str = "",
    *,
    snapshots: bool = False,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from orienter_tasks.commands.cleanup.command import clean_up
    from orienter_tasks.commands.cleanup.model import Scope, of_instance

    scope = of_instance(id, snapshots=snapshots) if name == "instance" else Scope(name, snapshots=snapshots)
    clean_up(ctx, scope, dry_run=dry_run, yes=yes, as_json=as_json)
